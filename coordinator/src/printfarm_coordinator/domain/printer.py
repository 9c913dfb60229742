"""A printer: its abilities, its bed and its gates."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from printfarm_files.safety import dialect_of

from .abilities import Abilities as Abilities
from .abilities import Obstacle as Obstacle
from .job import Requirements
from .own_word import file_mismatches, suits_file

_MOST_LISTED = 5


class PrinterState(StrEnum):
    """What an agent sees of a printer; spelled as in the API."""

    OFFLINE = "offline"
    IDLE = "idle"
    PREPARING = "preparing"
    PRINTING = "printing"
    PAUSED = "paused"
    FINISHING = "finishing"
    BUSY_EXTERNAL = "busy_external"
    ERROR = "error"
    UNKNOWN = "unknown"


class BedState(StrEnum):
    """Whether the last part is off the plate."""

    CLEAR = "clear"
    OCCUPIED = "occupied"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Bed:
    """``token`` exists only while the bed is clear; a start consumes it (I11)."""

    state: BedState = BedState.UNKNOWN
    token: str | None = None
    run_id: str | None = None
    actor: str = ""
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Overrides:
    """An operator's word on a printer, which wins over the machine's. ``None`` leaves the machine's."""

    name: str | None = None
    volume_mm: tuple[float, float, float] | None = None
    nozzle_diameter_mm: float | None = None
    material: str | None = None
    colour: str | None = None
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Printer:
    """One row of the printer table. ``epoch`` grows with every run on it and is never used again."""

    printer_id: str
    agent_id: str
    name: str
    driver: str
    abilities: Abilities
    created_at: int
    updated_at: int
    overrides: Overrides = Overrides()
    epoch: int = 0
    bed: Bed = Bed()
    held: bool = False
    hold_reason: str = ""
    hold_actor: str = ""
    locked: bool = False
    lock_reason: str = ""
    emergency_generation: int = 0
    emergency_done_generation: int = 0
    emergency_released_generation: int = 0
    observed_state: PrinterState = PrinterState.OFFLINE
    active_run_id: str | None = None
    # Refusals in a row, and until when the printer is left alone for it.
    refusals: int = 0
    backoff_until: int = 0
    version: int = 1

    @property
    def emergency_stopped(self) -> bool:
        """An emergency stop was asked for and no person has released it."""
        return self.emergency_generation > self.emergency_released_generation


def effective_abilities(printer: Printer) -> Abilities:
    """The machine's word with the operator's laid over it."""
    own, has = printer.abilities, matched_abilities(printer)
    return replace(
        own,
        volume_mm=has.volume_mm,
        nozzle_diameter_mm=has.nozzle_diameter_mm,
        material=has.material,
        colour=has.colour,
        tags=has.tags,
        dialect=has.dialect,
    )


def mismatches(printer: Printer, wanted: Requirements) -> list[Obstacle]:
    """What the printer lacks for the job, whatever it does at the moment."""
    named = _named_printers(printer, wanted)
    return ([named] if named else []) + lacks(effective_abilities(printer), wanted)


def lacks(has: Abilities, wanted: Requirements) -> list[Obstacle]:
    """As ``mismatches``, of any printer with these abilities, whether or not the job names it."""
    found = [
        _volume(has, wanted),
        _nozzle(has, wanted),
        _same_word("material", has.material, wanted.material),
        _same_word("colour", has.colour, wanted.colour),
        _tags(has, wanted),
        *file_mismatches(has, wanted),
    ]
    return [obstacle for obstacle in found if obstacle]


def can_take(has: Abilities, wanted: Requirements) -> bool:
    """Whether ``lacks`` finds nothing, without the words: asked for every kind of job and of printer, again and again."""
    return (
        _has_word(has.material, wanted.material)
        and _has_word(has.colour, wanted.colour)
        and _has_nozzle(has, wanted.nozzle_diameter_mm)
        and all(tag in has.tags for tag in wanted.tags)
        and _has_volume(has, (wanted.min_x_mm, wanted.min_y_mm, wanted.min_z_mm))
        and suits_file(has, wanted)
    )


