"""Which room an arc takes. Angles in radians, counter-clockwise; lengths in millimetres."""

import math
from collections.abc import Iterator

Point = tuple[float, float]
_QUARTER = math.pi / 2
# Below this two points are one: slicers write three to five decimals.
_SAME_MM = 1e-4


def centre_of_radius(start: Point, end: Point, radius: float, *, clockwise: bool) -> Point:
    """Of an arc given by R: the shorter way round, or the longer for a negative radius (as Marlin's G2_G3.cpp)."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    if length < _SAME_MM:
        return middle
    height = math.sqrt(max(0.0, radius * radius - length * length / 4))
    side = -1.0 if clockwise != (radius < 0) else 1.0
    return middle[0] - dy / length * height * side, middle[1] + dx / length * height * side


def corners(start: Point, end: Point, centre: Point, *, clockwise: bool, full_turns: bool) -> Iterator[Point]:
    """Where the arc reaches farthest along an axis, beside its ends. An arc that ends where it began is a circle."""
    radius = max(math.dist(start, centre), math.dist(end, centre))
    first, last = (end, start) if clockwise else (start, end)
    begin = math.atan2(first[1] - centre[1], first[0] - centre[0])
    sweep = (math.atan2(last[1] - centre[1], last[0] - centre[0]) - begin) % math.tau
    if full_turns or math.dist(start, end) < _SAME_MM:
        sweep = math.tau
    for quarter in range(4):
        if (quarter * _QUARTER - begin) % math.tau <= sweep:
            yield (
                centre[0] + radius * math.cos(quarter * _QUARTER),
                centre[1] + radius * math.sin(quarter * _QUARTER),
            )
