"""A file, or a line of one that is streamed, against the limits of the printer that would run it."""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import Refused
from ..text import pieces_of
from .cold import ColdExtrusion
from .dialects import Dialect
from .findings import Finding, Severity
from .forbidden import is_host_directive, why_forbidden
from .heaters import Heaters
from .limits import Limits
from .listed import why_unlisted
from .motion import Motion
from .questions import Questions
from .words import TEXT, commands, readings

LONGEST_LINE = 64 * 1024
_N = rb"(-?(?:\d+(?:\.\d*)?|\.\d+))"
# Nearly every line of a print, read without taking it apart: a move as slicers write it, a comment, or nothing.
_PLAIN = re.compile(
    rb"(?:G[01](?: F%b)?(?: X%b)?(?: Y%b)?(?: Z%b)?(?: (E)%b)?(?: F%b)?)?[ \t]*(?:;[^\x00-\x08\x0b-\x1f@]*)?\r?\n?"
    % ((_N,) * 6)
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_file(
    path: Path, limits: Limits, dialect: Dialect = Dialect.ANY, *, plate: int | None = None, sha256: str = ""
) -> str:
    """Why the file must not run here, with the line's number; empty if it may. Binary and zipped G-code are unpacked for it.

    ``sha256``: what the G-code must have, if it is given: whoever unpacked it before saw the same. What only needs an override
    is left to those who may give one. Raises OSError."""
    digest = hashlib.sha256()
    try:
        for finding in _findings(lines_of(_hashed(pieces_of(path, plate=plate), digest)), GcodeCheck(limits, dialect)):
            if finding.severity is Severity.REFUSE:
                return str(finding)
    except Refused as error:
        return error.reason
    if sha256 and digest.hexdigest() != sha256:
        return "the G-code within is another than the farm has checked"
    return ""


def _hashed(pieces: Iterable[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def check_gcode(
    lines: Iterable[bytes],
    limits: Limits,
    dialect: Dialect = Dialect.ANY,
    *,
    allowed: Iterable[str] = (),
    most: int = 100,
) -> tuple[Finding, ...]:
    """What is found in the lines, in their order, at most one for each; ``most`` of them, and all that are refused first.

    ``allowed`` names macros and commands that this printer is known to have, beside those listed for its firmware."""
    refused: list[Finding] = []
    others: list[Finding] = []
    seen: set[tuple[str, str]] = set()
    for finding in _findings(lines, GcodeCheck(limits, dialect, frozenset(name.upper() for name in allowed))):
        if finding.severity is Severity.REFUSE:
            refused.append(finding)
            if len(refused) >= most:
                break
        elif (finding.rule, finding.command) not in seen and len(others) < most:
            # The same command once: a colour change in every layer is one question.
            seen.add((finding.rule, finding.command))
            others.append(finding)
    return tuple(sorted([*refused, *others][:most], key=lambda finding: finding.line))


def _findings(lines: Iterable[bytes], check: "GcodeCheck") -> Iterator[Finding]:
    for line in lines:
        if finding := check.line(line):
            yield finding
    yield from check.end()


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines of bytes that come in pieces. Of one that is too long, the first bytes: enough to see that it is."""
    left = b""
    for piece in pieces:
        first, *rest = piece.split(b"\n")
        left += first
        for following in rest:
            yield left[: LONGEST_LINE + 1]
            left = following
        if len(left) > LONGEST_LINE:
            left = left[: LONGEST_LINE + 1]
    if left:
        yield left


@dataclass(slots=True)
class GcodeCheck:
    """One pass over a file's lines, in order, with its findings: the same for a whole file and for one that is streamed.

    ``measures``: also keeps how far the file reaches, what it asks of the heaters, and what it asks people."""

    limits: Limits
    dialect: Dialect = Dialect.ANY
    allowed: frozenset[str] = frozenset()
    measures: bool = False
    count: int = 0
    # Plain moves are not among them.
    questions: Questions = field(default_factory=Questions)
    motion: Motion = field(init=False)
    heaters: Heaters = field(init=False)
    cold: ColdExtrusion = field(default_factory=ColdExtrusion)

    def __post_init__(self) -> None:
        self.motion = Motion(self.limits, self.dialect, self.measures)
        self.heaters = Heaters(self.limits)

    def line(self, raw: bytes) -> Finding | None:
        """The gravest finding of the line, with or without its end; None if it may run."""
        self.count += 1
        if len(raw) > LONGEST_LINE:
            return self._refused("", "too_long", f"longer than {LONGEST_LINE} bytes")
        if found := _PLAIN.fullmatch(raw):
            if found.lastindex is None:
                return None
            first, x, y, z, extrusion, e, last = found.groups()
            if why := self.motion.plain((x, y, z), extrusion is not None, last or first):
                return self._refused(raw[:2].decode(), _rule(why, "place"), why)
            if self.cold.is_cold and extrusion and (why := self.cold.draw(float(e), bool(x or y))):
                return self._refused(raw[:2].decode(), "temperature", why)
            return None
        if self.count == 1:
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        # Firmware takes a carriage return for the end of a line, wherever it stands.
        gravest = None
        for part in raw.rstrip(b"\r\n").split(b"\r"):
            for finding in self._part(part):
                if finding.severity is Severity.REFUSE:
                    return finding
                gravest = gravest or finding
        return gravest

    def end(self) -> Iterator[Finding]:
        """What is wrong with the file as a whole."""
        hot, motion = self.heaters.hot, self.motion
        if hot and motion.extrudes:
            why = f"the file ends while it extrudes, with the hotend at {max(hot.values()):g} C"
            yield self._refused("", "cut_off", f"{why}: it was cut off, or lacks its end")
        elif hot:
            yield self._asked("", "left_hot", f"the file leaves the hotend at {max(hot.values()):g} C")
        if not motion.has_extruded:
            yield Finding(0, "", "prints_nothing", Severity.OVERRIDE, "no move in the file extrudes anything")
        elif not self.heaters.has_heated:
            yield Finding(0, "", "never_heated", Severity.OVERRIDE, "no command in the file heats the hotend")

    def _part(self, raw: bytes) -> Iterator[Finding]:
        if found := _CONTROL.search(raw):
            what = "has a NUL byte: it is no text" if found[0] == b"\0" else "has a control character: it is no text"
            yield self._refused("", "not_text", what)
            return
        line = raw.decode("ascii", "replace")
        code, _, comment = line.partition(";")
        if comment and is_host_directive(comment):
            why = "a comment that tells a host what to do is not allowed in a print file"
            yield self._refused("", "host_action", why)
        if code.strip():
            for reading in readings(line, self.dialect):
                yield from self._reading(reading)

    def _reading(self, code: str) -> Iterator[Finding]:
        machine, shifted = False, any(self.motion.shift)
        is_first = True
        for command in commands(code, self.motion.modal, whole_line=self.dialect.runs_whole_line):
            name = command.name
            if self.measures:
                self.questions.take(self.count, command, is_first=is_first)
            is_first = False
            if forbidden := why_forbidden(command, self.dialect):
                yield self._refused(name, *forbidden)
                continue
            if "{" in command.text and name not in TEXT:
                yield self._refused(
                    name, "program", "has an expression that only the firmware could work out; write its value"
                )
            if unlisted := why_unlisted(command, self.dialect, self.allowed):
                yield self._asked(name, *unlisted)
            if name == "G53":
                machine = True
                continue
            if why := self.heaters.take(command) or self.cold.take(command):
                yield self._refused(name, "temperature", why)
            if why := self.motion.take(command, machine=machine):
                yield self._refused(name, _rule(why, "place"), why)
            shifted = False
        if machine and shifted:
            why = "G53 on a line of its own, after G92, is read differently by different firmware"
            yield self._refused("G53", "place", why)

    def _refused(self, command: str, rule: str, why: str) -> Finding:
        return Finding(self.count, command, rule, Severity.REFUSE, why)

    def _asked(self, command: str, rule: str, why: str) -> Finding:
        return Finding(self.count, command, rule, Severity.OVERRIDE, why)


def _rule(why: str, otherwise: str) -> str:
    return "feed" if why.startswith("feed rate") else otherwise


@dataclass(slots=True)
class LineCheck:
    """For a driver that streams: why the next line must not run, or nothing."""

    limits: Limits
    dialect: Dialect = Dialect.ANY
    _check: GcodeCheck = field(init=False)

    def __post_init__(self) -> None:
        self._check = GcodeCheck(self.limits, self.dialect)

    def line(self, raw: bytes) -> str:
        """Why the line is refused; empty if it may run. With or without its end."""
        finding = self._check.line(raw)
        return finding.text if finding and finding.severity is Severity.REFUSE else ""

    def end(self) -> str:
        """Why the file as a whole is refused: it stops in the middle of a print, with heat on and nothing to end it."""
        return next((found.text for found in self._check.end() if found.severity is Severity.REFUSE), "")