def matched_abilities(printer: Printer) -> Abilities:
    """Only what ``lacks`` looks at: equal for printers that can take the same jobs."""
    own, word = printer.abilities, printer.overrides
    return Abilities(
        model=own.model,
        most_celsius=own.most_celsius,
        origin_mm=own.origin_mm,
        dialect=dialect_of(printer.driver, own.firmware).value,
        volume_mm=word.volume_mm or own.volume_mm,
        nozzle_diameter_mm=word.nozzle_diameter_mm or own.nozzle_diameter_mm,
        material=word.material or own.material,
        colour=word.colour or own.colour,
        tags=own.tags if word.tags is None else word.tags,
    )


def gates_closed(printer: Printer, *, agent_reachable: bool, agent_draining: bool, now: int) -> list[Obstacle]:
    """What keeps any new run away from the printer at this moment."""
    checks = (
        (not agent_reachable, "offline", f"its agent {printer.agent_id} is out of reach"),
        (agent_draining, "draining", f"its agent {printer.agent_id} is being drained"),
        (printer.emergency_stopped, "emergency_stopped", "an emergency stop is latched until a person releases it"),
        (printer.locked, "locked", f"locked: {printer.lock_reason}"),
        (printer.held, "held", f"held by {printer.hold_actor}: {printer.hold_reason}"),
        (printer.active_run_id is not None, "busy", f"run {printer.active_run_id} is active on it"),
        (printer.bed.state is not BedState.CLEAR, "bed_not_clear", f"its bed is {printer.bed.state}"),
        (printer.observed_state is not PrinterState.IDLE, "not_idle", f"it is {printer.observed_state}"),
        (printer.backoff_until > now, "refused", f"it refused {printer.refusals} offers in a row and rests"),
    )
    return [Obstacle(code, explanation) for closed, code, explanation in checks if closed]


def _named_printers(printer: Printer, wanted: Requirements) -> Obstacle | None:
    if not wanted.printer_ids or printer.printer_id in wanted.printer_ids:
        return None
    return Obstacle("not_named", f"the job names {_listed(wanted.printer_ids)}")


def _listed(words: Sequence[str]) -> str:
    """Each printer's reason says it: the first are enough."""
    more = len(words) - _MOST_LISTED
    return ", ".join(words[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")


def _volume(has: Abilities, wanted: Requirements) -> Obstacle | None:
    need = (wanted.min_x_mm, wanted.min_y_mm, wanted.min_z_mm)
    if _has_volume(has, need):
        return None
    if has.volume_mm is None:
        return Obstacle("volume", "its build volume is unknown")
    return Obstacle("volume", f"wanted at least {_mm(need)}, it has {_mm(has.volume_mm)}")


def _has_volume(has: Abilities, need: tuple[float, float, float]) -> bool:
    if not any(need):
        return True
    return has.volume_mm is not None and all(have >= want for have, want in zip(has.volume_mm, need, strict=True))


def _mm(sides: tuple[float, float, float]) -> str:
    return " x ".join(f"{side:g}" for side in sides) + " mm"


def _nozzle(has: Abilities, wanted: Requirements) -> Obstacle | None:
    if _has_nozzle(has, wanted.nozzle_diameter_mm):
        return None
    found = "an unknown one" if has.nozzle_diameter_mm is None else f"{has.nozzle_diameter_mm:g} mm"
    return Obstacle("nozzle", f"wanted a {wanted.nozzle_diameter_mm:g} mm nozzle, it has {found}")


def _has_nozzle(has: Abilities, want: float | None) -> bool:
    return want is None or (has.nozzle_diameter_mm is not None and abs(has.nozzle_diameter_mm - want) < 0.005)


def _same_word(code: str, has: str | None, want: str | None) -> Obstacle | None:
    if _has_word(has, want):
        return None
    return Obstacle(code, f"wanted {code} {want}, it has {has or 'an unknown one'}")


def _has_word(has: str | None, want: str | None) -> bool:
    return want is None or has == want or (has is not None and has.casefold() == want.casefold())


def _tags(has: Abilities, wanted: Requirements) -> Obstacle | None:
    missing = [tag for tag in wanted.tags if tag not in has.tags]
    return Obstacle("tags", f"lacks {_listed(missing)}") if missing else None
