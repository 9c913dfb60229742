"""A printer's inside, for the emulators of network protocols: files, one print at a time, a plate, and a log that is the truth.

It is moved by looking at it: ``advance`` brings it to the clock's time. How long a print takes stands in its file:
``;seconds=5`` of moves after ``;heat=2`` of standing still; a sliced file takes what its slicer estimated. Each protocol's
emulator dresses it in its own words.
"""

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

AMBIENT = 25.0
_ESTIMATE = re.compile(rb"^; estimated printing time \(normal mode\) = (?:(\d+)h )?(?:(\d+)m )?(\d+)s", re.M)


class Phase(StrEnum):
    """What it does."""

    IDLE = "idle"
    HEATING = "heating"
    PRINTING = "printing"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    CANCELLING = "cancelling"
    FINISHING = "finishing"
    HALTED = "halted"


BUSY = frozenset(Phase) - {Phase.IDLE, Phase.HALTED}


def gcode(seconds: float, heat: float = 0.0, *, padding: int = 0) -> bytes:
    """A file whose print takes so long."""
    moves = b"G28\nM104 S215\nM140 S60\nG1 X10 Y10 F3000\n" * 4
    return f";seconds={seconds:g}\n;heat={heat:g}\n".encode() + moves + b";" + b"x" * padding + b"\n"


def estimated_seconds(content: bytes) -> float:
    """By the slicer's own word; 0 without one."""
    found = _ESTIMATE.search(content)
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600.0 * hours + 60.0 * minutes + seconds


@dataclass(slots=True)
class Print:
    """One print. ``done`` in seconds of moves."""

    number: int
    file: str
    seconds: float
    heat: float
    foreign: bool
    began: float
    done: float = 0.0

    @property
    def progress(self) -> float:
        return min(1.0, self.done / self.seconds) if self.seconds else 1.0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last print ended: ``complete``, ``cancelled``, ``failed`` or ``lost``."""

    print: Print
    how: str
    at: float


@dataclass(slots=True)
class Machine:
    """The machine. ``delays`` are how long a phase takes."""

    clock: Callable[[], float] = time.monotonic
    capacity: int = 64 << 20
    delays: dict[Phase, float] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    phase: Phase = Phase.IDLE
    job: Print | None = None
    ended: Ended | None = None
    number: int = 0
    targets: dict[str, float] = field(default_factory=lambda: {"hotend": 0.0, "bed": 0.0})
    plate_occupied: bool = False
    boots: int = 1
    booted_at: float = 0.0
    _last: float = 0.0
    _until: float = 0.0

    def __post_init__(self) -> None:
        self._last = self.booted_at = self.clock()

    # -- files

    @property
    def used(self) -> int:
        return sum(map(len, self.files.values()))

    def store(self, name: str, content: bytes) -> bool:
        """False if it does not fit."""
        if self.used - len(self.files.get(name, b"")) + len(content) > self.capacity:
            return False
        self.files[name] = content
        self.note("stored", file=name, size=len(content))
        return True

    # -- the print

    def start(self, name: str, *, foreign: bool = False, content: bytes | None = None) -> bool:
        """False if it cannot. ``content`` is what is printed, if the file only contains it."""
        self.advance()
        if self.phase is not Phase.IDLE or (content is None and name not in self.files):
            return False
        content = self.files[name] if content is None else content
        said = {key: float(value) for key, value in re.findall(rb"^;(seconds|heat)=([0-9.]+)", content, re.M)}
        self.number += 1
        seconds = said.get(b"seconds", estimated_seconds(content) or 1.0)
        self.job = Print(self.number, name, seconds, said.get(b"heat", 0.0), foreign, self.clock())
        self.ended = None
        self.targets = {"hotend": 215.0, "bed": 60.0}
        digest = hashlib.sha256(content).hexdigest()
        self.note("physical_start", file=name, foreign=foreign, sha256=digest, plate_occupied=self.plate_occupied)
        self.plate_occupied = True
        self._enter(Phase.HEATING, self.job.heat)
        return True

    def pause(self) -> bool:
        """False if it does not print."""
        self.advance()
        if self.phase not in (Phase.PRINTING, Phase.HEATING):
            return False
        self._enter(Phase.PAUSING)
        return True

    def resume(self) -> bool:
        """False if it is not paused."""
        self.advance()
        if self.phase is not Phase.PAUSED:
            return False
        self._enter(Phase.RESUMING)
        return True

    def cancel(self) -> bool:
        """False if nothing can be cancelled."""
        self.advance()
        if self.job is None or self.phase in (Phase.CANCELLING, Phase.FINISHING):
            return False
        self.note("cancel", file=self.job.file)
        self._enter(Phase.CANCELLING)
        return True

    def fail(self, why: str) -> None:
        """The firmware stops for a fault that only a person may clear."""
        self.advance()
        self._end("failed")
        self.phase = Phase.HALTED
        self.note("halted", why=why)

    def emergency(self) -> None:
        """All stops."""
        self.advance()
        self.note("emergency_stop")
        self._end("lost")
        self.phase = Phase.HALTED

    def restart(self) -> None:
        """Power off and on: the files and the part stay, the print is gone."""
        self.advance()
        self._end("lost")
        self.phase, self.ended = Phase.IDLE, None
        self.boots += 1
        self.booted_at = self._last = self.clock()
        self.note("power_on")

    # -- time

    def advance(self) -> "Machine":
        """Brings it to now."""
        now = self.clock()
        while self._step(now):
            pass
        self._last = now
        return self

    def _step(self, now: float) -> bool:
        job = self.job
        if job is None:
            return False
        if self.phase is Phase.PRINTING:
            left = job.seconds - job.done
            spent = min(now - self._last, left)
            job.done += spent
            self._last += spent
            if spent < left:
                return False
            self._enter(Phase.FINISHING)
            return True
        if self.phase is Phase.PAUSED or now < self._until:
            return False
        self._last = self._until
        self._leave(self.phase)
        return True

    def _leave(self, phase: Phase) -> None:
        match phase:
            case Phase.HEATING | Phase.RESUMING:
                self.phase = Phase.PRINTING
            case Phase.PAUSING:
                self.phase = Phase.PAUSED
                self.note("paused")
            case Phase.CANCELLING:
                self._end("cancelled")
            case Phase.FINISHING:
                self._end("complete")

    def _enter(self, phase: Phase, seconds: float | None = None) -> None:
        begin = self._last if phase is Phase.FINISHING else self.clock()
        self.phase = phase
        self._last = begin
        self._until = begin + (self.delays.get(phase, 0.0) if seconds is None else seconds)

    def _end(self, how: str) -> None:
        if self.job is not None:
            self.note("end", file=self.job.file, how=how, progress=self.job.progress)
            self.ended = Ended(self.job, how, self._last)
        self.job = None
        self.phase = Phase.IDLE
        self.targets = {"hotend": 0.0, "bed": 0.0}

    # -- the books

    def note(self, event: str, **facts: Any) -> None:
        """A fact that a test may trust."""
        self.log.append({"event": event, **facts})

    def starts(self) -> list[str]:
        """Files of the physical starts that are not a person's own."""
        found = [fact for fact in self.log if fact["event"] == "physical_start"]
        return [fact["file"] for fact in found if not fact["foreign"]]

    def temperatures(self) -> dict[str, tuple[float, float]]:
        """Current and target of each heater."""
        heats = self.phase is Phase.HEATING
        return {
            name: (AMBIENT if not target else (0.6 if heats else 1.0) * target, target)
            for name, target in self.targets.items()
        }
