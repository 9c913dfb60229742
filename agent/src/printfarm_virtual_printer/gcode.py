"""What each line of a G-code file does, and how long it takes. Pure.

Each move accelerates from, and brakes to, a low speed at its corners: a trapezoid without look-ahead, near enough to a slicer's
estimate. Distances in millimetres, feed rates in millimetres a minute, as RepRap firmware reads them.
"""

import math
import re
from dataclasses import dataclass, field

_WORD = re.compile(r"([A-Z])\s*([-+]?(?:\d+\.?\d*|\.\d+))")
_LAYER = re.compile(r";\s*(?:LAYER:|LAYER_CHANGE|layer num)\s*", re.I)
_LAYER_COUNT = re.compile(r";\s*(?:LAYER_COUNT:|total layers count =|total layer number:)\s*(\d+)", re.I)
_DEFAULT_FEED = 1_500.0
_HOMING_SECONDS = 20.0
_ACCELERATION = 1_250.0
_CORNER_SPEED = 15.0
_INCH_MM = 25.4


@dataclass(frozen=True, slots=True)
class Step:
    """What a line does beside taking ``seconds``. ``wait_for``: goes on once that heater is at its target."""

    seconds: float = 0.0
    heater: str = ""
    target: float = 0.0
    wait_for: str = ""
    is_move: bool = False
    is_layer: bool = False
    layer_count: int = 0
    message: str = ""
    halts: bool = False


_NOTHING = Step()


@dataclass(slots=True)
class Interpreter:
    """The modal state of the firmware while it reads a file."""

    position: dict[str, float] = field(default_factory=lambda: {"X": 0.0, "Y": 0.0, "Z": 0.0, "E": 0.0})
    feed: float = _DEFAULT_FEED
    relative: bool = False
    relative_e: bool = False
    unit_mm: float = 1.0
    unknown: set[str] = field(default_factory=set)

    def read(self, line: str) -> Step:
        """The next line. What the firmware does not know is ignored, as firmware does."""
        code, _, comment = line.partition(";")
        if comment and (step := _comment(line)) is not None:
            return step
        words = _WORD.findall(_bare(code))
        if not words:
            return _NOTHING
        if words[0][0] == "N":
            del words[0]
        if not words:
            return _NOTHING
        letter, number = words[0]
        command = f"{letter}{float(number):g}"
        values = {axis: float(value) for axis, value in words[1:]}
        if command in ("G0", "G1"):
            return self._move(values)
        if command in ("G2", "G3"):
            return self._arc(values, clockwise=command == "G2")
        return self._other(command, values, code)

    def _move(self, values: dict[str, float]) -> Step:
        if "F" in values:
            self.feed = max(1.0, values["F"] * self.unit_mm)
        length, along_e = 0.0, 0.0
        for axis, now in self.position.items():
            if axis not in values:
                continue
            value = values[axis] * self.unit_mm
            is_relative = self.relative_e if axis == "E" else self.relative
            target = now + value if is_relative else value
            if axis == "E":
                along_e = abs(target - now)
            else:
                length += (target - now) ** 2
            self.position[axis] = target
        distance = math.sqrt(length) or along_e
        return Step(seconds=_seconds(distance, self.feed / 60.0), is_move=distance > 0)

    def _arc(self, values: dict[str, float], *, clockwise: bool) -> Step:
        start = (self.position["X"], self.position["Y"])
        straight = self._move(values)
        if not ("I" in values or "J" in values):
            return straight
        centre = (start[0] + values.get("I", 0.0) * self.unit_mm, start[1] + values.get("J", 0.0) * self.unit_mm)
        radius = math.dist(start, centre)
        turn = _angle(centre, start) - _angle(centre, (self.position["X"], self.position["Y"]))
        swept = (turn if clockwise else -turn) % math.tau or math.tau
        return Step(seconds=radius * swept / self.feed * 60.0, is_move=True)

    def _other(self, command: str, values: dict[str, float], code: str) -> Step:
        match command:
            case "G4":
                return Step(seconds=values.get("S", values.get("P", 0.0) / 1_000.0))
            case "G28":
                self.position.update(X=0.0, Y=0.0, Z=0.0)
                return Step(seconds=_HOMING_SECONDS)
            case "G20" | "G21":
                self.unit_mm = _INCH_MM if command == "G20" else 1.0
            case "G90" | "G91":
                self.relative = self.relative_e = command == "G91"
            case "M82" | "M83":
                self.relative_e = command == "M83"
            case "G92":
                self.position.update({a: v * self.unit_mm for a, v in values.items() if a in self.position})
            case "M104" | "M109":
                return self._heat("hotend", values, waits=command == "M109")
            case "M140" | "M190":
                return self._heat("bed", values, waits=command == "M190")
            case "M117":
                return Step(message=code.strip()[4:].strip()[:256])
            case "M112":
                return Step(halts=True)
            case "M106" | "M107" | "M84" | "M18" | "M73" | "M201" | "M203" | "M204" | "M205" | "M221" | "M115" | "M900":
                pass
            case _:
                self.unknown.add(command)
        return _NOTHING

    def _heat(self, heater: str, values: dict[str, float], *, waits: bool) -> Step:
        target = values.get("S", values.get("R"))
        if target is None:
            return _NOTHING
        return Step(heater=heater, target=max(0.0, target), wait_for=heater if waits and target > 0 else "")


def _seconds(distance: float, speed: float) -> float:
    """Millimetres at millimetres a second, between two corners."""
    corner = min(_CORNER_SPEED, speed)
    ramps = (speed * speed - corner * corner) / _ACCELERATION
    if distance >= ramps:
        return 2.0 * (speed - corner) / _ACCELERATION + (distance - ramps) / speed
    top = math.sqrt(corner * corner + distance * _ACCELERATION)
    return 2.0 * (top - corner) / _ACCELERATION


def _bare(code: str) -> str:
    """Upper case, without checksum and comments in parentheses."""
    code = code.partition("*")[0]
    if "(" in code:
        code = re.sub(r"\([^)]*\)?", "", code)
    return code.upper()


def _comment(line: str) -> Step | None:
    if not line.startswith(";"):
        return None
    if found := _LAYER_COUNT.match(line):
        return Step(layer_count=int(found[1][:6]))
    return Step(is_layer=True) if _LAYER.match(line) else None


def _angle(centre: tuple[float, float], point: tuple[float, float]) -> float:
    return math.atan2(point[1] - centre[1], point[0] - centre[0])
