"""What is known of a file. All of it is a hint from whoever made the file; what is not known is None, never 0."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any

Point = tuple[float, float, float]
# Grows when the readers find more, or other facts: what an older one read is then read anew.
READER_VERSION = 2


class Kind(StrEnum):
    """By content; the name of a file counts for nothing."""

    STL = "stl"
    THREE_MF = "3mf"
    GCODE = "gcode"
    BGCODE = "bgcode"
    GCODE_3MF = "gcode.3mf"

    @property
    def is_model(self) -> bool:
        """Has to be sliced before it can be printed."""
        return self in (Kind.STL, Kind.THREE_MF)

    @property
    def is_packed(self) -> bool:
        """Its G-code has to be unpacked before anybody can read it."""
        return self in (Kind.BGCODE, Kind.GCODE_3MF)


@dataclass(frozen=True, slots=True)
class Bounds:
    """A box, in millimetres."""

    low: Point
    high: Point

    @property
    def size(self) -> Point:
        """Its sides X, Y, Z."""
        return (self.high[0] - self.low[0], self.high[1] - self.low[1], self.high[2] - self.low[2])


@dataclass(frozen=True, slots=True)
class Tool:
    """What one extruder, or one place of a material unit, is to do. ``index`` counts from 0, as ``T`` does."""

    index: int
    filament_type: str | None = None
    filament_name: str | None = None
    colour: str | None = None
    length_mm: float | None = None
    volume_mm3: float | None = None
    weight_g: float | None = None
    cost: float | None = None
    nozzle_mm: float | None = None
    hotend_celsius: float | None = None
    first_layer_hotend_celsius: float | None = None

    @property
    def is_used(self) -> bool | None:
        """None if the file does not say how much goes through it."""
        amounts = [amount for amount in (self.length_mm, self.volume_mm3, self.weight_g) if amount is not None]
        return any(amount > 0 for amount in amounts) if amounts else None


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A picture as it lies in the file: never to be served as it is. ``format`` is png, jpg or qoi."""

    format: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that a person may want to know before printing. ``code`` is for programs, ``text`` for people."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Lengths in millimetres, weights in grams, temperatures in degrees Celsius, times in seconds.

    ``bounds_all`` holds every extruding move, skirt and purge line included; ``bounds_model`` the part alone. Of a model,
    ``bounds_model`` is its own box. ``plates`` are the plates of a sliced 3MF that can be printed, by number.
    """

    kind: Kind
    size_bytes: int
    slicer: str | None = None
    slicer_version: str | None = None
    printer_model: str | None = None
    gcode_flavor: str | None = None
    estimated_seconds: float | None = None
    tools: tuple[Tool, ...] = ()
    total_cost: float | None = None
    total_weight_g: float | None = None
    tool_changes: int | None = None
    layer_count: int | None = None
    layer_height_mm: float | None = None
    first_layer_height_mm: float | None = None
    bed_celsius: float | None = None
    first_layer_bed_celsius: float | None = None
    chamber_celsius: float | None = None
    bed_mm: Bounds | None = None
    bounds_all: Bounds | None = None
    bounds_model: Bounds | None = None
    objects: tuple[str, ...] = ()
    plates: tuple[int, ...] = ()
    needs_person: bool | None = None
    triangles: int | None = None
    volume_mm3: float | None = None
    is_watertight: bool | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    warnings: tuple[Warned, ...] = ()

    @property
    def length_mm(self) -> float | None:
        """Of all filament; None unless every tool's is known."""
        return total(tool.length_mm for tool in self.tools)

    @property
    def weight_g(self) -> float | None:
        """The slicer's total, else the sum; None unless every tool's is known."""
        return self.total_weight_g if self.total_weight_g is not None else total(tool.weight_g for tool in self.tools)

    @property
    def cost(self) -> float | None:
        """As the slicer reckons it, in whatever currency it was set to."""
        return self.total_cost if self.total_cost is not None else total(tool.cost for tool in self.tools)


def total(parts: Iterable[float | None]) -> float | None:
    """The sum, or None if there is nothing or one of them is unknown."""
    known: list[float] = []
    for part in parts:
        if part is None:
            return None
        known.append(part)
    return sum(known) if known else None


def to_json(facts: FileFacts) -> dict[str, Any]:
    """For storage and answers. Thumbnails are told by format and size; their bytes are not in it."""
    values = asdict(facts)
    values["kind"] = facts.kind.value
    values["thumbnails"] = [
        {"format": t.format, "width": t.width, "height": t.height, "bytes": len(t.data)} for t in facts.thumbnails
    ]
    return values


def from_json(values: Mapping[str, Any]) -> FileFacts:
    """What ``to_json`` made, without thumbnails. Keys that a later version wrote are left out."""
    known = {field.name for field in fields(FileFacts)} - {"thumbnails"}
    given = {key: value for key, value in values.items() if key in known}
    given["kind"] = Kind(given["kind"])
    given["tools"] = tuple(Tool(**_known(Tool, tool)) for tool in given.get("tools", ()))
    given["warnings"] = tuple(Warned(**_known(Warned, warning)) for warning in given.get("warnings", ()))
    for key in ("bed_mm", "bounds_all", "bounds_model"):
        box = given.get(key)
        given[key] = Bounds(_point(box["low"]), _point(box["high"])) if box else None
    for key in ("objects", "plates"):
        given[key] = tuple(given.get(key, ()))
    return FileFacts(**given)


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in values.items() if key in names}


def _point(values: Any) -> Point:
    x, y, z = values
    return (float(x), float(y), float(z))
