"""G-code that comes packed: what it unpacks to is what is checked and printed, within bounds."""

import hashlib
import zlib
from pathlib import Path

import pytest

from printfarm_coordinator.app.artifacts import LARGEST_FILE_BYTES
from printfarm_files import Kind, Refused, text
from printfarm_files.examine import _examined
from printfarm_files.inspecting import unpack
from printfarm_files.reading import read_facts
from printfarm_files.safety import Limits, check_file
from printfarm_files.text import MOST_BYTES, MOST_RATIO, bounded, pieces_of
from tests.support.print_files import bgcode, bgcode_block, binary_gcode, sliced_3mf, zipped

SOUND = "G28\nM104 S210\nG1 X10 Y10 Z0.2 F3000\nG1 X20 Y10 E1\n; a comment\nM104 S0\n"
COMMENTS = (
    "; printer_model = MK4\n; nozzle_diameter = 0.4\n; filament_type = PETG\n; filament used [mm] = 100\n"
    "; filament used [g] = 3.5\n; estimated printing time (normal mode) = 1m 40s\n"
)
PACKED = {Kind.BGCODE: binary_gcode(SOUND, COMMENTS), Kind.GCODE_3MF: sliced_3mf({1: SOUND}, filament="PETG")}


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "packed"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", PACKED)
def test_the_text_within_is_what_was_packed_and_keeps_its_slicers_word(tmp_path: Path, kind: Kind) -> None:
    into = tmp_path / "text"
    found = unpack(stored(tmp_path, PACKED[kind]), kind, None, into)
    assert into.read_text() == SOUND
    assert found.estimated_seconds == 100
    assert (found.inspection.nozzle_mm, found.inspection.material) == (0.4, "PETG")
    assert (found.inspection.hotend_celsius, found.inspection.is_refused) == (210, False)


def test_each_plate_is_a_print_of_its_own(tmp_path: Path) -> None:
    path = stored(tmp_path, sliced_3mf({2: SOUND, 5: SOUND + "M997\n"}))
    assert unpack(path, Kind.GCODE_3MF, 2, tmp_path / "2").inspection.is_refused is False
    found = unpack(path, Kind.GCODE_3MF, 5, tmp_path / "5")
    assert found.inspection.refused[0].line == 7 and "M997" in str(found.inspection.refused[0])
    assert found.estimated_seconds == 500
    with pytest.raises(Refused, match="plates 2, 5: choose one by plate"):
        unpack(path, Kind.GCODE_3MF, None, tmp_path / "none")
    with pytest.raises(Refused, match="no plate 1; there are 2, 5"):
        unpack(path, Kind.GCODE_3MF, 1, tmp_path / "1")
    assert _examined(path, Kind.GCODE_3MF) == {"refused": None, "plates": (2, 5)}


def test_a_file_of_several_plates_shows_the_picture_of_the_first(tmp_path: Path) -> None:
    picture = zlib.compress(b"")
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + b"\0\0\0\x10\0\0\0\x10" + b"\x08\x02\0\0\0" + picture
    path = stored(tmp_path, sliced_3mf({1: SOUND, 2: SOUND}, {"Metadata/plate_1.png": png}))
    facts = read_facts(path)
    assert [(t.format, t.width, t.height) for t in facts.thumbnails] == [("png", 16, 16)]


def test_a_bomb_in_blocks_is_refused_before_it_has_gone_off(tmp_path: Path) -> None:
    """Deflate makes a thousandfold of it, block by block."""
    block = bgcode_block(1, (b";" + b"x" * 1_022 + b"\n") * 1_024, (0,), 1)
    path = stored(tmp_path, bgcode([block] * 20))
    size = path.stat().st_size
    assert size * MOST_RATIO < 20 << 20
    found: list[bytes] = []
    with pytest.raises(Refused, match="unpacks to more than"):
        found.extend(pieces_of(path))
    assert len(b"".join(found)) <= max(1 << 20, size * MOST_RATIO)
    assert "unpacks to more than" in check_file(path, Limits())


@pytest.mark.parametrize("compression", [2, 3])
def test_heatshrink_that_states_more_than_it_can_hold_is_not_unpacked(tmp_path: Path, compression: int) -> None:
    """An honest block grows eightfold at most."""
    block = bytearray(bgcode_block(1, b"\n" * 4_096, (0,), compression, crc=False))
    block[4:8] = (60 << 20).to_bytes(4, "little")
    with pytest.raises(Refused, match="more than it can hold"):
        list(pieces_of(stored(tmp_path, bgcode([bytes(block)], crc=False))))


def test_a_bomb_in_a_zip_is_refused_by_its_directory(tmp_path: Path) -> None:
    path = stored(tmp_path, sliced_3mf({1: b"G28\n" * (1 << 20)}))
    with pytest.raises(Refused, match="more than 200 times its size"):
        list(pieces_of(path))
    assert "200 times" in _examined(path, Kind.GCODE_3MF)["refused"]


def test_nothing_packed_makes_more_than_a_plain_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_BYTES == LARGEST_FILE_BYTES
    monkeypatch.setattr(text, "MOST_BYTES", 100)
    with pytest.raises(Refused, match="more than 100 bytes"):
        list(bounded([b"x" * 60, b"x" * 40, b"x"], 1 << 40))
    assert list(bounded([b"x" * 60, b"x" * 40], 1 << 40)) == [b"x" * 60, b"x" * 40]


def test_a_damaged_plate_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, sliced_3mf({1: SOUND}, {"Metadata/plate_1.gcode.md5": "0" * 32}))
    with pytest.raises(Refused, match="its checksum is wrong"):
        unpack(path, Kind.GCODE_3MF, None, tmp_path / "text")


def test_a_project_without_a_sliced_plate_says_what_to_do(tmp_path: Path) -> None:
    path = stored(tmp_path, zipped({"3D/3dmodel.model": "<model/>", "Metadata/plate_1.gcode": b""}))
    assert _examined(path, Kind.GCODE_3MF)["refused"].startswith("the 3MF has no plate with G-code: slice it first")


@pytest.mark.parametrize("kind", PACKED)
def test_the_host_prints_only_what_the_farm_has_checked(tmp_path: Path, kind: Kind) -> None:
    path = stored(tmp_path, PACKED[kind])
    right = hashlib.sha256(SOUND.encode()).hexdigest()
    assert check_file(path, Limits(), sha256=right) == ""
    assert check_file(path, Limits(), sha256="0" * 64) == "the G-code within is another than the farm has checked"
    # Its own limits count for what is within, as for a plain file.
    assert "210 C" in check_file(path, Limits(hotend_celsius=200.0), sha256=right)
