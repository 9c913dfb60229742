"""What the moves themselves say, where no comment does: bounds, filament, layers. One pass, constant memory.

A move prints if it draws filament above the highest mark that the tool has reached: the way back after a retraction does not.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from .comments import plausible_seconds
from .facts import Bounds
from .scan import AXES, Bools, Floats, Ints, Lines, blocks, columns

Segments = Callable[[Floats, Ints], None]
_X, _Y, _Z, _E, _I, _J = range(len(AXES))
_LEAST_E = 1e-6
_MOST_LAYERS = 100_000
_INCH = 25.4
_TEMPERATURE = re.compile(rb"M(104|109|140|190|141|191)\b[^;]{0,40}?[SR]\s?(\d{1,4}(?:\.\d{1,4})?)")
_WORD = re.compile(rb"([XYZED])\s?([-+]?\d{0,9}\.?\d{1,9})")
_PERSON = re.compile(rb"(?:M600|M601|M0|M1|M25|M226|PAUSE)\b")
_MACRO = re.compile(rb"[A-Z_]{3}")
_LAYER_MARKS = (b";LAYER_CHANGE", b";LAYER:", b"; CHANGE_LAYER")
_FEATURES = (b";TYPE:", b"; FEATURE:", b";FEATURE:")
_NOT_MODEL = {b"skirt", b"brim", b"skirt/brim", b"custom", b"wipe tower", b"prime tower", b"prime-tower", b"purge"}
_HOTEND, _BED, _CHAMBER = (b"104", b"109"), (b"140", b"190"), (b"141", b"191")


@dataclass(slots=True)
class Path:
    """What was found, and where the scan stands."""

    low: Floats = field(default_factory=lambda: np.full(3, np.inf))
    high: Floats = field(default_factory=lambda: np.full(3, -np.inf))
    model_low: Floats = field(default_factory=lambda: np.full(3, np.inf))
    model_high: Floats = field(default_factory=lambda: np.full(3, -np.inf))
    length: dict[int, float] = field(default_factory=dict)
    hottest: dict[str, float] = field(default_factory=dict)
    first: dict[str, float] = field(default_factory=dict)
    layer_marks: int = 0
    heights: set[float] = field(default_factory=set)
    tool_changes: int = 0
    needs_person: bool = False
    runs_macros: bool = False
    elapsed_seconds: float | None = None
    moves: int = 0
    # Where the scan stands: logical position X Y Z E, what G92 shifted X Y Z by, modes, tool, feature.
    place: Floats = field(default_factory=lambda: np.array([np.nan, np.nan, np.nan, 0.0]))
    shift: Floats = field(default_factory=lambda: np.zeros(3))
    unit: float = 1.0
    relative: bool = False
    relative_e: bool = False
    # What M82 or M83 said last.
    said_relative_e: bool = False
    tool: int = 0
    in_model: bool = False
    drawn: dict[int, float] = field(default_factory=dict)
    volumetric: bool = False
    tools_seen: set[int] = field(default_factory=set)

    @property
    def bounds_all(self) -> Bounds | None:
        """Every extruding move."""
        return _box(self.low, self.high)

    @property
    def bounds_model(self) -> Bounds | None:
        """Without skirt, brim and purge; None where the file does not tell them apart."""
        return _box(self.model_low, self.model_high)

    @property
    def layer_count(self) -> int | None:
        """By the slicer's marks, else by the heights at which something was printed."""
        return self.layer_marks or (len(self.heights) if len(self.heights) < _MOST_LAYERS else None) or None

    @property
    def layer_height_mm(self) -> float | None:
        """The usual step between heights."""
        steps = np.diff(np.sort(np.array(list(self.heights))))
        return round(float(np.median(steps)), 3) if len(steps) >= 3 else None

    @property
    def lengths(self) -> dict[int, float]:
        """Millimetres of filament by tool; empty if E counts volume."""
        return {} if self.volumetric else {tool: length for tool, length in sorted(self.length.items()) if length > 0}


