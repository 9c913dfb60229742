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
    # Packed G-code that it takes as it is: `bgcode`, `gcode.3mf`. Plain G-code is taken by every printer.
    file_kinds: list[str]


class Printer(BaseModel):
    """A machine."""

    model_config = example(
        {
            "printer_id": "p1",
            "name": "Rack 2, left",
            "agent_id": "host-1",
            "driver": "virtual",
            "state": "printing",
            "agent_reachable": True,
            "active_run_id": EXAMPLE_ID,
            "abilities": {
                "model": "Virtual One",
                "firmware": "printfarm-virtual 1",
                "serial_number": "VP-1",
                "build_volume": {"x_mm": 220.0, "y_mm": 220.0, "z_mm": 250.0},
                "nozzle_diameter_mm": 0.4,
                "material": "PLA",
                "colour": "black",
                "tags": ["enclosed"],
                "can_pause": True,
                "prints_autonomously": True,
                "has_camera": False,
                "fragile": False,
                "file_kinds": [],
            },
            "bed": {"state": "occupied", "run_id": EXAMPLE_ID, "actor": "host-1", "updated_at": "2026-11-23T08:00:09Z"},
            "gates": {
                "held": False,
                "hold_reason": "",
                "hold_actor": "",
                "emergency_stopped": False,
                "locked": False,
                "lock_reason": "",
            },
            "epoch": 17,
            "latest": {
                "state": "printing",
                "run_id": EXAMPLE_ID,
                "progress": 0.42,
                "layer": 31,
                "layer_count": 74,
                "elapsed_seconds": 1260.0,
                "remaining_seconds": 1740.0,
                "heaters": [{"name": "hotend", "current": 209.8, "target": 210.0}],
                "position": {"x_mm": 101.2, "y_mm": 88.1, "z_mm": 6.2},
                "age_seconds": 0.4,
                "message": "",
            },
            "created_at": "2026-11-01T08:00:00Z",
            "updated_at": "2026-11-23T08:00:09Z",
            "version": 41,
        }
    )

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
