"""Plates that are filled: whatever the bed takes, exactly what is owed is printed, on as few plates as that allows."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain.fitting import parts_wanted, plate_wanted
from printfarm_coordinator.domain.slicing import FITTED, MOST_PARTS, Slicing, SlicingKey, SlicingState
from tests.support.stores import a_job


def slicing(parts: int, state: SlicingState, made: int | None = None, code: str = "") -> Slicing:
    key = SlicingKey("m" * 64, "hash", parts, "prusaslicer", "2.5.0")
    return Slicing(f"s{parts}", key, (), {}, 0, 0, state=state, result_parts=made, error_code=code)


def sliced(parts: int, capacity: int) -> Slicing:
    """As a worker does it, for a bed of that capacity."""
    if parts == FITTED:
        return slicing(parts, SlicingState.DONE, min(capacity, MOST_PARTS))
    if parts > capacity:
        return slicing(parts, SlicingState.FAILED, code="slicer_refused")
    return slicing(parts, SlicingState.DONE)


@given(owed=st.integers(1, 400), capacity=st.integers(1, 150))
def test_every_part_is_printed_once_on_the_fewest_plates(owed: int, capacity: int) -> None:
    known: dict[int, Slicing] = {}
    plates = []
    left = owed
    while left:
        wanted = min(left, MOST_PARTS)
        for _ in range(3):
            parts = plate_wanted(wanted, known.get(wanted), known.get(FITTED))
            if parts in known:
                break
            known[parts] = sliced(parts, capacity)
        task = known[parts]
        assert task.state is SlicingState.DONE, "what does not fit is not waited for"
        assert 1 <= task.plate_parts <= left
        plates.append(task.plate_parts)
        left -= task.plate_parts
    most = min(capacity, MOST_PARTS)
    assert sum(plates) == owed
    assert len(plates) == -(-owed // most)
    # All that are wanted, what the bed takes, and the last plate; and what was too many.
    assert len(known) <= 4


@given(wanted=st.integers(2, MOST_PARTS), code=st.sampled_from(["worker_fault", "slicer_lost"]))
def test_a_worker_that_was_lost_says_nothing_of_the_bed(wanted: int, code: str) -> None:
    lost = slicing(wanted, SlicingState.FAILED, code=code)
    assert plate_wanted(wanted, lost, None) == wanted
    assert plate_wanted(wanted, replace(lost, error_code="slicer_refused"), None) == FITTED


def test_one_part_that_does_not_fit_fits_nowhere() -> None:
    assert plate_wanted(1, slicing(1, SlicingState.FAILED, code="slicer_refused"), None) == 1


def test_no_more_are_wanted_than_are_owed_or_than_a_slicer_arranges() -> None:
    job = replace(
        a_job(), quantity=250, good_parts=0, pending_parts=0, cancel_requested=False, held=False, failed_runs=0
    )
    assert [parts_wanted(replace(job, good_parts=good)) for good in (0, 240, 250)] == [MOST_PARTS, 10, 1]
