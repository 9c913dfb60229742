"""One process, one port, one thread: a loop over the port and the socket, with the machine between them.

The order within a turn is what makes it safe: what came is taken, then the memory is made durable, then bytes are written,
then answers go out. So a print that was begun is on disk before the printer hears of it, and an emergency stop is answered
only after the port took it. The stop itself waits for no disk: its bytes are written before the memory is.
"""

import hmac
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from printfarm_agent.driver import Ending
from printfarm_agent.drivers.marlin import talk
from printfarm_agent.drivers.marlin.config import HostConfig
from printfarm_agent.drivers.marlin.course import LONGEST_LINE, Phase
from printfarm_agent.drivers.marlin.looking import look
from printfarm_agent.drivers.marlin.machine import Machine, NotNow

from .ledger import Ledger
from .sockets import Peer, Sockets
from .wire import Wire

READ_AHEAD_BYTES = 256 * 1024
# How long a process that is told to end may take to cool its printer down.
FAREWELL_SECONDS = 20.0
SAVE_AGAIN_SECONDS = 1.0


@dataclass(slots=True)
class Waiting:
    """An answer that is owed."""

    peer: Peer
    number: object


class Host:
    """See the module. ``say`` writes a line of the log."""

    def __init__(self, config: HostConfig, token: str, folder: Path, say: Callable[[str], None]) -> None:
        self._config, self._token, self._say = config, token, say
        self._ledger = Ledger(folder)
        self._saved = self._ledger.load()
        self.machine = Machine(config.rules(), self._saved)
        self._selector = selectors.DefaultSelector()
        self._wire = Wire(config.port, config.bauds, self.machine, self._selector, say)
        self._sockets = Sockets(folder, self._selector, self._handle)
        self._file: BinaryIO | None = None
        self._starts: list[Waiting] = []
        self._stops: list[Waiting] = []
        self._claimed_at = time.monotonic()
        self._save_at = 0.0
        self._ends_at: float | None = None
        self._is_over = False
        self._operations: dict[str, Callable[[float], None]] = {
            "pause": self.machine.pause,
            "resume": self.machine.resume,
            "cancel": self.machine.cancel,
            "cool_down": self.machine.cool_down,
        }

    # -- the loop

    def run(self) -> None:
        """Until nobody needs it any more, or it is told to end."""
        try:
            while not self._is_over:
                self._turn()
        finally:
            self._wire.close()
            self._sockets.close()
            self._selector.close()

    def _turn(self) -> None:
        now = time.monotonic()
        seconds = max(0.0, min(self.machine.deadline(now) - now, 0.5))
        for key, events in self._selector.select(seconds):
            key.data(events)
        now = time.monotonic()
        self._wire.turn(now)
        self.machine.tick(now)
        if self.machine.has_emergency:
            self._wire.flush(now)
        self._remember(now)
        self._wire.flush(now)
        self._answer_starts()
        self._answer_stops()
        self._sockets.tidy()
        self._consider_leaving(now)

    def _remember(self, now: float) -> None:
        memory = self.machine.memory
        course = self.machine.course
        begins = course is not None and course.phase is Phase.STARTING
        if memory == self._saved or (now < self._save_at and not begins):
            return
        try:
            self._ledger.save(memory)
        except OSError as error:
            self._cannot_remember(error, now)
            return
        self._saved = memory
        last = memory.last
        if last is None or last.ending is None:
            return
        self._say(f"{last.name}: {last.ending.value} {last.code} {last.text}".rstrip())
        if last.ending is Ending.FAILED:
            self._ledger.keep_log(last.name, self._wire.log(now))
        if not self.machine.is_busy:
            self._close_file()

    def _cannot_remember(self, error: OSError, now: float) -> None:
        """A print that the disk does not know of does not begin. One that runs goes on; its end is written when it can be."""
        self._save_at = now + SAVE_AGAIN_SECONDS
        self._say(f"the memory cannot be written: {error.strerror}")
        self.machine.abandon_start(f"the serial host's disk refuses: {error.strerror}", now)

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    # -- leaving

    def end(self) -> None:
        """This computer goes down: a print cannot go on, so it is closed while the printer still listens."""
        now = time.monotonic()
        self._ends_at = now + FAREWELL_SECONDS
        if self.machine.is_busy:
            self.machine.break_off("the process that streams it was told to end", now)
        elif self.machine.is_left_hot(now):
            self.machine.cool_down(now)

    def _consider_leaving(self, now: float) -> None:
        if self._sockets.has_claimant:
            self._claimed_at = now
        if (
            self._ends_at is None
            and not self.machine.is_busy
            and now - self._claimed_at >= self._config.unclaimed_seconds
        ):
            self._say("nobody has asked for this printer for a while: cooling down and leaving")
            self.end()
        if self._ends_at is None:
            return
        is_done = not (self.machine.is_busy or self.machine.is_left_hot(now))
        if is_done or now >= self._ends_at:
            self._say("left")
            self._is_over = True

    # -- the socket

    def _handle(self, peer: Peer, message: talk.Message) -> None:
        number, op = message.get("id"), message.get("op")
        now = time.monotonic()
        if op in ("claim", "emergency_stop", "look"):
            if not hmac.compare_digest(str(message.get("token", "")).encode(), self._token.encode()):
                peer.say(talk.refusal(number, "refused", "the token is wrong"))
                peer.is_closed = True
            elif op == "claim":
                self._claim(peer, number)
            elif op == "look":
                peer.say(talk.answer(number, status=look(self.machine, now).to_json()))
            else:
                self._stop(peer, number, now)
        elif not peer.is_claimant:
            peer.say(talk.refusal(number, "refused", "claim the printer first"))
        elif op == "status":
            peer.say(talk.answer(number, status=look(self.machine, now).to_json()))
        elif op == "start":
            self._start(peer, number, message, now)
        elif op == "leave":
            self._leave(peer, number)
        elif isinstance(op, str) and op in self._operations:
            self._operate(peer, number, self._operations[op], now)
        else:
            peer.say(talk.refusal(number, "refused", "there is no such operation"))

    def _claim(self, peer: Peer, number: object) -> None:
        """The newest wins: an agent that was restarted takes over from one whose connection has not been missed yet."""
        for other in self._sockets.peers:
            if other is not peer and other.is_claimant:
                other.is_closed = True
        peer.is_claimant = True
        machine = self.machine
        facts = {
            "version": talk.VERSION,
            "config": self._config.digest,
            "is_busy": machine.is_busy,
            "is_known": machine.is_known,
            "why": machine.why,
            "fields": machine.facts.fields,
            "capabilities": machine.facts.capabilities,
        }
        peer.say(talk.answer(number, **facts))

    def _operate(self, peer: Peer, number: object, operation: Callable[[float], None], now: float) -> None:
        if not self._wire.is_open:
            peer.say(talk.refusal(number, "unreachable", self.machine.why))
            return
        try:
            operation(now)
        except NotNow as no:
            peer.say(talk.refusal(number, "refused", str(no)))
        else:
            peer.say(talk.answer(number))

    def _start(self, peer: Peer, number: object, message: talk.Message, now: float) -> None:
        if why := self.machine.why_not_start(now):
            error = "refused" if self.machine.is_known else "unreachable"
            peer.say(talk.refusal(number, error, why))
            return
        try:
            file = open(str(message["path"]), "rb", buffering=READ_AHEAD_BYTES)  # noqa: SIM115
        except (OSError, KeyError, ValueError):
            peer.say(talk.refusal(number, "refused", "the print file cannot be read by the serial host"))
            return
        self._close_file()
        self._file = file
        size = file.seek(0, 2)
        file.seek(0)
        name = str(message.get("name", ""))
        self.machine.start(name, size, lambda: file.readline(LONGEST_LINE + 1), now)
        self._starts.append(Waiting(peer, number))

    def _answer_starts(self) -> None:
        """A start is answered when the printer has answered its first question, or certainly heard none of the file."""
        if not self._starts:
            return
        course, last = self.machine.course, self.machine.memory.last
        if course is not None and course.phase is Phase.STARTING:
            return
        if course is not None or (last is not None and last.has_streamed):
            self._say(f"{self._saved.last.name if self._saved.last else ''}: begins")
        for waiting in self._starts:
            if course is None and last is not None and not last.has_streamed:
                waiting.peer.say(talk.refusal(waiting.number, "unreachable", last.text))
            else:
                waiting.peer.say(talk.answer(waiting.number, print_number=self.machine.memory.print_number))
        self._starts.clear()

    def _stop(self, peer: Peer, number: object, now: float) -> None:
        if not self._wire.is_open:
            peer.say(talk.refusal(number, "unreachable", f"the emergency stop was not written: {self.machine.why}"))
            return
        self.machine.emergency_stop(now)
        self._stops.append(Waiting(peer, number))

    def _answer_stops(self) -> None:
        if not self._stops:
            return
        if not self._wire.is_open:
            self._say("emergency stop: the port went before it was written")
            lines = [
                talk.refusal(stop.number, "unknown", "the port went before the stop was written")
                for stop in self._stops
            ]
        elif self._wire.written >= self._wire.emergency_end:
            self._say("emergency stop")
            lines = [talk.answer(stop.number) for stop in self._stops]
        else:
            return
        for stop, line in zip(self._stops, lines, strict=True):
            stop.peer.say(line)
        self._stops.clear()

    def _leave(self, peer: Peer, number: object) -> None:
        """Asked by a driver whose settings have changed."""
        if self.machine.is_busy:
            peer.say(talk.refusal(number, "refused", "it prints"))
            return
        peer.say(talk.answer(number))
        self.end()
