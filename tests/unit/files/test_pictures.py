"""Pictures: the file's own made anew, models and paths drawn, the same each time."""

import base64
import io
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from printfarm_files import FileFacts, Kind, Refused, Thumbnail
from printfarm_files.gcode import facts_of_text
from printfarm_files.pictures import SIZES, of_file, of_thumbnails
from printfarm_files.reading import read_facts
from tests.support.print_files import binary_stl, cube, three_mf

SQUARE = "G28\nM104 S200\nM83\n" + "".join(
    f"G1 Z{layer * 0.2 + 0.2:.1f}\nG0 X10 Y10\nG1 X40 Y10 E1\nG1 X40 Y40 E1\nG1 X10 Y40 E1\nG1 X10 Y10 E1\n"
    for layer in range(60)
)


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.array(image.convert("RGBA"))


def pixels(kind: str, colour: tuple[int, int, int], size: tuple[int, int] = (220, 124)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


def qoi(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """After qoiformat.org: one pixel, then runs of it."""
    data, left = bytes([0xFE, *colour]), width * height - 1
    while left:
        run = min(left, 62)
        data += bytes([0xC0 | run - 1])
        left -= run
    return b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + data + b"\0" * 7 + b"\1"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "data"), [("stl", binary_stl(cube())), ("3mf", three_mf()), ("gcode", SQUARE.encode())]
)
def test_a_cube_is_drawn_in_every_size_and_always_the_same(tmp_path: Path, name: str, data: bytes, size: int) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    facts = read_facts(path)
    picture = of_file(path, facts, size)
    assert picture == of_file(path, facts, size)
    shown = decoded(picture)
    assert shown.shape == (size, size, 4)
    covered = shown[..., 3] > 128
    # A cube seen from a corner covers about half of its square, all of the middle, and none of the corners.
    assert 0.3 < covered.mean() < 0.8
    assert not covered[0].any() and not covered[:, -1].any()
    if name != "gcode":
        assert covered[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2].all()
        # Three faces, three shades.
        assert len(np.unique(shown[covered][:, :3].round(-1), axis=0)) >= 3


def test_what_is_behind_is_hidden(tmp_path: Path) -> None:
    """A small cube within a large one leaves no trace."""
    paths = [tmp_path / "one", tmp_path / "two"]
    paths[0].write_bytes(binary_stl(cube(20)))
    paths[1].write_bytes(binary_stl(cube(20) + cube(10, (5, 5, 5))))
    one, two = (of_file(path, read_facts(path), 64) for path in paths)
    assert one == two


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("png", pixels("PNG", (200, 30, 30))),
        ("jpg", pixels("JPEG", (200, 30, 30))),
        ("qoi", qoi(220, 124, (200, 30, 30))),
    ],
)
def test_the_files_own_picture_is_made_anew(form: str, data: bytes) -> None:
    comment = base64.b64encode(data).decode()
    rows = [f"; {comment[i : i + 78]}" for i in range(0, len(comment), 78)]
    mark = "thumbnail" if form == "png" else f"thumbnail_{form.upper()}"
    head = "\n".join([f"; {mark} begin 220x124 {len(comment)}", *rows, f"; {mark} end", "G28"]).encode()
    (thumbnail,) = facts_of_text(head, b"", len(head)).thumbnails
    assert (thumbnail.format, thumbnail.width, thumbnail.height, thumbnail.data) == (form, 220, 124, data)
    picture = of_thumbnails([thumbnail], 128)
    assert picture is not None and picture != data
    shown = decoded(picture)
    assert shown.shape == (128, 128, 4) and shown[0, 64, 3] == 0
    assert np.abs(shown[64, 64, :3].astype(int) - (200, 30, 30)).max() < 6


BOMB = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5s", 13, b"IHDR", 2000, 2000, b"\x08\x06\0\0\0")


@pytest.mark.parametrize(
    "data",
    [
        BOMB,
        pixels("PNG", (1, 2, 3))[:60],
        pixels("JPEG", (1, 2, 3))[:200],
        qoi(9, 9, (1, 2, 3))[:16],
        b"\x89PNG\r\n\x1a\n" + b"x" * 99,
    ],
)
def test_a_broken_picture_is_none(data: bytes) -> None:
    form = "png" if data.startswith(b"\x89") else "qoi" if data.startswith(b"qoif") else "jpg"
    assert of_thumbnails([Thumbnail(form, 100, 100, data)], 64) is None


def test_a_small_thumbnail_does_for_a_small_picture_only(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(binary_stl(cube()))
    small = Thumbnail("png", 16, 16, pixels("PNG", (9, 250, 9), (16, 16)))
    facts = replace(read_facts(path), thumbnails=(small,))
    assert decoded(of_file(path, facts, 32))[16, 16, 1] > 200
    assert decoded(of_file(path, facts, 256))[128, 128, 2] > 100


def test_nothing_to_see_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"G28\nM84\n")
    with pytest.raises(Refused, match="drawn"):
        of_file(path, read_facts(path), 64)
    with pytest.raises(ValueError, match="size"):
        of_file(path, FileFacts(Kind.GCODE, 9), 99)
