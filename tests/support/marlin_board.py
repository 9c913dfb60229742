"""A board with Marlin, or a relative, as a machine without a wire: bytes in, bytes out, time as an argument.

It does what the firmware's own sources do: a receive buffer that drops what does not fit, a short command queue, a planner,
numbers and checksums, resends in each dialect, heaters that take time, "busy" while something lasts, an emergency parser, a
card. Its ``log`` is the only ground truth of a test. Whatever it does wrong is asked for by name.
"""

import math
import re
from collections import deque
from dataclasses import dataclass, field
from functools import reduce
from operator import xor
from typing import Any

AMBIENT = 22.0
_WORD = re.compile(r"([A-Z])(-?\d+(?:\.\d+)?)")


@dataclass
class Firmware:
    """How the board was built. ``dialect``: marlin, prusa, repetier, reprapfirmware."""

    dialect: str = "marlin"
    queue: int = 4
    receive_buffer: int = 128
    planner: int = 16
    advanced_ok: bool = False
    emergency_parser: bool = True
    busy: bool = True
    auto_report: bool = True
    has_card: bool = True
    # Older builds print from a card, and do not tell in M115 that they have one.
    tells_card: bool = True
    ok_after_resend: bool = True
    says_start: bool = True
    machine_type: str = "Ender-3"
    # Everything that lasts is so much shorter.
    time_scale: float = 1.0
    boot_seconds: float = 0.05
    # To take a command out of the queue and do what needs no time.
    command_seconds: float = 0.0005
    busy_seconds: float = 2.0


@dataclass
class Faults:
    """What it does wrong, and how often yet."""

    lose_oks: int = 0
    double_oks: int = 0
    lose_lines: int = 0
    damage_lines: int = 0
    damage_every: int = 0
    is_mute: bool = False
    heaters_stay_on: bool = False
    # Instead of a temperature report.
    temperatures: str = ""
    # Before each answer.
    noise: bytes = b""
    # After a fatal fault it stands, and still says ok.
    is_stopped: bool = False
    delay: float = 0.0


@dataclass
class Heater:
    """Moves towards its target."""

    rate: float
    current: float = AMBIENT
    target: float = 0.0

    def move(self, seconds: float) -> None:
        goal = self.target or AMBIENT
        step = self.rate * seconds
        self.current += max(-step / 4, min(step, goal - self.current))


