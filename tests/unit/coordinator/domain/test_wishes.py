"""What people want of runs: durable at once, true only when it is proven."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.errors import IllegalState, Invalid
from printfarm_coordinator.domain.events import AuditEntry
from printfarm_coordinator.domain.job import JobState, parts_owed
from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_coordinator.domain.run import ACTIVE, BEFORE_AUTHORITY, EXECUTING, RunState, Verdict
from printfarm_coordinator.domain.slice import Slice
from printfarm_coordinator.domain.wishes import (
    LONGEST_AUTHORITY_US,
    OUTCOMES,
    Wish,
    give_verdict,
    request_cancel,
    request_pause,
    resolve,
)
from tests.support.slices import CLEAR, EPOCH, PARTS, held

NOW = 100
ANA = Wish("user/ana", "why")
FINAL = frozenset(RunState) - ACTIVE
ON_PLATE = Bed(BedState.OCCUPIED, None, "r1", "a1", 3)


def audited(after: Slice) -> list[AuditEntry]:
    return list(after.audit)


def said(action: str) -> list[AuditEntry]:
    return [AuditEntry(action, "run", "r1", "user/ana", "why", EPOCH)]


# -- cancel


@pytest.mark.parametrize("state", sorted(BEFORE_AUTHORITY))
def test_what_was_never_authorised_is_cancelled_at_once_under_a_new_epoch(state: RunState) -> None:
    after = request_cancel(held(state), ANA, NOW)
    assert (after.run.state, after.run.reason_code, after.run.reason) == (RunState.CANCELLED, "cancelled", "why")
    assert (after.run.ended_at, after.run.epoch) == (NOW, EPOCH)
    assert (after.printer.epoch, after.printer.active_run_id, after.printer.bed) == (EPOCH + 1, None, CLEAR)
    assert (after.job.active_runs, after.job.pending_parts, parts_owed(after.job)) == (0, 0, 4)
    assert after.job.state is JobState.QUEUED
    assert [event.type for event in after.events] == ["run.cancelled", "job.queued"]
    assert audited(after) == said("run.cancel")


@pytest.mark.parametrize("state", sorted(ACTIVE - BEFORE_AUTHORITY))
def test_what_may_have_started_is_wanted_cancelled_and_owes_nothing_yet(state: RunState) -> None:
    before = held(state)
    after = request_cancel(before, ANA, NOW)
    assert after.run == replace(before.run, cancel_requested=True, updated_at=NOW)
    assert (after.job, after.printer) == (before.job, before.printer)
    assert [event.type for event in after.events] == ["run.cancel_requested"]
    assert audited(after) == said("run.cancel")
    assert request_cancel(after, ANA, NOW + 1) == after


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_over_is_cancelled_no_more(state: RunState) -> None:
    before = held(state)
    if state is RunState.CANCELLED:
        assert request_cancel(before, ANA, NOW) == before
        return
    with pytest.raises(IllegalState):
        request_cancel(before, ANA, NOW)


# -- pause


@pytest.mark.parametrize("pause", [True, False])
@pytest.mark.parametrize("state", sorted(RunState))
def test_what_prints_can_be_paused_and_go_on(state: RunState, pause: bool) -> None:
    before = held(state, pause_requested=not pause)
    if state not in EXECUTING | {RunState.UNCONFIRMED}:
        with pytest.raises(IllegalState):
            request_pause(before, ANA, NOW, pause=pause)
        return
    after = request_pause(before, ANA, NOW, pause=pause)
    assert after.run == replace(before.run, pause_requested=pause, updated_at=NOW)
    word = "pause" if pause else "resume"
    assert [event.type for event in after.events] == [f"run.{word}_requested"]
    assert audited(after) == said(f"run.{word}")
    assert request_pause(after, ANA, NOW + 1, pause=pause) == after


def test_what_is_being_cancelled_is_not_paused() -> None:
    with pytest.raises(IllegalState):
        request_pause(held(RunState.PRINTING, cancel_requested=True), ANA, NOW, pause=True)


# -- verdict


def over(state: RunState, **changes: Any) -> Slice:
    """A run that ended: a finished one's parts wait for the verdict."""
    counts = {"state": JobState.ACTIVE, "pending_parts": PARTS} if state is RunState.FINISHED else {"failed_runs": 1}
    return held(state, job=counts | changes, ended_at=9)


