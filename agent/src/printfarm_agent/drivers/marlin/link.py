"""The line protocol as a machine: commands and bytes in, bytes and events out. No port, no clock; ``now`` is monotonic
seconds.

It numbers, checks, keeps the window, sends again what the firmware asks for, and notices a lost ``ok``. Nothing it does
moves a line's number to another command: a line is sent again only because the firmware asked for its number.

Flow: one command at a time unless the firmware tells its free places (``ok P15 B3``) twice; then as many as it has room
for, less one. Commands that the firmware answers only when they are done (M109, G28, M400 and others) go out alone.
"""

from collections import deque

from .dialects import MARLIN, Dialect
from .flow import Acked, Command, Counts, Event, Lost, Noisy, Said, Timing, Window
from .framing import HEATING, Splitter, frame, name_of
from .replies import Busy, Fault, Ok, Reading, Reply, Resend, Severity, Start, Temperatures, Wait, read

# Lines that can still be asked for again.
HISTORY = 64
# Of an AVR's receive buffer of 128 bytes.
RECEIVE_BUFFER = 126
REACHED_WITHIN = 3.0
STORM_SAME_LINE, STORM_OF_HUNDRED, STRAY_OKS = 10, 10, 50
# Firmware that has taken so many lines and then wants the first again has forgotten them: it restarted without its banner.
FORGOTTEN_LINES = 16


def _is_on_its_way(reading: Reading) -> bool:
    """A heat-up has something to wait for. Once it is there, reports go on, and are no sign that the heat-up does."""
    if reading.current is None:
        return False
    return reading.target is None or (reading.target > 0 and abs(reading.current - reading.target) > REACHED_WITHIN)


