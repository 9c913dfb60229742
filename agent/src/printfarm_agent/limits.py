"""What a print file may ask of a printer. The last check before the machine, on the host that drives it.

Lines are read as firmware reads them: case and spaces do not count, line numbers, checksums and comments are left out, and
every command on a line counts, since some firmware runs them all. Pure but for reading the file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

LONGEST_LINE = 64 * 1024
# Outside of the volume by this much is still the machine's own business: purge lines, wipers, homing offsets.
MARGIN_MM = 15.0
_MOVE = re.compile(rb"([XYZF])\s*([-+]?(?:\d+\.?\d*|\.\d+))", re.I)
_COMMAND = re.compile(r"([GMT])(\d+(?:\.\d+)?)")
_WORD = re.compile(r"([A-Z])([-+]?(?:\d+\.?\d*|\.\d+))")
_PARENTHESES = re.compile(r"\([^)]*\)?")
_HOTEND, _BED, _CHAMBER = {"M104", "M109", "M568"}, {"M140", "M190"}, {"M141", "M191"}
# Why each does not belong into a print file that runs without a person.
FORBIDDEN = {
    "M112": "an emergency stop inside a file",
    "M500": "writes the printer's settings",
    "M501": "loads the printer's settings",
    "M502": "resets the printer's settings",
    "M504": "writes the printer's settings",
    "M92": "changes steps per millimetre",
    "M206": "changes the home offset",
    "M851": "changes the probe offset",
    "M301": "changes heater tuning",
    "M303": "runs heater tuning",
    "M304": "changes heater tuning",
    "M997": "flashes the firmware",
    "M999": "clears a fault that a person must see",
    "M28": "writes files on the printer",
    "M29": "writes files on the printer",
    "M30": "deletes files on the printer",
    "M32": "starts another file",
    "M42": "switches pins",
    "M43": "switches pins",
    "M226": "waits for pins",
    "M80": "switches the power supply",
    "M81": "switches the power supply",
    "M121": "switches end stops off",
    "M302": "allows cold extrusion",
}
# Klipper's own commands that reach beyond the print.
_KLIPPER = re.compile(
    rb"^\s*(RUN_SHELL_COMMAND|SAVE_CONFIG|FIRMWARE_RESTART|RESTART|SDCARD_PRINT_FILE|SET_HEATER_TEMPERATURE|FORCE_MOVE)\b",
    re.I,
)
_HOST_ACTION = re.compile(r"^M118.*ACTION:", re.I)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one printer. Degrees Celsius, millimetres, millimetres a minute; None leaves it open."""

    hotend_celsius: float = 300.0
    bed_celsius: float = 130.0
    chamber_celsius: float = 80.0
    feed_mm_per_minute: float = 60_000.0
    volume_mm: tuple[float, float, float] | None = None


def check_file(path: Path, limits: Limits) -> str:
    """Why the file must not run here, with the line's number; empty if it may."""
    check = _Check(limits)
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LONGEST_LINE + 1):
            number += 1
            if len(raw) > LONGEST_LINE:
                return f"line {number}: longer than {LONGEST_LINE} bytes"
            if why := check.line(raw):
                return f"line {number}: {why}"
    return ""


@dataclass(slots=True)
class _Check:
    limits: Limits
    relative: bool = False
    shifted: bool = False

    def line(self, raw: bytes) -> str:
        if raw[:3] in (b"G1 ", b"G0 "):
            return self._move(raw.partition(b";")[0])
        if raw[:1] == b";" or raw == b"\n":
            return ""
        if b"\x00" in raw:
            return "has a NUL byte"
        if found := _KLIPPER.match(raw):
            return f"{found[1].decode().upper()} is not allowed in a print file"
        return self._commands(raw.decode("utf-8", "replace"))

    def _move(self, raw: bytes) -> str:
        volume = self.limits.volume_mm
        for letter, text in _MOVE.findall(raw):
            axis, value = letter.upper(), float(text)
            if axis == b"F":
                if value > self.limits.feed_mm_per_minute:
                    return f"feed rate {value:g} mm/min is above {self.limits.feed_mm_per_minute:g}"
            elif volume and not self.relative and not self.shifted:
                side = volume[b"XYZ".index(axis)]
                if not -MARGIN_MM <= value <= side + MARGIN_MM:
                    return f"{axis.decode()} {value:g} mm lies outside of the build volume ({side:g} mm)"
        return ""

    def _commands(self, line: str) -> str:
        bare = _PARENTHESES.sub("", line.partition(";")[0].partition("*")[0])
        if _HOST_ACTION.match(bare.strip()):
            return "M118 with an action for the host is not allowed in a print file"
        squeezed = re.sub(r"\s+", "", bare).upper()
        squeezed = re.sub(r"^N\d+", "", squeezed)
        if squeezed.startswith(("M117", "M118")):
            return ""
        found = list(_COMMAND.finditer(squeezed))
        for place, command in enumerate(found):
            end = found[place + 1].start() if place + 1 < len(found) else len(squeezed)
            name = f"{command[1]}{float(command[2]):g}"
            if why := self._command(name, squeezed[command.end() : end]):
                return why
        return ""

    def _command(self, name: str, arguments: str) -> str:
        if name in FORBIDDEN:
            return f"{name} is not allowed in a print file: it {FORBIDDEN[name]}"
        words = {letter: float(value) for letter, value in _WORD.findall(arguments)}
        if name == "M211" and words.get("S") == 0:
            return "M211 S0 switches the soft end stops off"
        if name in ("G90", "G91"):
            self.relative = name == "G91"
        if name == "G92" and {"X", "Y", "Z"} & words.keys():
            self.shifted = True
        if name in ("G0", "G1", "G2", "G3"):
            return self._move(arguments.encode())
        for commands, limit, what in (
            (_HOTEND, self.limits.hotend_celsius, "hotend"),
            (_BED, self.limits.bed_celsius, "bed"),
            (_CHAMBER, self.limits.chamber_celsius, "chamber"),
        ):
            asked = max(words.get("S", 0.0), words.get("R", 0.0))
            if name in commands and asked > limit:
                return f"{name} asks {asked:g} C of the {what}; at most {limit:g} is allowed here"
        return ""
