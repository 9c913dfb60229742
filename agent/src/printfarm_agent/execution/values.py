"""What execution is about: the wish, the journalled page, the facts, and what may be asked of the world."""

from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from types import MappingProxyType
from typing import Any

from ..driver import Handle, Observation

IDLE_HEAT_SECONDS = 600.0


class Stage(StrEnum):
    """Where a local run stands, as journalled."""

    FETCHING = "fetching"
    ACCEPTED = "accepted"
    AUTHORISING = "authorising"
    STARTING = "starting"
    PRINTING = "printing"
    PAUSED = "paused"
    FINISHING = "finishing"
    START_UNKNOWN = "start_unknown"
    DONE = "done"


BEFORE_START = frozenset({Stage.FETCHING, Stage.ACCEPTED, Stage.AUTHORISING})
ON_PRINTER = frozenset({Stage.PRINTING, Stage.PAUSED, Stage.FINISHING})


class Desire(StrEnum):
    """What the coordinator wants of a run."""

    PRINT = "print"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class WantedRun:
    """The assignment's run."""

    run_id: str
    job_id: str
    epoch: int
    desire: Desire
    sha256: str
    size_bytes: int
    bed_token: str
    may_have_started: bool = False
    estimated_seconds: float | None = None
    # How its G-code is packed, the plate of a sliced 3MF, and the digest of the G-code within; empty for plain text.
    packed_kind: str = ""
    plate: int = 0
    gcode_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the coordinator wants of the printer; ``run`` None: no run."""

    epoch: int
    run: WantedRun | None = None
    held: bool = False
    stop_generation: int = 0
    released_generation: int = 0


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A run in the journal."""

    run_id: str
    job_id: str
    epoch: int
    sha256: str
    size_bytes: int
    stage: Stage
    bed_token: str = ""
    nonce: str = ""
    nonce_boot: str = ""
    estimated_seconds: float | None = None
    handle: Handle | None = None
    # Of the printer's firmware, when the print began: another one later means that it restarted.
    boot_count: int | None = None
    paused_by_machine: bool = False
    # The farm asked the machine for a pause since it prints: one that comes late is still the farm's.
    pause_asked: bool = False
    # It started after its authority ended: to be stopped, whatever is wanted.
    late: bool = False
    # When it began, by a clock that goes on through a restart of the agent, not of the host: ``host_boot`` tells.
    began_at: float | None = None
    host_boot: str = ""
    # As of ``WantedRun``.
    packed_kind: str = ""
    plate: int = 0
    gcode_sha256: str = ""

    @property
    def file_name(self) -> str:
        """On the printer. It carries the run's id, so that the printer itself can tell what it prints.

        Firmware tells binary G-code from text by the name. A sliced 3MF has the name of the G-code within: whoever sends one
        puts behind it what the printer wants."""
        return f"pf-{self.run_id}.{'bgcode' if self.packed_kind == 'bgcode' else 'gcode'}"


@dataclass(frozen=True, slots=True)
class Book:
    """One printer's page of the journal."""

    max_epoch: int = 0
    run: LocalRun | None = None
    stop_done: int = 0
    stop_released: int = 0
    # Our files that are, or may be, on the printer: removed when their run is over and the printer rests.
    left_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """A fact for the coordinator. ``kind`` is the name of its field in ``AgentEvent``; ``data`` are that message's fields."""

    kind: str
    run_id: str = ""
    epoch: int = 0
    data: MappingProxyType[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class Operation(StrEnum):
    """What may be under way; one at a time."""

    FETCH = "fetch"
    UPLOAD = "upload"
    ASK = "ask"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    COOL_DOWN = "cool_down"
    REMOVE = "remove"


# What takes long, moves nothing, and is broken off when nobody wants it any more.
TRANSFERS = frozenset({Operation.FETCH, Operation.UPLOAD})


@dataclass(frozen=True, slots=True)
class Commit:
    """To be durable, as a whole, before the effects behind it."""

    book: Book
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Do:
    """A driver operation, a fetch, or the question for authority. ``number``: of those begun since the agent's start, this one;
    its outcome carries it. ``before``: not to be begun at or after that moment. ``files``: what to remove."""

    operation: Operation
    number: int
    run: LocalRun | None = None
    before: float | None = None
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EmergencyStop:
    """At once, on the way of its own. Generation 0: this agent's own decision, nobody's wish."""

    generation: int


@dataclass(frozen=True, slots=True)
class Abandon:
    """The transfer of that number is to be broken off; it comes back as Failed, unless it ended before."""

    operation: Operation
    number: int
    run: LocalRun


Effect = Commit | Do | EmergencyStop | Abandon


@dataclass(frozen=True, slots=True)
class Rules:
    """What the host's configuration says. ``closed``: why no new run is accepted; empty if it is."""

    boot_id: str
    can_pause: bool = True
    start_ttl: float = 25.0
    idle_heat_seconds: float = IDLE_HEAT_SECONDS
    closed: str = ""
    # The same for as long as the clock goes on; empty where that cannot be told.
    host_boot: str = ""
    # So long a print file counts as checked once it was brought to the printer (I17). Endless, but for a printer that is
    # given it line by line, from this host's disk.
    file_check_seconds: float = inf


@dataclass(frozen=True, slots=True)
class State:
    """One printer. Only ``book`` outlives the process. ``nonces`` are made outside: one for each attempt."""

    book: Book
    wanted: Wanted | None = None
    busy: Operation | None = None
    # Of the operation under way, or the last one.
    number: int = 0
    stopping: int = 0
    seen: Observation | None = None
    seen_at: float = 0.0
    reachable: bool = False
    reported: tuple[str, bool | None] = ("", None)
    # What the machine said that it is, until its state is told with it.
    described: bytes = b""
    fetched: bool = False
    uploaded: bool = False
    uploaded_at: float = 0.0
    asked_at: float | None = None
    until: float | None = None
    retry_at: float = 0.0
    looked_since: float | None = None
    gone_looks: int = 0
    began_at: float | None = None
    # When the print was last seen under way.
    under_way_at: float | None = None
    moved_at: float = 0.0
    hot_since: float | None = None
    # Not turned off again before then. On its own: what else is tried again and again must not keep the heaters on.
    cool_at: float = 0.0
    alarms: frozenset[str] = frozenset()
    # The transfer under way is being broken off; how often the file of the last run could not be removed.
    abandoning: bool = False
    removals: int = 0
    # How often the bytes of its file were not those that were assigned.
    wrong_bytes: int = 0
    # The newest stop of which people were told that it could not be carried out as asked.
    stop_told: int = -1
    # A start ended beside the stop that is under way.
    stop_again: bool = False


def fact(kind: str, run: LocalRun, **data: Any) -> Event:
    """A fact of a run."""
    return Event(kind, run.run_id, run.epoch, MappingProxyType(data))