def _box(low: Floats, high: Floats) -> Bounds | None:
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    a, b = low.round(4).tolist(), high.round(4).tolist()
    return Bounds((a[0], a[1], a[2]), (b[0], b[1], b[2]))


def scan(pieces: Iterable[bytes], on_segments: Segments | None = None) -> Path:
    """Of the whole text. ``on_segments`` is given the printing moves: (n, 2 ends, 3 axes), and the tool of each.

    Raises Refused for what are no lines."""
    path = Path()
    for text in blocks(pieces):
        _Block(columns(text), path).scan(on_segments)
    return path


class _Block:
    """One block: the rare lines by a loop, which gives each mode by line; the moves by columns."""

    def __init__(self, lines: Lines, path: Path) -> None:
        self._lines, self._path = lines, path
        self._sets: list[tuple[int, int, float]] = []
        self._units = [(0, path.unit)]
        self._relative = [(0, float(path.relative))]
        self._relative_e = [(0, float(path.relative_e))]
        self._tools = [(0, float(path.tool))]
        self._model = [(0, float(path.in_model))]

    def scan(self, on_segments: Segments | None) -> None:
        lines, path = self._lines, self._path
        if not lines.count:
            return
        for index in lines.others.tolist():
            self._other(index, lines.line(index))
        values = lines.values
        units = self._filled(self._units)
        if (units != 1).any():
            values = values * units
        relative, relative_e = self._filled(self._relative) > 0, self._filled(self._relative_e) > 0
        before, after = self._positions(values, relative, relative_e)
        tools = self._filled(self._tools).astype(np.int64)
        printing = self._printing(after[_E] - before[_E], tools)
        self._bounds(before, after, values, printing, tools, on_segments)
        path.place = after[:, -1].copy()
        path.moves += int(np.count_nonzero(lines.moves >= 0))

    def _filled(self, events: list[tuple[int, float]]) -> Floats:
        """The value in force at each line."""
        if len(events) == 1:
            return np.full(self._lines.count, events[0][1])
        places, values = zip(*events, strict=True)
        return np.repeat(np.array(values), np.diff([*places, self._lines.count]))

    def _other(self, index: int, line: bytes) -> None:
        path = self._path
        if line.startswith(b";"):
            self._comment(index, line)
        elif line.startswith((b"M82", b"M83")):
            path.relative_e = path.said_relative_e = line[2:3] == b"3"
            self._relative_e.append((index, float(path.relative_e)))
        elif line.startswith((b"G90", b"G91")):
            # As Klipper has it, which is what slicers mean: G91 is for E, too (Cura's end code), and G90 takes back what it
            # made relative, not M83. RepRapFirmware and Prusa's firmware leave E alone; only Marlin 2 makes it absolute, and
            # files for it say M83 once more.
            path.relative = line[2:3] == b"1"
            path.relative_e = path.relative or path.said_relative_e
            self._relative.append((index, float(path.relative)))
            self._relative_e.append((index, float(path.relative_e)))
        elif line.startswith(b"G92") and line[3:4] in b" \r":
            for letter, value in _WORD.findall(line.partition(b";")[0]):
                if letter != b"D":
                    self._sets.append((index, AXES.index(letter.decode()), float(value)))
        elif line.startswith((b"G20", b"G21")):
            path.unit = _INCH if line[2:3] == b"0" else 1.0
            self._units.append((index, path.unit))
        elif line.startswith(b"G28"):
            axes = [axis for axis in range(3) if AXES[axis].encode() in line.partition(b";")[0][3:]] or range(3)
            self._sets += [(index, axis, np.nan) for axis in axes]
        elif line.startswith(b"T") and line[1:2].isdigit():
            self._tool(index, line)
        elif found := _TEMPERATURE.match(line):
            self._temperature(found[1], float(found[2]))
        elif line.startswith(b"M200"):
            words = dict(_WORD.findall(line))
            path.volumetric |= float(words.get(b"D", 0)) > 0
        elif _PERSON.match(line):
            path.needs_person = True
        elif _MACRO.match(line):
            path.runs_macros = True

    def _comment(self, index: int, line: bytes) -> None:
        path = self._path
        if line.startswith(_FEATURES):
            feature = line.partition(b":")[2].strip().lower()
            path.in_model = feature not in _NOT_MODEL
            self._model.append((index, float(path.in_model)))
        elif line.startswith(_LAYER_MARKS):
            path.layer_marks += 1
        elif line.startswith(b";TIME_ELAPSED:"):
            try:
                path.elapsed_seconds = plausible_seconds(float(line[14:40]))
            except ValueError:
                return

    def _tool(self, index: int, line: bytes) -> None:
        digits = re.match(rb"T(\d{1,3})", line)
        tool = int(digits[1]) if digits else 0
        if tool > 63:
            return
        self._path.tool_changes += bool(self._path.tools_seen) and tool != self._path.tool
        self._path.tools_seen.add(tool)
        self._path.tool = tool
        self._tools.append((index, float(tool)))

    def _temperature(self, command: bytes, value: float) -> None:
        what = "hotend" if command in _HOTEND else "bed" if command in _BED else "chamber"
        if 0 < value < 2000:
            self._path.first.setdefault(what, value)
            self._path.hottest[what] = max(value, self._path.hottest.get(what, 0.0))

    def _positions(self, values: Floats, relative: Bools, relative_e: Bools) -> tuple[Floats, Floats]:
        """Logical X Y Z E before and after each line: the last value set, and what was added since."""
        count = self._lines.count
        # One column more than there are lines: where the block begins.
        places = np.empty((4, count + 1))
        places[:, 0] = self._path.place
        for axis in range(4):
            column, adds = values[axis], relative_e if axis == _E else relative
            events = [(index, value) for index, which, value in self._sets if which == axis]
            places[axis, 1:] = _followed(column, adds, events, self._path.place[axis])
        before, after = places[:, :-1], places[:, 1:]
        if any(which == _E for _, which, _ in self._sets):
            before = before.copy()
            for index, which, value in self._sets:
                if which == _E:
                    # To call the place by another number draws nothing.
                    before[_E, index] = value
        return before, after

    def _printing(self, drawn: Floats, tools: Ints) -> Bools:
        path = self._path
        printing = np.zeros(self._lines.count, np.bool_)
        for tool in np.unique(tools).tolist():
            mine = slice(None) if len(self._tools) == 1 else np.flatnonzero(tools == tool)
            reached = path.drawn.get(tool, 0.0) + np.cumsum(drawn[mine])
            highest = np.empty(len(reached) + 1)
            highest[0], highest[1:] = path.length.get(tool, 0.0), reached
            np.maximum.accumulate(highest, out=highest)
            printing[mine] = reached > highest[:-1] + _LEAST_E
            path.drawn[tool], path.length[tool] = float(reached[-1]), float(highest[-1])
        return printing

    def _bounds(
        self, before: Floats, after: Floats, values: Floats, printing: Bools, tools: Ints, on_segments: Segments | None
    ) -> None:
        path = self._path
        chosen = printing & (self._lines.moves >= 0)
        chosen &= (after[_X] != before[_X]) | (after[_Y] != before[_Y]) | (after[_Z] != before[_Z])
        if np.isnan(path.place[:3]).any() or any(np.isnan(value) for _, axis, value in self._sets if axis < 3):
            chosen &= ~(np.isnan(before[:3]).any(axis=0) | np.isnan(after[:3]).any(axis=0))
        shift = self._shifts(before)
        drawn = np.flatnonzero(chosen)
        if not len(drawn):
            return
        start, end = before[:3].take(drawn, axis=1), after[:3].take(drawn, axis=1)
        if shift is not None:
            moved = shift.take(drawn, axis=1)
            start, end = start + moved, end + moved
        low, high = np.minimum(start, end), np.maximum(start, end)
        arcs = np.flatnonzero(self._lines.moves[drawn] >= 2)
        if len(arcs):
            _widen(low, high, start, end, values[:, drawn], self._lines.moves[drawn], arcs)
        path.low, path.high = np.minimum(path.low, low.min(axis=1)), np.maximum(path.high, high.max(axis=1))
        model = self._filled(self._model)[drawn] > 0
        if model.all():
            path.model_low = np.minimum(path.model_low, low.min(axis=1))
            path.model_high = np.maximum(path.model_high, high.max(axis=1))
        elif model.any():
            path.model_low = np.minimum(path.model_low, low[:, model].min(axis=1))
            path.model_high = np.maximum(path.model_high, high[:, model].max(axis=1))
        if len(path.heights) < _MOST_LAYERS:
            tall = end[_Z]
            changes = np.concatenate(([True], tall[1:] != tall[:-1]))
            path.heights.update(np.unique(tall[changes].round(3)).tolist())
        if on_segments is not None:
            on_segments(np.stack([start.T, end.T], axis=1), tools[drawn])

    def _shifts(self, before: Floats) -> Floats | None:
        """What to add to X Y Z to have the machine's own, if anything: G92 gives a place another number, without a move."""
        path = self._path
        events = [(index, axis, value) for index, axis, value in self._sets if axis < 3]
        if not events and not path.shift.any():
            return None
        shift = np.repeat(path.shift[:, None], self._lines.count, axis=1)
        for index, axis, value in events:
            moved = before[axis, index] - value
            homed = np.isnan(value)
            path.shift[axis] = 0.0 if homed else path.shift[axis] + (0.0 if np.isnan(moved) else moved)
            shift[axis, index:] = path.shift[axis]
        return shift


