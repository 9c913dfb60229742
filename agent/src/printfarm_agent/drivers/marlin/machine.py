"""One printer on one serial port, whole: hello, watching, one print, cooling down, the emergency. Pure: no port, no
clock, no disk.

Whoever owns the port gives the bytes that came to ``receive``, writes what ``take_output`` gives, calls ``tick`` at
``deadline``, and says when the port was opened and when it vanished. What must outlive the process is ``memory``: it is
made durable before the bytes that follow it are written, but for those of a stop (``has_emergency``).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ...driver import Ending
from ...heat import HeatWatch
from ...limits import HeatRules, Limits, LineCheck
from ...limits import dialect_of as safety_dialect_of
from .course import Course, End, Manners, Phase, heaters_off
from .dialects import MARLIN, Dialect, dialect_of, firmware_of
from .facts import Facts
from .flow import Acked, Event, Lost, Noisy, Said, Timing
from .halting import Halt, Halting
from .hello import Hello, HelloTiming
from .link import Link
from .memory import LastPrint, Memory
from .replies import Action, Busy, Fault, Reply, SdPrinting, Severity, Start, Temperatures

POLL_SECONDS = 2.0
HELLO_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Of one printer, from the host's file. ``dialect`` None: by its answer to M115."""

    limits: Limits = field(default_factory=Limits)
    heat: HeatRules = field(default_factory=HeatRules)
    manners: Manners = field(default_factory=Manners)
    timing: Timing = field(default_factory=Timing)
    hello: HelloTiming = field(default_factory=HelloTiming)
    dialect: Dialect | None = None


class NotNow(Exception):
    """What is asked for is not possible as things stand; nothing was sent."""


