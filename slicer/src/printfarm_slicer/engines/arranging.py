"""Places the copies of one part on the bed, for slicers that do not do it well."""

import math

from printfarm_files import Bounds

from ..engine import DoesNotFit, SlicingFailed

Place = tuple[float, float]


def centred(part: Bounds) -> tuple[float, float, float]:
    """By how much to move a part so that the middle of its underside is at the origin."""
    return (-(part.low[0] + part.high[0]) / 2, -(part.low[1] + part.high[1]) / 2, -part.low[2])


def places(part: Bounds, room: Bounds, count: int, gap: float) -> list[Place]:
    """The middle of each copy, from the middle of the bed, in millimetres. Raises SlicingFailed where they do not fit."""
    (x, y, z), (width, depth, height) = part.size, room.size
    if z > height:
        raise SlicingFailed("slicer_refused", f"the part is {z:.1f} mm high, and the printer prints {height:g} mm")
    found = arranged((x, y), (width, depth), count, gap)
    if found is None:
        what = "the part does" if count == 1 else f"{count} parts do"
        raise DoesNotFit(
            "slicer_refused", f"{what} not fit on the bed: {x:.1f} x {y:.1f} mm each, on {width:g} x {depth:g} mm"
        )
    return found


def arranged(part: Place, bed: Place, count: int, gap: float) -> list[Place] | None:
    """The middle of each copy, from the middle of the bed, in millimetres; None if they do not fit.

    Rows and columns as near to a square as fit, around the middle.
    """
    most = [int((room + gap + 1e-6) // (side + gap)) for side, room in zip(part, bed, strict=True)]
    wide, deep = (side + gap for side in part)
    fitting = [columns for columns in range(1, min(count, most[0]) + 1) if math.ceil(count / columns) <= most[1]]
    if not fitting:
        return None
    columns = min(fitting, key=lambda n: max(n * wide, math.ceil(count / n) * deep))
    rows = math.ceil(count / columns)
    return [((at % columns - (columns - 1) / 2) * wide, (at // columns - (rows - 1) / 2) * deep) for at in range(count)]
