"""One streamed print, from its first line to proof of its end, as a machine. Pure: lines are asked for, time is an
argument.

STARTING -> STREAMING <-> PAUSING -> PAUSED -> RESUMING -> STREAMING -> FINISHING -> OVER, and from everywhere CLOSING ->
OVER. FINISHING ends only with the ``ok`` of M400: the ``ok`` of a move says that it was planned, not made. CLOSING cools
down, and ends only when the printer itself says that its targets are 0.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from ...driver import Ending
from ...limits import LineCheck
from .framing import TooLong, command_of, name_of
from .modal import Modal

# The first waits until nothing moves. The answer to the second is told from all others: the first's was no stray.
PROOF = (b"M400", b"M105")
# Lines without a command that are passed over in one go: whoever waits for a stop must not wait for a file of comments.
LINES_AT_ONCE = 500
LONGEST_LINE = 64 * 1024
RETRACT_MM, LIFT_MM = 1.0, 5.0
COOL_DOWN_TRIES, ASK_SECONDS = 3, 1.0


class Phase(StrEnum):
    """Where a print stands."""

    STARTING = "starting"
    STREAMING = "streaming"
    PAUSING = "pausing"
    PAUSED = "paused"
    RESUMING = "resuming"
    FINISHING = "finishing"
    CLOSING = "closing"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Manners:
    """How this printer is paused and closed. Degrees, mm, seconds."""

    extruders: int = 1
    has_chamber: bool = False
    height_mm: float | None = None
    # The nozzle goes off after so long in a pause; it is heated again before the print goes on.
    pause_hotend_seconds: float = 600.0
    # The firmware's own watchdog (M85) while a print runs: it stops the machine if this host falls silent. 0 leaves it out.
    firmware_watchdog_seconds: int = 3600


@dataclass(frozen=True, slots=True)
class End:
    """How it ended. ``code`` and ``text`` say why it failed."""

    ending: Ending
    code: str = ""
    text: str = ""


@dataclass(slots=True)
class Course:
    """``read`` gives the next raw line, empty at the end of the file."""

    name: str
    size: int
    read: Callable[[], bytes]
    check: LineCheck
    manners: Manners
    began_at: float
    phase: Phase = Phase.STARTING
    end: End | None = None
    modal: Modal = field(default_factory=Modal)
    by_farm: bool = True
    has_begun: bool = False
    line: int = 0
    layer: int | None = None
    layer_count: int | None = None
    is_at_end_of_file: bool = False
    is_printing: bool = False
    # There is more to read before the next command: ask again at once.
    is_reading: bool = False
    acked_bytes: int = 0
    ended_at: float | None = None
    _offset: int = 0
    _script: deque[bytes] = field(default_factory=deque)
    _flying: dict[int, int | None] = field(default_factory=dict)
    _barrier: int | None = None
    _closing: End | None = None
    _tries: int = 0
    _asked: int | None = None
    _ask_at: float = 0.0
    _paused_at: float | None = None
    _was_hot: float = 0.0
    _lifted: bool = False
    _retracted: bool = False
    _extruding: int | None = None
    # An ok was lost since the last barrier.
    _is_in_doubt: bool = False

    # -- what goes out

    def next(self, now: float) -> bytes | None:
        """The next command; None if there is nothing to send now."""
        if self._script:
            return self._script.popleft()
        if self.phase is Phase.STREAMING:
            return self._next_of_file(now)
        if self.phase is Phase.CLOSING and not self._flying and now >= self._ask_at:
            self._tries += 1
            self._ask_at = now + ASK_SECONDS
            return b"M105"
        return None

    def sent(self, command: bytes, ticket: int) -> None:
        """``next`` went out under this ticket."""
        name = name_of(command)
        is_of_file = self.phase is Phase.STREAMING and not self._script
        self._flying[ticket] = self._offset if is_of_file else None
        if self.phase is Phase.FINISHING and name == "M105":
            self._barrier = ticket
        elif self.phase is Phase.CLOSING and name == "M105":
            self._asked = ticket
        elif self.phase is Phase.STARTING:
            self._barrier = ticket
        elif is_of_file and not self.is_printing and self.modal.has_extruded and self._extruding is None:
            self._extruding = ticket

    def _next_of_file(self, now: float) -> bytes | None:
        self.is_reading = False
        stop_at = self.line + LINES_AT_ONCE
        while raw := self.read():
            self.line += 1
            self._offset += len(raw)
            if raw[:2] == b";L":
                self._note_layer(raw)
            if len(raw) > LONGEST_LINE:
                return self._unfit(f"it is longer than {LONGEST_LINE} bytes", now)
            if why := self.check.line(raw):
                return self._unfit(why, now)
            try:
                command = command_of(raw)
            except TooLong as error:
                return self._unfit(str(error), now)
            if command:
                self.modal.take(name_of(command), command)
                return command
            if self.line >= stop_at:
                self.is_reading = True
                return None
        self.phase = Phase.FINISHING
        self._script.extend([*self._watchdog(0), *PROOF])
        return self._script.popleft()

    def _unfit(self, why: str, now: float) -> bytes | None:
        self.close(End(Ending.FAILED, "limits", f"line {self.line}: {why}"), now)
        return self.next(now)

    def _note_layer(self, raw: bytes) -> None:
        if raw.startswith(b";LAYER_CHANGE"):
            self.layer = (self.layer or 0) + 1
        elif raw.startswith((b";LAYER:", b";LAYER_COUNT:")):
            word, _, text = raw.partition(b":")
            digits = text.strip()[:9]
            if not digits.isdigit():
                return
            if word == b";LAYER":
                self.layer = int(digits) + 1
            else:
                self.layer_count = int(digits)

    def _watchdog(self, seconds: int) -> list[bytes]:
        return [b"M85 S%d" % seconds] if self.manners.firmware_watchdog_seconds else []

    # -- what came back

    def acked(self, ticket: int, now: float, *, certain: bool) -> None:
        """A command is done. May be told twice."""
        if ticket not in self._flying:
            return
        offset = self._flying.pop(ticket)
        self._is_in_doubt = self._is_in_doubt or not certain
        if offset is not None:
            self.acked_bytes = max(self.acked_bytes, offset)
        if ticket == self._extruding:
            self.is_printing = True
        if ticket == self._barrier:
            self._pass_barrier(now)
        if not self._flying and not self._script:
            self._drained(now)

    def _pass_barrier(self, now: float) -> None:
        self._barrier, is_in_doubt, self._is_in_doubt = None, self._is_in_doubt, False
        if self.phase is Phase.STARTING:
            self.phase = Phase.STREAMING
            self._script.extend(self._watchdog(self.manners.firmware_watchdog_seconds))
        elif self.phase is Phase.FINISHING and is_in_doubt:
            # An ok was lost, or the command was never had: asked again, under new numbers.
            self._script.extend(PROOF)
        elif self.phase is Phase.FINISHING:
            self.is_at_end_of_file = True
            self.acked_bytes = self.size
            self._finish(End(Ending.COMPLETE), now)

    def _drained(self, now: float) -> None:
        if self.phase is Phase.PAUSING:
            self.phase = Phase.PAUSED
            self._paused_at = now
        elif self.phase is Phase.RESUMING:
            self.phase = Phase.STREAMING

    def _finish(self, end: End, now: float) -> None:
        self.phase, self.end, self.ended_at = Phase.OVER, end, now
        self._script.clear()
        self._flying.clear()

    # -- what is wanted

    def begin(self) -> None:
        """The first command. Its answer is the proof that the firmware listens."""
        self.has_begun = True
        self._script.append(b"M105")

    def pause(self, *, by_farm: bool) -> None:
        """Feeding stops at once; the printer follows when its planner is empty."""
        if self.phase is not Phase.STREAMING:
            return
        self.phase, self.by_farm = Phase.PAUSING, by_farm
        hot = self.modal.has_extruded
        self._retracted = hot
        self._lifted = self._may_lift()
        self._script.extend([*self._watchdog(0), b"M400"])
        if hot or self._lifted:
            self._script.append(b"G91")
            self._script.extend([b"M83", b"G1 E-%.2f F1800" % RETRACT_MM] if hot else [])
            self._script.extend([b"G1 Z%.2f F600" % LIFT_MM] if self._lifted else [])
            self._script.extend([b"G90", b"M400"])

    def resume(self, *, by_farm: bool) -> None:
        """Only from a pause: heats again, moves back, restores the modes."""
        if self.phase is not Phase.PAUSED:
            return
        self.phase, self.by_farm = Phase.RESUMING, by_farm
        if self._was_hot:
            self._script.append(b"M109 S%.0f" % self._was_hot)
            self._was_hot = 0.0
        self._script.append(b"G91")
        self._script.extend([b"G1 Z-%.2f F600" % LIFT_MM] if self._lifted else [])
        self._script.extend([b"M83", b"G1 E%.2f F1800" % RETRACT_MM] if self._retracted else [])
        self._script.extend([*self.modal.restored(), *self._watchdog(self.manners.firmware_watchdog_seconds)])

    def close(self, end: End, now: float) -> None:
        """Cancelled or failed, with a printer that still listens: heaters and motors off, then proof of it."""
        if self.phase in (Phase.CLOSING, Phase.OVER):
            return
        self.phase, self._closing, self._barrier, self._tries = Phase.CLOSING, end, None, 0
        self._script.clear()
        self._script.extend([*self._watchdog(0), *self.cool_down()])

    def cool_down(self) -> list[bytes]:
        """Heaters off, fan off, up if that is safe, motors off."""
        lift = [b"G91", b"G1 Z%.2f F600" % LIFT_MM, b"G90"] if self._may_lift() and not self._lifted else []
        return [*heaters_off(self.manners), b"M107", *lift, b"M84"]

    def _may_lift(self) -> bool:
        """Only if the print has homed, and the volume leaves room."""
        height, z = self.manners.height_mm, self.modal.z
        return self.modal.is_homed and height is not None and z is not None and z + LIFT_MM <= height

    def cut(self, end: End, now: float) -> None:
        """It ended, and nothing more can be said to the printer."""
        if self.phase is not Phase.OVER:
            self._finish(end, now)

    def judge_heat(self, *, is_off: bool, now: float) -> None:
        """The targets, by the printer's own word after the cool-down was sent."""
        if self.phase is not Phase.CLOSING or self._closing is None or self._script or not self._tries:
            return
        if any(ticket != self._asked for ticket in self._flying):
            return
        if is_off:
            self._finish(self._closing, now)
        elif self._tries < COOL_DOWN_TRIES:
            self._script.extend(heaters_off(self.manners))
        else:
            text = f"{self._closing.text or 'cancelled'}; its heaters could not be switched off: thermal danger"
            self._finish(End(Ending.FAILED, "heaters_on", text), now)

    def tick(self, now: float, hotend_target: float) -> None:
        """A nozzle does not stay hot through a long pause."""
        if self.phase is not Phase.PAUSED or self._paused_at is None or self._was_hot or not hotend_target:
            return
        if now - self._paused_at >= self.manners.pause_hotend_seconds:
            self._was_hot = hotend_target
            self._script.append(b"M104 S0")

    @property
    def progress(self) -> float:
        """0 to 1, of the bytes that the firmware has taken."""
        return self.acked_bytes / self.size if self.size else 0.0


def heaters_off(manners: Manners) -> list[bytes]:
    """Every heater that the printer has."""
    tools = [b"T%d " % number for number in range(manners.extruders)] if manners.extruders > 1 else [b""]
    lines = [b"M104 %bS0" % tool for tool in tools]
    return [*lines, b"M140 S0", *([b"M141 S0"] if manners.has_chamber else [])]
