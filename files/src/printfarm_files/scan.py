"""G-code lines as columns of numbers: a block of text at once, by numpy, in place of a loop over its lines."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import Refused

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
AXES = "XYZEIJ"
BLOCK_BYTES = 4 << 20
LONGEST_LINE = 1 << 20
_WIDEST = 14
_TENS = 10.0 ** np.arange(_WIDEST + 1)
_FIRST_LETTER = ord(min(AXES))
_LETTERS = np.zeros(256, np.uint8)
for _place, _letter in enumerate(AXES, 1):
    _LETTERS[ord(_letter)] = _place
_UNUSUAL = re.compile(rb"^[ \t]{1,64}(?:N\d{1,10}[ \t]{0,64})?|^N\d{1,10}[ \t]{0,64}", re.M | re.I)


@dataclass(frozen=True, slots=True)
class Lines:
    """One block. ``values[i]`` is the column of ``AXES[i]``, NaN where the line has no such word.

    ``moves`` tells G0 to G3 (as 0 to 3) from all others (-1); ``others`` are the lines, not empty, that are no moves."""

    text: bytes
    starts: Ints
    ends: Ints
    moves: NDArray[np.int8]
    values: Floats
    others: Ints

    @property
    def count(self) -> int:
        """Of lines."""
        return len(self.starts)

    def line(self, index: int) -> bytes:
        """Its text, without the end of line."""
        return self.text[self.starts[index] : self.ends[index]]


def blocks(pieces: Iterable[bytes], size: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The same bytes in pieces of whole lines. Raises Refused for a line that is none."""
    left: list[bytes] = []
    length = 0
    for piece in pieces:
        left.append(piece)
        length += len(piece)
        if length < size:
            continue
        joined = b"".join(left)
        cut = joined.rfind(b"\n") + 1
        if len(joined) - cut > LONGEST_LINE:
            raise Refused("the G-code has a line that is longer than 1 MiB")
        if cut:
            yield joined[:cut]
        left, length = [joined[cut:]], len(joined) - cut
    if rest := b"".join(left):
        yield rest


def columns(text: bytes) -> Lines:
    """One block of whole lines."""
    data = np.frombuffer(text, np.uint8)
    starts, ends = _lines(data)
    first = data[starts] if len(starts) else data[:0]
    if _has_unusual(first):
        text = _UNUSUAL.sub(b"", text).replace(b"\ng", b"\nG")
        data = np.frombuffer(text, np.uint8)
        starts, ends = _lines(data)
    moves = _moves(data, starts, ends)
    values = _values(data, starts, _comments(data, starts, ends), moves)
    full = ends > starts
    return Lines(text, starts, ends, moves, values, np.flatnonzero((moves < 0) & full))


def _lines(data: NDArray[np.uint8]) -> tuple[Ints, Ints]:
    ends = np.flatnonzero(data == 10)
    if not len(data) or data[-1] != 10:
        ends = np.append(ends, len(data))
    starts = np.concatenate(([0], ends[:-1] + 1))
    return starts[starts < len(data)], ends[: int(np.count_nonzero(starts < len(data)))]


def _has_unusual(first: NDArray[np.uint8]) -> bool:
    """A line that begins with a space, a line number or a small letter."""
    return bool(((first == 32) | (first == 9) | (first == 78) | (first >= 97)).any())


def _at(data: NDArray[np.uint8], places: Ints) -> NDArray[np.uint8]:
    return data[np.minimum(places, len(data) - 1)]


def _moves(data: NDArray[np.uint8], starts: Ints, ends: Ints) -> NDArray[np.int8]:
    """G0 to G3, also written G00 to G03, and nothing that only begins so, as G28 or G3.1."""
    if not len(starts):
        return np.empty(0, np.int8)
    second, third, fourth = (_at(data, starts + i) for i in (1, 2, 3))
    length = ends - starts
    padded = (second == 48) & (third >= 48) & (third <= 51) & (length > 2)
    digit = np.where(padded, third, second)
    after = np.where(padded, fourth, third)
    ended = (length <= np.where(padded, 3, 2)) | (((after < 48) | (after > 57)) & (after != 46))
    is_move = (data[starts] == 71) & (digit >= 48) & (digit <= 51) & ended & (length > 1)
    return np.where(is_move, digit.astype(np.int8) - 48, -1).astype(np.int8)


def _comments(data: NDArray[np.uint8], starts: Ints, ends: Ints) -> Ints:
    """Where the line's comment begins, or its end."""
    marks = np.flatnonzero(data == 59)
    if not len(marks):
        return ends
    place = np.searchsorted(marks, starts)
    found = marks[np.minimum(place, len(marks) - 1)]
    return np.where((place < len(marks)) & (found < ends), found, ends)


def _values(data: NDArray[np.uint8], starts: Ints, ends: Ints, moves: NDArray[np.int8]) -> Floats:
    values = np.full((len(AXES), len(starts)), np.nan)
    # Most of what is at least an E is wanted; to look up these few is cheaper than to look up every byte.
    places = np.flatnonzero(data >= _FIRST_LETTER)
    letters = _LETTERS[data[places]]
    places, letters = places[letters > 0], letters[letters > 0]
    if not len(places):
        return values
    per_line = np.diff(np.append(np.searchsorted(places, starts), len(places)))
    lines = np.repeat(np.arange(len(starts)), per_line)
    wanted = (moves[lines] >= 0) & (places < ends[lines])
    if not wanted.all():
        places, lines, letters = places[wanted], lines[wanted], letters[wanted]
    values[letters - 1, lines] = numbers(data, places + 1)
    return values


def numbers(data: NDArray[np.uint8], places: Ints) -> Floats:
    """The decimal numbers that begin there, at most 14 characters of each; NaN where there is none."""
    padded = np.concatenate([data, np.zeros(_WIDEST + 2, np.uint8)])
    if len(places) and (padded[places] == 32).any():
        places = places + (padded[places] == 32)
    value, scale = np.zeros(len(places)), np.zeros(len(places), np.uint8)
    active, fraction = np.ones(len(places), np.bool_), np.zeros(len(places), np.bool_)
    found = np.zeros(len(places), np.bool_)
    first = padded[places]
    for offset in range(_WIDEST):
        char = padded[places + offset] if offset else first
        digit = char - np.uint8(48)
        taken, dot = digit < 10, char == 46
        going = taken | (dot & ~fraction)
        if offset == 0:
            going |= (char == 45) | (char == 43)
        active &= going
        taken &= active
        if not active.any():
            break
        found |= taken
        value = np.where(taken, value * 10 + digit, value)
        scale += taken & fraction
        fraction |= active & dot
    value /= _TENS[scale]
    value[first == 45] *= -1
    value[~found] = np.nan
    return value
