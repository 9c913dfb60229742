"""Binary G-code: blocks, compressions, encodings, checksums."""

import struct
from itertools import product
from pathlib import Path

import pytest

from printfarm_files import Kind, Refused
from printfarm_files.bgcode import pieces, read_bgcode
from printfarm_files.meatpack import unpack
from printfarm_files.reading import read_facts
from tests.support.print_files import bgcode, bgcode_block, meatpacked

TEXT = (
    "M104 S215\nM140 S60\nG28\nG1 Z0.2 F720\n;LAYER_CHANGE\n;TYPE:Perimeter\nM83\n"
    + "".join(f"G1 X{20 + i % 40}.5 Y{30 + i % 7} E0.04\n" for i in range(400))
    + "M104 S0\n"
)
PRINT = (
    b"filament used [mm]=16\nfilament used [g]=0.05\nestimated printing time (normal mode)=1h 2m 3s\nmax_layer_z=0.2\n"
)
PRINTER = b"printer_model=MK4S\nfilament_type=PETG\nnozzle_diameter=0.6\nbed_temperature=85\n"
SLICER = b"layer_height=0.2\nfirst_layer_height=0.2\ngcode_flavor=marlin2\ntemperature=240\n"
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 16, 16)


def sample(encoding: int = 2, compression: int = 3, *, crc: bool = True, no_spaces: bool = False) -> bytes:
    lines = TEXT.encode() if encoding == 0 else meatpacked(TEXT, no_spaces=no_spaces)
    made = [
        bgcode_block(0, b"Producer=PrusaSlicer 2.8.1\n", crc=crc),
        bgcode_block(3, PRINTER, crc=crc),
        bgcode_block(5, PNG, (0, 16, 16), crc=crc),
        bgcode_block(4, PRINT, (0,), 1, crc=crc),
        bgcode_block(2, SLICER, (0,), 1, crc=crc),
        bgcode_block(1, lines, (encoding,), compression, crc=crc),
    ]
    return bgcode(made, crc=crc)


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "a.bgcode"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("encoding", "compression"), list(product((0, 1, 2), (0, 1, 2, 3))))
def test_every_compression_and_encoding_gives_the_text(tmp_path: Path, encoding: int, compression: int) -> None:
    assert b"".join(pieces(stored(tmp_path, sample(encoding, compression)))).decode() == TEXT


def test_the_facts(tmp_path: Path) -> None:
    facts = read_facts(stored(tmp_path, sample()))
    assert (facts.kind, facts.slicer, facts.slicer_version) == (Kind.BGCODE, "PrusaSlicer", "2.8.1")
    assert (facts.estimated_seconds, facts.printer_model, facts.layer_height_mm) == (3723.0, "MK4S", 0.2)
    (tool,) = facts.tools
    assert (tool.filament_type, tool.nozzle_mm, tool.length_mm, tool.weight_g) == ("PETG", 0.6, 16.0, 0.05)
    assert [(t.format, t.width, t.height) for t in facts.thumbnails] == [("png", 16, 16)]
    assert facts.layer_count == 1 and facts.bounds_all is not None
    assert facts.bounds_all.high[:2] == (59.5, 36.0)


def test_without_checksums_and_without_spaces(tmp_path: Path) -> None:
    text = b"".join(pieces(stored(tmp_path, sample(crc=False, no_spaces=True)))).decode()
    assert text.splitlines() == [line if line.startswith(";") else line.replace(" ", "") for line in TEXT.splitlines()]


def test_meatpack_skips_what_only_fills_a_byte() -> None:
    assert unpack(b"\xff\xff\xfb" + bytes([0x0D, 0xCC, 0x8D | 0x20]))[:4] == b"G0\nG"


@pytest.mark.parametrize("place", [4, 8, 12, 30, 60, 150, 300, -20])
def test_a_flipped_byte_is_noticed(tmp_path: Path, place: int) -> None:
    data = bytearray(sample())
    data[place] ^= 0x41
    path = stored(tmp_path, bytes(data))
    with pytest.raises(Refused):
        _ = (read_bgcode(path), list(pieces(path)))


@pytest.mark.parametrize("length", [5, 9, 12, 17, 40, 200, -1, -10])
def test_a_cut_file_is_refused(tmp_path: Path, length: int) -> None:
    path = stored(tmp_path, sample()[:length])
    with pytest.raises(Refused):
        read_bgcode(path)


@pytest.mark.parametrize(
    "block",
    [
        struct.pack("<HHI", 1, 0, 0xFFFFFFFF) + b"\0\0",
        struct.pack("<HHII", 1, 3, 0x03FFFFFF, 10) + b"\0\0" + b"\0" * 10,
        struct.pack("<HHII", 1, 1, 100, 10) + b"\0\0" + b"\0" * 10,
        struct.pack("<HHI", 9, 0, 0) + b"\0\0",
        struct.pack("<HHI", 1, 9, 0) + b"\0\0\0\0",
        struct.pack("<HHI", 1, 0, 0) + b"\x09\0",
    ],
)
def test_a_block_that_lies_about_itself_is_refused(tmp_path: Path, block: bytes) -> None:
    path = stored(tmp_path, bgcode([block], crc=False))
    with pytest.raises(Refused):
        list(pieces(path))
