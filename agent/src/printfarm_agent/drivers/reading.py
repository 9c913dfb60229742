"""What printers say, read with suspicion: what is not plainly right is None. Pure."""

import math
from collections.abc import Mapping
from typing import Any

from ..driver import Heater

LONGEST_TEXT = 256
# A sensor that is broken or open reads outside of these, in degrees Celsius.
COLDEST, HOTTEST = -10.0, 600.0
_NOTHING: Mapping[str, Any] = {}


def number(value: object, lowest: float, highest: float) -> float | None:
    """A finite number within the two."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and lowest <= value <= highest else None


def count(value: object) -> int | None:
    """A whole number from 0 on."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """Printable characters, at most so many; empty for what is no text."""
    return "".join(c for c in value[: 4 * longest] if c.isprintable())[:longest] if isinstance(value, str) else ""


def table(value: object) -> Mapping[str, Any]:
    """A JSON object; empty for anything else."""
    return value if isinstance(value, dict) else _NOTHING


def rows(value: object, most: int = 256) -> list[Mapping[str, Any]]:
    """The objects of a JSON array, at most so many."""
    return [row for row in value[:most] if isinstance(row, dict)] if isinstance(value, list) else []


def heater(name: str, current: object, target: object) -> tuple[Heater, ...]:
    """One heater, or none: a missing reading is noticed, a wrong one believed."""
    now, wanted = number(current, COLDEST, HOTTEST), number(0.0 if target is None else target, 0.0, HOTTEST)
    return () if now is None or wanted is None else (Heater(name, now, wanted),)
