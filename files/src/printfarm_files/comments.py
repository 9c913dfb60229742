"""The comments of a slicer at the two ends of its G-code: ``; key = value``, ``;KEY:value``.

The first in the head counts, else the last in the tail: in between lies whatever the print says of itself.
"""

import math
import re
from collections.abc import Iterable, Iterator

EDGE_BYTES = 64 * 1024
# A head with many pictures, and a settings block longer than one edge.
LONGEST_HEAD_BYTES = 4 << 20
LONGEST_TAIL_BYTES = 1 << 20
LONGEST_SECONDS = 60 * 24 * 3600.0
_LONGEST_VALUE = 4096
_LINE = re.compile(r"^;[ \t]{0,8}([^\s=:;][^=:\r\n]{0,79})[=:]([^\r\n]*)")
# "1d 2h 3m 4s", "1 hour 2 minutes": any part of it, each once.
_SPAN = re.compile(
    r"(?:(\d{1,6})\s?d(?:ays?)?)?\s?(?:(\d{1,6})\s?h(?:ours?|rs?)?)?\s?"
    r"(?:(\d{1,6})\s?m(?:in(?:utes?)?)?)?\s?(?:(\d{1,9}(?:\.\d{1,9})?)\s?s(?:ec(?:onds?)?)?)?",
    re.ASCII,
)
_NUMBER = re.compile(r"[-+]?(?:\d{1,15}(?:\.\d{0,15})?|\.\d{1,15})(?:[eE][-+]?\d{1,2})?", re.ASCII)


class Comments:
    """Keys are as written, without case. Values are shown as they stand; the readers below make numbers of them."""

    def __init__(self, head: bytes, tail: bytes) -> None:
        self.head = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        self.tail = tail.decode("utf-8", "replace")
        # The lines that are nothing but a comment, of each end. Most of a file are moves: no pattern need look at them.
        self.head_lines, self.tail_lines = _comments(self.head), _comments(self.tail)
        self._said = dict(_pairs(self.tail_lines))
        first: dict[str, str] = {}
        for key, value in _pairs(self.head_lines):
            first.setdefault(key, value)
        self._said.update(first)

    def text(self, *keys: str) -> str | None:
        """The value of the first of these that is there and not empty."""
        for key in keys:
            if value := self._said.get(key.lower()):
                return value
        return None

    def seconds(self, *keys: str) -> float | None:
        """A span of time, in any spelling; None if it cannot be true."""
        value = self.text(*keys)
        return span(value) if value else None

    def number(self, *keys: str) -> float | None:
        """The first number of the value, whatever unit follows it."""
        return number(self.text(*keys) or "")

    def count(self, *keys: str) -> int | None:
        """A whole number of at least 0."""
        found = self.number(*keys)
        return int(found) if found is not None and found >= 0 and found == int(found) else None

    def numbers(self, *keys: str) -> list[float | None]:
        """One a tool; empty if there is no such key."""
        return [number(part) for part in self.texts(*keys)]

    def texts(self, *keys: str) -> list[str]:
        """One a tool, without quotes."""
        value = self.text(*keys)
        if value is None:
            return []
        separator = ";" if ";" in value else ","
        return [part.strip().strip('"').strip() for part in value.split(separator)[:64]]


def _comments(text: str) -> list[str]:
    return [";" + piece.partition("\n")[0] for piece in f"\n{text}".split("\n;")[1:]]


def _pairs(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        if ("=" in line or ":" in line) and (found := _LINE.match(line)):
            yield found[1].rstrip().lower(), found[2].strip()[:_LONGEST_VALUE]


def number(text: str) -> float | None:
    """The number that a text begins with; None if it has none, or none that is finite."""
    found = _NUMBER.match(text.strip().strip('"'))
    if not found:
        return None
    value = float(found[0])
    return value if math.isfinite(value) else None


def span(text: str) -> float | None:
    """Seconds of "1d 2h 13m 46s" and its kin; a bare number is seconds. None unless above 0 and at most 60 days."""
    shown = text.strip()[:80]
    found = _SPAN.match(shown)
    if found and found[0].strip():
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return plausible_seconds(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    bare = _NUMBER.fullmatch(shown)
    return plausible_seconds(float(bare[0])) if bare else None


def plausible_seconds(seconds: float) -> float | None:
    """None for what no print takes: nothing, or more than 60 days."""
    return seconds if 0 < seconds <= LONGEST_SECONDS else None


def above_zero(value: float | None) -> float | None:
    """Where 0 is a slicer's way to say that it does not know: grams without a density, a bed that is not heated."""
    return value if value is not None and 0 < value < 1e9 else None
