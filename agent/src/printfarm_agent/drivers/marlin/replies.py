"""What firmware says, one line at a time, as values. Pure. Nothing it says has a checksum: each match tolerates damage.

Sources: Marlin 1.1 to 2.1, Prusa-Firmware (MK3) and Buddy, Repetier 1.0, RepRapFirmware 3.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ...driver import Heater
from .area import area_of

LONGEST_TEXT = 256
COLDEST, HOTTEST = -10.0, 600.0


@dataclass(frozen=True, slots=True)
class Ok:
    """A command was consumed. ``planner`` and ``buffer``: free places, where the firmware tells (ADVANCED_OK)."""

    planner: int | None = None
    buffer: int | None = None
    # Of the line that it answers, where the firmware tells (Repetier, ADVANCED_OK).
    number: int | None = None
    # It carries temperatures: the answer to M105, whatever else is outstanding.
    to_m105: bool = False


@dataclass(frozen=True, slots=True)
class Resend:
    """The line of this number is wanted again."""

    number: int


class Severity(Enum):
    """What an error text means for the print."""

    # A damaged line: a resend follows.
    LINE = "line"
    # Of no consequence for a print.
    HARMLESS = "harmless"
    # Not known. If an ok or a resend follows, it was harmless.
    OPEN = "open"
    # The firmware has stopped, or will.
    FATAL = "fatal"


@dataclass(frozen=True, slots=True)
class Fault:
    """``Error:`` and its relatives."""

    text: str
    severity: Severity
    is_thermal: bool = False


@dataclass(frozen=True, slots=True)
class Busy:
    """Alive, and not done yet."""

    waits_for_person: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """The firmware has nothing to do."""


@dataclass(frozen=True, slots=True)
class Start:
    """The board has restarted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A heater. ``current`` or ``target`` is None where the line leaves it out. ``is_nonsense``: the sensor is broken."""

    name: str
    current: float | None
    target: float | None
    is_nonsense: bool = False


@dataclass(frozen=True, slots=True)
class Temperatures:
    """A report, or the data of an ``ok T:``."""

    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class Action:
    """``//action:``. Untrusted: who acts on it keeps to an allow-list."""

    word: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Capability:
    """A ``Cap:`` line of M115."""

    name: str
    is_on: bool


@dataclass(frozen=True, slots=True)
class Area:
    """M115's word on how far it moves, as ``area`` reads it."""

    text: str


@dataclass(frozen=True, slots=True)
class Firmware:
    """The fields of M115."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SdPrinting:
    """A print from the printer's own card, in bytes."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class SdIdle:
    """No print from the card."""


@dataclass(frozen=True, slots=True)
class SdDone:
    """The print from the card has ended."""


@dataclass(frozen=True, slots=True)
class SdFile:
    """The file of the print from the card, by M27 C."""

    name: str


@dataclass(frozen=True, slots=True)
class Percent:
    """By the firmware's own word, from the M73 of the file."""

    percent: float
    minutes_left: float | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """The answer to M114, in mm."""

    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class Text:
    """Anything else."""

    text: str


Reply = (
    Ok
    | Resend
    | Fault
    | Busy
    | Wait
    | Start
    | Temperatures
    | Action
    | Capability
    | Area
    | Firmware
    | SdPrinting
    | SdIdle
    | SdDone
    | SdFile
    | Percent
    | Position
    | Text
)

