"""Bad inputs 41 to 52: each refused with its reason, or taken for what it is, in bounded time and memory."""

import io
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from printfarm_files import Kind, Refused
from printfarm_files.archive import MOST_ENTRIES, open_archive
from printfarm_files.reading import read_facts, recognise
from printfarm_files.threemf import read_3mf
from tests.support.print_files import (
    RELATIONS,
    TYPES,
    binary_stl,
    cube,
    mesh_xml,
    model_xml,
    text_stl,
    three_mf,
    zipped,
)

NAN, INF = float("nan"), float("inf")
WHOLE = three_mf()


def refusal(folder: Path, data: bytes | str) -> str:
    path = folder / "file"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(Refused) as caught:
        read_facts(path, recognise(path))
    return caught.value.reason


def with_corner(value: float) -> bytes:
    triangles = cube()
    triangles[3][1][2] = value
    return binary_stl(triangles)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        pytest.param(binary_stl(cube()[:1], b"solid", count=2**32 - 1), "triangles", id="41 count 2^32-1"),
        pytest.param(binary_stl(cube(), b"solid\0", count=13), "13 triangles need 734 bytes", id="41 one too many"),
        pytest.param(binary_stl([], b"solid\0"), "no triangles", id="42 none"),
        pytest.param(with_corner(NAN), "not a number", id="43 NaN"),
        pytest.param(with_corner(INF), "not a number", id="43 inf"),
        pytest.param(with_corner(1e38), "at most 10000 mm", id="43 1e38"),
        pytest.param(binary_stl(cube(1e6)), "at most 10000 mm", id="43 a cube of a kilometre"),
        pytest.param(binary_stl(cube(10_001)), "at most 10000 mm", id="52 ten metres"),
        pytest.param(text_stl(cube()).replace("2.000000e+01", "nan", 1), "not a number", id="43 NaN as text"),
        pytest.param(three_mf(model_xml().replace('x="20.0"', 'x="inf"', 1)), "not a number", id="43 inf in a 3MF"),
        pytest.param(three_mf(model_xml().replace('x="20.0"', 'x="1e308"', 1)), "", id="43 1e308 in a 3MF"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, data: bytes | str, word: str) -> None:
    assert word in refusal(tmp_path, data)


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


def bomb() -> bytes:
    return three_mf(more={"Metadata/a.config": b"\0" * (100 << 20)})


def forged(data: bytes, field: int, value: bytes) -> bytes:
    """Of the first entry of the directory: sizes at 20 and 24, CRC at 16, flags at 8, place at 42."""
    place = data.index(b"PK\x01\x02") + field
    return data[:place] + value + data[place + len(value) :]


def many(count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, text in (
            ("[Content_Types].xml", TYPES),
            ("_rels/.rels", RELATIONS),
            ("3D/3dmodel.model", model_xml()),
        ):
            made.writestr(name, text)
        for number in range(count):
            made.writestr(f"Metadata/{number}", b"")
    return out.getvalue()


def overlapping() -> bytes:
    """Two names of the directory point to the same bytes."""
    data = zipped(
        {
            "[Content_Types].xml": TYPES,
            "_rels/.rels": RELATIONS,
            "3D/3dmodel.model": model_xml(),
            "3D/3dmodel.mode2": "",
        }
    )
    last = data.rindex(b"PK\x01\x02")
    first = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 4) + 4)
    return data[: last + 42] + data[first + 42 : first + 46] + data[last + 46 :]


def zip64_lie() -> bytes:
    """The end says: look in the 64-bit end; there is none."""
    end = WHOLE.rindex(b"PK\x05\x06")
    return WHOLE[: end + 8] + b"\xff" * 12 + WHOLE[end + 20 :]


