"""Stored files, and uploads."""

from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr
from pydantic.config import JsonDict

from .base import EXAMPLE_ID, EXAMPLE_SHA256, SHA256, Strict, example

FactsState = Literal["pending", "known", "unreadable"]
_FACTS: JsonDict = {
    "slicer": "PrusaSlicer",
    "slicer_version": "2.9.0",
    "printer_model": "MK4",
    "gcode_flavor": "marlin2",
    "estimated_seconds": 5400.0,
    "layer_count": 125,
    "layer_height_mm": 0.2,
    "first_layer_height_mm": 0.2,
    "tools": [
        {
            "index": 0,
            "filament_type": "PLA",
            "filament_name": "Prusament PLA",
            "colour": "#FF8000",
            "length_mm": 10560.5,
            "volume_mm3": 25400.0,
            "weight_g": 31.5,
            "cost": 0.94,
            "nozzle_mm": 0.4,
            "hotend_celsius": 215.0,
            "first_layer_hotend_celsius": 220.0,
        }
    ],
    "filament_length_mm": 10560.5,
    "filament_weight_g": 31.5,
    "filament_cost": 0.94,
    "tool_changes": 0,
    "bed_celsius": 60.0,
    "first_layer_bed_celsius": 60.0,
    "chamber_celsius": None,
    "bounds": {"low": {"x_mm": 90, "y_mm": 80, "z_mm": 0.2}, "high": {"x_mm": 160, "y_mm": 130, "z_mm": 25}},
    "model_bounds": {"low": {"x_mm": 95, "y_mm": 85, "z_mm": 0.2}, "high": {"x_mm": 155, "y_mm": 125, "z_mm": 25}},
    "sliced_for": {"low": {"x_mm": 0, "y_mm": 0, "z_mm": 0}, "high": {"x_mm": 250, "y_mm": 210, "z_mm": 220}},
    "objects": ["bracket.stl"],
    "needs_person": False,
    "triangles": None,
    "volume_mm3": None,
    "watertight": None,
    "plates": [],
    "warnings": [],
    "read_at": "2026-11-23T08:00:01Z",
}
_ARTIFACT: JsonDict = {
    "sha256": EXAMPLE_SHA256,
    "size_bytes": 7340032,
    "kind": "gcode",
    "name": "bracket.gcode",
    "created_at": "2026-11-23T08:00:00Z",
    "estimated_seconds": 5400.0,
    "facts_state": "known",
    "facts_reason": None,
    "facts": _FACTS,
    "thumbnail_url": f"/api/v1/files/{EXAMPLE_SHA256}/thumbnail",
}


class FileKind(StrEnum):
    """By content."""

    GCODE = "gcode"
    STL = "stl"
    THREE_MF = "3mf"
    BGCODE = "bgcode"
    GCODE_3MF = "gcode.3mf"


class UploadOrder(Strict):
    """A resumable upload: how many bytes, with which digest, and what to call it."""

    model_config = example({"size_bytes": 7340032, "sha256": EXAMPLE_SHA256, "name": "bracket.gcode"})

    size_bytes: Annotated[StrictInt, Field(ge=1, le=1 << 40)]
    sha256: SHA256
    name: Annotated[StrictStr, Field(max_length=4_096)] = ""


class PictureSize(IntEnum):
    """Pixels, wide and high."""

    TINY = 32
    SMALL = 64
    MEDIUM = 128
    LARGE = 256
    HUGE = 512


class Corner(BaseModel):
    """In millimetres."""

    x_mm: float
    y_mm: float
    z_mm: float


class Box(BaseModel):
    """In millimetres."""

    low: Corner
    high: Corner


class FileTool(BaseModel):
    """What one extruder, or one place of a material unit, is to do; null is unknown. ``index`` counts from 0, as ``T`` does."""

    index: int
    filament_type: str | None
    filament_name: str | None
    colour: str | None
    length_mm: float | None
    volume_mm3: float | None
    weight_g: float | None
    cost: float | None
    nozzle_mm: float | None
    hotend_celsius: float | None
    first_layer_hotend_celsius: float | None


class FileWarning(BaseModel):
    """What a person may want to know before printing: ``code`` for programs, ``text`` for people."""

    code: str
    text: str


class FileFacts(BaseModel):
    """What a file says of itself: a hint from whoever made it; null is unknown. ``filament_`` is of all tools together, cost in
    whatever currency the slicer was set to. ``bounds`` holds every extruding move, skirt and purge line included,
    ``model_bounds`` the part alone; ``sliced_for`` is the bed and the height."""

    model_config = example(_FACTS)

    slicer: str | None
    slicer_version: str | None
    printer_model: str | None
    gcode_flavor: str | None
    estimated_seconds: float | None
    layer_count: int | None
    layer_height_mm: float | None
    first_layer_height_mm: float | None
    tools: list[FileTool]
    filament_length_mm: float | None
    filament_weight_g: float | None
    filament_cost: float | None
    tool_changes: int | None
    bed_celsius: float | None
    first_layer_bed_celsius: float | None
    chamber_celsius: float | None
    bounds: Box | None
    model_bounds: Box | None
    sliced_for: Box | None
    objects: list[str]
    needs_person: bool | None
    triangles: int | None
    volume_mm3: float | None
    watertight: bool | None
    # Of a sliced 3MF: the plates that hold G-code. With several, the facts of each stand with the file it is unpacked to.
    plates: list[int]
    warnings: list[FileWarning]
    read_at: datetime | None


class Artifact(BaseModel):
    """A stored file. ``estimated_seconds`` as its slicer reckons it: null where the file does not say, and for models.

    ``facts`` once ``facts_state`` is known; ``facts_reason`` if it is unreadable. ``thumbnail_url`` is null where nothing can
    be drawn of it."""

    model_config = example(_ARTIFACT)

    sha256: str
    size_bytes: int
    kind: str
    name: str
    created_at: datetime | None
    estimated_seconds: float | None
    facts_state: FactsState
    facts_reason: str | None
    facts: FileFacts | None
    thumbnail_url: str | None


class Upload(BaseModel):
    """A resumable upload. ``artifact`` once it is finished."""

    model_config = example(
        {
            "upload_id": EXAMPLE_ID,
            "size_bytes": 7340032,
            "offset": 1048576,
            "sha256": EXAMPLE_SHA256,
            "name": "bracket.gcode",
            "expires_at": "2026-11-24T08:00:00Z",
            "artifact": None,
        }
    )

    upload_id: str
    size_bytes: int
    offset: int
    sha256: str
    name: str
    expires_at: datetime | None
    artifact: Artifact | None
