"""What a printer is and holds, and why one does not take a job."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a printer is and holds. ``None`` is unknown. Lengths in millimetres."""

    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    volume_mm: tuple[float, float, float] | None = None
    nozzle_diameter_mm: float | None = None
    material: str | None = None
    colour: str | None = None
    tags: tuple[str, ...] = ()
    can_pause: bool = False
    prints_autonomously: bool = False
    has_camera: bool = False
    fragile: bool = False
    # What its agent lets a file ask at most, of hotend, bed and chamber; and the lowest corner of its volume.
    most_celsius: tuple[float, float, float] | None = None
    origin_mm: tuple[float, float, float] | None = None
    # Packed G-code that it takes as it is, beside plain text: "bgcode", "gcode.3mf".
    file_kinds: tuple[str, ...] = ()
    # The kind of firmware behind its driver, as the safety check of files knows them.
    dialect: str = "any"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a printer does not take a job now. ``code`` is stable; ``explanation`` is for a person."""

    code: str
    explanation: str
