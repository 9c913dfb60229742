"""Printers and their gates."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictInt, StrictStr

from .base import EXAMPLE_ID, Nozzle, Reason, Side, Strict, Tag, Word, example

PrinterState = Literal[
    "offline", "idle", "preparing", "printing", "paused", "finishing", "busy_external", "error", "unknown"
]


class Volume(Strict):
    """Millimetres."""

    x_mm: Side
    y_mm: Side
    z_mm: Side


class BedClear(Strict):
    """The part is off the plate; with ``good_parts`` also the verdict on its run."""

    model_config = example({"run_id": EXAMPLE_ID, "good_parts": 4})

    run_id: Annotated[StrictStr, Field(max_length=64)] | None = None
    good_parts: Annotated[StrictInt, Field(ge=0, le=10_000)] | None = None
    reason: Reason = ""


class PrinterChange(Strict):
    """An operator's word on a printer, which wins over the machine's."""

    model_config = example({"version": 2, "material": "PETG", "colour": "black", "tags": ["enclosed"]})

    version: Annotated[StrictInt, Field(ge=1, le=1 << 62)] | None = None
    name: Word | None = None
    material: Word | None = None
    colour: Word | None = None
    nozzle_diameter_mm: Nozzle | None = None
    build_volume: Volume | None = None
    tags: Annotated[list[Tag], Field(max_length=64)] | None = None


# What an empty body stands for.
BED_CLEAR = BedClear()


class BuildVolume(BaseModel):
    """Millimetres."""

    x_mm: float
    y_mm: float
    z_mm: float


class Heater(BaseModel):
    """Degrees Celsius."""

    name: str
    current: float
    target: float


class Reading(BaseModel):
    """The newest telemetry."""

    state: PrinterState
    run_id: str | None
    progress: float | None
    layer: int | None
    layer_count: int | None
    elapsed_seconds: float | None
    remaining_seconds: float | None
    heaters: list[Heater]
    position: BuildVolume | None
    age_seconds: float
    message: str


class Bed(BaseModel):
    """Whether the last part is off the plate."""

    state: Literal["clear", "occupied", "unknown"]
    run_id: str | None
    actor: str
    updated_at: datetime | None


class Gates(BaseModel):
    """What keeps new runs away."""

    held: bool
    hold_reason: str
    hold_actor: str
    emergency_stopped: bool
    locked: bool
    lock_reason: str


class Abilities(BaseModel):
    """What the printer is and holds. Null is unknown."""

    model: str
    firmware: str
    serial_number: str
    build_volume: BuildVolume | None
    nozzle_diameter_mm: float | None
    material: str | None
    colour: str | None
    tags: list[str]
    can_pause: bool
    prints_autonomously: bool
    has_camera: bool
    fragile: bool


class Printer(BaseModel):
    """A machine."""

    printer_id: str
    name: str
    agent_id: str
    driver: str
    state: PrinterState
    agent_reachable: bool
    active_run_id: str | None
    abilities: Abilities
    bed: Bed
    gates: Gates
    epoch: int
    latest: Reading | None
    created_at: datetime | None
    updated_at: datetime | None
    version: int