@pytest.mark.parametrize(
    ("state", "good", "job", "counts", "job_state"),
    [
        (RunState.FINISHED, 2, {}, (2, 0, 0), JobState.QUEUED),
        (RunState.FINISHED, 1, {}, (1, 0, 0), JobState.QUEUED),
        # A plate without one good part is a failed run; with one, it is not.
        (RunState.FINISHED, 0, {}, (0, 0, 1), JobState.QUEUED),
        (RunState.FINISHED, 0, {"failed_runs": 1}, (0, 0, 2), JobState.FAILED),
        (RunState.FINISHED, 2, {"good_parts": 2}, (4, 0, 0), JobState.COMPLETED),
        (RunState.FINISHED, 2, {"good_parts": 2, "active_runs": 1, "pending_parts": 4}, (4, 2, 0), JobState.COMPLETED),
        # Its parts were owed again when it failed: what is good of them is owed less.
        (RunState.FAILED, 1, {}, (1, 0, 1), JobState.QUEUED),
        (RunState.FAILED, 0, {}, (0, 0, 1), JobState.QUEUED),
    ],
)
def test_a_verdict_counts(
    state: RunState, good: int, job: dict[str, Any], counts: tuple[int, int, int], job_state: JobState
) -> None:
    before = over(state, **job)
    after = give_verdict(before, ANA, good, NOW)
    assert after.run == replace(before.run, verdict=Verdict(good, "why", "user/ana", NOW), updated_at=NOW)
    assert (after.job.good_parts, after.job.pending_parts, after.job.failed_runs) == counts
    assert after.job.state is job_state
    event = after.events[0]
    assert (event.type, event.data["good_parts"], event.data["rejected_parts"]) == ("run.verdict", good, PARTS - good)
    assert audited(after) == said("run.verdict")
    assert after.printer == before.printer
    assert give_verdict(after, ANA, good, NOW + 1) == after
    with pytest.raises(IllegalState, match="user/ana has said"):
        give_verdict(after, ANA, (good + 1) % (PARTS + 1), NOW + 1)


@pytest.mark.parametrize("good", [-1, PARTS + 1])
def test_a_verdict_is_about_the_parts_on_the_plate(good: int) -> None:
    with pytest.raises(Invalid) as caught:
        give_verdict(over(RunState.FINISHED), ANA, good, NOW)
    assert caught.value.field == "good_parts"


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.FINISHED, RunState.FAILED}))
def test_a_verdict_is_given_on_what_was_printed(state: RunState) -> None:
    with pytest.raises(IllegalState):
        give_verdict(held(state), ANA, 1, NOW)


# -- resolve


def unconfirmed(**changes: Any) -> Slice:
    used = {"printer": {"bed": ON_PLATE}, "bed_token": "token", "authorised_at": 10, "started_at": 20}
    return held(RunState.UNCONFIRMED, **used | {"unconfirmed_from": RunState.PRINTING} | changes)


@pytest.mark.parametrize(
    ("outcome", "state", "bed", "owed", "verified"),
    [
        ("finished", RunState.FINISHED, Bed(BedState.UNKNOWN, None, "r1", "a1", NOW), 2, False),
        ("failed", RunState.FAILED, Bed(BedState.UNKNOWN, None, "r1", "a1", NOW), 4, None),
        ("never_started", RunState.FENCED, Bed(BedState.CLEAR, "new", None, "user/ana", NOW), 4, None),
    ],
)
def test_a_person_ends_what_nobody_can_know(
    outcome: str, state: RunState, bed: Bed, owed: int, verified: bool | None
) -> None:
    after = resolve(unconfirmed(), ANA, outcome, NOW, "new")
    assert (after.run.state, after.run.reason_code, after.run.verified) == (state, "resolved", verified)
    # Nothing that its agent says later counts.
    assert (after.printer.epoch, after.printer.active_run_id, after.printer.bed) == (EPOCH + 1, None, bed)
    assert (after.job.active_runs, parts_owed(after.job)) == (0, owed)
    assert audited(after) == said(f"run.resolve.{outcome}")
    assert resolve(after, ANA, outcome, NOW + 1, "newer") == after
    with pytest.raises(IllegalState):
        resolve(after, ANA, "failed" if outcome != "failed" else "finished", NOW + 1, "newer")


def test_a_bed_that_was_not_taken_stays_as_it_is() -> None:
    plain = unconfirmed(bed_token=None, authorised_at=None, started_at=None, printer={})
    assert resolve(plain, ANA, "never_started", NOW, "new").printer.bed == CLEAR


def test_a_word_on_a_run_is_none_on_a_bed_that_others_may_have_used() -> None:
    """A restored database: what runs that it forgot have left there is not what the person was asked about (I11)."""
    doubted = Bed(BedState.UNKNOWN, None, "r9", "a1", 5)
    behind = unconfirmed(started_at=None, reason_code="database_behind", printer={"bed": doubted})
    after = resolve(behind, ANA, "never_started", 10 + LONGEST_AUTHORITY_US, "new")
    assert (after.run.state, after.printer.bed) == (RunState.FENCED, doubted)


@pytest.mark.parametrize("outcome", list(OUTCOMES))
def test_nobody_resolves_while_the_agent_may_still_start_it(outcome: str) -> None:
    unused = unconfirmed(started_at=None)
    ends = 10 + LONGEST_AUTHORITY_US
    with pytest.raises(IllegalState, match="half a minute"):
        resolve(unused, ANA, outcome, ends - 1, "new")
    assert not resolve(unused, ANA, outcome, ends, "new").run.state.is_active


@pytest.mark.parametrize("state", sorted(set(RunState) - {RunState.UNCONFIRMED}))
def test_only_what_is_unconfirmed_is_resolved(state: RunState) -> None:
    with pytest.raises(IllegalState):
        resolve(held(state), ANA, "failed", NOW, "new")


def test_an_outcome_is_one_of_three() -> None:
    with pytest.raises(Invalid) as caught:
        resolve(unconfirmed(), ANA, "cancelled", NOW, "new")
    assert caught.value.field == "outcome"
