"""A slicing: claimed under a token, and late writers lose."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain import slicing as rules
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.slicing import MOST_ATTEMPTS, Slicing, SlicingResult, SlicingState
from tests.support.slicings import a_slicing

NOW, LASTING = 5_000, 100
RESULT = SlicingResult("b" * 64, 60.0, 3.5)


def running(token: str = "t1", **changes: object) -> Slicing:
    return replace(rules.claimed(a_slicing(), "w1", token, NOW, LASTING), **changes)  # type: ignore[arg-type]


def test_a_claim_is_renewed_and_completed() -> None:
    task = rules.renewed(running(), "t1", 0.4, NOW + 50, LASTING)
    assert (task.progress, task.claim_expires_at) == (0.4, NOW + 150)
    # Progress of a slicer comes out of order; it is never shown going back.
    assert rules.renewed(task, "t1", 0.2, NOW + 60, LASTING).progress == 0.4
    done = rules.completed(task, "t1", RESULT, NOW + 70)
    assert (done.state, done.result_sha256, done.estimated_seconds, done.progress) == ("done", "b" * 64, 60.0, 1.0)
    assert rules.completed(done, "t1", RESULT, NOW + 80) == done


def test_whoever_lost_the_claim_changes_nothing() -> None:
    again = rules.claimed(running(), "w2", "t2", NOW + LASTING, LASTING)
    done = rules.completed(again, "t2", RESULT, NOW + 200)
    for task in (again, done):
        for late in (
            lambda t: rules.renewed(t, "t1", 0.5, NOW, LASTING),
            lambda t: rules.completed(t, "t1", RESULT, NOW),
            lambda t: rules.failed(t, "t1", "slicer_refused", "no", NOW),
            lambda t: rules.renewed(t, "", 0.5, NOW, LASTING),
        ):
            with pytest.raises(RuleError, match="CLAIM_LOST"):
                late(task)


def test_a_done_slicing_takes_no_other_result() -> None:
    done = rules.completed(running(), "t1", RESULT, NOW)
    with pytest.raises(RuleError, match="CLAIM_LOST"):
        rules.completed(done, "t1", SlicingResult("c" * 64, None, None), NOW)


def test_a_silent_worker_is_taken_over_so_many_times() -> None:
    task, now = a_slicing(), NOW
    for attempt in range(1, MOST_ATTEMPTS + 1):
        assert rules.may_claim(task, now)
        task = rules.claimed(task, f"w{attempt}", f"t{attempt}", now, LASTING)
        now += LASTING
        assert not rules.may_claim(task, now - 1)
        assert rules.lapsed(task, now - 1) == task
    assert not rules.may_claim(task, now)
    over = rules.lapsed(task, now)
    assert (over.state, over.error_code) == (SlicingState.FAILED, "slicer_lost")


@pytest.mark.parametrize(
    "code", ["slicer_refused", "slicer_crashed", "slicer_limit", "model_refused", "result_refused"]
)
def test_what_the_model_is_to_blame_for_is_not_tried_again(code: str) -> None:
    task = rules.failed(running(), "t1", code, "x" * 1_000, NOW)
    assert (task.state, task.error_code, len(task.error)) == (SlicingState.FAILED, code, rules.LONGEST_REASON)
    assert rules.failed(task, "t1", code, "again", NOW) == task
    assert not rules.may_claim(task, NOW * 10)


def test_what_the_worker_is_to_blame_for_is_tried_again_so_many_times() -> None:
    task = rules.failed(running(), "t1", "worker_fault", "disk full", NOW)
    assert task.state is SlicingState.QUEUED
    last = rules.failed(running(attempts=MOST_ATTEMPTS), "t1", "worker_fault", "disk full", NOW)
    assert (last.state, last.error_code) == (SlicingState.FAILED, "worker_fault")
    assert rules.tried_again(last, NOW).state is SlicingState.QUEUED


@given(st.lists(st.sampled_from(["claim", "renew", "complete", "fail", "lapse", "wait"]), max_size=40))
def test_an_end_is_an_end_whatever_comes(steps: list[str]) -> None:
    task, now, ended = a_slicing(), NOW, None
    claims, ends = 0, 0
    for number, step in enumerate(steps):
        before = task
        try:
            if step == "claim" and rules.may_claim(task, now):
                task = rules.claimed(task, "w", f"t{number}", now, LASTING)
                claims += 1
            elif step == "renew":
                task = rules.renewed(task, task.claim_token, 0.5, now, LASTING)
            elif step == "complete":
                task = rules.completed(task, task.claim_token, RESULT, now)
            elif step == "fail":
                code = "worker_fault" if number % 2 else "slicer_refused"
                task = rules.failed(task, task.claim_token, code, "no", now)
            elif step == "lapse":
                task = rules.lapsed(task, now)
            else:
                now += LASTING
        except RuleError:
            assert task == before
        ends += bool(rules.claim_ended(before, task))
        if ended is not None:
            assert task == ended
        if not task.is_pending:
            ended = task
        assert task.attempts <= MOST_ATTEMPTS
        # The end of each claim is told once.
        assert ends == claims - (task.state is SlicingState.RUNNING)


def test_how_a_claim_ended_is_told() -> None:
    task = running()
    taken = rules.claimed(task, "w2", "t2", NOW + LASTING, LASTING)
    last = running(attempts=MOST_ATTEMPTS)
    assert task.claimed_at == NOW and taken.claimed_at == NOW + LASTING
    for after, how in (
        (rules.renewed(task, "t1", 0.5, NOW + 1, LASTING), ""),
        (rules.completed(task, "t1", RESULT, NOW + 1), "done"),
        (rules.failed(task, "t1", "slicer_limit", "", NOW + 1), "slicer_limit"),
        (rules.failed(task, "t1", "worker_fault", "", NOW + 1), "worker_fault"),
        (taken, "slicer_lost"),
    ):
        assert rules.claim_ended(task, after) == how
    assert rules.claim_ended(last, rules.failed(last, "t1", "worker_fault", "", NOW)) == "worker_fault"
    assert rules.claim_ended(last, rules.lapsed(last, NOW + LASTING)) == "slicer_lost"
    done = rules.completed(task, "t1", RESULT, NOW + 1)
    assert rules.claim_ended(a_slicing(), task) == rules.claim_ended(done, rules.without_result(done, NOW + 2)) == ""