def _followed(column: Floats, adds: Bools, events: list[tuple[int, float]], place: float) -> Floats:
    """One axis, line by line, from where it stands."""
    has = ~np.isnan(column)
    if adds.any():
        sets = has & ~adds
        added = np.cumsum(np.where(has & adds, column, 0.0))
    else:
        sets, added = has, None
    if events:
        column, sets = column.copy(), sets.copy()
        for index, value in events:
            sets[index], column[index] = True, value
    if not sets.any():
        return np.full(len(column), place) if added is None else place + added
    last = np.maximum.accumulate(np.where(sets, np.arange(len(column)), -1))
    found = column[last] if added is None else column[last] - added[last]
    found = np.where(last >= 0, found, place)
    return found if added is None else found + added


def _widen(
    low: Floats, high: Floats, start: Floats, end: Floats, values: Floats, moves: np.ndarray, arcs: Ints
) -> None:
    """An arc reaches to the sides of its circle that it passes (G2 clockwise, G3 counter-clockwise, centre by I and J)."""
    offset = np.nan_to_num(values[[_I, _J]][:, arcs])
    arcs, offset = arcs[(offset != 0).any(axis=0)], offset[:, (offset != 0).any(axis=0)]
    centre = start[:2, arcs] + offset
    radius = np.hypot(*offset)
    begin = np.arctan2(-offset[1], -offset[0])
    stop = np.arctan2(*(end[:2, arcs] - centre)[::-1])
    begin, stop = np.where(moves[arcs] == 2, stop, begin), np.where(moves[arcs] == 2, begin, stop)
    sweep = (stop - begin) % (2 * np.pi)
    sweep = np.where(sweep < 1e-9, 2 * np.pi, sweep)
    for quarter, (axis, side) in enumerate(((_X, 1), (_Y, 1), (_X, -1), (_Y, -1))):
        passed = (quarter * np.pi / 2 - begin) % (2 * np.pi) <= sweep
        reach = centre[axis] + side * radius
        target = high if side > 0 else low
        best = np.maximum if side > 0 else np.minimum
        target[axis, arcs] = np.where(passed, best(target[axis, arcs], reach), target[axis, arcs])
