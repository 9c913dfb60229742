"""The header of CuraEngine's file. It leaves placeholders in it, and tells the true values at the end of its output."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ...engine import SlicingFailed, Wanted

_BLOCK = re.compile(r"Gcode header after slicing:(.{1,4000}?)End of gcode header", re.S)
_PAIR = re.compile(r";([\w .]{1,40}):([^\r\n]{0,200})")
_VOLUME = re.compile(r"Filament \(mm\^3\): (\d{1,12}(?:\.\d{1,6})?)")
_MOST_LINES = 40
_LONGEST_LINE = 1 << 16


@dataclass(frozen=True, slots=True)
class Summary:
    """``values``: as the header spells them. ``volume_mm3`` of all filament; None if it did not tell."""

    values: Mapping[str, str]
    volume_mm3: float | None


@dataclass(frozen=True, slots=True)
class Stated:
    """What the file is to say beside that. ``density`` in grams per cubic centimetre."""

    wanted: Wanted
    density: float


def summary(said: str) -> Summary | None:
    """What the program told at its end; None if it did not come so far, or sliced nothing."""
    block = _BLOCK.search(said)
    if block is None:
        return None
    values = {key: value.rstrip() for key, value in _PAIR.findall(block[1])}
    volume = _VOLUME.search(said)
    if not _above_zero(values.get("TIME", "")) or "Layer height" not in values:
        return None
    return Summary(values, float(volume[1]) if volume else None)


def _above_zero(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def finish(made: Path, target: Path, found: Summary, stated: Stated) -> None:
    """The file with its header filled in. Raises SlicingFailed where it has no header of Cura's."""
    with made.open("rb") as source, target.open("xb") as file:
        file.writelines(_filled(source, found.values))
        file.writelines(f"; {key} = {value}\n".encode() for key, value in _more(found, stated).items())
        shutil.copyfileobj(source, file, 1 << 20)


def _filled(source: BinaryIO, values: Mapping[str, str]) -> Iterator[bytes]:
    """The first lines, up to the one that the program signs with."""
    for _ in range(_MOST_LINES):
        line = source.readline(_LONGEST_LINE)
        key, colon, _ = line.decode("utf-8", "replace").removeprefix(";").partition(":")
        yield f";{key}:{values[key]}\n".encode() if colon and key in values else line
        if line.startswith(b";Generated with Cura_SteamEngine"):
            return
    raise SlicingFailed("result_refused", "the slicer's file has no header of CuraEngine's")


def _more(found: Summary, stated: Stated) -> dict[str, str]:
    """In PrusaSlicer's words: Cura has none for them, and many programs know these."""
    room = stated.wanted.room
    (x0, y0, _), (x1, y1, height) = room.low, room.high
    grams = {} if found.volume_mm3 is None else {"filament used [g]": f"{found.volume_mm3 * stated.density / 1000:.2f}"}
    return grams | {
        "filament_type": stated.wanted.material,
        "nozzle_diameter": f"{stated.wanted.nozzle_mm:g}",
        "bed_shape": f"{x0:g}x{y0:g},{x1:g}x{y0:g},{x1:g}x{y1:g},{x0:g}x{y1:g}",
        "max_print_height": f"{height:g}",
    }