class Link:
    """One connection to one firmware."""

    def __init__(self, dialect: Dialect = MARLIN, timing: Timing | None = None) -> None:
        self.dialect = dialect
        self.timing = timing or Timing()
        self.counts = Counts()
        self.window = Window()
        self.in_job = False
        self.has_busy = False
        # The firmware's ok to M105 carries temperatures: it is told from every other.
        self.marks_m105 = False
        self._splitter = Splitter()
        self._ticket = 0
        self._reset()

    def _reset(self) -> None:
        self._next = 1
        self._history: deque[Command] = deque(maxlen=HISTORY)
        self._outstanding: deque[Command] = deque()
        self._again: deque[Command] = deque()
        self._held: Command | None = None
        self._sessions_due = 0
        self._swallow_until: float | None = None
        self._probe_until: float | None = None
        self._late_probes = 0
        self._silences = 0
        self._life = 0.0
        self._wanted_again = (-1, 0)
        self._more_of_the_same = 0
        self._resent_at: deque[int] = deque()
        self._has_warned = False
        self._over = False
        self._out: list[bytes] = []

    # -- sending

    def begin_session(self, now: float) -> None:
        """Numbers start anew. Everything unanswered is forgotten, so call it only when nothing is."""
        self._reset()
        self._life = now
        # Twice: the first may stick to noise on the line.
        self._sessions_due = 2 if self.dialect.is_numbered else 0
        self._advance(now)

    def is_ready(self, now: float) -> bool:
        """Another command may be given."""
        if self._over or self._sessions_due or self._again or self._held:
            return False
        return self._swallow_until is None and self._probe_until is None and self._has_room(now)

    @property
    def is_quiet(self) -> bool:
        """Nothing is unanswered, and nothing waits to be sent."""
        return not (self._outstanding or self._again or self._held or self._sessions_due)

    @property
    def is_heating(self) -> bool:
        """A heat-up blocks the firmware."""
        return any(command.name in HEATING for command in self._outstanding)

    def send(self, command: bytes, now: float) -> int:
        """Takes a command, without comment or line end; the ticket comes back with ``Acked``. Only while ``is_ready``."""
        self._ticket += 1
        number = None
        if self.dialect.is_numbered:
            number = self._next
            self._next += 1
        made = Command(self._ticket, number, frame(number, command), name_of(command))
        if number is not None:
            self._history.append(made)
        if self._fits(made):
            self._transmit(made, now)
        else:
            self._held = made
        if self.dialect.is_numbered and self._next >= self.dialect.lines_per_session:
            self._sessions_due = 2
        return made.ticket

    def interrupt(self, now: float) -> None:
        """M108 past the window, plain: leaves a heat-up. Without an emergency parser it waits its turn, and is answered."""
        self._ticket += 1
        self._transmit(Command(self._ticket, None, frame(None, b"M108"), "M108"), now)

    def emergency(self, extruders: int = 1) -> bytes:
        """What stops the machine, to be written before anything else, instead of everything else.

        The empty line ends whatever was half written. Plain, for the emergency parser; then with number and checksum, for
        firmware without one; then the heaters, for firmware that only stopped moving.
        """
        lines = [b"\n"]
        if self.is_heating:
            lines.append(b"M108\n")
        lines.append(b"M112\n")
        if self.dialect.is_numbered:
            lines.append(frame(self._next, b"M112"))
        lines += [b"M104 T%d S0\n" % number for number in range(extruders)] + [b"M140 S0\n"]
        self._out.clear()
        self._over = True
        return b"".join(lines)

    def take_output(self) -> bytes:
        """What is to be written now, whole lines."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _has_room(self, now: float) -> bool:
        if not self._outstanding:
            return True
        return len(self._outstanding) < self.window.size(now) and not self._outstanding[-1].is_blocking

    def _fits(self, command: Command) -> bool:
        """Beside what is unanswered, into the firmware's receive buffer."""
        if not self._outstanding:
            return True
        bytes_there = sum(len(sent.framed) for sent in self._outstanding)
        return not command.is_blocking and bytes_there + len(command.framed) <= RECEIVE_BUFFER

    def _transmit(self, command: Command, now: float) -> None:
        if not self._outstanding:
            self._life = now
        self._outstanding.append(command)
        self._out.append(command.framed)
        self.counts.sent += 1

    def _advance(self, now: float) -> None:
        """Sends what waits: first what was asked for again, then a held command, then a new session."""
        if self._over or self._swallow_until is not None or self._probe_until is not None:
            return
        while self._again and self._has_room(now) and self._fits(self._again[0]):
            self._transmit(self._again.popleft(), now)
        if self._again:
            return
        if self._held is not None and self._fits(self._held):
            held, self._held = self._held, None
            self._transmit(held, now)
        if self._outstanding or self._held:
            return
        if self._sessions_due:
            self._next = 1
            self._history.clear()
            self._transmit(Command(0, 0, frame(0, b"M110 N0"), "M110"), now)

    # -- receiving

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Whatever bytes came, however they were cut."""
        events: list[Event] = []
        for line in self._splitter.feed(data):
            for reply in read(line):
                events += self._take(reply, now)
        self._advance(now)
        return events

    @property
    def noise_bytes(self) -> int:
        """Thrown away, since no line ended in them."""
        return self._splitter.thrown_away

    def _take(self, reply: Reply, now: float) -> list[Event]:
        match reply:
            case Ok():
                return self._take_ok(reply, now)
            case Resend(number):
                return self._take_resend(number, now)
            case Fault(severity=Severity.LINE):
                return []
        self._swallow_until = None
        match reply:
            case Busy():
                self.has_busy = True
                self._alive(now)
            case Wait() if self._is_overdue_at_wait(now):
                return self._free_oldest(now)
            case Temperatures(readings) if self.is_heating and any(_is_on_its_way(reading) for reading in readings):
                self._alive(now)
            case Start():
                self._reset()
        return [Said(reply)]

    def _alive(self, now: float) -> None:
        self._life = now
        self._silences = 0
        if self._probe_until is not None:
            self._probe_until = now + self._probe_patience()

    def _take_ok(self, ok: Ok, now: float) -> list[Event]:
        self.window.note(ok, streaming=self.in_job)
        self.marks_m105 = self.marks_m105 or ok.to_m105
        if self._swallow_until is not None:
            self._swallow_until = None
            return []
        oldest = self._outstanding[0] if self._outstanding else None
        if self._probe_until is not None:
            self._probe_until = None
            self._silences = 0
            if ok.to_m105:
                return self._free_oldest(now)
            self._late_probes += 1
        elif oldest is not None and ok.to_m105 and oldest.name != "M105" and self._late_probes:
            self._late_probes -= 1
            return []
        if oldest is None or self._is_of_an_older(ok, oldest):
            return self._stray_ok()
        self._silences = 0
        return self._ack(now, certain=True)

    def _is_of_an_older(self, ok: Ok, oldest: Command) -> bool:
        """It came twice, or late: the command that waits is not done."""
        if ok.number is not None and oldest.number is not None and ok.number != oldest.number:
            # Sixteen bits, in some firmware.
            return (oldest.number - ok.number) % (1 << 16) < 1 << 15
        return self.marks_m105 and oldest.name == "M105" and not ok.to_m105

    def _stray_ok(self) -> list[Event]:
        self.counts.stray_oks += 1
        if self.counts.stray_oks % STRAY_OKS == 0 and self.in_job:
            return self._fail("link_storm", f"{self.counts.stray_oks} answers came to no command")
        return []

    def _ack(self, now: float, *, certain: bool) -> list[Event]:
        done = self._outstanding.popleft()
        self._life = now
        if done.name == "M110" and done.number == 0:
            self._sessions_due -= 1
            if not certain:
                self._sessions_due += 1
            return []
        return [Acked(done.ticket, certain)]

    def _free_oldest(self, now: float) -> list[Event]:
        """An ok was lost. The next number goes out; if the firmware missed the line, it asks for it."""
        if not self._outstanding:
            return []
        self.counts.lost_oks += 1
        return self._ack(now, certain=False)

    def _is_overdue_at_wait(self, now: float) -> bool:
        oldest = self._outstanding[0] if self._outstanding else None
        return oldest is not None and now - self._life > self.timing.wait

    # -- sending again

    def _take_resend(self, number: int, now: float) -> list[Event]:
        if not self.dialect.is_numbered or self._over:
            return []
        if self._sessions_due:
            # The line that starts the numbers was damaged.
            self._outstanding.clear()
            self._sessions_due = 2
            self._swallow_until = now + self.timing.after_resend
            return self._storm(0)
        if number >= self._next:
            return self._storm(number)
        if number == self._wanted_again[0] and self._more_of_the_same > 0:
            # Lines behind the damaged one were in flight: each asks for the same.
            self._more_of_the_same -= 1
            self._swallow_until = self._swallow_until or now + self.timing.after_resend
            return []
        if 0 <= number <= 1 and self._is_forgotten():
            return self._fail("printer_reset", "the printer wants the first line again: its firmware restarted")
        again = [command for command in self._history if command.number is not None and command.number >= number]
        if number < 0 or not again or again[0].number != number:
            return self._fail("resend_unknown", f"the printer asks for line {number}, which is no longer known")
        self._more_of_the_same = sum(
            1 for sent in self._outstanding if sent.number is not None and sent.number > number
        )
        kept = [sent for sent in self._outstanding if sent.number is not None and sent.number < number]
        self._outstanding = deque(kept)
        self._again = deque(command for command in again if command is not self._held)
        self._probe_until = None
        self._swallow_until = now + self.timing.after_resend
        self.window.small_until = now + self.timing.shrink
        return self._storm(number)

    def _is_forgotten(self) -> bool:
        """Far more was answered than can have been answered in vain."""
        oldest = next((sent.number for sent in self._outstanding if sent.number is not None), self._next)
        return oldest > FORGOTTEN_LINES

    def _storm(self, number: int) -> list[Event]:
        """Gives up on a line that stays damaged, and on a cable that damages one line in ten."""
        self.counts.resends += 1
        same, times = self._wanted_again
        times = times + 1 if same == number else 1
        self._wanted_again = (number, times)
        self._resent_at.append(self.counts.sent)
        while self._resent_at and self._resent_at[0] < self.counts.sent - 100:
            self._resent_at.popleft()
        if times > STORM_SAME_LINE:
            return self._fail("link_storm", f"line {number} was asked for {times} times: cable, supply or baud rate")
        if len(self._resent_at) > STORM_OF_HUNDRED:
            text = f"{len(self._resent_at)} of the last 100 lines were asked for again: cable, supply or baud rate"
            return self._fail("link_storm", text)
        if not self._has_warned and self.counts.resends * 100 > max(self.counts.sent, 100):
            self._has_warned = True
            return [Noisy(self.counts.resends)]
        return []

    def _fail(self, code: str, text: str) -> list[Event]:
        self._over = True
        self._out.clear()
        return [Lost(code, text)]

    # -- time

    def tick(self, now: float) -> list[Event]:
        """Time has passed."""
        events: list[Event] = []
        if self._over:
            return events
        if self._swallow_until is not None and now >= self._swallow_until:
            self._swallow_until = None
        if self._probe_until is not None and now >= self._probe_until:
            events = self._silent(now)
        elif self._probe_until is None and self._outstanding and now - self._life >= self._patience():
            self._probe(now)
        self._advance(now)
        return events

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None if never."""
        if self._over:
            return None
        times = [time for time in (self._swallow_until, self._probe_until) if time is not None]
        if self._outstanding and self._probe_until is None:
            times.append(self._life + self._patience())
        return min(times, default=None)

    def _patience(self) -> float:
        timing = self.timing
        if any(command.is_blocking for command in self._outstanding):
            return timing.blocking_with_busy if self.has_busy else timing.blocking
        if not self.in_job:
            return timing.ok_idle
        return timing.ok_with_busy if self.has_busy else timing.ok

    def _probe_patience(self) -> float:
        return self.timing.probe if self.in_job else self.timing.probe_idle

    def _probe(self, now: float) -> None:
        """Without number: Marlin 2.1 drops a repeated number without a word, so the same line is never sent twice unasked."""
        self._probe_until = now + self._probe_patience()
        self._out.append(frame(None, b"M105"))

    def _silent(self, now: float) -> list[Event]:
        self._silences += 1
        limit = self.timing.silences_in_job if self.in_job else self.timing.silences_idle
        if self._silences >= limit:
            return self._fail("link_silent", f"the printer answered nothing {self._silences} times")
        self._probe(now)
        return []
