"""What the host process tells the driver of a printer, and back again. Pure: values to JSON and JSON to values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ...driver import Ending, Heater, Observation, ObservedState


@dataclass(frozen=True, slots=True)
class Status:
    """One look. ``why`` says why the printer is offline. ``code`` says why the last print failed."""

    state: ObservedState
    why: str = ""
    file_name: str | None = None
    ending: Ending | None = None
    code: str = ""
    end_of_file: bool = False
    progress: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None
    heaters: tuple[Heater, ...] = ()
    position_mm: tuple[float, float, float] | None = None
    message: str = ""
    boot_count: int = 0
    print_number: int | None = None
    filament_present: bool | None = None
    by_farm: bool | None = None
    halted: bool = False
    # Of the link: lines sent, asked for again, answers lost and in vain, times the planner ran empty.
    link: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Of plain values."""
        return {**asdict(self), "heaters": [asdict(heater) for heater in self.heaters], "link": dict(self.link)}


_NAMES = {f.name for f in fields(Status)}


def from_json(given: Mapping[str, Any]) -> Status:
    """Raises ValueError for anything else: our own process speaks, but of another version, perhaps."""
    known = {key: value for key, value in given.items() if key in _NAMES}
    try:
        known["state"] = ObservedState(known["state"])
        known["ending"] = Ending(known["ending"]) if known.get("ending") is not None else None
        known["heaters"] = tuple(Heater(**heater) for heater in known.get("heaters", ()))
        position = known.get("position_mm")
        known["position_mm"] = tuple(position) if position is not None else None
        return Status(**known)
    except (KeyError, TypeError) as error:
        raise ValueError("the serial host's status is not whole") from error


def observation(status: Status) -> Observation:
    """As the port wants it."""
    failed = status.ending is Ending.FAILED
    return Observation(
        state=status.state,
        file_name=status.file_name,
        ending=status.ending,
        end_of_file=status.end_of_file,
        progress=status.progress,
        layer=status.layer,
        layer_count=status.layer_count,
        elapsed_seconds=status.elapsed_seconds,
        remaining_seconds=status.remaining_seconds,
        heaters=status.heaters,
        position_mm=status.position_mm,
        message=status.message,
        failure_code=status.code if failed else "",
        boot_count=status.boot_count,
        print_number=status.print_number,
        filament_present=status.filament_present,
        by_farm=status.by_farm,
        halted=status.halted,
    )
