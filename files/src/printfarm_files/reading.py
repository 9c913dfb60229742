"""All facts of a file on disk: comments first, the moves themselves where the comments leave something open."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from . import bgcode, sliced, stl, text, threemf, toolpath
from .comments import EDGE_BYTES, LONGEST_HEAD_BYTES, LONGEST_TAIL_BYTES
from .errors import Refused
from .facts import FileFacts, Kind, Tool, Warned
from .gcode import facts_of_text
from .kinds import kind_of
from .mesh import Measured, Mesh, measure
from .thumbnails import is_cut

_OPEN_BLOCKS = (
    (b"; CONFIG_BLOCK_END", b"; CONFIG_BLOCK_START"),
    (b"; prusaslicer_config = end", b"; prusaslicer_config = begin"),
)


def recognise(path: Path) -> Kind:
    """By content. Raises Refused, OSError."""
    head, tail, size = edges(path)
    return kind_of(head, tail, size, has_nul=b"\0" in head or b"\0" in tail)


def read_facts(path: Path, kind: Kind | None = None, *, plate: int | None = None) -> FileFacts:
    """Everything that is known of it; what is not known is None. Validates models whole.

    ``plate`` chooses one of a sliced 3MF; it may be left out where there is but one. Raises Refused, OSError."""
    kind = kind or recognise(path)
    if kind in (Kind.THREE_MF, Kind.GCODE_3MF):
        # Only the directory knows whether it was sliced.
        plates = sliced.plates(path)
        kind = Kind.GCODE_3MF if plates else Kind.THREE_MF
        if plates:
            return _completed_plate(path, plates, plate)
    if kind is Kind.STL:
        soup, warned = stl.read_stl(path)
        return _of_model(FileFacts(kind, path.stat().st_size, warnings=warned), soup)
    if kind is Kind.THREE_MF:
        model = threemf.read_3mf(path)
        facts = FileFacts(kind, path.stat().st_size, slicer=model.application, thumbnails=model.thumbnails)
        names = tuple(part.name for part in model.parts if part.name)
        return _of_model(replace(facts, objects=names[:256], warnings=model.warnings), model)
    if kind is Kind.BGCODE:
        return completed(bgcode.read_bgcode(path), bgcode.pieces(path))
    return completed(read_comments(path), text.pieces(path))


def read_model(path: Path, kind: Kind) -> tuple[Mesh, Measured]:
    """The triangles of a model, for a picture or for more, and what was measured. Raises Refused, OSError."""
    mesh: Mesh = stl.read_stl(path)[0] if kind is Kind.STL else threemf.read_3mf(path)
    return mesh, measure(mesh)


def gcode_pieces(path: Path, kind: Kind, *, plate: int | None = None) -> Iterator[bytes]:
    """The G-code as text, bit by bit, whatever it is packed in: for the safety check. Raises Refused, OSError."""
    if kind.is_model:
        raise Refused("a model has no G-code before it is sliced")
    return text.pieces_of(path, plate=plate)


def edges(path: Path, head_bytes: int = EDGE_BYTES, tail_bytes: int = EDGE_BYTES) -> tuple[bytes, bytes, int]:
    """First and last bytes, and the size."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(head_bytes)
        file.seek(max(0, size - tail_bytes))
        return head, file.read(), size


def read_comments(path: Path) -> FileFacts:
    """What the slicer says at both ends of G-code text: 64 KiB each, more where a picture or the settings go on."""
    head, tail, size = edges(path)
    if is_cut(head) or (b"CONFIG_BLOCK_START" in head and b"CONFIG_BLOCK_END" not in head):
        head = edges(path, LONGEST_HEAD_BYTES, 0)[0]
        head = head[: _first_moves(head)]
    if any(end in tail and start not in tail for end, start in _OPEN_BLOCKS):
        tail = edges(path, 0, LONGEST_TAIL_BYTES)[1]
    return facts_of_text(head, tail, size)


def _first_moves(head: bytes) -> int:
    """The comments of the head end with the first of the layers."""
    places = [
        place for mark in (b"\n;LAYER_CHANGE", b"\n; CHANGE_LAYER", b"\n;LAYER:0") if (place := head.find(mark)) > 0
    ]
    return max(EDGE_BYTES, min(places, default=len(head)))


def completed(facts: FileFacts, pieces: Iterator[bytes]) -> FileFacts:
    """Bounds are in no comment; the moves are gone through for them, and fill in what else is open."""
    path = toolpath.scan(pieces)
    warned = list(facts.warnings)
    if path.bounds_all is None:
        warned.append(Warned("prints_nothing", "no move in the file extrudes anything"))
    tools = facts.tools
    lengths = path.lengths
    if lengths and not any(tool.length_mm for tool in tools):
        tools = _with_lengths(tools, lengths)
    if "hotend" not in path.first:
        # A macro may heat, and Ultimaker's firmware does so by the header.
        if not path.runs_macros and facts.gcode_flavor != "Griffin":
            warned.append(Warned("never_heated", "no command in the file heats the hotend"))
    elif not any(tool.hotend_celsius or tool.first_layer_hotend_celsius for tool in tools):
        first = tools[0] if tools else Tool(0)
        tools = (replace(first, first_layer_hotend_celsius=path.first["hotend"]), *tools[1:])
    return replace(
        facts,
        tools=tools,
        estimated_seconds=facts.estimated_seconds or path.elapsed_seconds,
        layer_count=facts.layer_count or path.layer_count,
        layer_height_mm=facts.layer_height_mm or path.layer_height_mm,
        bounds_all=path.bounds_all,
        bounds_model=path.bounds_model or facts.bounds_model,
        tool_changes=facts.tool_changes if facts.tool_changes is not None else path.tool_changes,
        first_layer_bed_celsius=facts.first_layer_bed_celsius or path.first.get("bed"),
        chamber_celsius=facts.chamber_celsius or path.first.get("chamber"),
        needs_person=path.needs_person,
        warnings=tuple(warned),
    )


def _with_lengths(tools: tuple[Tool, ...], lengths: dict[int, float]) -> tuple[Tool, ...]:
    known = {tool.index: tool for tool in tools}
    return tuple(
        replace(known.get(index, Tool(index)), length_mm=round(lengths[index], 3)) if index in lengths else known[index]
        for index in sorted(known.keys() | lengths.keys())
    )


def _of_model(facts: FileFacts, mesh: Mesh) -> FileFacts:
    found = measure(mesh)
    return replace(
        facts,
        bounds_model=found.bounds,
        triangles=found.triangles,
        volume_mm3=abs(found.volume_mm3) if found.is_closed else None,
        is_watertight=found.is_closed,
        warnings=facts.warnings + found.warnings,
    )


def _completed_plate(path: Path, plates: tuple[int, ...], plate: int | None) -> FileFacts:
    if plate is None and len(plates) > 1:
        size = path.stat().st_size
        why = f"the file has {len(plates)} plates: each is a job of its own; choose one by the job's plate"
        pictures = sliced.pictures(path, plates[0])
        return FileFacts(
            Kind.GCODE_3MF, size, plates=plates, thumbnails=pictures, warnings=(Warned("several_plates", why),)
        )
    return completed(sliced.read_plate(path, plate), sliced.pieces(path, plate))
