"""What does not belong into a print file that runs without a person, and why."""

import re

from .dialects import EXEMPT, Dialect
from .words import Command

FORBIDDEN = {
    "M112": "stops the machine as in an emergency",
    "M500": "writes the printer's settings",
    "M501": "loads the printer's settings",
    "M502": "resets the printer's settings",
    "M503": "answers with all of the printer's settings, which holds a stream up",
    "M504": "writes the printer's settings",
    "M92": "changes steps per millimetre",
    "M206": "changes the home offset",
    "M428": "changes the home offset",
    "M851": "changes the probe offset",
    "M145": "changes the printer's temperature presets",
    "M143": "changes the heaters' limits",
    "M570": "changes the detection of heater faults",
    "M149": "changes the unit of temperatures",
    "M301": "changes heater tuning",
    "M303": "runs heater tuning",
    "M304": "changes heater tuning",
    "M305": "changes temperature sensors",
    "M306": "changes heater tuning",
    "M307": "changes heater tuning",
    "M308": "changes temperature sensors",
    "M350": "changes microsteps",
    "M997": "flashes the firmware",
    "M999": "clears a fault that a person must see",
    "M562": "clears a fault that a person must see",
    "M22": "takes the printer's storage away",
    "M23": "starts another file",
    "M26": "jumps to another place of the file",
    "M28": "writes files on the printer",
    "M29": "writes files on the printer",
    "M30": "deletes files on the printer",
    "M32": "starts another file",
    "M471": "renames files on the printer",
    "M559": "writes the printer's configuration",
    "M560": "writes files on the printer",
    "M808": "repeats parts of the file",
    "M510": "locks the printer",
    "M511": "unlocks the printer",
    "M512": "changes the printer's passcode",
    "M524": "ends the print",
    "M540": "changes the printer's network",
    "M552": "changes the printer's network",
    "M553": "changes the printer's network",
    "M554": "changes the printer's network",
    "M575": "changes the serial line",
    "M586": "changes the printer's network",
    "M587": "changes the printer's network",
    "M588": "changes the printer's network",
    "M589": "changes the printer's network",
    "M260": "writes to other devices",
    "M261": "reads other devices",
    "M665": "changes the machine's geometry",
    "M666": "changes the machine's geometry",
    "M876": "answers a question that is put to a person",
    "M928": "writes files on the printer",
    "M42": "switches pins",
    "M43": "switches pins",
    "M226": "waits for pins",
    "M80": "switches the power supply",
    "M81": "switches the power supply",
    "M121": "switches end stops off",
    "M302": "allows cold extrusion",
}
# Commands of Klipper, of RepRapFirmware's language and of hosts that reach beyond the print.
_EXTENDED = {
    "RUN_SHELL_COMMAND": "runs programs on the host",
    "SAVE_CONFIG": "writes the printer's settings",
    "FIRMWARE_RESTART": "restarts the firmware",
    "RESTART": "restarts the firmware",
    "SDCARD_PRINT_FILE": "starts another file",
    "SDCARD_RESET_FILE": "ends the print",
    "SET_HEATER_TEMPERATURE": "heats without a limit: use M104, M140 or M141",
    "SET_KINEMATIC_POSITION": "makes the printer believe that it is elsewhere",
    "FORCE_MOVE": "moves without end stops",
    "PID_CALIBRATE": "runs heater tuning",
    "SET_TMC_CURRENT": "changes motor currents",
    "SET_TMC_FIELD": "changes motor drivers",
}
_LANGUAGE = frozenset(
    {"IF", "ELIF", "ELSE", "WHILE", "BREAK", "CONTINUE", "VAR", "GLOBAL", "SET", "ECHO", "ABORT", "SKIP"}
)
_HOST_WORDS = re.compile(r"\s*@\s*(?:PAUSE|RESUME|CANCEL|ABORT|STOP|KILL|EXEC|SYSTEM|SHELL)\b", re.I)
_LEAST_EXTRUSION_CELSIUS = 150.0
_REFLECTED = ("ACTION:", "//")


def why_forbidden(command: Command, dialect: Dialect = Dialect.ANY) -> tuple[str, str] | None:
    """The rule and the reason; None if it may be in a print file."""
    name, words = command.name, command.words
    if name in EXEMPT.get(dialect, ()) or (name == "M302" and _stays_warm(words)):
        return None
    if reason := FORBIDDEN.get(name) or _EXTENDED.get(name) or _by_words(name, words):
        return "forbidden", f"{name} is not allowed in a print file: it {reason}"
    if command.is_extended and (name.startswith("@") or name.startswith("OCTO")):
        return "host_action", f"{name} is a command for a host, which is not allowed in a print file"
    if command.is_extended and name in _LANGUAGE:
        return "program", f"{name} is a program's command; a print file must say plainly what it does"
    if name[0] == "D" and not command.is_extended:
        return "forbidden", f"{name} is a debugging command of the firmware, which is not allowed in a print file"
    if name in ("M118", "RESPOND") and any(word in command.text for word in _REFLECTED):
        return "host_action", f"{name} with an action for the host is not allowed in a print file"
    return None


def _stays_warm(words: dict[str, float]) -> bool:
    """Prusa's own start code asks for ``M302 S155``: the limit is moved, and stays one."""
    return words.get("S", 0.0) >= _LEAST_EXTRUSION_CELSIUS and not words.get("P")


def _by_words(name: str, words: dict[str, float]) -> str:
    if name == "M211" and words.get("S") == 0:
        return "switches the soft end stops off"
    if name == "M564" and 0 in (words.get("S"), words.get("H")):
        return "allows moves outside of the machine's limits"
    return ""


def is_host_directive(comment: str) -> bool:
    """Whether some host would act on that comment."""
    return _HOST_WORDS.match(comment) is not None
