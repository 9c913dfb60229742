"""A file, or a line of one that is streamed, against the limits of the printer that would run it."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from .forbidden import is_host_directive, why_forbidden
from .heaters import Heaters
from .motion import Motion
from .values import Limits
from .words import commands, readings

LONGEST_LINE = 64 * 1024
_N = rb"(-?(?:\d+(?:\.\d*)?|\.\d+))"
# Nearly every line of a print, read without taking it apart: a move as slicers write it, a comment, or nothing.
_PLAIN = re.compile(
    rb"(?:G[01](?: F%b)?(?: X%b)?(?: Y%b)?(?: Z%b)?(?: (E)%b)?(?: F%b)?)?[ \t]*(?:;[^\x00-\x08\x0b-\x1f@]*)?\r?\n?"
    % ((_N,) * 6)
)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_file(path: Path, limits: Limits) -> str:
    """Why the file must not run here, with the line's number; empty if it may."""
    check = LineCheck(limits)
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                return f"line {number}: longer than {LONGEST_LINE} bytes"
            if why := check.line(raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw):
                return f"line {number}: {why}"
    why = check.end()
    return why and f"line {number}: {why}"


@dataclass(slots=True)
class LineCheck:
    """One pass over a file's lines, in order: also for those that check a file once more as they stream it."""

    limits: Limits
    motion: Motion = field(init=False)
    heaters: Heaters = field(init=False)

    def __post_init__(self) -> None:
        self.motion = Motion(self.limits)
        self.heaters = Heaters(self.limits)

    def line(self, raw: bytes) -> str:
        """Why the line is refused; empty if it may run. With or without its end."""
        if found := _PLAIN.fullmatch(raw):
            if found.lastindex is None:
                return ""
            first, x, y, z, extrusion, _, last = found.groups()
            return self.motion.plain((x, y, z), extrusion is not None, last or first)
        # Firmware takes a carriage return for the end of a line, wherever it stands.
        for part in raw.rstrip(b"\r\n").split(b"\r"):
            if why := self._part(part):
                return why
        return ""

    def end(self) -> str:
        """Why the file as a whole is refused: it stops in the middle of a print, with heat on and nothing to end it."""
        hot = self.heaters.hot
        if not hot or not self.motion.extrudes:
            return ""
        return f"the file ends while it extrudes, with the hotend at {max(hot.values()):g} C: it was cut off, or lacks its end"

    def _part(self, raw: bytes) -> str:
        if found := _CONTROL.search(raw):
            return "has a NUL byte: it is no text" if found[0] == b"\0" else "has a control character: it is no text"
        line = raw.decode("ascii", "replace")
        code, _, comment = line.partition(";")
        if comment and is_host_directive(comment):
            return "a comment that tells a host what to do is not allowed in a print file"
        if not code.strip():
            return ""
        for reading in readings(line):
            if why := self._reading(reading):
                return why
        return ""

    def _reading(self, code: str) -> str:
        machine, shifted = False, any(self.motion.shift)
        for command in commands(code, self.motion.modal):
            if why := why_forbidden(command):
                return why
            if "{" in command.text and command.name not in ("M117", "M118"):
                return "has an expression that only the firmware could work out; write its value"
            if command.name == "G53":
                machine = True
                continue
            if why := self.heaters.take(command) or self.motion.take(command, machine=machine):
                return why
            shifted = False
        if machine and shifted:
            return "G53 on a line of its own, after G92, is read differently by different firmware"
        return ""
