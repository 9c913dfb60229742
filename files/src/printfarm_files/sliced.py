"""A sliced 3MF (``.gcode.3mf``) of Bambu Studio and OrcaSlicer: the G-code of each plate, and what is said of it."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import xml
from .archive import Archive, open_archive
from .comments import EDGE_BYTES, LONGEST_HEAD_BYTES, LONGEST_TAIL_BYTES, above_zero, number, plausible_seconds
from .errors import Refused
from .facts import FileFacts, Kind, Thumbnail, Tool, total
from .gcode import facts_of_text
from .slicers.spelling import shown
from .thumbnails import checked

_PLATE = re.compile(r"Metadata/plate_(\d{1,4})\.gcode")
_INFO = "Metadata/slice_info.config"
_INFO_BYTES = 1 << 20
_PICTURE_BYTES = 2 << 20


@dataclass(slots=True)
class _Plate:
    """One ``<plate>`` of slice_info."""

    said: dict[str, str] = field(default_factory=dict)
    filaments: list[dict[str, str]] = field(default_factory=list)


def plates(path: Path) -> tuple[int, ...]:
    """Numbers of the plates that hold G-code; none if it is only a project or a model. Raises Refused, OSError."""
    with open_archive(path) as archive:
        return _plates(archive)


def _plates(archive: Archive) -> tuple[int, ...]:
    found = [(int(match[1]), name) for name in archive.names if (match := _PLATE.fullmatch(name))]
    return tuple(sorted(index for index, name in found if archive.size(name)))


def _chosen(archive: Archive, plate: int | None) -> int:
    there = _plates(archive)
    if not there:
        raise Refused("the 3MF was not sliced: it has no plate with G-code")
    if plate is None and len(there) > 1:
        raise Refused(f"the 3MF has the plates {', '.join(map(str, there))}: choose one by plate")
    if plate is not None and plate not in there:
        raise Refused(f"the 3MF has no plate {plate}; there are {', '.join(map(str, there))}")
    return there[0] if plate is None else plate


def pieces(path: Path, plate: int | None = None) -> Iterator[bytes]:
    """The plate's G-code. Raises Refused, also if the plate's own checksum is wrong, at its end."""
    with open_archive(path) as archive:
        index = _chosen(archive, plate)
        digest = hashlib.md5(usedforsecurity=False)
        for piece in archive.pieces(f"Metadata/plate_{index}.gcode"):
            digest.update(piece)
            yield piece
        name = f"Metadata/plate_{index}.gcode.md5"
        if name in archive.names:
            stated = archive.read(name, 1024).decode("ascii", "replace").strip().lower()
            if stated != digest.hexdigest():
                raise Refused(f"plate {index} is damaged: its checksum is wrong")


def read_plate(path: Path, plate: int | None = None) -> FileFacts:
    """What its slicer says of the plate. The G-code's own comments, and over them what ``slice_info`` states."""
    with open_archive(path) as archive:
        index = _chosen(archive, plate)
        head, tail = _edges(archive, f"Metadata/plate_{index}.gcode")
        facts = facts_of_text(head, tail, path.stat().st_size, Kind.GCODE_3MF)
        facts = replace(facts, plates=_plates(archive), thumbnails=_pictures(archive, index) or facts.thumbnails)
        return _with_info(facts, _info(archive).get(index))


def pictures(path: Path, plate: int) -> tuple[Thumbnail, ...]:
    """What the slicer drew of the plate. Raises Refused, OSError."""
    with open_archive(path) as archive:
        return _pictures(archive, plate)


def _edges(archive: Archive, name: str) -> tuple[bytes, bytes]:
    head, tail = b"", b""
    for piece in archive.pieces(name):
        if len(head) < LONGEST_HEAD_BYTES and not _has_layers(head):
            head += piece
        tail = (tail + piece)[-LONGEST_TAIL_BYTES:]
    return head, tail


def _has_layers(head: bytes) -> bool:
    return len(head) > EDGE_BYTES and (b"CHANGE_LAYER" in head or b"LAYER_CHANGE" in head)


def _info(archive: Archive) -> dict[int, _Plate]:
    """By plate. Its number is a ``<metadata key="index">``, not an attribute."""
    if _INFO not in archive.names:
        return {}
    found: list[_Plate] = []

    def start(name: str, given: dict[str, str]) -> None:
        if name == "plate":
            found.append(_Plate())
        elif name == "metadata" and found:
            found[-1].said[given.get("key", "")] = given.get("value", "")
        elif name == "filament" and found and len(found[-1].filaments) < 64:
            found[-1].filaments.append(given)

    xml.parse([archive.read(_INFO, _INFO_BYTES)], start)
    return {
        int(index): plate for plate in found if (index := plate.said.get("index", "")).isdecimal() and len(index) < 5
    }


def _with_info(facts: FileFacts, info: _Plate | None) -> FileFacts:
    if info is None:
        return facts
    seconds = number(info.said.get("prediction", ""))
    tools = _tools(info, facts.tools)
    return replace(
        facts,
        estimated_seconds=(plausible_seconds(seconds) if seconds else None) or facts.estimated_seconds,
        total_weight_g=above_zero(number(info.said.get("weight", ""))) or facts.total_weight_g,
        printer_model=facts.printer_model or shown(info.said.get("printer_model_id")),
        tools=tools or facts.tools,
        total_cost=facts.total_cost or total(tool.cost for tool in facts.tools),
    )


def _tools(info: _Plate, known: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """A filament's id is its place among those of the project, from 1; lengths are in metres."""
    by_index = {tool.index: tool for tool in known}
    found = []
    nozzles = [above_zero(number(part)) for part in info.said.get("nozzle_diameters", "").split(",")]
    for given in info.filaments:
        place = number(given.get("id", ""))
        if place is None or not 1 <= place <= 64:
            continue
        index = int(place) - 1
        tool = by_index.get(index, Tool(index))
        metres, grams = number(given.get("used_m", "")), number(given.get("used_g", ""))
        found.append(
            replace(
                tool,
                filament_type=shown(given.get("type")) or tool.filament_type,
                colour=shown(given.get("color")) or tool.colour,
                length_mm=metres * 1000 if metres is not None and metres >= 0 else tool.length_mm,
                weight_g=above_zero(grams) or tool.weight_g,
                nozzle_mm=tool.nozzle_mm or (nozzles[0] if nozzles else None),
            )
        )
    return tuple(found)


def _pictures(archive: Archive, index: int) -> tuple[Thumbnail, ...]:
    found = []
    for name in (f"Metadata/plate_{index}.png", f"Metadata/plate_{index}_small.png"):
        if name in archive.names and archive.size(name) <= _PICTURE_BYTES:
            picture = checked("png", 1, 1, archive.read(name, _PICTURE_BYTES))
            found += [picture] if picture else []
    return tuple(found)
