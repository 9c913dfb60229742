"""How firmwares differ: what is a comment, how many commands of a line they run, and what belongs into their files."""

from enum import StrEnum

from .limits import MARGIN_MM

# Around Bambu Lab's beds stand a purge chute, a wiper and a cutter, which every file of theirs visits.
_BAMBU_MARGIN_MM = 60.0


class Dialect(StrEnum):
    """``ANY`` is for a printer whose firmware is not known: the worst of all readings counts, and what Marlin and its kin do
    not know is asked about, for they do nothing at it, and print on.

    Klipper runs one command of a line, and knows neither comments in parentheses nor quotes before a semicolon
    (``klippy/gcode.py``). Bambu Lab's firmware does so, too: its own start code has M for a word (``M900 K0.0 M1.0``).
    RepRapFirmware runs all of them, takes parentheses for comments and quotes for text (``StringParser``). Marlin and its
    kin are built with and without either, so both ways count.
    """

    ANY = "any"
    MARLIN = "marlin"
    PRUSA = "prusa"
    KLIPPER = "klipper"
    REPRAP = "reprapfirmware"
    BAMBU = "bambu"

    @property
    def runs_whole_line(self) -> bool:
        """Every command of a line counts, not the first alone."""
        return self not in (Dialect.KLIPPER, Dialect.BAMBU)

    @property
    def has_macros(self) -> bool:
        """Words are commands."""
        return self is Dialect.KLIPPER

    @property
    def margin_mm(self) -> float:
        """How far outside of the build volume moves are still the machine's own business."""
        return _BAMBU_MARGIN_MM if self is Dialect.BAMBU else MARGIN_MM


# Which firmware a driver speaks to. Where it may be any, the worst of all readings counts.
OF_DRIVER = {
    "bambu": Dialect.BAMBU,
    "duet": Dialect.REPRAP,
    "moonraker": Dialect.KLIPPER,
    "prusalink": Dialect.PRUSA,
}
# Drivers whose printers name their firmware: what it is if the name says nothing, and what the name says.
_NAMED = {"marlin": Dialect.MARLIN, "simplyprint": Dialect.ANY}
_NAMES = {
    "klipper": Dialect.KLIPPER,
    "prusa": Dialect.PRUSA,
    "reprapfirmware": Dialect.REPRAP,
    "marlin": Dialect.MARLIN,
}


def dialect_of(driver: str, firmware: str = "") -> Dialect:
    """The kind of firmware behind a driver, by the driver's name and by what the printer calls its firmware."""
    if driver not in _NAMED:
        return OF_DRIVER.get(driver, Dialect.ANY)
    said = firmware.lower()
    return next((dialect for name, dialect in _NAMES.items() if name in said), _NAMED[driver])


def _numbered(letter: str, *numbers: int) -> set[str]:
    return {f"{letter}{number}" for number in numbers}


_COMMON = _numbered("G", 0, 1, 2, 3, 4, 5, 10, 11, 12, 17, 18, 19, 20, 21, 28, 29, 53, 60, 61, 90, 91, 92)
_COMMON |= _numbered("M", 2, 17, 18, 73, 82, 83, 84, 104, 105, 106, 107, 108, 109, 110, 114, 115, 116, 117, 118)
_COMMON |= _numbered("M", 140, 141, 150, 155, 190, 191, 200, 201, 203, 204, 205, 207, 211, 220, 221, 300, 302, 400, 486)
_MARLIN = _numbered("G", 27, 30, 34, 76, 80) | _numbered("M", 75, 76, 77, 78, 85, 202, 208, 209, 217, 218, 250, 355)
_MARLIN |= _numbered("M", 401, 402, 412, 413, 420, 493, 569, 572, 593, 603, 900) | _numbered("M", 163, 164, 165, 166)
_PRUSA = (
    _MARLIN | _numbered("G", 81, 87) | _numbered("M", 74, 142, 403, 555, 591, 701, 702, 704, 705, 706, 707, 708, 709)
)
_PRUSA |= {"M862.1", "M862.2", "M862.3", "M862.4", "M862.5", "M862.6", "M862.7", "M907", "M911", "M912", "M914", "M919"}
_KLIPPER = {
    "ACTIVATE_EXTRUDER",
    "BED_MESH_CALIBRATE",
    "BED_MESH_CLEAR",
    "BED_MESH_PROFILE",
    "END_PRINT",
    "EXCLUDE_OBJECT",
    "EXCLUDE_OBJECT_DEFINE",
    "EXCLUDE_OBJECT_END",
    "EXCLUDE_OBJECT_START",
    "PRINT_END",
    "PRINT_START",
    "QUAD_GANTRY_LEVEL",
    "RESPOND",
    "RESTORE_GCODE_STATE",
    "SAVE_GCODE_STATE",
    "SET_FAN_SPEED",
    "SET_LED",
    "SET_PRESSURE_ADVANCE",
    "SET_PRINT_STATS_INFO",
    "SET_RETRACTION",
    "SET_VELOCITY_LIMIT",
    "START_PRINT",
    "TEMPERATURE_WAIT",
    "TIMELAPSE_TAKE_FRAME",
    "Z_TILT_ADJUST",
}
_REPRAP = _numbered("G", 29, 30, 32) | _numbered("M", 120, 121, 144, 290, 376, 401, 402, 562, 566, 568, 572, 593)
_BAMBU = _numbered("G", 39, 150, 180, 380, 383, 392, 393) | {"G29.1", "G29.2", "G29.4", "G39.1", "G39.3", "G39.4"}
_BAMBU |= _numbered(
    "M", 74, 142, 290, 412, 562, 620, 621, 622, 623, 624, 625, 628, 629, 630, 900, 960, 970, 971, 972, 973
)
_BAMBU |= _numbered(
    "M", 974, 975, 976, 977, 981, 982, 983, 984, 985, 986, 987, 991, 1002, 1003, 1004, 1005, 1006, 1007, 9833
)
_BAMBU |= {
    "M73.2",
    "M620.1",
    "M620.3",
    "M620.6",
    "M620.10",
    "M620.11",
    "M620.13",
    "M620.14",
    "M620.15",
    "M622.1",
    "M970.2",
}
_BAMBU |= {
    "M970.3",
    "M982.2",
    "M982.4",
    "M983.1",
    "M983.3",
    "M9833.2",
    "M623.1",
    "M204.2",
    "M106.1",
    "M620.17",
    "M620.22",
}
_BAMBU |= _numbered("M", 500, 963, 964, 969) | {"M201.2", "M980.3"}
LISTED = {
    # Marlin's kin: Prusa's own commands are nothing to the others.
    Dialect.ANY: frozenset(_COMMON | _PRUSA),
    Dialect.MARLIN: frozenset(_COMMON | _MARLIN),
    Dialect.PRUSA: frozenset(_COMMON | _PRUSA),
    Dialect.KLIPPER: frozenset(_COMMON | _KLIPPER | _MARLIN),
    Dialect.REPRAP: frozenset(_COMMON | _REPRAP),
    Dialect.BAMBU: frozenset(_COMMON | _BAMBU),
}
# Forbidden elsewhere: in RepRapFirmware M121 takes back a state that was put aside, and with M500 Bambu Lab's own start code
# saves what it has just measured.
EXEMPT = {
    Dialect.REPRAP: frozenset({"M121"}),
    Dialect.BAMBU: frozenset({"M500"}),
}