_NUMBER = r"[-+]?\d{1,9}(?:\.\d{1,9})?"
_OKS = re.compile(r"^((?:ok)+)(?![a-z])", re.I)
_OK_FIELD = re.compile(r"\b([NPB])(\d{1,9})\b(?!:)")
_OK_NUMBER = re.compile(r"^ok (\d{1,9})$", re.I)
_TEMPERATURES = re.compile(rf"(?:^|\s|ok)(T\d{{0,2}}|B|C):\s?({_NUMBER}|nan|inf)(?:\s*/\s*({_NUMBER}))?", re.I)
_TARGETS = re.compile(rf"\bTarget(Extr\d|Bed):({_NUMBER})")
_RESEND = re.compile(r"^(?:resend|rs)\s*:?\s*N?(-?\d{1,12})", re.I)
_BUSY = re.compile(r"^(?:echo:)?\s*busy:\s*(.*)$", re.I)
_ACTION = re.compile(r"^//\s*action:\s*([a-z_]{1,40})\s*(.*)$", re.I)
_CAPABILITY = re.compile(r"^Cap:([A-Z0-9_]{1,60}):([01])", re.I)
_FIELD = re.compile(r"\b([A-Z][A-Z_]{3,30}):\s?")
_SD = re.compile(r"SD printing byte (\d{1,15})/(\d{1,15})")
_SD_FILE = re.compile(r"^Current file: (?!\(no file\))(\S.*)$")
_PERCENT = re.compile(r"(?:NORMAL MODE: )?Percent done: (\d{1,3});.*?mins?: (-?\d{1,7})", re.I)
_M73 = re.compile(r"^(?:echo:)?\s*M73 Progress: (\d{1,3}(?:\.\d+)?)%;?(?: Time left: (\d{1,6})m)?", re.I)
_POSITION = re.compile(rf"^X:({_NUMBER}) Y:({_NUMBER}) Z:({_NUMBER}) E:")
_START = re.compile(r"^[^\x20-\x7e]*start$")
_ERROR = re.compile(r"^(?:error:|!!|fatal:|errr?or:)\s*(.*)$", re.I)

# Order matters: a damaged "Error:c:ecksum mismatch" has cancelled real prints.
_LINE_FAULTS = ("line number", "hecksum", "last line", "expected line", "no line", "no checksum", "wrong checksum")
_THERMAL = (
    "heating failed",
    "thermal",
    "maxtemp",
    "mintemp",
    "heater decoupled",
    "extruder switched off",
)
_FATAL = (
    "printer halted",
    "kill() called",
    "heating failed",
    "thermal runaway",
    "thermal malfunction",
    "maxtemp",
    "mintemp",
    "watchdog barked",
    "watchdog timeout",
    "reset required",
    "kill caused by",
    "probing failed",
    "printer stopped due to errors",
    "use m999 to restart",
    "extruder switched off",
    "heater decoupled",
)
_HARMLESS = (
    "volume.init failed",
    "openroot failed",
    "sd card",
    "sd init",
    "unknown command",
    "cold extrusion prevented",
    "workspace",
)


def text_of(line: str) -> str:
    """Fit to be shown: printable, and not long."""
    return "".join(c for c in line if c.isprintable())[:LONGEST_TEXT]


def read(raw: bytes) -> tuple[Reply, ...]:
    """The values of one line without its end. Total: whatever the bytes are, there is an answer."""
    line = raw.decode("utf-8", "replace").strip(" \t\r\n\x00")
    if not line:
        return ()
    return tuple(_read(line))