@pytest.mark.parametrize(
    ("make", "word"),
    [
        pytest.param(bomb, "200 times", id="46 bomb"),
        pytest.param(lambda: many(MOST_ENTRIES + 1), "entries", id="46 too many entries"),
        pytest.param(overlapping, "overlap", id="46 overlapping"),
        pytest.param(lambda: forged(WHOLE, 8, b"\1\0"), "encrypted", id="46 encrypted"),
        pytest.param(zip64_lie, "end is broken", id="46 zip64 lie"),
        pytest.param(lambda: forged(WHOLE, 42, b"\x09\0\0\0"), "", id="46 points to where no entry is"),
        pytest.param(lambda: WHOLE[:-30], "", id="46 cut off"),
        pytest.param(lambda: WHOLE + b"\0" * 10, "after its end", id="50 something behind"),
        pytest.param(lambda: three_mf(more={"../../etc/x": b"x"}), "leads elsewhere", id="47 parent"),
        pytest.param(lambda: three_mf(more={"/etc/x": b"x"}), "leads elsewhere", id="47 absolute"),
        pytest.param(lambda: three_mf(more={"C:/x": b"x"}), "leads elsewhere", id="47 drive"),
        pytest.param(lambda: three_mf(more={"a\\..\\x": b"x"}), "leads elsewhere", id="47 backslash"),
        pytest.param(lambda: three_mf(more={"a\nb": b"x"}), "leads elsewhere", id="47 control character"),
        pytest.param(
            lambda: three_mf(more={"3d/3DMODEL.model": b"x"}), "same name", id="47 the same name in other case"
        ),
    ],
)
def test_archives_that_are_traps(tmp_path: Path, make: object, word: str) -> None:
    assert word in refusal(tmp_path, make())  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_47_a_duplicate_name_and_a_symbolic_link(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for _ in range(2):
            made.writestr("3D/3dmodel.model", model_xml())
    assert "same name" in refusal(tmp_path, out.getvalue())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        link = zipfile.ZipInfo("3D/3dmodel.model")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        made.writestr(link, "/etc/passwd")
    assert "symbolic link" in refusal(tmp_path, out.getvalue())


def test_46_a_wrong_checksum_is_found_when_the_entry_is_read(tmp_path: Path) -> None:
    data = zipped({"3D/3dmodel.model": model_xml()})
    assert "broken" in refusal(tmp_path, forged(data, 16, b"\1\2\3\4"))


def test_46_an_entry_larger_than_stated_is_cut_short(tmp_path: Path) -> None:
    text = model_xml().encode()
    data = zipped({"3D/3dmodel.model": text})
    path = tmp_path / "a"
    small = struct.pack("<I", len(text) - 50)
    path.write_bytes(forged(data, 24, small))
    with open_archive(path) as archive, pytest.raises(Refused):
        archive.read("3D/3dmodel.model", 1 << 20)


def test_46_nested_archives_are_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(three_mf(more={"inner.zip": zipped({"x": b"0" * 1000})}))
    assert read_facts(path).triangles == 12


def test_46_a_bomb_that_is_the_model_itself_ends_at_the_limit(tmp_path: Path) -> None:
    """Under 200 times its size, and still too many triangles to be held."""
    path = tmp_path / "a"
    face = '<triangle v1="0" v2="1" v3="2"/>' + "".join(f'<triangle v1="{i % 8}" v2="1" v3="2"/>' for i in range(997))
    corners = '<vertex x="1" y="2" z="3"/>' * 8
    mesh = f"<mesh><vertices>{corners}</vertices><triangles>{face * 2000}</triangles></mesh>"
    model = model_xml(f'<object id="1">{mesh}</object>')
    path.write_bytes(three_mf(model))
    with zipfile.ZipFile(path) as made:
        info = made.getinfo("3D/3dmodel.model")
        assert info.file_size / info.compress_size < 400
    assert limited(path).startswith(("refused", "taken"))


LAUGHED = "".join(f'<!ENTITY {chr(98 + i)} "{10 * f"&{chr(97 + i)};"}">' for i in range(9))
LAUGHS = f'<!DOCTYPE m [<!ENTITY a "ha">{LAUGHED}]>'
NOWHERE = '<!DOCTYPE model SYSTEM "http://127.0.0.1:1/x.dtd">'
OUTSIDE = '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("before", [LAUGHS, OUTSIDE, NOWHERE], ids=["laughs", "XXE", "DTD"])
def test_48_no_document_type_and_no_entities(tmp_path: Path, before: str) -> None:
    entity = "&j;" if before is LAUGHS else "&x;"
    model = model_xml(before=before).replace(
        "<resources>", f'<metadata name="Application">{entity}</metadata><resources>'
    )
    assert "document type" in refusal(tmp_path, three_mf(model))
    assert "document type" in refusal(tmp_path, three_mf(model_xml(before=before)))


def test_48_depth_and_assemblies_without_end(tmp_path: Path) -> None:
    assert "deeper" in refusal(tmp_path, three_mf("<a>" * 100_000))
    circle = '<object id="1"><components><component objectid="1"/></components></object>'
    assert "without end" in refusal(tmp_path, three_mf(model_xml(circle)))
    ten = ""
    for number in range(2, 12):
        children = f'<component objectid="{number - 1}"/>' * 10
        ten += f'<object id="{number}"><components>{children}</components></object>'
    many_times = f'<object id="1">{mesh_xml()}</object>{ten}'
    reason = refusal(tmp_path, three_mf(model_xml(many_times, '<item objectid="11"/>')))
    assert "more than" in reason or "without end" in reason


def test_49_settings_and_commands_of_a_project_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    hidden = {"Metadata/Slic3r_PE.config": "; post_process = touch /tmp/x\n", "Metadata/x.config": b"\xff" * 99}
    path.write_bytes(three_mf(more=hidden))
    model = read_3mf(path)
    assert model.count == 12 and not model.thumbnails and model.application is None


def test_50_polyglots(tmp_path: Path) -> None:
    gcode = b"; a print\nG28\nM104 S200\nG1 X1 E1\n"
    assert "NUL" in refusal(tmp_path, gcode + WHOLE)
    assert "directory is not where" in refusal(tmp_path, WHOLE[:4] + b"\0" * 30 + WHOLE)
    path = tmp_path / "a"
    path.write_bytes(binary_stl(cube(), b"<html><script>alert(1)</script>"))
    assert read_facts(path).kind is Kind.STL
    assert "web page" in refusal(tmp_path, b"<html><script>alert(1)</script></html>")
    compressed = zlib.compress(gcode)
    assert "no G-code command" in refusal(tmp_path, compressed.replace(b"\0", b"\1"))


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
