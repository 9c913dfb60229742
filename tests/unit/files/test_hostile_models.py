"""Bad inputs 41 to 52: each refused with its reason, or taken for what it is, in bounded time and memory."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

from printfarm_files import Kind, Refused
from printfarm_files.archive import open_archive
from printfarm_files.reading import read_facts, recognise
from printfarm_files.threemf import read_3mf
from tests.support.hostile_models import HOSTILE, WHOLE, as_bytes, placed, shorter_than_it_is
from tests.support.print_files import binary_stl, cube, text_stl, three_mf, zipped


@pytest.mark.parametrize("what", HOSTILE)
def test_41_to_52_what_is_refused_says_why(tmp_path: Path, what: str) -> None:
    make, reason = HOSTILE[what]
    path = tmp_path / "file"
    path.write_bytes(as_bytes(make()))
    with pytest.raises(Refused) as caught:
        read_facts(path, recognise(path))
    assert reason in caught.value.reason


def test_44_a_small_binary_cube_with_the_header_solid_is_a_cube(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(binary_stl(cube(), b"solid cube made by a program"))
    assert read_facts(path).volume_mm3 == 8000


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]) << 20,) * 2)
from pathlib import Path
from printfarm_files import Refused
from printfarm_files.reading import read_facts
try:
    facts = read_facts(Path(sys.argv[1]))
    print("taken", facts.triangles, [w.code for w in facts.warnings])
except Refused as error:
    print("refused", error.reason)
"""


def limited(path: Path, megabytes: int = 1200) -> str:
    """Read by a process that may have so much address space, libraries included, and two minutes."""
    command = [sys.executable, "-c", LIMITED, str(path), str(megabytes)]
    environment = {"OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_45_degenerate_triangles_by_the_million(tmp_path: Path) -> None:
    """300 MB are refused by their number before they are read; what may be taken is measured in bounded memory."""
    point = struct.pack("<12fH", *(0.0,) * 12, 0)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"\0" * 80 + struct.pack("<I", 6_000_000))
        file.seek(84 + 50 * 6_000_000 - 1)
        file.write(b"\0")
    assert "at most 5000000" in limited(path)
    corner = struct.pack("<12fH", *(0.0,) * 3, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0)
    with path.open("wb") as file:
        file.write(b"\0" * 80 + struct.pack("<I", 1_000_000) + corner + point * 999_999)
    assert limited(path).startswith("taken 1000000 ['not_closed', 'degenerate'")


def test_46_an_entry_larger_than_stated_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(shorter_than_it_is())
    with open_archive(path) as archive, pytest.raises(Refused):
        archive.read("3D/3dmodel.model", 1 << 20)


def test_46_nested_archives_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(three_mf(more={"inner.zip": zipped({"x": b"0" * 1000})}))
    assert read_facts(path).triangles == 12


def test_46_a_bomb_of_placements_ends_at_the_limit_in_bounded_memory(tmp_path: Path) -> None:
    """What its parts hold is counted before it is built; as many as may be are built."""
    path = tmp_path / "a"
    path.write_bytes(placed())
    assert limited(path).startswith("refused the 3MF places more than")
    path.write_bytes(placed(times=50))
    assert limited(path).startswith("taken 1000000 ")


def test_49_settings_and_commands_of_a_project_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    hidden = {"Metadata/Slic3r_PE.config": "; post_process = touch /tmp/x\n", "Metadata/x.config": b"\xff" * 99}
    path.write_bytes(three_mf(more=hidden))
    model = read_3mf(path)
    assert model.count == 12 and not model.thumbnails and model.application is None


def test_50_a_model_with_a_page_in_its_header_is_a_model(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(binary_stl(cube(), b"<html><script>alert(1)</script>"))
    assert read_facts(path).kind is Kind.STL


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.gcode", WHOLE, Kind.THREE_MF),
        ("a.3mf", text_stl(cube()).encode(), Kind.STL),
        ("a.stl", b"G28\nG1 X1 E1\n", Kind.GCODE),
    ],
)
def test_51_the_name_counts_for_nothing(tmp_path: Path, name: str, data: bytes, kind: Kind) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    assert read_facts(path).kind is kind
