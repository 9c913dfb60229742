"""Commands on the wire: ``N<n> <command>*<checksum>``, and lines out of whatever bytes arrive. Pure.

The checksum is the XOR of every byte before ``*``, in decimal (Marlin, ``queue.cpp``).
"""

import re
from functools import reduce
from operator import xor

# MAX_CMD_SIZE is 96 with its end. Firmware cuts what is longer, silently, and its checksum then fails for ever.
LONGEST_FRAME = 95
# Numbers of a job may have this many digits: what is checked before a start must also fit at its end.
_WIDEST_FRAMING = len("N99999999 *255")
LONGEST_COMMAND = LONGEST_FRAME - _WIDEST_FRAMING
# Noise at a wrong baud rate has no line ends.
LONGEST_REPLY = 4096
_NUMBERED = re.compile(rb"^\s*N\d+\s*", re.I)
_NAME = re.compile(rb"^([GMT])\s*(\d+)(?:\.(\d+))?", re.I)
_NOT_TEXT = re.compile(rb"[^\x20-\x7e]")
# Texts that may be shortened: they are for a display.
_DISPLAY = (b"M117", b"M486")
# These would take the line protocol, or the printer, out of the host's hands. M118 echoes its text: a file could speak as
# the firmware does ("ok", "Resend: 1", "start").
_NEVER = (108, 110, 112, 113, 118, 155, *range(20, 36), 410, 500, 502, 524, 575, 876, 928, 997, 999)
NEVER_FROM_A_FILE = frozenset(f"M{number}" for number in _NEVER)
# Marlin looks for it anywhere in a numbered line, in a text too, and takes the next N of the line for the new number.
_RENUMBER, _HARMLESS = b"M110", b"M 110"
# The firmware answers these when it is done, which may take minutes; nothing may be queued behind them.
_BLOCKING_MOVES = ("G4", "G28", "G29", "G30", "G32", "G34", "G76", "G80", "M400")
_BLOCKING_HEAT = ("M109", "M116", "M190", "M191", "M303")
_BLOCKING_PERSON = ("M0", "M1", "M125", "M226", "M600", "M601", "M701", "M702")
BLOCKING = frozenset((*_BLOCKING_MOVES, *_BLOCKING_HEAT, *_BLOCKING_PERSON))
HEATING = frozenset(["M109", "M116", "M190", "M191"])


class TooLong(ValueError):
    """The command does not fit into the firmware's buffer."""


def checksum(body: bytes) -> int:
    """XOR of all bytes."""
    return reduce(xor, body, 0)


def frame(number: int | None, command: bytes) -> bytes:
    """The line as sent; without number and checksum where ``number`` is None."""
    if number is None:
        return command + b"\n"
    body = b"N%d %b" % (number, command)
    return b"%b*%d\n" % (body, checksum(body))


def name_of(command: bytes) -> str:
    """ "G1", "M104", "T0"; empty if it is no command of firmware. ``G28.1`` is "G28.1"."""
    found = _NAME.match(command)
    if not found:
        return ""
    name = f"{found[1].decode().upper()}{int(found[2])}"
    return f"{name}.{found[3].decode()}" if found[3] else name


def command_of(raw: bytes) -> bytes:
    """The command of a line of a file, without comment, number, checksum and what a serial line must not carry.

    Empty if there is none, or if it must not come from a file. Raises TooLong.
    """
    if raw[:2] in (b"G1", b"G0") and b"*" not in raw and _RENUMBER not in raw:
        bare = raw.partition(b";")[0].strip()
        if len(bare) <= LONGEST_COMMAND and bare.isascii() and bare[:1].isalpha() and b"\x08" not in bare:
            return bare
    bare = _NOT_TEXT.sub(b"", raw.replace(b"\t", b" ").partition(b";")[0])
    if _NUMBERED.match(bare):
        bare = _NUMBERED.sub(b"", bare).partition(b"*")[0]
    bare = bare.strip()
    # A host's own words ("@pause") and comments in parentheses are not for the printer.
    if not bare or bare[:1] in b"@(%" or name_of(bare) in NEVER_FROM_A_FILE:
        return b""
    bare = bare.replace(_RENUMBER, _HARMLESS)
    if len(bare) <= LONGEST_COMMAND:
        return bare
    if bare[:4].upper() in _DISPLAY:
        return bare[:LONGEST_COMMAND].rstrip()
    raise TooLong(f"a command of {len(bare)} bytes does not fit into the printer's buffer of {LONGEST_COMMAND}")


class Splitter:
    """Lines out of chunks, however they are cut. What has no end within ``LONGEST_REPLY`` bytes is thrown away and counted."""

    def __init__(self) -> None:
        self._open = b""
        self._skipping = False
        self.thrown_away = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ended."""
        *ended, rest = (self._open + data).split(b"\n") if not self._skipping else self._after_noise(data)
        if len(rest) > LONGEST_REPLY:
            self.thrown_away += len(rest)
            rest, self._skipping = b"", True
        self._open = rest
        return [line for line in ended if len(line) <= LONGEST_REPLY]

    def _after_noise(self, data: bytes) -> list[bytes]:
        lost, end, rest = data.partition(b"\n")
        self.thrown_away += len(lost)
        if not end:
            return [b""]
        self._skipping = False
        return rest.split(b"\n")
