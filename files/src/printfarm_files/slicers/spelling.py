"""The names under which slicers write the same facts. The tables are the document; ``stated`` reads any of them."""

import re
from dataclasses import dataclass
from typing import Any

from ..comments import Comments, above_zero, number, plausible_seconds
from ..facts import Bounds, FileFacts, Kind, Tool

_POINT = re.compile(r"(-?\d{1,6}(?:\.\d{1,6})?)x(-?\d{1,6}(?:\.\d{1,6})?)", re.ASCII)
MOST_TOOLS = 64
Keys = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spelling:
    """Keys by fact, the first that is there counts. ``length_unit_mm``: what one unit of the lengths is."""

    seconds: Keys = ()
    length: Keys = ()
    length_unit_mm: float = 1.0
    volume_cm3: Keys = ()
    weight: Keys = ()
    cost: Keys = ()
    total_weight: Keys = ()
    total_cost: Keys = ()
    tool_changes: Keys = ()
    layer_count: Keys = ()
    layer_height: Keys = ()
    first_layer_height: Keys = ()
    nozzle: Keys = ()
    filament_type: Keys = ()
    filament_name: Keys = ()
    colour: Keys = ()
    hotend: Keys = ()
    first_hotend: Keys = ()
    bed: Keys = ()
    first_bed: Keys = ()
    chamber: Keys = ()
    printer: Keys = ()
    flavor: Keys = ()
    bed_shape: Keys = ()
    height: Keys = ()


def stated(said: Comments, names: Spelling, kind: Kind, size_bytes: int) -> FileFacts:
    """What the comments say under these names. The slicer itself is filled in by the caller."""
    layer_height = above_zero(said.number(*names.layer_height))
    tools = _tools(said, names)
    return FileFacts(
        kind=kind,
        size_bytes=size_bytes,
        printer_model=shown(said.text(*names.printer)),
        gcode_flavor=shown(said.text(*names.flavor)),
        estimated_seconds=said.seconds(*names.seconds),
        tools=tools,
        total_cost=above_zero(said.number(*names.total_cost)),
        total_weight_g=above_zero(said.number(*names.total_weight)) or _summed(said, names.weight),
        tool_changes=said.count(*names.tool_changes),
        layer_count=_positive(said.count(*names.layer_count)),
        layer_height_mm=layer_height,
        first_layer_height_mm=_first_layer(said, names, layer_height),
        bed_celsius=_first_above_zero(said.numbers(*names.bed)),
        first_layer_bed_celsius=_first_above_zero(said.numbers(*names.first_bed)),
        chamber_celsius=_first_above_zero(said.numbers(*names.chamber)),
        bed_mm=_bed(said, names),
    )


def _tools(said: Comments, names: Spelling) -> tuple[Tool, ...]:
    """As many as the longest list of amounts has; without amounts, as many as there are nozzles."""
    amounts = (said.numbers(*names.length), said.numbers(*names.weight), said.numbers(*names.volume_cm3))
    count = max(map(len, amounts)) or len(said.numbers(*names.nozzle)) or len(said.texts(*names.filament_type))
    columns: dict[str, list[Any]] = {
        "length_mm": [_times(value, names.length_unit_mm) for value in amounts[0]],
        "weight_g": [above_zero(value) for value in _unless_all_zero(amounts[1])],
        "volume_mm3": [_times(value, 1000.0) for value in amounts[2]],
        "cost": [above_zero(value) for value in said.numbers(*names.cost)],
        "nozzle_mm": [above_zero(value) for value in _each(said.numbers(*names.nozzle), count)],
        "hotend_celsius": [above_zero(value) for value in said.numbers(*names.hotend)],
        "first_layer_hotend_celsius": [above_zero(value) for value in said.numbers(*names.first_hotend)],
        "filament_type": [shown(text) for text in said.texts(*names.filament_type)],
        "filament_name": [shown(text) for text in said.texts(*names.filament_name)],
        "colour": [shown(text) for text in said.texts(*names.colour)],
    }
    if not any(value is not None for column in columns.values() for value in column):
        return ()
    made = []
    for index in range(min(max(count, 1), MOST_TOOLS)):
        made.append(Tool(index, **{name: column[index] for name, column in columns.items() if index < len(column)}))
    return tuple(made)


def _unless_all_zero(values: list[float | None]) -> list[float | None]:
    """Of several tools one may truly use nothing; where all do, the slicer had no density."""
    return values if any(values) else []


def _each(values: list[float | None], count: int) -> list[float | None]:
    """One nozzle is said once for all the filaments that pass it."""
    return values * count if len(values) == 1 and count > 1 else values


def _times(value: float | None, unit: float) -> float | None:
    return value * unit if value is not None and 0 <= value < 1e9 else None


def _summed(said: Comments, keys: Keys) -> float | None:
    """Only of several values: of one, the tool's own is the total."""
    values = [value for value in said.numbers(*keys) if value is not None]
    return above_zero(sum(values)) if len(values) > 1 else None


def _first_above_zero(values: list[float | None]) -> float | None:
    return next((value for value in values if above_zero(value)), None)


def _positive(value: int | None) -> int | None:
    return value if value and value < 1_000_000 else None


def _first_layer(said: Comments, names: Spelling, layer_height: float | None) -> float | None:
    """Also written as a share of the layer height: "75%"."""
    text = said.text(*names.first_layer_height)
    value = above_zero(number(text or ""))
    if value is None or text is None or "%" not in text:
        return value
    return value / 100 * layer_height if layer_height else None


def _bed(said: Comments, names: Spelling) -> Bounds | None:
    """The box around the bed's outline, "0x0,250x0,250x210,0x210", as high as the machine prints."""
    points = [(float(x), float(y)) for x, y in _POINT.findall(said.text(*names.bed_shape) or "")]
    height = above_zero(said.number(*names.height))
    if len(points) < 3 or height is None:
        return None
    xs, ys = zip(*points, strict=True)
    return Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), height))


def shown(text: str | None, longest: int = 120) -> str | None:
    """Fit to be shown: printable, short; None if nothing is left."""
    kept = "".join(c for c in text or "" if c.isprintable()).strip().strip('"')[:longest]
    return kept or None


def elapsed(said: Comments) -> float | None:
    """The last time stamp that a slicer wrote between layers."""
    found = re.findall(r"^;TIME_ELAPSED:(\d{1,9}(?:\.\d{1,9})?)[ \t\r]{0,8}$", said.tail, re.M)
    return plausible_seconds(float(found[-1])) if found else None
