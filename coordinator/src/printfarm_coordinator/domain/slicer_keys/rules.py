"""What one setting of a profile may be, and whether a value fits."""

import math
import re
from dataclasses import dataclass

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_POINT = re.compile(r"-?\d{1,5}(?:\.\d{1,4})?x-?\d{1,5}(?:\.\d{1,4})?")
# As in Cura's start code; also ``{name, 0}``, of the first extruder.
_PLACE = re.compile(r"\{([a-z][a-z0-9_]{0,80})(?:,\s?0)?\}")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LONGEST_TEXT = 16_384
MOST_POINTS = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """What one setting may be. ``form``: number, percent (or number), flag (0 or 1), truth (true or false), choice, word,
    name (a word without a slash), gcode, template (G-code with places for the settings in ``choices``), points, colour."""

    kind: str
    form: str
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    needed: bool = False
    # How many values, separated by commas.
    values: int = 1


def wrong_value(rule: Rule, text: str) -> str:
    """Why the value cannot be taken, naming what would be right; empty if it can."""
    if "\0" in text or len(text) > LONGEST_TEXT:
        return f"must be at most {LONGEST_TEXT} characters without NUL"
    if rule.form not in ("gcode", "template") and any(ord(c) < 32 for c in text):
        return "must be one line"
    return _CHECKS[rule.form](rule, text)


def _number(rule: Rule, text: str) -> str:
    parts = text.split(",")
    if 1 <= len(parts) <= rule.values and all(_in_range(rule, part) for part in parts):
        return ""
    return f"must be a number from {rule.least:g} to {rule.most:g}"


def _in_range(rule: Rule, text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and rule.least <= float(text) <= rule.most


def _percent(rule: Rule, text: str) -> str:
    if text.endswith("%"):
        within = _NUMBER.fullmatch(text[:-1]) is not None and 0 <= float(text[:-1]) <= 1_000
        return "" if within else "must be 0% to 1000%"
    return _number(rule, text) and f"must be a number from {rule.least:g} to {rule.most:g}, or a percentage"


def _flag(_rule: Rule, text: str) -> str:
    return "" if text in ("0", "1") else "must be 0 or 1"


def _truth(_rule: Rule, text: str) -> str:
    return "" if text in ("true", "false") else "must be true or false"


def _choice(rule: Rule, text: str) -> str:
    return "" if text in rule.choices else f"must be one of {', '.join(rule.choices)}"


def _word(_rule: Rule, text: str) -> str:
    fits = 1 <= len(text) <= 100 and text.isprintable() and not set(text) & set(',;"\\')
    return "" if fits else "must be 1 to 100 printable characters without comma, semicolon, quote or backslash"


def _name(rule: Rule, text: str) -> str:
    return _word(rule, text) or ("must have no slash: a file's name is made of it" if "/" in text else "")


def _gcode(_rule: Rule, text: str) -> str:
    return "" if all(c == "\n" or c.isprintable() for c in text) else "must be lines of printable text"


def _template(rule: Rule, text: str) -> str:
    unknown = next((name for name in _PLACE.findall(text) if name not in rule.choices), None)
    if unknown is not None:
        return f"{{{unknown}}} is no setting of a profile that can stand in it"
    return _gcode(rule, text)


def _points(_rule: Rule, text: str) -> str:
    points = text.split(",")
    fits = 3 <= len(points) <= MOST_POINTS and all(_POINT.fullmatch(point) for point in points)
    return "" if fits else f"must be 3 to {MOST_POINTS} corners such as 0x0,250x0,250x210,0x210"


def _colour(_rule: Rule, text: str) -> str:
    return "" if _COLOUR.fullmatch(text) else "must be a colour such as #FF8000"


_CHECKS = {
    "number": _number,
    "percent": _percent,
    "flag": _flag,
    "truth": _truth,
    "choice": _choice,
    "word": _word,
    "name": _name,
    "gcode": _gcode,
    "template": _template,
    "points": _points,
    "colour": _colour,
}


def numbers(kind: str, limits: tuple[float, float], *keys: str, form: str = "number") -> dict[str, Rule]:
    """One rule for many keys."""
    return {key: Rule(kind, form, *limits) for key in keys}


def flags(kind: str, *keys: str, form: str = "flag") -> dict[str, Rule]:
    """Yes or no, for many keys."""
    return {key: Rule(kind, form) for key in keys}