@dataclass
class Board:
    """See the module. ``log`` has one fact an entry, with its time."""

    firmware: Firmware = field(default_factory=Firmware)
    faults: Faults = field(default_factory=Faults)
    log: list[dict[str, Any]] = field(default_factory=list)
    resets: int = 0

    def __post_init__(self) -> None:
        self.now = 0.0
        self.is_dead = True
        self._forget()

    def _forget(self) -> None:
        self._received = bytearray()
        self._parser = b""
        self._queue: deque[str] = deque()
        self._ends: deque[float] = deque()
        self._last_line = 0
        self._doing: tuple[str, Any] | None = None
        self._free_at = 0.0
        self._busy_at = math.inf
        self._report_at = math.inf
        self._report_every = 0.0
        self._wait_at = math.inf
        self._boot_at = math.inf
        self.heaters = {"T": Heater(8.0), "B": Heater(4.0)}
        self.position = {"X": 0.0, "Y": 0.0, "Z": 0.0, "E": 0.0}
        self._feed = 1500.0
        self._relative = False
        self._lines_seen = 0
        self.card_print: list[int] | None = None
        self.card_file = "THEIRS~1.GCO theirs.gcode"
        self._out: list[tuple[float, bytes]] = []
        self.is_stopped = False

    # -- power

    def reset(self, now: float, why: str = "reset") -> None:
        """The firmware starts anew; whatever ran is gone. A part on the bed stays."""
        self.now = now
        self._forget()
        self.is_dead = False
        self.resets += 1
        self._note(why)
        self._boot_at = now + self.firmware.boot_seconds

    def _note(self, event: str, **facts: Any) -> None:
        self.log.append({"event": event, "t": self.now, **facts})

    def commands(self) -> list[str]:
        """All that were carried out, in order."""
        return [entry["command"] for entry in self.log if entry["event"] == "command"]

    # -- the wire

    def receive(self, data: bytes, now: float) -> None:
        """Bytes have come."""
        self.advance(now)
        if self._boot_at < math.inf:
            # Nobody reads yet.
            return
        for byte in data:
            self._emergency(byte)
            if len(self._received) < self.firmware.receive_buffer:
                self._received.append(byte)
            else:
                self._note("overflow")
        self.advance(now)

    def _emergency(self, byte: int) -> None:
        """Picks three commands from the raw bytes, full queue or not."""
        self._parser = b"" if byte == 10 else (self._parser + bytes([byte]))[:8]
        if not self.firmware.emergency_parser or self.is_dead or self._parser not in (b"M112", b"M108", b"M410"):
            return
        if self._parser == b"M112":
            self._emergency_stop()
        elif self._parser == b"M108" and self._doing and self._doing[0] in ("heat", "user"):
            self._note("heat-up left")
            self._finish()

    def _emergency_stop(self) -> None:
        self._note("emergency_stop", heating=self._doing is not None and self._doing[0] == "heat")
        self.kill("Error:Printer halted. kill() called!")

    def kill(self, *texts: str) -> None:
        """Heaters off, motors off, deaf until a reset."""
        for heater in self.heaters.values():
            heater.target = 0.0
        self._queue.clear()
        self._ends.clear()
        self._doing = None
        for text in texts:
            self.say(text)
        self.is_dead = True
        self._report_at = self._busy_at = self._wait_at = math.inf
        self._note("halted", text=texts[0] if texts else "")

    def say(self, text: str) -> None:
        """A line to the host."""
        if not self.faults.is_mute:
            self._out.append((self.now + self.faults.delay, self.faults.noise + text.encode("latin-1") + b"\n"))

    def take(self, now: float) -> bytes:
        """What was said until now."""
        self.advance(now)
        said = b"".join(data for at, data in self._out if at <= now)
        self._out = [(at, data) for at, data in self._out if at > now]
        return said

    def next_at(self) -> float:
        """When something changes by itself."""
        times = [self._boot_at, self._busy_at, self._report_at, self._wait_at, *(at for at, _ in self._out)]
        if self._doing is not None:
            kind, what = self._doing
            if kind == "dwell":
                times.append(what)
            elif kind == "plan" and self._ends:
                times.append(self._ends[0])
            elif kind == "drain" and self._ends:
                times.append(self._ends[-1])
            elif kind == "heat":
                times.append(self.now + 0.02)
        elif self._queue or b"\n" in self._received:
            times.append(max(self._free_at, self.now))
        return min(times)

    # -- its own life

    def advance(self, now: float) -> None:
        """Everything up to now."""
        seconds, self.now = max(now - self.now, 0.0), max(now, self.now)
        for heater in self.heaters.values():
            heater.move(seconds * self.firmware.time_scale)
        if self._boot_at <= self.now:
            self._boot_at = math.inf
            self._wait_at = self.now + 1.0 if self.firmware.dialect == "repetier" else math.inf
            if self.firmware.says_start:
                self.say("start")
                self.say("echo:Marlin 2.1.2")
        while self._ends and self._ends[0] <= self.now:
            self._ends.popleft()
        if self.is_dead or self._boot_at < math.inf:
            return
        self._chatter()
        while self._step():
            pass

    def _chatter(self) -> None:
        if self._report_at <= self.now:
            self._report_at = self.now + self._report_every
            self.say(" " + self._temperatures())
        if self._busy_at <= self.now and self._doing:
            self._busy_at = self.now + self.firmware.busy_seconds
            if self._doing[0] == "heat":
                self.say(" " + self._temperatures() + " W:?")
            if self.firmware.busy:
                word = "paused for user" if self._doing[0] == "user" else "processing"
                self.say(f"echo:busy: {word}")
        if self._wait_at <= self.now:
            self._wait_at = self.now + 1.0
            if not self._queue and not self._doing:
                self.say("wait")

    def _step(self) -> bool:
        """One thing; False if there is nothing to do yet."""
        if self._doing is not None:
            if not self._is_done():
                return False
            self._finish()
            return True
        while len(self._queue) < self.firmware.queue and b"\n" in self._received:
            raw, _, rest = bytes(self._received).partition(b"\n")
            self._received = bytearray(rest)
            self._take_line(raw)
        if not self._queue or self._free_at > self.now:
            return False
        self._free_at = self.now + self.firmware.command_seconds
        self._carry_out(self._queue.popleft())
        return True

    def _is_done(self) -> bool:
        kind, what = self._doing or ("", None)
        if kind == "dwell":
            return bool(what <= self.now)
        if kind == "plan":
            return len(self._ends) < self.firmware.planner
        if kind == "drain":
            return not self._ends
        if kind == "heat":
            heater = self.heaters[what]
            return abs(heater.current - heater.target) < 1.0
        return False

    def _finish(self) -> None:
        kind, _ = self._doing or ("", None)
        self._doing, self._busy_at = None, math.inf
        if kind == "plan":
            self._plan()
        self._ok()

    # -- lines

    def _take_line(self, raw: bytes) -> None:
        self._lines_seen += 1
        faults = self.faults
        if faults.lose_lines > 0:
            faults.lose_lines -= 1
            self._note("lost_line", line=raw.decode("latin-1"))
            return
        if faults.damage_lines > 0 or (faults.damage_every and self._lines_seen % faults.damage_every == 0):
            faults.damage_lines = max(faults.damage_lines - 1, 0)
            middle = len(raw) // 2
            raw = raw[:middle] + bytes([raw[middle] ^ 0x15]) + raw[middle + 1 :] if raw else raw
        line = raw[:95].decode("latin-1").strip()
        if not line:
            return
        if line.startswith("N") and (checked := self._check(line)) is None:
            return
        self._queue.append(checked if line.startswith("N") and checked is not None else line)

    def _check(self, line: str) -> str | None:
        body, star, digits = line.rpartition("*")
        found = re.match(r"N(-?\d+)\s*", body if star else line)
        number = int(found[1]) if found else -2
        is_session = "M110" in line
        if is_session and (second := re.search(r"N(-?\d*)", body[4:])):
            # As Marlin: the word may stand anywhere, and the next N counts, whatever follows it.
            number = int(second[1] or 0)
        if self.firmware.dialect == "reprapfirmware":
            # Numbers mean nothing to it, and a line whose checksum is wrong vanishes.
            is_right = not star or digits == str(reduce(xor, body.encode("latin-1"), 0))
            return (body[found.end() :] if found else body) if is_right else None
        if star and (not digits.isdecimal() or int(digits) != reduce(xor, body.encode("latin-1"), 0)):
            return self._ask_again("checksum mismatch")
        if not star:
            return self._ask_again("No Checksum with line number")
        if not is_session and number != self._last_line + 1:
            if self.firmware.dialect == "marlin" and number in (self._last_line, self._last_line - 1):
                self._note("dropped_duplicate", number=number)
                return None
            if self.firmware.dialect == "repetier" and number <= self._last_line:
                self.say(f"skip {number}")
                self._ok()
                return None
            return self._ask_again("Line Number is not Last Line Number+1")
        self._last_line = number
        return body[found.end() :] if found else body

    def _ask_again(self, text: str) -> None:
        """As ``flush_and_request_resend``: what is in the receive buffer is thrown away."""
        self._note("resend", number=self._last_line + 1, text=text)
        self._received.clear()
        wanted = self._last_line + 1
        if self.firmware.dialect == "repetier":
            self.say(f"Error:expected line {wanted} got another")
            self.say(f"Resend:{wanted}")
        elif self.firmware.dialect == "prusa":
            self.say(f"Error:{text}, Last Line: {self._last_line}")
            self.say(f"Resend: {wanted}")
        else:
            self.say(f"Error:{text}, Last Line: {self._last_line}")
            self.say(f"Resend: {wanted}")
        if self.firmware.ok_after_resend:
            self.say("ok")

    def _ok(self, data: str = "") -> None:
        if self.faults.lose_oks > 0:
            self.faults.lose_oks -= 1
            self._note("lost_ok")
            return
        text = "ok"
        if self.firmware.dialect == "repetier" and self._last_line:
            text = f"ok {self._last_line}"
        if self.firmware.advanced_ok:
            room = self.firmware.queue - len(self._queue) - 1
            text += f" N{self._last_line} P{self.firmware.planner - len(self._ends)} B{room}"
        if self.firmware.dialect == "repetier":
            self.say(text)
            if data:
                self.say(data)
        else:
            self.say(f"{text} {data}".rstrip())
        if self.faults.double_oks > 0:
            self.faults.double_oks -= 1
            self.say(text)

    def _m118(self, _words: dict[str, float], rest: str) -> None:
        self.say(rest)
        self._ok()

    # -- commands

    def _carry_out(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        name = name.upper()
        words = {letter: float(value) for letter, value in _WORD.findall(rest.upper())}
        self._note("command", command=line)
        if self.is_stopped and name[:1] == "G":
            self.say(
                "Error:Printer stopped due to errors. Fix the error and use M999 to restart. (Temperature is reset.)"
            )
            self._ok()
            return
        handler = getattr(self, f"_{name.lower()}", None)
        if handler is not None:
            handler(words, rest)
        elif name in ("G0", "G1", "G2", "G3"):
            self._move(words)
        else:
            self._ok()

    def _begin(self, kind: str, what: Any = None) -> None:
        self._doing, self._busy_at = (kind, what), self.now + self.firmware.busy_seconds
        if self._is_done():
            self._finish()

    def _move(self, words: dict[str, float]) -> None:
        self._feed = words.get("F", self._feed)
        before = dict(self.position)
        for axis in "XYZE":
            if axis in words:
                self.position[axis] = words[axis] + (self.position[axis] if self._relative else 0.0)
        length = max(math.dist([before[a] for a in "XYZ"], [self.position[a] for a in "XYZ"]), 0.0)
        self._length = length or abs(self.position["E"] - before["E"])
        self._begin("plan")

    def _plan(self) -> None:
        seconds = self._length / max(self._feed / 60.0, 0.01) / self.firmware.time_scale
        if not self._ends and seconds:
            self._note("planner_empty")
        self._ends.append(max(self._ends[-1] if self._ends else self.now, self.now) + seconds)

    def _g4(self, words: dict[str, float], _: str) -> None:
        seconds = words.get("S", words.get("P", 0.0) / 1000)
        self._begin("dwell", self.now + seconds / self.firmware.time_scale)

    def _g28(self, _words: dict[str, float], _: str) -> None:
        self.position = {"X": 0.0, "Y": 0.0, "Z": 0.0, "E": self.position["E"]}
        self._begin("dwell", self.now + 5.0 / self.firmware.time_scale)

    def _g90(self, _words: dict[str, float], _: str) -> None:
        self._relative = False
        self._ok()

    def _g91(self, _words: dict[str, float], _: str) -> None:
        self._relative = True
        self._ok()

    def _m104(self, words: dict[str, float], _: str) -> None:
        self._heat("T", words)
        self._ok()

    def _m140(self, words: dict[str, float], _: str) -> None:
        self._heat("B", words)
        self._ok()

    def _heat(self, which: str, words: dict[str, float]) -> None:
        target = words.get("S", 0.0)
        if self.faults.heaters_stay_on and not target:
            return
        self.heaters[which].target = target
        self._note("heater", heater=which, target=target)

    def _m109(self, words: dict[str, float], _: str) -> None:
        self._heat("T", words)
        self._begin("heat", "T")

    def _m190(self, words: dict[str, float], _: str) -> None:
        self._heat("B", words)
        self._begin("heat", "B")

    def _m400(self, _words: dict[str, float], _: str) -> None:
        self._begin("drain")

    def _m0(self, _words: dict[str, float], _: str) -> None:
        self._begin("user")

    _m600 = _m0

    def _m108(self, _words: dict[str, float], _: str) -> None:
        self._ok()

    def _m112(self, _words: dict[str, float], _: str) -> None:
        self._emergency_stop()

    def _m105(self, _words: dict[str, float], _: str) -> None:
        self._ok(self._temperatures())

    def _m110(self, words: dict[str, float], _: str) -> None:
        # A line without a number sets it as well, once it is carried out: so PrusaLink begins a file.
        self._last_line = int(words.get("N", self._last_line))
        self._ok()

    def _m114(self, _words: dict[str, float], _: str) -> None:
        at = self.position
        self.say(f"X:{at['X']:.2f} Y:{at['Y']:.2f} Z:{at['Z']:.2f} E:{at['E']:.2f} Count X:0 Y:0 Z:0")
        self._ok()

    def _m155(self, words: dict[str, float], _: str) -> None:
        self._report_every = words.get("S", 0.0)
        self._report_at = self.now + self._report_every if self._report_every else math.inf
        self._ok()

    def _m27(self, _words: dict[str, float], rest: str) -> None:
        if not self.firmware.has_card:
            self.say('echo:Unknown command: "M27"')
        elif rest.strip() == "C":
            self.say(f"Current file: {self.card_file if self.card_print else '(no file)'}")
        elif self.card_print is None:
            self.say("Not SD printing")
        else:
            self.card_print[0] = min(self.card_print[0] + 10, self.card_print[1])
            self.say(f"SD printing byte {self.card_print[0]}/{self.card_print[1]}")
        self._ok()

    def _m115(self, _words: dict[str, float], _: str) -> None:
        dialect = self.firmware.dialect
        name = {
            "marlin": "FIRMWARE_NAME:Marlin 2.1.2 (Nov 25 2026 10:00:00)",
            "prusa": "FIRMWARE_NAME:Prusa-Firmware 3.14.1 based on Marlin",
            "repetier": "FIRMWARE_NAME:Repetier_1.0.4",
            "reprapfirmware": "FIRMWARE_NAME: RepRapFirmware for Duet 3",
        }[dialect]
        self.say(
            f"{name} SOURCE_CODE_URL:github.com/example PROTOCOL_VERSION:1.0 MACHINE_TYPE:{self.firmware.machine_type} "
            "EXTRUDER_COUNT:1 UUID:cede2a2f-41a2-4748-9b12-c55c62f367ff"
        )
        told = (
            ("AUTOREPORT_TEMP", self.firmware.auto_report),
            ("EMERGENCY_PARSER", self.firmware.emergency_parser),
            ("BUSY_PROTOCOL", self.firmware.busy),
            ("SDCARD", self.firmware.has_card),
            ("THERMAL_PROTECTION", True),
        )
        for word, is_on in told:
            if word != "SDCARD" or self.firmware.tells_card:
                self.say(f"Cap:{word}:{int(is_on)}")
        self._ok()

    def _temperatures(self) -> str:
        if self.faults.temperatures:
            return self.faults.temperatures
        hotend, bed = self.heaters["T"], self.heaters["B"]
        return f"T:{hotend.current:.2f} /{hotend.target:.2f} B:{bed.current:.2f} /{bed.target:.2f} @:0 B@:0"
