"""What the line protocol counts with: patience, commands on their way, the window; and the events that it tells. Pure."""

from dataclasses import dataclass

from .framing import BLOCKING
from .replies import Ok, Reply

WIDEST_WINDOW = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of patience, all of them on the monotonic clock."""

    # For an ok, of firmware that never said "busy"; of one that does, since its last sign of life.
    ok: float = 30.0
    ok_with_busy: float = 6.0
    # While nothing prints.
    ok_idle: float = 3.0
    blocking: float = 600.0
    blocking_with_busy: float = 30.0
    probe: float = 5.0
    probe_idle: float = 3.0
    # For the ok that most firmware sends after "Resend:".
    after_resend: float = 0.5
    # The window stays at one for so long after a resend.
    shrink: float = 60.0
    # "wait" proves a lost ok only if the command cannot have crossed it on the wire.
    wait: float = 1.0
    silences_in_job: int = 5
    silences_idle: int = 2


@dataclass(frozen=True, slots=True)
class Acked:
    """The command is done. Not ``certain``: its ok was lost, and the firmware may not have had it."""

    ticket: int
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Said:
    """Something that the line protocol itself does not need."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class Lost:
    """The link cannot be relied upon any more."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Noisy:
    """Lines are asked for again more often than once in a hundred; told once."""

    resends: int


Event = Acked | Said | Lost | Noisy


@dataclass(frozen=True, slots=True)
class Command:
    """A command on its way."""

    ticket: int
    number: int | None
    framed: bytes
    name: str

    @property
    def is_blocking(self) -> bool:
        return self.name in BLOCKING


@dataclass(slots=True)
class Window:
    """How many commands may be unanswered."""

    places: int = 1
    small_until: float = 0.0
    _told: int = 0
    _planner: int = 0
    _empty_looks: int = 0
    starved: int = 0

    def note(self, ok: Ok, *, streaming: bool) -> None:
        if ok.buffer is not None:
            self._told += 1
            if self._told >= 2:
                self.places = max(self.places, min(ok.buffer, WIDEST_WINDOW))
        if ok.planner is not None:
            self._planner = max(self._planner, ok.planner)
            empty = streaming and self._planner >= 4 and ok.planner >= self._planner - 1
            self._empty_looks = self._empty_looks + 1 if empty else 0
            if self._empty_looks == 2:
                self.starved += 1

    def size(self, now: float) -> int:
        return 1 if now < self.small_until else self.places


@dataclass(slots=True)
class Counts:
    """Of one link, for whoever looks after it."""

    sent: int = 0
    resends: int = 0
    lost_oks: int = 0
    stray_oks: int = 0
