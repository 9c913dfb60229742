"""The port between the farm and one printer protocol, with the contract that every driver keeps.

A driver is opened for one printer and used by one task at a time, except ``emergency_stop``, which may be called at any moment,
also while another call hangs, and must never wait for it. Every call ends in bounded time: a driver sets its own deadlines.
No call is retried by the driver where a second try could move the machine twice; retries are the caller's decision, which
knows the journal.

Text that comes from a printer is untrusted: a driver caps its length (256 characters) and never acts on it. A state that
the driver does not know is ``ObservedState.UNKNOWN``, never idle.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol, runtime_checkable

from .limits import HeatRules, Limits


class DriverError(Exception):
    """What a driver may raise; nothing else leaves it. The text may be shown to a person."""


class Refused(DriverError):
    """The printer answered, and said no. Nothing moved."""


class NothingToStop(DriverError):
    """To an emergency stop alone: the machine proves that it stands still, and takes no further word."""


class ConnectionLost(DriverError):
    """The printer cannot be reached. The command was not sent: nothing moved."""


class OutcomeUnknown(DriverError):
    """The command may or may not have reached the printer. Only observation can tell."""


class BadReply(OutcomeUnknown):
    """The printer answered with something that is no answer: noise, too long, another protocol."""


class ObservedState(StrEnum):
    """What the printer says of itself; spelled as in the schema."""

    OFFLINE = "offline"
    IDLE = "idle"
    PREPARING = "preparing"
    PRINTING = "printing"
    PAUSED = "paused"
    FINISHING = "finishing"
    ERROR = "error"
    UNKNOWN = "unknown"


class Ending(StrEnum):
    """How the printer's last print ended, by its own word."""

    COMPLETE = "complete"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Heater:
    """A heater, in degrees Celsius. ``name`` is "hotend", "hotend1", "bed" or "chamber"."""

    name: str
    current: float
    target: float


@dataclass(frozen=True, slots=True)
class Observation:
    """One look at the printer.

    ``file_name`` is the file that it prints, or printed last, as it stands on the printer. ``ending`` is how that print
    ended, while the printer still knows; None while it prints or if it does not say. ``end_of_file`` is True once the whole
    file was read.
    ``boot_count`` grows, or changes, when the printer's firmware restarted; None if the printer does not tell.
    ``print_number`` tells two prints of one file apart; None if the printer does not tell. Seconds by the printer's clock.
    """

    state: ObservedState
    file_name: str | None = None
    ending: Ending | None = None
    end_of_file: bool = False
    progress: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    elapsed_seconds: float | None = None
    remaining_seconds: float | None = None
    heaters: tuple[Heater, ...] = ()
    position_mm: tuple[float, float, float] | None = None
    message: str = ""
    boot_count: int | None = None
    print_number: int | None = None
    plate_occupied: bool | None = None
    # The filament sensor's word; None where there is none.
    filament_present: bool | None = None
    # Whoever started, paused or ended what it does: False if at the machine itself, None if it does not say.
    by_farm: bool | None = None
    # A fault that only a person may clear, such as thermal runaway.
    halted: bool = False
    # Why the last print failed, as a stable word such as "printer_lost"; empty where the printer gives no reason.
    failure_code: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the protocol and this machine can do. Asked once after connecting; declared, never found out by trying."""

    can_pause: bool
    # A print goes on when the agent dies.
    prints_autonomously: bool
    # The agent streams the print line by line: its end is the print's end.
    fragile: bool = False
    has_camera: bool = False
    can_cool_down: bool = True
    # The end of a print leaves a word on the printer that outlives a restart of the agent.
    remembers_ending: bool = True
    # Packed G-code that it takes as it is: "bgcode", "gcode.3mf". A driver of the latter is a ``PlateDriver``.
    file_kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MachineIdentity:
    """What the machine says it is. Empty and None are unknown."""

    model: str = ""
    firmware: str = ""
    serial_number: str = ""
    volume_mm: tuple[float, float, float] | None = None
    nozzle_diameter_mm: float | None = None
    material: str | None = None
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """What a driver needs to find a print again after a restart of the agent. Opaque to everyone else; journalled as JSON."""

    version: int
    facts: Mapping[str, str | int | float | None] = field(default_factory=dict)


# Told how many bytes of a file the printer has so far.
Sent = Callable[[int], None]


class Driver(Protocol):
    """One printer. Closing it never stops a print that the printer can go on with alone."""

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        """Opens the way to the printer without moving or resetting it. May be repeated. Raises ConnectionLost, BadReply."""
        ...

    async def observe(self) -> Observation:
        """A fresh look. May be repeated, and cancelled at any await. Raises ConnectionLost or BadReply; never answers from
        memory."""
        ...

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        """Brings the file to the printer under ``name``, whole and checked as far as the protocol can. May be repeated:
        replaces a file of that name. Its deadline grows with the file's size. ``sent`` is called as it goes. Does nothing for
        drivers that stream. May be cancelled at any await: the connection is thrown away, and what came is not started by
        anybody. Raises ConnectionLost, Refused (such as storage full), OutcomeUnknown."""
        ...

    async def remove_file(self, name: str) -> None:
        """Removes a file of ours. Nothing happens if it is not there. May be repeated."""
        ...

    async def start(self, path: Path, name: str) -> Handle:
        """Starts the print of ``name``, once. NEVER repeated by anyone. Returns when the printer took the command.

        Raises Refused or ConnectionLost if it certainly did not start, OutcomeUnknown if it may have."""
        ...

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        """Looks for a print of ``name`` that an earlier process started, without touching the printer. May be repeated."""
        ...

    async def pause(self) -> None:
        """May be repeated. Raises Refused, ConnectionLost, OutcomeUnknown."""
        ...

    async def resume(self) -> None:
        """May be repeated. Raises Refused, ConnectionLost, OutcomeUnknown."""
        ...

    async def cancel(self) -> None:
        """Ends the print; heaters go off. May be repeated. Success means "taken"; ``observe`` shows when it stopped."""
        ...

    async def cool_down(self) -> None:
        """All heater targets to 0. Only while nothing prints. May be repeated."""
        ...

    async def emergency_stop(self) -> None:
        """Stops all motion and heat at once, on a way of its own. Returns only after it was written to the machine.
        May be repeated, at any time, beside any other call. Raises NothingToStop; whatever else it raises, Refused as well, is
        no stop, and it is called again."""
        ...


@runtime_checkable
class PlateDriver(Driver, Protocol):
    """A driver that declares "gcode.3mf": such a file may hold several plates."""

    def choose_plate(self, name: str, plate: int) -> None:
        """Which plate of the file ``name`` is printed, from 1; told before ``put_file`` and ``start``, and again after a
        restart. May be repeated."""
        ...


@dataclass(frozen=True, slots=True)
class PrinterConfig:
    """One ``[[printer]]`` table of the agent's TOML, as the driver sees it. ``options`` are the driver's own keys."""

    printer_id: str
    options: Mapping[str, str | int | float | bool]
    # A folder of the host for what a driver must find again after a restart; made by the driver that needs it.
    state_dir: Path = Path()
    # For drivers that look at each line, and at the heaters, themselves.
    limits: Limits = field(default_factory=Limits)
    heat: HeatRules = field(default_factory=HeatRules)


class OpenDriver(Protocol):
    """What an entry point of the group ``printfarm.drivers`` names.

    Raises ValueError, naming the key and the mend, for wrong options."""

    def __call__(self, config: PrinterConfig) -> AbstractAsyncContextManager[Driver]: ...
