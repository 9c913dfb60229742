"""A print file inspected at the farm: what the safety check finds in it, with its slicer's word on what it was sliced for."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from . import bgcode, sliced
from .comments import EDGE_BYTES
from .errors import Refused
from .facts import FileFacts, Kind, Tool
from .gcode import facts_of_text
from .safety.check import lines_of
from .safety.inspection import Inspection, refused_whole
from .text import pieces, pieces_of

# Read at once, in a few milliseconds; what is larger gets a process.
SMALL_BYTES = EDGE_BYTES


def inspect_bytes(content: bytes) -> Inspection:
    """Of a whole file of G-code text."""
    found = refused_whole(lambda: lines_of([content]))
    return _stated(found, facts_of_text(content, content, len(content)))


def inspect_file(path: Path, kind: Kind) -> Inspection:
    """Whatever the G-code is packed in. Raises OSError."""
    found = refused_whole(lambda: lines_of(pieces_of(path)))
    if found.is_refused:
        return found
    try:
        return _stated(found, _comments(path, kind))
    except Refused:
        # What it says of itself cannot be read; its commands could.
        return found


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was found in packed G-code, with the slicer's word on one run of it in seconds; None if it gives none."""

    inspection: Inspection
    estimated_seconds: float | None


def unpack(path: Path, kind: Kind, plate: int | None, into: Path) -> Unpacked:
    """The G-code of the file as text in ``into``, and what is in it. ``plate`` as in ``sliced``.

    Raises Refused for what cannot be unpacked, or not within bounds; OSError."""
    with into.open("xb") as file:
        for piece in pieces_of(path, plate=plate):
            file.write(piece)
    found = refused_whole(lambda: lines_of(pieces(into)))
    try:
        facts = _comments(path, kind, plate)
    except Refused:
        return Unpacked(found, None)
    return Unpacked(found if found.is_refused else _stated(found, facts), facts.estimated_seconds)


def _comments(path: Path, kind: Kind, plate: int | None = None) -> FileFacts:
    if kind is Kind.BGCODE:
        return bgcode.read_bgcode(path)
    if kind is Kind.GCODE_3MF:
        return sliced.read_plate(path, plate)
    from .reading import read_comments

    return read_comments(path)


def _stated(found: Inspection, facts: FileFacts) -> Inspection:
    used = [tool for tool in facts.tools if tool.is_used] or [tool for tool in facts.tools if tool.is_used is None]
    return replace(
        found,
        printer_model=facts.printer_model or None,
        nozzle_mm=_only(tool.nozzle_mm for tool in used),
        material=_only_material(used),
    )


def _only(values: Iterable[float | None]) -> float | None:
    """The one that all of them are; None if they differ, or say nothing."""
    known = {value for value in values if value is not None}
    return known.pop() if len(known) == 1 else None


def _only_material(tools: Iterable[Tool]) -> str | None:
    known = {tool.filament_type.upper() for tool in tools if tool.filament_type}
    return known.pop() if len(known) == 1 else None
