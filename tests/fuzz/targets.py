"""One function a parser: it takes any bytes and may raise nothing but Refused. What it raises besides is a defect."""

import atexit
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from printfarm_files import Refused, Thumbnail
from printfarm_files import meatpack as meat
from printfarm_files.bgcode import pieces as bgcode_pieces
from printfarm_files.bgcode import read_bgcode
from printfarm_files.facts import from_json, to_json
from printfarm_files.gcode import facts_of_text
from printfarm_files.heatshrink import unpack as heatshrink_unpack
from printfarm_files.kinds import kind_of
from printfarm_files.mesh import measure
from printfarm_files.pictures import of_thumbnails
from printfarm_files.reading import read_facts, recognise
from printfarm_files.safety import Dialect, Limits, check_gcode, lines_of
from printfarm_files.stl import read_stl
from printfarm_files.threemf import read_3mf
from printfarm_files.threemf_write import write_clean_3mf
from printfarm_files.toolpath import scan as scan_path
from tests.support.print_files import zipped

CORPUS = Path(__file__).parent / "corpus"
Target = Callable[[bytes], None]
_FOLDER = tempfile.TemporaryDirectory(prefix="printfarm-fuzz-")
atexit.register(_FOLDER.cleanup)
_FILE, _CLEAN = Path(_FOLDER.name) / "file", Path(_FOLDER.name) / "clean"
_LIMITS = Limits(volume_mm=(250.0, 210.0, 200.0))


def _stored(data: bytes) -> Path:
    # Mapped files must not shrink under whoever mapped them.
    _FILE.unlink(missing_ok=True)
    _FILE.write_bytes(data)
    return _FILE


def whole(data: bytes) -> None:
    """As it comes: recognised, then read as whatever it claims to be."""
    facts = read_facts(_stored(data), recognise(_FILE))
    if from_json(to_json(facts)).kind is not facts.kind:
        raise AssertionError("the facts changed on their way")


def kind(data: bytes) -> None:
    """The first bytes alone."""
    kind_of(data, data, len(data), has_nul=b"\0" in data)


def comments(data: bytes) -> None:
    """Head and tail of G-code."""
    facts_of_text(data[: len(data) // 2], data[len(data) // 2 :], len(data))


def scan(data: bytes) -> None:
    """The moves. Bounds are finite, lengths are not below nothing."""
    path = scan_path([data])
    if any(length < 0 for length in path.lengths.values()):
        raise AssertionError("negative length")


def safety(data: bytes) -> None:
    """The first byte chooses the firmware."""
    dialect = list(Dialect)[data[0] % len(Dialect)] if data else Dialect.ANY
    check_gcode(lines_of([data[1:]]), _LIMITS, dialect)


def stl(data: bytes) -> None:
    """Whatever is said to be one."""
    mesh, _ = read_stl(_stored(data))
    found = measure(mesh)
    if not np.isfinite([found.volume_mm3, *found.bounds.low, *found.bounds.high]).all():
        raise AssertionError("a measure is not finite")


def archive(data: bytes) -> None:
    """A 3MF as a file."""
    read_3mf(_stored(data))


def model(data: bytes) -> None:
    """A model part in a sound archive; written clean, it is the same again."""
    found = read_3mf(_stored(zipped({"3D/3dmodel.model": data, "3D/b.model": data})))
    first = measure(found)
    write_clean_3mf(found, _CLEAN)
    if read_3mf(_CLEAN).count != first.triangles:
        raise AssertionError("the clean copy is another model")


def slice_info(data: bytes) -> None:
    """What Bambu Studio says of a plate."""
    read_facts(
        _stored(
            zipped({"3D/3dmodel.model": b"", "Metadata/plate_1.gcode": b"G28\n", "Metadata/slice_info.config": data})
        )
    )


def bgcode(data: bytes) -> None:
    """Blocks, unpacked."""
    read_bgcode(_stored(data))
    for _ in bgcode_pieces(_FILE):
        pass


def meatpack(data: bytes) -> None:
    """At most twice as long."""
    if len(meat.unpack(data)) > 2 * len(data):
        raise AssertionError("it grew")


def heatshrink(data: bytes) -> None:
    """To the size that the first two bytes say."""
    heatshrink_unpack(data[2:], 11 + (data[0] & 1 if data else 0), int.from_bytes(data[:2], "little"))


def thumbnail(data: bytes) -> None:
    """Decoded and made anew."""
    form = ("png", "jpg", "qoi")[data[0] % 3] if data else "png"
    of_thumbnails([Thumbnail(form, 64, 64, data[1:])], 32)


TARGETS: dict[str, Target] = {
    f.__name__: f
    for f in (
        whole,
        kind,
        comments,
        scan,
        safety,
        stl,
        archive,
        model,
        slice_info,
        bgcode,
        meatpack,
        heatshrink,
        thumbnail,
    )
}


def run(name: str, data: bytes) -> None:
    """Raises whatever is a defect."""
    try:
        TARGETS[name](data)
    except Refused:
        return
