"""How far the machine moves, where the firmware was built to say so: a line of M115's answer. Pure."""

import re
from collections.abc import Mapping

KEY = "AREA"
_SIDE = r"(-?\d{1,5}(?:\.\d{1,6})?)"
_CORNER = r"\{x:" + _SIDE + ",y:" + _SIDE + ",z:" + _SIDE + r"\}"
# ``work`` is the bed; ``full`` is all that the axes reach, where the bed is not told apart.
_AREAS = {which: re.compile(which + r":\{min:" + _CORNER + ",max:" + _CORNER + r"\}") for which in ("work", "full")}
_LONGEST_MM = 10_000.0


def area_of(line: str) -> str:
    """The far corner in mm, as a field beside those of M115; empty if the line is another, or makes no sense."""
    if not line.startswith("area:{"):
        return ""
    found = next((match for pattern in _AREAS.values() if (match := pattern.search(line))), None)
    return " ".join(found.groups()[3:]) if found else ""


def volume_of(fields: Mapping[str, object]) -> tuple[float, float, float] | None:
    """By that field; None without it."""
    try:
        x, y, z = (float(side) for side in str(fields.get(KEY, "")).split())
    except ValueError:
        return None
    return (x, y, z) if all(0 < side <= _LONGEST_MM for side in (x, y, z)) else None