class Machine:
    """See the module."""

    def __init__(self, rules: Rules, memory: Memory) -> None:
        self.rules = rules
        self.memory = memory
        self.facts = Facts()
        self.course: Course | None = None
        self.is_open = False
        self.hello: Hello | None = None
        # Hellos that nobody answered, since the port was opened: another baud rate may be tried.
        self.failed_hellos = 0
        self.link = self._new_link()
        self.why = "its port has not been opened yet"
        self.is_known = False
        self.halting = Halting()
        self._must_explain_heat = False
        # A process died in its print: the board may be in the last heat-up that it sent.
        self._may_heat_up = False
        self._control: deque[bytes] = deque()
        self._raw: list[bytes] = []
        self._emergency = b""
        self._heat = HeatWatch(rules.heat)
        self.heard_at = 0.0
        self._poll_at = 0.0
        self._hello_at: float | None = None
        self.message = ""
        if memory.last is not None and memory.last.ending is None:
            self._interrupted(memory.last)

    def _new_link(self) -> Link:
        dialect = self.rules.dialect or (dialect_of(self.facts.fields) if self.facts.fields else MARLIN)
        return Link(dialect, self.rules.timing)

    def _interrupted(self, last: LastPrint) -> None:
        """An earlier process began it, and is gone: the planner ran dry. It is over, and never taken up again."""
        text = "the process that streamed it ended; a streamed print cannot go on"
        ended = replace(last, ending=Ending.FAILED, code="host_interrupted", text=text)
        self.memory = replace(self.memory, last=ended)
        self._may_heat_up = True

    # -- the port

    def opened(self, now: float) -> None:
        """A port was opened, at some baud rate."""
        self.is_open, self.is_known = True, False
        self.failed_hellos = 0
        self.halting.restarted()
        self._say_hello(now)

    def vanished(self, why: str, now: float) -> None:
        """The port is gone: unplugged, or its driver failed."""
        self.is_open = self.is_known = False
        self.hello, self._hello_at = None, None
        self.why = why
        self._forget()
        self._end_course(End(Ending.FAILED, "printer_lost", why), now)

    def _say_hello(self, now: float, *, has_banner: bool = False) -> None:
        self.is_known, self._hello_at = False, None
        self.why = "it has not said hello yet"
        self.link = self._new_link()
        self.hello = Hello(self.rules.hello, now)
        if has_banner:
            self.hello.heard(now, is_banner=True)
        self._forget()

    def _forget(self) -> None:
        """What was true of the firmware that ran before."""
        self.facts = self.facts.forgotten()
        self._heat = HeatWatch(self.rules.heat)
        self._control.clear()
        self.halting.goes_on()

    @property
    def has_emergency(self) -> bool:
        """A stop waits to be written."""
        return bool(self._emergency)

    def take_output(self) -> tuple[bytes, bytes]:
        """(to be written now instead of all that waits, to be written after what waits)."""
        emergency, self._emergency = self._emergency, b""
        out = b"".join(self._raw) + self.link.take_output()
        self._raw.clear()
        return emergency, out

    # -- what came

    def receive(self, data: bytes, now: float) -> None:
        """Bytes from the printer, however they are cut."""
        self.heard_at = now
        if self.hello is not None and not self.hello.has_begun:
            self.hello.heard(now, is_banner=False)
        for event in self.link.receive(data, now):
            self._take(event, now)
        self._pump(now)

    def tick(self, now: float) -> None:
        """Time has passed."""
        for event in self.link.tick(now):
            self._take(event, now)
        self.halting.tick()
        if text := self.halting.ripe(now):
            self._halted("printer_error", text, now, needs_reset=False)
        if self.is_open and self._hello_at is not None and now >= self._hello_at:
            self._say_hello(now)
        if self.course is not None:
            hotend = self.facts.heaters.get("hotend")
            self.course.tick(now, hotend.target if hotend else 0.0)
        self._poll(now)
        self._pump(now)

    def deadline(self, now: float) -> float:
        """When ``tick`` is next needed."""
        course = self.course
        if course is not None and course.is_reading and course.phase is Phase.STREAMING and self.link.is_ready(now):
            return now
        times = [now + 1.0 if self.is_busy else now + POLL_SECONDS]
        begins = self.hello.deadline() if self.hello is not None else None
        others = (self.link.deadline(), self._hello_at, begins, self.halting.deadline())
        return min(times + [time for time in others if time is not None])

    def _take(self, event: Event, now: float) -> None:
        match event:
            case Acked(ticket, certain):
                self._acked(ticket, now, certain=certain)
            case Said(reply):
                self._hear(reply, now)
            case Noisy(resends):
                self.message = f"the line is noisy: {resends} lines were asked for again"
            case Lost(code, text):
                self._lost(code, text, now)

    def _acked(self, ticket: int, now: float, *, certain: bool) -> None:
        self.halting.goes_on()
        self.facts.waits_for_person = False
        if self.hello is not None:
            self.hello.acked(ticket, self.facts)
            if self.hello.is_done:
                self._known(now)
        if self.course is not None:
            self.course.acked(ticket, now, certain=certain)
            self._settle(now)

    def _known(self, now: float) -> None:
        """The hello passed."""
        self.hello, self.is_known, self.failed_hellos = None, True, 0
        self._may_heat_up = False
        self.why = ""
        if self.link.dialect is not (wanted := self.rules.dialect or dialect_of(self.facts.fields)):
            self.link.dialect = wanted
        self.halting.hello_passed()
        self._must_explain_heat = True

    def _lost(self, code: str, text: str, now: float) -> None:
        if self.hello is not None:
            self.failed_hellos += 1
        self.why = text
        self.hello, self.is_known = None, False
        self._hello_at = now + HELLO_AGAIN_SECONDS
        if self.course is not None:
            self._end_course(End(Ending.FAILED, code, text), now)
            # Lines without a number are taken at any time: perhaps one gets through.
            self._raw += [line + b"\n" for line in heaters_off(self._manners)]

    def _hear(self, reply: Reply, now: float) -> None:
        is_idle = self.is_known and self.course is None
        is_news = isinstance(reply, SdPrinting) and self.facts.sd is None
        self.facts.take(reply, now, is_idle=is_idle)
        match reply:
            case Temperatures():
                self._watch_heat(now)
            case Start():
                self._restarted(now)
            case Fault():
                self._fault(reply, now)
            case Busy():
                self.halting.goes_on()
            case Action(word, rest):
                self._act(word, rest, now)
            case SdPrinting() if is_news:
                self._ask(b"M27 C")

    def _watch_heat(self, now: float) -> None:
        heaters = tuple(self.facts.heaters.values())
        if self.course is not None and heaters:
            self.course.judge_heat(is_off=not self.facts.is_hot, now=now)
            self._settle(now)
        if self._must_explain_heat and self.is_known:
            self._must_explain_heat = False
            if self.facts.is_hot and self.course is None and not self.facts.is_foreign(now):
                self.message = "its heaters were on, and nobody here knows why: switched off"
                self._control.extend(heaters_off(self._manners))
        if self.is_known and (why := self._heat.look(heaters, now)):
            self._halted("thermal", f"thermal fault: {why}", now, needs_reset=True)
            self.emergency_stop(now)

    def _restarted(self, now: float) -> None:
        """The firmware's banner. In a hello it is what is waited for; elsewhere whatever ran is over."""
        self.halting.restarted()
        if self.hello is not None and not self.hello.has_begun:
            self.hello.heard(now, is_banner=True)
            return
        if self.hello is None and self.halt is None:
            self.memory = replace(self.memory, boot_count=self.memory.boot_count + 1)
        self._end_course(End(Ending.FAILED, "printer_reset", "the printer's firmware restarted"), now)
        self._say_hello(now, has_banner=True)

    def _fault(self, fault: Fault, now: float) -> None:
        if fault.severity is Severity.FATAL:
            code = "thermal" if fault.is_thermal else "printer_error"
            text = f"thermal fault: {fault.text}" if fault.is_thermal else fault.text
            self._halted(code, text, now, needs_reset="stopped due to" in text.lower() or "m999" in text.lower())
        elif fault.severity is Severity.OPEN:
            self.message = fault.text
            self.halting.may_stand(fault.text, now)
        else:
            self.message = fault.text

    def _halted(self, code: str, text: str, now: float, *, needs_reset: bool) -> None:
        halt = self.halting.stands(text, needs_reset=needs_reset)
        self._end_course(End(Ending.FAILED, code, halt.text), now)
        self._raw += [line + b"\n" for line in heaters_off(self._manners)]
        if self.hello is None:
            self.is_known, self._hello_at = False, now + HELLO_AGAIN_SECONDS

    def _act(self, word: str, rest: str, now: float) -> None:
        """The printer's own wishes. What is not named here is ignored, and nothing in ``rest`` is ever acted upon."""
        if word in ("notification", "prompt_begin"):
            self.message = rest
        elif self.course is None:
            return
        elif word == "pause":
            self.course.pause(by_farm=False)
        elif word == "resume":
            self.facts.paused_itself, self.facts.filament = False, None
            self.course.resume(by_farm=False)
        elif word == "cancel":
            self._cancel(self.course, "cancelled at the printer", now, by_farm=False)
        elif word in ("paused", "out_of_filament", "filament_runout"):
            self.facts.paused_itself, self.course.by_farm = True, False
            self.facts.filament = False if word != "paused" else self.facts.filament
        elif word == "resumed":
            self.facts.paused_itself, self.facts.filament = False, None

    # -- what goes out

    def _pump(self, now: float) -> None:
        if not self.is_open or self._hello_at is not None:
            return
        self.link.in_job = self.course is not None
        if self.hello is not None and self.hello.may_begin(now):
            self.hello.begin(self._first_words())
            if self._may_heat_up:
                # Nothing else is heard until it has.
                self._raw.append(b"M108\n")
            self.link.begin_session(now)
        while self.link.is_ready(now) and self._send_one(now):
            pass

    def _first_words(self) -> list[bytes]:
        """A print that ended badly may have left the firmware's watchdog on: it would stop an idle printer."""
        last = self.memory.last
        is_set = (
            last is not None and last.ending is not Ending.COMPLETE and self.rules.manners.firmware_watchdog_seconds
        )
        return [b"M85 S0"] if is_set else []

    def _send_one(self, now: float) -> bool:
        if self.hello is not None:
            question = self.hello.next()
            if question is not None:
                self.hello.sent(question, self.link.send(question, now))
            return question is not None
        if self._control:
            self.link.send(self._control.popleft(), now)
            return True
        course = self.course
        if course is None:
            return False
        if course.phase is Phase.STARTING and not course.has_begun:
            if not self.link.is_quiet:
                return False
            course.begin()
            self.link.begin_session(now)
            return self.link.is_ready(now)
        command = course.next(now)
        if command is None:
            return False
        course.sent(command, self.link.send(command, now))
        return True

    def _poll(self, now: float) -> None:
        if not self.is_known or now < self._poll_at:
            return
        self._poll_at = now + POLL_SECONDS
        has_reports = self.facts.capabilities.get("AUTOREPORT_TEMP", False)
        if self.course is None or not has_reports:
            self._ask(b"M105")
        if self.course is None and self.facts.may_have_card:
            self._ask(b"M27")

    def _ask(self, question: bytes) -> None:
        """Once: while the firmware is slow, questions do not pile up."""
        if question not in self._control:
            self._control.append(question)

    # -- what is wanted

    def start(self, name: str, size: int, read: Callable[[], bytes], now: float) -> None:
        """Begins a print. ``memory`` knows of it from here on. Raises NotNow."""
        if why := self.why_not_start(now):
            raise NotNow(why)
        number = self.memory.print_number + 1
        self.memory = replace(self.memory, print_number=number, last=LastPrint(name, number))
        self.course = Course(name, size, read, self._line_check(), self._manners, now)
        self.facts.percent, self.message = None, ""
        self._pump(now)

    def _line_check(self) -> LineCheck:
        """As the agent has checked the whole file."""
        configured = self.rules.dialect.name if self.rules.dialect else ""
        firmware = firmware_of(self.facts.fields, configured)
        return LineCheck(self.rules.limits, safety_dialect_of("marlin", firmware))

    def abandon_start(self, why: str, now: float) -> None:
        """Before a byte of the file has gone: it never was. Otherwise nothing happens."""
        if self.course is not None and self.course.phase is Phase.STARTING:
            self._end_course(End(Ending.FAILED, "not_started", why), now)

    def why_not_start(self, now: float) -> str:
        """Empty if a print may begin."""
        if self.halt is not None:
            return f"the printer halted: {self.halt.text}"
        if not self.is_known:
            return f"the printer is not connected: {self.why}"
        if self.course is not None:
            return f"it prints {self.course.name}"
        if self.facts.is_foreign(now):
            return "somebody uses it at the printer itself"
        return ""

    def pause(self, now: float) -> None:
        """Raises NotNow if nothing prints. Success: it is on its way."""
        self._printing().pause(by_farm=True)
        self._pump(now)

    def resume(self, now: float) -> None:
        """Raises NotNow if nothing prints."""
        if self.facts.paused_itself or self.facts.waits_for_person:
            raise NotNow("it waits for a person at the printer")
        self._printing().resume(by_farm=True)
        self._pump(now)

    def cancel(self, now: float) -> None:
        """Raises NotNow if nothing prints. Over once the printer says that its heaters are off."""
        self._cancel(self._printing(), "cancelled", now, by_farm=True)
        self._pump(now)

    def _cancel(self, course: Course, text: str, now: float, *, by_farm: bool) -> None:
        if course.phase is Phase.CLOSING:
            return
        course.by_farm = by_farm
        self._close(course, End(Ending.CANCELLED, text=text), now)

    def break_off(self, why: str, now: float) -> None:
        """The process that streams is told to end: its print is closed while the printer still listens."""
        if self.course is not None and self.course.phase is not Phase.CLOSING:
            self._close(self.course, End(Ending.FAILED, "host_interrupted", why), now)

    def _close(self, course: Course, end: End, now: float) -> None:
        course.close(end, now)
        if self.link.is_heating or self.facts.waits_for_person:
            self.link.interrupt(now)

    def cool_down(self, now: float) -> None:
        """Raises NotNow while something prints, also somebody else's."""
        if self.course is not None:
            raise NotNow(f"it prints {self.course.name}")
        if self.facts.is_foreign(now):
            raise NotNow("somebody uses it at the printer itself")
        self._control.extend(heaters_off(self._manners))
        self._ask(b"M105")
        self._pump(now)

    def emergency_stop(self, now: float) -> None:
        """Everything stops. ``take_output`` gives the bytes, to be written before, and instead of, all others."""
        self._emergency = self.link.emergency(self._manners.extruders)
        self._raw.clear()
        self._end_course(End(Ending.FAILED, "emergency_stop", "emergency stop"), now)
        self.halting.stands("emergency stop", needs_reset=True)
        self._control.clear()
        self.hello, self.is_known, self._hello_at = None, False, now + HELLO_AGAIN_SECONDS

    def _printing(self) -> Course:
        if self.course is None:
            raise NotNow("nothing prints")
        return self.course

    # -- the end of a print

    def _settle(self, now: float) -> None:
        """A course that is over becomes memory."""
        course, last = self.course, self.memory.last
        if course is None or course.end is None or last is None:
            return
        self.course = None
        ended = replace(
            last,
            ending=course.end.ending,
            code=course.end.code,
            text=course.end.text,
            end_of_file=course.is_at_end_of_file,
            elapsed_seconds=now - course.began_at,
            progress=course.progress,
            by_farm=course.by_farm,
            has_streamed=course.line > 0,
        )
        self.memory = replace(self.memory, last=ended)
        if course.end.code == "heaters_on":
            self.halting.stands(course.end.text, needs_reset=False)

    def _end_course(self, end: End, now: float) -> None:
        if self.course is not None:
            self.course.cut(end, now)
            self._settle(now)

    # -- what is told

    @property
    def halt(self) -> Halt | None:
        """Why it stands; None while it works."""
        return self.halting.halt

    @property
    def is_busy(self) -> bool:
        """A print is under way."""
        return self.course is not None

    def is_left_hot(self, now: float) -> bool:
        """Some heater is on, and no print needs it: neither ours nor somebody's at the printer."""
        return self.is_known and not self.is_busy and self.facts.is_hot and not self.facts.is_foreign(now)

    @property
    def _manners(self) -> Manners:
        chamber = self.facts.capabilities.get("CHAMBER_TEMPERATURE", False)
        manners = self.rules.manners
        return replace(manners, extruders=self.facts.extruders, has_chamber=manners.has_chamber or chamber)
