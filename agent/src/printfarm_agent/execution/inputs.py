"""What may come to a printer's execution, one at a time."""

from dataclasses import dataclass

from ..driver import Handle, Observation
from .values import Operation, Wanted


@dataclass(frozen=True, slots=True)
class Seen:
    """A fresh look at the printer."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Unseen:
    """The printer could not be looked at."""

    reason: str


@dataclass(frozen=True, slots=True)
class Done:
    """The operation of that number succeeded. ``handle`` after START."""

    operation: Operation
    number: int
    handle: Handle | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not. ``certain``: nothing moved, and nothing will."""

    operation: Operation
    number: int
    code: str
    reason: str
    certain: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """The authority, for ``time_to_live`` seconds from the first question, the margin taken off."""

    nonce: str
    time_to_live: float


@dataclass(frozen=True, slots=True)
class Denied:
    """``code`` of the catalogue; NOT_YET may be asked again."""

    nonce: str
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """The answer was lost, or the coordinator is."""

    nonce: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The emergency stop of a generation was written to the machine. ``word``: why there was nothing to stop, if so."""

    generation: int
    word: str = ""


@dataclass(frozen=True, slots=True)
class StopFailed:
    """It could not be written, and is tried again until it is."""

    generation: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Overheated:
    """A heater left its target: the machine is stopped, and the run is over."""

    reason: str


@dataclass(frozen=True, slots=True)
class Described:
    """The machine said what it is: ``Abilities`` of the schema, as bytes."""

    abilities: bytes


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Input = (
    Wanted
    | Seen
    | Unseen
    | Done
    | Failed
    | Granted
    | Denied
    | NoAnswer
    | Stopped
    | StopFailed
    | Overheated
    | Described
    | Tick
)
