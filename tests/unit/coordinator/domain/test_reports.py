"""What an agent's facts make of the run, the bed, the job and the printer (I10, I15, I16)."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.job import JobState, parts_owed
from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_coordinator.domain.reports import FIRST_BACKOFF_US, LONGEST_BACKOFF_US, Report, apply_report
from printfarm_coordinator.domain.run import EndEvidence, Fact, RunState, next_state
from printfarm_coordinator.domain.slice import Slice
from tests.support.slices import CLEAR, EPOCH, PARTS, held

NOW = 100
OCCUPIED = Bed(BedState.OCCUPIED, None, "r1", "a1", 3)
TAKEN_NOW = replace(OCCUPIED, updated_at=NOW)
DOUBTED_NOW = replace(TAKEN_NOW, state=BedState.UNKNOWN)
GIVEN_BACK = Bed(BedState.CLEAR, "new", None, "a1", NOW)
COMPLETE = EndEvidence(True, True, 100.0)


def started(state: RunState = RunState.PRINTING, **changes: Any) -> Slice:
    used = {"printer": {"bed": OCCUPIED}, "bed_token": "token", "authorised_at": 10, "started_at": 20}
    return held(state, **used | changes)


def authorised(state: RunState = RunState.AUTHORISED, **changes: Any) -> Slice:
    return started(state, started_at=None, **changes)


def told(before: Slice, fact: Fact, **report: Any) -> Slice:
    return apply_report(before, Report(fact, **report), NOW, "new")


@pytest.mark.parametrize("fact", sorted(Fact))
@pytest.mark.parametrize("state", sorted(RunState))
def test_a_fact_that_says_nothing_new_changes_nothing_and_any_other_keeps_count(state: RunState, fact: Fact) -> None:
    before = held(state)
    after = told(before, fact)
    target = next_state(state, fact)
    if target is None:
        assert after == before
        return
    assert after.run.state is target
    assert after.run.epoch == EPOCH
    ends = not target.is_active
    assert after.job.active_runs == (0 if ends else 1)
    assert after.printer.active_run_id == (None if ends else "r1")
    # Only a run that is over leaves its parts owed; what finished waits for its verdict.
    assert after.job.pending_parts == (0 if ends and target is not RunState.FINISHED else PARTS)
    assert (after.run.ended_at is not None) is ends
    assert after.printer.epoch == EPOCH + (target is RunState.FENCED)


@pytest.mark.parametrize(
    ("fact", "state", "event"),
    [
        (Fact.STARTING, RunState.STARTING, "run.starting"),
        (Fact.STARTED, RunState.PRINTING, "run.started"),
        (Fact.PAUSED, RunState.PAUSED, "run.paused"),
        (Fact.FINISHING, RunState.FINISHING, "run.finishing"),
    ],
)
def test_what_is_on_the_printer_has_the_plate_whatever_was_said_of_it(fact: Fact, state: RunState, event: str) -> None:
    """A restored database may have lost the authority."""
    before = held(RunState.ACCEPTED)
    after = told(before, fact)
    assert (after.run.state, after.printer.bed) == (state, TAKEN_NOW)
    assert after.run.started_at == (None if fact is Fact.STARTING else NOW)
    assert [e.type for e in after.events] == [event]
    assert ("seconds_since_offer" in after.events[0].data) is (fact is not Fact.STARTING)


@pytest.mark.parametrize(("code", "rests"), [("limits", False), ("not_idle", True), ("", True)])
def test_a_printer_does_not_rest_for_a_bad_file(code: str, rests: bool) -> None:
    """One bad file would keep every printer from good work."""
    after = told(held(RunState.OFFERED), Fact.REFUSED, code=code)
    assert after.run.state is RunState.FENCED
    assert (after.printer.refusals, after.printer.backoff_until) == ((1, NOW + FIRST_BACKOFF_US) if rests else (0, 0))


def test_a_resumed_print_keeps_the_time_of_its_start() -> None:
    after = told(started(RunState.PAUSED), Fact.RESUMED)
    assert (after.run.state, after.run.started_at) == (RunState.PRINTING, 20)
    assert [event.type for event in after.events] == ["run.printing"]


@pytest.mark.parametrize("fact", [Fact.STARTED, Fact.STARTING])
def test_only_a_start_ends_the_rest_of_a_printer(fact: Fact) -> None:
    after = told(authorised(printer={"refusals": 2, "backoff_until": 90}), fact)
    assert (after.printer.refusals, after.printer.backoff_until) == ((0, 0) if fact is Fact.STARTED else (2, 90))


@pytest.mark.parametrize(
    ("evidence", "estimate", "verified"),
    [
        (COMPLETE, None, True),
        (COMPLETE, 142.0, True),
        (COMPLETE, 143.0, False),
        (replace(COMPLETE, end_of_file_reached=False), None, False),
        (replace(COMPLETE, printer_reports_complete=False), None, False),
        (None, None, False),
    ],
)
def test_an_end_without_evidence_locks_the_printer_for_a_person(
    evidence: EndEvidence | None, estimate: float | None, verified: bool
) -> None:
    after = told(started(job={"estimated_seconds": estimate}), Fact.FINISHED, evidence=evidence)
    assert (after.run.state, after.run.verified, after.run.progress) == (RunState.FINISHED, verified, 1.0)
    assert after.printer.bed == (TAKEN_NOW if verified else DOUBTED_NOW)
    assert after.printer.locked is not verified
    assert after.run.reason_code == ("" if verified else "unverified")
    assert (after.job.state, parts_owed(after.job)) == (JobState.ACTIVE, 2)
    assert [event.type for event in after.events] == ["run.finished"] + ([] if verified else ["printer.locked"])


@pytest.mark.parametrize("fact", [Fact.NEVER_STARTED, Fact.REFUSED])
def test_what_never_started_is_owed_again_and_its_printer_rests(fact: Fact) -> None:
    after = told(held(RunState.ACCEPTED), fact, code="busy", reason="it prints")
    assert (after.run.state, after.run.reason_code, after.run.reason) == (RunState.FENCED, "busy", "it prints")
    assert (after.printer.epoch, after.printer.bed) == (EPOCH + 1, CLEAR)
    assert (after.printer.refusals, after.printer.backoff_until) == (1, NOW + FIRST_BACKOFF_US)
    assert (after.job.failed_runs, parts_owed(after.job)) == (0, 4)


@pytest.mark.parametrize("state", [RunState.AUTHORISED, RunState.STARTING, RunState.UNCONFIRMED])
def test_a_consumed_bed_token_is_issued_anew_if_nothing_started(state: RunState) -> None:
    assert told(authorised(state), Fact.NEVER_STARTED).printer.bed == GIVEN_BACK


@pytest.mark.parametrize("code", ["database_behind", "start_unknown"])
@pytest.mark.parametrize("fact", [Fact.NEVER_STARTED, Fact.CANCELLED])
def test_a_bed_that_was_doubted_since_is_not_given_back(fact: Fact, code: str) -> None:
    """The start may be among the facts that a restored database forgot: what is left of the journal has none in it (I11)."""
    doubted = Bed(BedState.UNKNOWN, None, "r1", "a1", 50)
    behind = {"unconfirmed_from": RunState.AUTHORISED, "reason_code": code, "printer": {"bed": doubted}}
    after = told(authorised(RunState.UNCONFIRMED, **behind), fact)
    assert not after.run.state.is_active
    assert after.printer.bed == doubted


@pytest.mark.parametrize(
    ("refusals", "rest"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, LONGEST_BACKOFF_US / FIRST_BACKOFF_US), (999, 60)]
)
def test_each_refusal_doubles_the_rest(refusals: int, rest: float) -> None:
    after = told(held(RunState.OFFERED, printer={"refusals": refusals}), Fact.REFUSED)
    assert after.printer.backoff_until == NOW + rest * FIRST_BACKOFF_US


@pytest.mark.parametrize(
    ("before", "bed"),
    [
        (held(RunState.OFFERED), CLEAR),
        (held(RunState.ACCEPTED), CLEAR),
        (authorised(), GIVEN_BACK),
        (authorised(RunState.UNCONFIRMED, unconfirmed_from=RunState.AUTHORISED), GIVEN_BACK),
        (authorised(RunState.STARTING), TAKEN_NOW),
        (authorised(RunState.UNCONFIRMED, unconfirmed_from=RunState.STARTING), TAKEN_NOW),
        (started(), TAKEN_NOW),
        (started(RunState.UNCONFIRMED, unconfirmed_from=RunState.PRINTING), TAKEN_NOW),
        # The database lost the authority, not the start.
        (started(bed_token=None), TAKEN_NOW),
    ],
)
def test_after_a_cancel_the_bed_is_what_the_journal_proves(before: Slice, bed: Bed) -> None:
    after = told(before, Fact.CANCELLED)
    assert (after.run.state, after.run.reason_code, after.printer.bed) == (RunState.CANCELLED, "cancelled", bed)
    assert (after.job.failed_runs, parts_owed(after.job), after.job.held) == (0, 4, False)


def test_a_cancel_at_the_machine_holds_the_job() -> None:
    after = told(started(), Fact.CANCELLED, by_machine=True)
    assert (after.run.reason_code, after.job.held, parts_owed(after.job)) == ("local_override", True, 0)
    assert [event.type for event in after.events] == ["run.cancelled", "job.queued", "job.held"]


def test_a_cancel_at_the_machine_of_a_cancelled_job_ends_it() -> None:
    after = told(started(job={"cancel_requested": True}), Fact.CANCELLED, by_machine=True)
    assert (after.job.state, after.job.held) == (JobState.CANCELLED, False)


@pytest.mark.parametrize(
    ("before", "bed"),
    [
        (held(RunState.ACCEPTED), CLEAR),
        (authorised(), DOUBTED_NOW),
        (authorised(RunState.STARTING), DOUBTED_NOW),
        (started(), TAKEN_NOW),
        (started(RunState.PAUSED), TAKEN_NOW),
        (started(RunState.UNCONFIRMED, unconfirmed_from=RunState.PRINTING), DOUBTED_NOW),
        (started(RunState.UNCONFIRMED, bed_token=None), DOUBTED_NOW),
    ],
)
def test_after_a_failure_the_bed_is_what_can_be_known(before: Slice, bed: Bed) -> None:
    after = told(before, Fact.FAILED)
    assert (after.run.reason_code, after.printer.bed, after.printer.locked) == ("failed", bed, False)
    assert (after.job.failed_runs, parts_owed(after.job)) == (1, 4)


def test_a_failure_may_lock_its_printer_and_use_up_the_retries() -> None:
    after = told(started(job={"failed_runs": 1}), Fact.FAILED, code="heater", reason="too cold", lock_printer=True)
    assert (after.printer.locked, after.printer.lock_reason) == (True, "heater: too cold")
    assert (after.job.state, parts_owed(after.job)) == (JobState.FAILED, 0)
    assert [event.type for event in after.events] == ["run.failed", "job.failed", "printer.locked"]


def test_a_late_start_says_so() -> None:
    assert told(authorised(), Fact.LATE_START, code="x").run.reason_code == "late_start"


def test_an_unknown_start_waits_for_a_person() -> None:
    after = told(authorised(RunState.STARTING), Fact.START_UNKNOWN)
    assert (after.run.state, after.run.reason_code) == (RunState.UNCONFIRMED, "start_unknown")
    assert after.run.unconfirmed_from is RunState.STARTING
    again = told(started(RunState.UNCONFIRMED, reason_code="agent_unreachable"), Fact.START_UNKNOWN)
    assert (again.run.reason_code, again.events) == ("start_unknown", ())


@pytest.mark.parametrize(("fact", "wanted"), [(Fact.PAUSED, True), (Fact.RESUMED, False)])
def test_the_wish_follows_the_person_at_the_machine(fact: Fact, wanted: bool) -> None:
    before = started(pause_requested=not wanted)
    assert told(before, fact, by_machine=True).run.pause_requested is wanted
    assert told(before, fact).run.pause_requested is not wanted


def test_progress_of_what_did_not_finish_is_kept() -> None:
    assert told(started(progress=0.4), Fact.FAILED).run.progress == 0.4
