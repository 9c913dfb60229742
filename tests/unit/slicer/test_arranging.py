"""Copies on a bed: inside it, apart, and refused where there is no room."""

import hypothesis
import hypothesis.strategies as some
import pytest

from printfarm_files import Bounds
from printfarm_slicer.engine import SlicingFailed
from printfarm_slicer.engines.arranging import arranged, places

SIDES = some.floats(0.5, 300.0)


@hypothesis.given(part=some.tuples(SIDES, SIDES), bed=some.tuples(SIDES, SIDES), count=some.integers(1, 100))
def test_copies_lie_inside_and_apart(part: tuple[float, float], bed: tuple[float, float], count: int) -> None:
    gap = 5.0
    found = arranged(part, bed, count, gap)
    most = [int((room + gap + 1e-6) // (side + gap)) for side, room in zip(part, bed, strict=True)]
    if found is None:
        # A full grid has no room for them.
        assert most[0] * most[1] < count
        return
    assert len(set(found)) == count
    for x, y in found:
        assert abs(x) + part[0] / 2 <= bed[0] / 2 + 1e-3 and abs(y) + part[1] / 2 <= bed[1] / 2 + 1e-3
    for at, (x, y) in enumerate(found):
        for other_x, other_y in found[at + 1 :]:
            assert abs(x - other_x) >= part[0] + gap - 1e-6 or abs(y - other_y) >= part[1] + gap - 1e-6


def test_one_lies_in_the_middle_and_many_as_near_to_it_as_they_can() -> None:
    assert arranged((20, 20), (220, 220), 1, 5) == [(0, 0)]
    found = arranged((20, 20), (220, 220), 4, 5)
    assert found == [(-12.5, -12.5), (12.5, -12.5), (-12.5, 12.5), (12.5, 12.5)]
    # One row of a long, narrow bed.
    assert arranged((20, 20), (220, 25), 3, 5) == [(-25, 0), (0, 0), (25, 0)]


@pytest.mark.parametrize(
    ("high", "count", "words"),
    [
        ((20.0, 20.0, 300.0), 1, "300.0 mm high, and the printer prints 250 mm"),
        ((400.0, 20.0, 10.0), 1, "the part does not fit on the bed: 400.0 x 20.0 mm each, on 220 x 220 mm"),
        ((100.0, 100.0, 10.0), 5, "5 parts do not fit on the bed"),
    ],
)
def test_what_has_no_room_is_refused(high: tuple[float, float, float], count: int, words: str) -> None:
    with pytest.raises(SlicingFailed, match=words) as failed:
        places(Bounds((0, 0, 0), high), Bounds((0, 0, 0), (220, 220, 250)), count, 5)
    assert failed.value.code == "slicer_refused"
