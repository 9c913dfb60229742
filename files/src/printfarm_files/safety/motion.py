"""Where a print file moves to, followed as firmware does: units, relative moves, shifted coordinates, arcs."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import arcs
from .dialects import Dialect
from .limits import MARGIN_BELOW_MM, Limits
from .words import Command

_AXES = "XYZ"
_INCH_MM = 25.4
_PLANES = {"G17": ((0, 1), "IJ"), "G18": ((2, 0), "KI"), "G19": ((1, 2), "JK")}
_MOVES = frozenset({"G0", "G1", "G2", "G3", "G5"})
# After these the file's coordinates are anybody's guess.
_HIDE_PLACES = {
    "G51": "scales",
    "G52": "shifts",
    "G68": "turns",
    "M579": "scales",
    **{f"G{number:g}": "chooses" for number in (54, 55, 56, 57, 58, 59, 59.1, 59.2, 59.3)},
}
_STATE_NAME = re.compile(r"NAME=(.*?)(?:MOVE(?:_SPEED)?=|$)")
# What a file may put aside at most: the check's own memory has an end.
_MOST_STATES = 100
_STAND_STILL = frozenset({"G4", "G10", "G11", "G21", "G20", "G90", "G91", "G92", "G93", "G94", "G60", "G64"})


@dataclass(slots=True)
class Motion:
    """``place``: where the nozzle is, in the machine's millimetres; None where that is not known, but for the room that it must
    be in: a relative move shifts the room."""

    limits: Limits
    dialect: Dialect = Dialect.ANY
    # Keeps how far the moves reach, where no volume says how far they may.
    measures: bool = False
    place: list[float | None] = field(default_factory=lambda: [None, None, None])
    shift: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    relative: bool = False
    unit_mm: float = 1.0
    plane: str = "G17"
    speed: float = 1.0
    feed: float = 0.0
    # What a line of bare coordinates repeats, and whether the last move extruded.
    modal: str = "G1"
    extrudes: bool = False
    has_extruded: bool = False
    low: list[float] = field(default_factory=lambda: [math.inf] * 3)
    high: list[float] = field(default_factory=lambda: [-math.inf] * 3)
    # Coordinates were shifted or turned so that nobody can tell where moves go.
    is_lost: bool = False
    _ranges: list[tuple[float, float]] = field(default_factory=list)
    _rooms: list[tuple[float, float]] = field(default_factory=list)
    _stack: list[tuple[bool, float, str, float]] = field(default_factory=list)
    _states: dict[str, tuple[bool, list[float], float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.measures:
            self._ranges = [(-math.inf, math.inf)] * 3
        if volume := self.limits.volume_mm:
            ends = zip(self.limits.origin_mm, volume, self._below(), strict=True)
            self._ranges = [(low - below, low + side + self.dialect.margin_mm) for low, side, below in ends]
        self._rooms = list(self._ranges)

    @property
    def measures_nothing(self) -> bool:
        """No move names a place."""
        return max(self.high) == -math.inf

    def _below(self) -> tuple[float, float, float]:
        return self.dialect.margin_mm, self.dialect.margin_mm, MARGIN_BELOW_MM

    def take(self, command: Command, *, machine: bool = False) -> str:
        """Why the command is refused; empty if it is not. ``machine``: G53 stands before it."""
        name, words = command.name, command.words
        if name in _MOVES:
            return self._move(command, machine)
        if name in _HIDE_PLACES or (name == "G10" and "L" in words):
            self.is_lost = True
            if self.limits.volume_mm:
                return f"{name} {_HIDE_PLACES.get(name, 'sets')} coordinates: whether moves stay inside cannot be told"
            return ""
        if name in _PLANES:
            self.plane = name
        elif name in ("G20", "G21"):
            self.unit_mm = _INCH_MM if name == "G20" else 1.0
        elif name in ("G90", "G91"):
            self.relative = name == "G91"
        elif name == "G92":
            return self._shift(words)
        elif name == "M220" and "S" in words:
            self.speed = words["S"] / 100
            return self._too_fast(self.feed)
        elif name == "G28":
            self._home(command.text)
        elif name in ("M120", "M121") and self.dialect is Dialect.REPRAP:
            return self._push() if name == "M120" else self._pop()
        elif name in ("SAVE_GCODE_STATE", "RESTORE_GCODE_STATE") and self.dialect in (Dialect.KLIPPER, Dialect.ANY):
            return self._save(command) if name[0] == "S" else self._restore(command)
        elif command.is_extended or (name[0] in "GT" and name not in _STAND_STILL):
            # Probing, parking, tool changes, macros: the next plain move tells where it goes.
            self._forget(range(3))
        return ""

    def plain(self, places: tuple[str | bytes | None, ...], extrusion: bool, feed: bytes | None) -> str:
        """A move G0 or G1, as slicers write it: X, Y and Z."""
        self.extrudes = extrusion
        self.has_extruded |= extrusion
        if feed is not None and (why := self._feed(float(feed))):
            return why
        if self._ranges:
            for axis, text in enumerate(places):
                if text is not None and (why := self._go(axis, float(text), False)):
                    return why
        return ""

    def _move(self, command: Command, machine: bool) -> str:
        words = command.words
        self.modal = command.name
        self.extrudes = "E" in words
        self.has_extruded |= self.extrudes
        if "F" in words and (why := self._feed(words["F"])):
            return why
        if not self._ranges:
            return ""
        start, rooms = list(self.place), list(self._rooms)
        for axis, letter in enumerate(_AXES):
            if letter in words and (why := self._go(axis, words[letter], machine)):
                return why
        if command.name in ("G2", "G3"):
            return self._arc(command, start, rooms)
        return self._curve(words, start) if command.name == "G5" else ""

    def _feed(self, feed: float) -> str:
        self.feed = feed * self.unit_mm
        return self._too_fast(self.feed)

    def _too_fast(self, feed: float) -> str:
        most = self.limits.feed_mm_per_minute
        if feed * self.speed > most:
            return f"feed rate {feed * self.speed:g} mm/min is above {most:g}"
        return ""

    def _go(self, axis: int, value: float, machine: bool) -> str:
        target = value * self.unit_mm
        if self.relative:
            place = self.place[axis]
            if place is None:
                return self._shift_room(axis, target)
            target += place
        elif not machine:
            target += self.shift[axis]
        self.place[axis] = target
        return self._outside(axis, target)

    def _shift_room(self, axis: int, by: float) -> str:
        """Wherever the move began, it ends in the volume, or it is refused."""
        (low, high), room = self._ranges[axis], self._rooms[axis]
        self._rooms[axis] = max(low, room[0] + by), min(high, room[1] + by)
        if self._rooms[axis][0] <= self._rooms[axis][1]:
            return ""
        self._rooms[axis] = (low, high)
        return f"{_AXES[axis]} moved by {by:.6g} mm lies outside of the build volume ({self._volume(axis)}), wherever it began"

    def _volume(self, axis: int) -> str:
        low, high = self._ranges[axis]
        return f"{low + self._below()[axis]:g} to {high - self.dialect.margin_mm:g} mm"

    def _outside(self, axis: int, target: float) -> str:
        low, high = self._ranges[axis]
        if self.measures:
            self.low[axis] = min(self.low[axis], target)
            self.high[axis] = max(self.high[axis], target)
        if low <= target <= high:
            return ""
        return f"{_AXES[axis]} {target:.6g} mm lies outside of the build volume ({self._volume(axis)})"

    def _arc(self, command: Command, start: list[float | None], rooms: list[tuple[float, float]]) -> str:
        """Where the place is not known, a relative arc is measured from where it began."""
        (a, b), letters = _PLANES[self.plane]
        words, clockwise = command.words, command.name == "G2"
        if not self.relative and None in (start[a], start[b], self.place[a], self.place[b]):
            return ""
        begin, end = (start[a] or 0.0, start[b] or 0.0), (self._end(a, words), self._end(b, words))
        if "R" in words:
            centre = arcs.centre_of_radius(begin, end, words["R"] * self.unit_mm, clockwise=clockwise)
        else:
            centre = (begin[0] + self._offset(words, letters[0]), begin[1] + self._offset(words, letters[1]))
        reached = list(arcs.corners(begin, end, centre, clockwise=clockwise, full_turns="P" in words))
        for axis, places in zip((a, b), zip(*reached, strict=True), strict=False):
            least, most = min(places), max(places)
            if start[axis] is None:
                why = self._too_wide(axis, least, most, rooms[axis])
            else:
                why = self._outside(axis, least) or self._outside(axis, most)
            if why:
                return f"the arc's {why}"
        return ""

    def _end(self, axis: int, words: dict[str, float]) -> float:
        place = self.place[axis]
        return place if place is not None else self._offset(words, _AXES[axis])

    def _too_wide(self, axis: int, least: float, most: float, room: tuple[float, float]) -> str:
        low, high = self._ranges[axis]
        if max(room[0], low - least) <= min(room[1], high - most):
            return ""
        reach = f"{_AXES[axis]} from {least:.6g} to {most:.6g} mm of its begin"
        return f"{reach} lies outside of the build volume ({self._volume(axis)}), wherever it began"

    def _offset(self, words: dict[str, float], letter: str) -> float:
        return words.get(letter, 0.0) * self.unit_mm

    def _curve(self, words: dict[str, float], start: list[float | None]) -> str:
        """A Bezier curve stays within the hull of its four points."""
        for axis, near, far in ((0, "I", "P"), (1, "J", "Q")):
            for point, letter in ((start[axis], near), (self.place[axis], far)):
                if point is not None and (why := self._outside(axis, point + self._offset(words, letter))):
                    return f"the curve's {why}"
        return ""

    def _shift(self, words: dict[str, float]) -> str:
        named = {letter: words[letter] for letter in _AXES if letter in words}
        if not words:
            named = dict.fromkeys(_AXES, 0.0)
        for letter, value in named.items():
            axis = _AXES.index(letter)
            place = self.place[axis]
            if place is not None:
                self.shift[axis] = place - value * self.unit_mm
                continue
            self.is_lost = True
            if self.limits.volume_mm:
                return f"G92 shifts {letter} before the file has moved there: whether moves stay inside cannot be told"
        return ""

    def _home(self, text: str) -> None:
        """Axes stand there with numbers and without: ``G28 X Y0``."""
        named = [axis for axis, letter in enumerate(_AXES) if letter in text]
        self._forget(named or range(3))
        for axis in named or range(3):
            self.shift[axis] = 0.0

    def _forget(self, axes: Iterable[int]) -> None:
        for axis in axes:
            self.place[axis] = None
        self._rooms = [
            room if place is not None else self._ranges[axis]
            for axis, (room, place) in enumerate(zip(self._rooms, self.place, strict=False))
        ]

    def _push(self) -> str:
        if len(self._stack) >= _MOST_STATES:
            return f"M120 puts more than {_MOST_STATES} states aside"
        self._stack.append((self.relative, self.unit_mm, self.plane, self.feed))
        return ""

    def _pop(self) -> str:
        if self._stack:
            self.relative, self.unit_mm, self.plane, self.feed = self._stack.pop()
        return ""

    def _save(self, command: Command) -> str:
        name = _state_name(command)
        if name not in self._states and len(self._states) >= _MOST_STATES:
            return f"SAVE_GCODE_STATE puts more than {_MOST_STATES} states aside"
        self._states[name] = self.relative, list(self.shift), self.speed
        return ""

    def _restore(self, command: Command) -> str:
        if "MOVE=1" in command.text:
            self._forget(range(3))
        if (state := self._states.get(_state_name(command))) is None:
            return ""
        self.relative, self.shift, self.speed = state[0], list(state[1]), state[2]
        return self._too_fast(self.feed)


def _state_name(command: Command) -> str:
    """Of Klipper's states. Spaces are gone from the text, so a name ends where another of its words begins."""
    found = _STATE_NAME.search(command.text)
    return found[1] if found else "DEFAULT"