def _read(line: str) -> Iterator[Reply]:
    if _START.match(line):
        yield Start()
    elif oks := _OKS.match(line):
        yield from _read_oks(line, len(oks[1]) // 2)
    elif again := _RESEND.match(line):
        yield Resend(int(again[1]))
    elif busy := _BUSY.match(line):
        yield Busy(waits_for_person="paused" in busy[1].lower())
    elif line == "wait":
        yield Wait()
    elif action := _ACTION.match(line):
        yield Action(action[1].lower(), text_of(action[2]))
    elif found := _ERROR.match(line):
        yield _fault(text_of(found[1]) or "an error without words")
    elif capability := _CAPABILITY.match(line):
        yield Capability(capability[1].upper(), capability[2] == "1")
    else:
        yield from _data(line)


def _read_oks(line: str, count: int) -> Iterator[Reply]:
    temperatures = _temperatures(line)
    free = {letter: int(value) for letter, value in _OK_FIELD.findall(line[2:])}
    plain = _OK_NUMBER.match(line)
    number = int(plain[1]) if plain else free.get("N")
    for _ in range(count):
        yield Ok(free.get("P"), free.get("B"), number, to_m105=bool(temperatures))
    if temperatures:
        yield Temperatures(temperatures)


def _data(line: str) -> Iterator[Reply]:
    if temperatures := _temperatures(line):
        yield Temperatures(temperatures)
        if line.endswith(" ok"):
            yield Ok(to_m105=True)
    elif "FIRMWARE_NAME:" in line:
        yield Firmware(_fields(line))
    elif area := area_of(line):
        yield Area(area)
    elif sd := _SD.search(line):
        yield SdPrinting(int(sd[1]), int(sd[2]))
    elif "Not SD printing" in line:
        yield SdIdle()
    elif "Done printing file" in line:
        yield SdDone()
    elif file := _SD_FILE.match(line):
        yield SdFile(text_of(file[1].split()[-1]))
    elif percent := _PERCENT.search(line) or _M73.match(line):
        yield _percent(percent[1], percent[2])
    elif at := _POSITION.match(line):
        yield Position(float(at[1]), float(at[2]), float(at[3]))
    elif is_fatal(line):
        # The second half of a kill that was cut over two lines, or one without its "Error:".
        yield _fault(text_of(line))
    else:
        yield Text(text_of(line))


def _percent(percent: str, minutes: str | None) -> Percent:
    left = float(minutes) if minutes is not None else None
    return Percent(min(float(percent), 100.0), left if left is not None and left >= 0 else None)


def _fault(text: str) -> Fault:
    low = text.lower()
    if any(part in low for part in _LINE_FAULTS):
        return Fault(text, Severity.LINE)
    if is_fatal(text):
        return Fault(text, Severity.FATAL, any(part in low for part in _THERMAL))
    if any(part in low for part in _HARMLESS):
        return Fault(text, Severity.HARMLESS)
    return Fault(text, Severity.OPEN)


def is_fatal(text: str) -> bool:
    """The firmware has stopped by its own word."""
    low = text.lower()
    return any(part in low for part in _FATAL)


def _temperatures(line: str) -> tuple[Reading, ...]:
    found: dict[str, Reading] = {}
    for token, current, target in _TEMPERATURES.findall(line):
        name, celsius = _heater(token.upper()), _celsius(current)
        found[name] = Reading(name, celsius, _celsius(target) if target else None, celsius is None)
    for token, target in _TARGETS.findall(line):
        name = "bed" if token == "Bed" else _heater(f"T{token[4:]}")
        known = found.get(name)
        found[name] = Reading(name, known.current if known else None, _celsius(target))
    if "hotend0" in found:
        # "T" is the active nozzle; where each has a reading of its own, it says nothing new.
        first = found.pop("hotend0")
        found["hotend"] = replace(first, name="hotend")
    return tuple(found.values())


def _heater(token: str) -> str:
    number = token[1:]
    kind = {"T": "hotend", "B": "bed", "C": "chamber"}[token[0]]
    return f"{kind}{int(number)}" if number else kind


def _celsius(text: str) -> float | None:
    """A sensor that says nonsense (an open thermistor, nan, 9999) says nothing."""
    if text.lower() in ("nan", "inf"):
        return None
    value = float(text)
    return value if COLDEST <= value <= HOTTEST else None


def _fields(line: str) -> dict[str, str]:
    """M115's values hold spaces: a field ends where the next name begins."""
    places = list(_FIELD.finditer(line))[:32]
    ends = [place.start() for place in places[1:]] + [len(line)]
    return {place[1]: text_of(line[place.end() : end].strip()) for place, end in zip(places, ends, strict=True)}


def merged(known: Mapping[str, Heater], readings: tuple[Reading, ...]) -> dict[str, Heater]:
    """The heaters after a report. A reading that is nonsense removes its heater: a missing value is noticed, a wrong one
    believed. A target that a line leaves out is the last one known."""
    heaters = dict(known)
    for reading in readings:
        before = heaters.get(reading.name)
        current = reading.current if reading.current is not None else (before.current if before else None)
        if reading.is_nonsense or current is None:
            heaters.pop(reading.name, None)
            continue
        target = reading.target if reading.target is not None else (before.target if before else 0.0)
        heaters[reading.name] = Heater(reading.name, current, max(target, 0.0))
    return heaters
