"""What clients want of jobs, and which lost run the next one repeats."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.errors import IllegalState
from printfarm_coordinator.domain.job import FINAL_JOB_STATES, JobState, parts_owed
from printfarm_coordinator.domain.run import ACTIVE, Run, RunState, Verdict
from printfarm_coordinator.domain.wishes import Wish, hold_job, newest_loss, release_job, request_job_cancel
from tests.support.slices import PARTS, a_job, a_run

NOW = 100
ANA = Wish("user/ana", "why")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, JobState.CANCELLED),
        ({"held": True}, JobState.CANCELLED),
        ({"state": JobState.ACTIVE, "active_runs": 1, "pending_parts": 2}, JobState.ACTIVE),
        # What is printed and waits for its verdict is not waited for.
        ({"state": JobState.ACTIVE, "pending_parts": 2}, JobState.CANCELLED),
    ],
)
def test_a_cancelled_job_ends_with_its_last_run(changes: dict[str, Any], state: JobState) -> None:
    after = request_job_cancel(a_job(**changes), ANA, NOW)
    assert (after.cancel_requested, after.state, parts_owed(after)) == (True, state, 0)
    assert after.ended_at == (NOW if state is JobState.CANCELLED else None)
    assert request_job_cancel(after, ANA, NOW + 1) == after


@pytest.mark.parametrize("state", sorted(FINAL_JOB_STATES))
def test_a_job_that_is_over_is_neither_cancelled_nor_held_nor_released(state: JobState) -> None:
    job = a_job(state=state)
    for change in (
        lambda: request_job_cancel(job, ANA, NOW),
        lambda: hold_job(job, "why", NOW),
        lambda: release_job(job, NOW),
    ):
        with pytest.raises(IllegalState):
            change()


def test_a_held_job_owes_nothing_until_it_is_released() -> None:
    job = hold_job(a_job(), "why", NOW)
    assert job == a_job(held=True, hold_reason="why", updated_at=NOW)
    assert parts_owed(job) == 0
    assert release_job(job, NOW + 1) == a_job(updated_at=NOW + 1)


def ended(run_id: str, state: RunState, at: int, good: int | None = None, **changes: Any) -> Run:
    verdict = None if good is None else Verdict(good, "", "user/ana", at)
    return replace(a_run(state, run_id=run_id, created_at=at, verdict=verdict), **changes)


@pytest.mark.parametrize(
    ("runs", "lost"),
    [
        ([], None),
        ([ended("r1", state, 1) for state in sorted(ACTIVE)], None),
        ([ended("r1", RunState.FAILED, 1)], "r1"),
        ([ended("r1", RunState.CANCELLED, 1)], "r1"),
        ([ended("r1", RunState.FENCED, 1)], "r1"),
        ([ended("r1", RunState.FINISHED, 1)], None),
        ([ended("r1", RunState.FINISHED, 1, good=PARTS)], None),
        ([ended("r1", RunState.FINISHED, 1, good=PARTS - 1)], "r1"),
        ([ended("r2", RunState.FAILED, 1), ended("r1", RunState.FAILED, 2)], "r1"),
        ([ended("r2", RunState.FAILED, 1), ended("r1", RunState.FAILED, 1)], "r2"),
        # A loss is repeated once.
        ([ended("r1", RunState.FAILED, 1), ended("r2", RunState.PRINTING, 2, retry_of="r1")], None),
        ([ended("r1", RunState.FAILED, 1), ended("r2", RunState.FAILED, 2, retry_of="r1")], "r2"),
    ],
)
def test_the_next_run_repeats_the_newest_loss(runs: list[Run], lost: str | None) -> None:
    assert newest_loss(runs) == lost
