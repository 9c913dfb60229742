"""What an agent's Hello proves."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.desired import desired
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Printer, PrinterState
from printfarm_coordinator.domain.reports import Report, apply_report
from printfarm_coordinator.domain.reunion import (
    LARGEST_BELIEVED_LEAD,
    LocalStage,
    PrinterReport,
    greet_printer,
    greet_run,
)
from printfarm_coordinator.domain.run import ACTIVE, Fact, Run, RunState
from printfarm_coordinator.domain.slice import Slice

NOW = 500
CLEAR = Bed(BedState.CLEAR, "token")


def a_printer(**changes: Any) -> Printer:
    plain = Printer("p1", "a1", "P", "virtual", Abilities(), 1, 1, epoch=5, active_run_id="r1", bed=CLEAR)
    return replace(plain, **changes)


def held(state: RunState, came_from: RunState | None = None, **changes: Any) -> Slice:
    job = Job("j1", "n", "c", "a" * 64, 1, 1, 0, None, Requirements(), 3, None, 1, 1, JobState.ACTIVE, active_runs=1)
    run = Run("r1", "j1", "p1", "a1", 5, 1, 1, 1, state, unconfirmed_from=came_from)
    return Slice(replace(job, pending_parts=1), replace(run, **changes), a_printer())


def report(stage: LocalStage | None = None, **changes: Any) -> PrinterReport:
    plain = PrinterReport(5, PrinterState.PRINTING, "r1" if stage else None, 5 if stage else 0, stage)
    return replace(plain, **changes)


def test_an_agent_ahead_of_a_restored_database_raises_the_epoch() -> None:
    printer, events = greet_printer(a_printer(), report(max_epoch=9), NOW)
    assert (printer.epoch, printer.locked) == (9, False)
    assert [event.type for event in events] == ["printer.epoch_raised"]
    # A token of before would start a print on top of what the lost runs left.
    assert (printer.bed.state, printer.bed.token) == (BedState.UNKNOWN, None)


@pytest.mark.parametrize("max_epoch", [2, 5, 9, 5 + LARGEST_BELIEVED_LEAD + 1])
def test_a_database_that_forgot_facts_doubts_a_clear_bed(max_epoch: int) -> None:
    """The machine's own print may be among them: its doubt was acknowledged, and never comes again (I11)."""
    before = a_printer(active_run_id=None)
    after, events = greet_printer(before, report(facts_lost=True, max_epoch=max_epoch), NOW)
    assert (after.bed.state, after.bed.token) == (BedState.UNKNOWN, None)
    assert events[0].type == "printer.bed_doubted"
    again, events = greet_printer(after, report(max_epoch=after.epoch), NOW + 1)
    assert (again.bed, events) == (after.bed, ())


def test_what_lies_on_a_bed_is_known_after_a_restore_too() -> None:
    on_plate = Bed(BedState.OCCUPIED, None, "r0", "a1", 3)
    after, events = greet_printer(a_printer(active_run_id=None, bed=on_plate), report(facts_lost=True), NOW)
    assert (after.bed, events) == (on_plate, ())


def test_an_agent_ahead_that_prints_a_lost_run_is_locked_too() -> None:
    printer, events = greet_printer(a_printer(active_run_id=None), report(LocalStage.PRINTING, max_epoch=9), NOW)
    assert (printer.epoch, printer.locked, printer.bed.state) == (9, True, BedState.UNKNOWN)
    assert [event.type for event in events] == ["printer.epoch_raised", "printer.locked"]


def test_an_agent_behind_the_database_changes_nothing() -> None:
    printer, events = greet_printer(a_printer(), report(max_epoch=2), NOW)
    assert (printer.epoch, events) == (5, ())


def test_an_unbelievable_epoch_is_quarantined_and_burns_nothing() -> None:
    printer, events = greet_printer(a_printer(), report(max_epoch=5 + LARGEST_BELIEVED_LEAD + 1), NOW)
    assert (printer.epoch, printer.locked) == (5, True)
    assert [event.type for event in events] == ["printer.quarantined"]


@pytest.mark.parametrize("stage", [LocalStage.STARTING, LocalStage.PRINTING, LocalStage.PAUSED, LocalStage.FINISHING])
def test_a_printer_that_prints_what_is_over_is_locked_with_its_bed_unknown(stage: LocalStage) -> None:
    printer, events = greet_printer(a_printer(active_run_id=None), report(stage), NOW)
    assert printer.locked
    assert (printer.bed.state, printer.bed.token) == (BedState.UNKNOWN, None)
    assert [event.type for event in events] == ["printer.locked"]


@pytest.mark.parametrize("stage", [LocalStage.FETCHING, LocalStage.ACCEPTED, LocalStage.AUTHORISING, LocalStage.DONE])
def test_a_page_that_never_reached_the_printer_locks_nothing(stage: LocalStage) -> None:
    printer, _ = greet_printer(a_printer(active_run_id=None), report(stage), NOW)
    assert (printer.locked, printer.bed) == (False, CLEAR)


@pytest.mark.parametrize(
    ("stage", "state"),
    [
        (LocalStage.STARTING, RunState.STARTING),
        (LocalStage.PRINTING, RunState.PRINTING),
        (LocalStage.PAUSED, RunState.PAUSED),
        (LocalStage.FINISHING, RunState.FINISHING),
        (LocalStage.START_UNKNOWN, RunState.UNCONFIRMED),
        (LocalStage.DONE, RunState.UNCONFIRMED),
    ],
)
def test_an_unconfirmed_run_is_what_its_agent_journalled(stage: LocalStage, state: RunState) -> None:
    before = held(RunState.UNCONFIRMED, RunState.PRINTING, bed_token="token")
    assert greet_run(before, report(stage), NOW).run.state is state


@pytest.mark.parametrize("changes", [{"local_run_id": "r0"}, {"local_epoch": 4}, {"local_run_id": None}])
def test_another_run_or_epoch_proves_nothing(changes: dict[str, Any]) -> None:
    before = held(RunState.UNCONFIRMED, RunState.PRINTING)
    assert greet_run(before, report(LocalStage.PRINTING, **changes), NOW) == before


def test_an_offer_that_never_arrived_is_made_again() -> None:
    before = held(RunState.UNCONFIRMED, RunState.OFFERED)
    assert greet_run(before, report(max_epoch=4), NOW).run.state is RunState.OFFERED
    # It knows the epoch, and no run: what became of it, nobody knows.
    assert greet_run(before, report(max_epoch=5), NOW) == before


@pytest.mark.parametrize(
    ("stage", "token", "came_from", "state"),
    [
        (LocalStage.FETCHING, None, RunState.OFFERED, RunState.OFFERED),
        (LocalStage.ACCEPTED, None, RunState.ACCEPTED, RunState.ACCEPTED),
        (LocalStage.AUTHORISING, None, RunState.ACCEPTED, RunState.ACCEPTED),
        (LocalStage.AUTHORISING, "token", RunState.AUTHORISED, RunState.AUTHORISED),
        (LocalStage.ACCEPTED, "token", RunState.AUTHORISED, RunState.AUTHORISED),
        (LocalStage.ACCEPTED, None, RunState.PRINTING, RunState.UNCONFIRMED),
        (LocalStage.FETCHING, "token", RunState.AUTHORISED, RunState.UNCONFIRMED),
    ],
)
def test_before_the_start_the_journal_tells(
    stage: LocalStage, token: str | None, came_from: RunState, state: RunState
) -> None:
    before = held(RunState.UNCONFIRMED, came_from, bed_token=token)
    assert greet_run(before, report(stage), NOW).run.state is state


def test_a_confirmed_run_waits_for_its_events() -> None:
    before = held(RunState.AUTHORISED)
    assert greet_run(before, report(LocalStage.PRINTING), NOW) == before


@pytest.mark.parametrize("state", sorted(set(RunState) - ACTIVE))
@pytest.mark.parametrize("changes", [{}, {"max_epoch": 6}, {"journal_lost": True}])
def test_a_run_that_is_over_stays_over(state: RunState, changes: dict[str, Any]) -> None:
    """It may have ended between the look at its printer and the lock (I15)."""
    before = replace(held(state), printer=a_printer(epoch=6, active_run_id=None))
    assert greet_run(before, report(LocalStage.PRINTING, **changes), NOW) == before


def test_a_database_that_forgot_a_stop_learns_it_and_keeps_it_latched() -> None:
    """Were it behind, the agent would take the next stop for one that it has carried out."""
    before = a_printer(emergency_generation=1, emergency_done_generation=1, emergency_released_generation=1)
    printer, events = greet_printer(before, report(stop_generation=3), NOW)
    assert (printer.emergency_generation, printer.emergency_done_generation) == (3, 3)
    assert printer.emergency_stopped
    assert [event.type for event in events] == ["printer.emergency_stopped"]
    same, events = greet_printer(printer, report(stop_generation=3), NOW)
    assert (same.emergency_generation, events) == (3, ())
    burnt, _ = greet_printer(before, report(stop_generation=1 << 62), NOW)
    assert (burnt.emergency_generation, burnt.locked) == (1, True)


@pytest.mark.parametrize("state", sorted(ACTIVE - {RunState.UNCONFIRMED}))
def test_a_database_that_forgot_facts_trusts_no_active_row(state: RunState) -> None:
    after = greet_run(held(state), report(facts_lost=True), NOW)
    assert (after.run.state, after.run.reason_code) == (RunState.UNCONFIRMED, "database_behind")
    # Its authority may be forgotten with the token that it spent (I11).
    assert (after.printer.bed.state, after.printer.bed.token) == (BedState.UNKNOWN, None)


@pytest.mark.parametrize("came_from", sorted(ACTIVE - {RunState.UNCONFIRMED}))
@pytest.mark.parametrize("code", ["agent_unreachable", "driver_stuck", "start_unknown"])
def test_nor_one_that_was_out_of_reach_in_the_copy(came_from: RunState, code: str) -> None:
    """It may have been printed to its end since: offered anew, it would be printed onto its own part (I3, I11)."""
    before = held(RunState.UNCONFIRMED, came_from, reason_code=code)
    told = report(facts_lost=True, observed_state=PrinterState.IDLE)
    after = greet_run(before, told, NOW)
    assert (after.run.state, after.run.unconfirmed_from) == (RunState.UNCONFIRMED, came_from)
    assert after.run.reason_code == "database_behind"
    assert (after.printer.bed.state, after.printer.bed.token) == (BedState.UNKNOWN, None)
    wanted = desired(after.printer, after.run, after.job, 9).run
    assert wanted is not None
    # The agent looks for it on the printer, and does not begin it.
    assert (wanted.may_have_started, wanted.bed_token) == (True, "")
    assert greet_run(after, report(observed_state=PrinterState.IDLE), NOW + 1) == after


def test_an_epoch_ahead_is_told_of_a_run_that_was_out_of_reach_too() -> None:
    """Else a person's word on it would be taken for one on what the lost runs left."""
    before = replace(held(RunState.UNCONFIRMED, RunState.ACCEPTED), printer=a_printer(epoch=6))
    after = greet_run(before, report(max_epoch=6), NOW)
    assert (after.run.reason_code, after.printer.bed.state) == ("database_behind", BedState.UNKNOWN)
    assert greet_run(after, report(max_epoch=6), NOW + 1) == after


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_where_journal_and_database_forgot_neither_is_believed(state: RunState) -> None:
    after = greet_run(held(state, RunState.OFFERED), report(facts_lost=True, journal_lost=True), NOW)
    assert (after.run.state, after.run.reason_code) == (RunState.UNCONFIRMED, "journal_lost")
    assert after.printer.bed.state is BedState.UNKNOWN
    # Also of one that was offered: what was lost may have been its start.
    wanted = desired(after.printer, after.run, after.job, 9).run
    assert wanted is not None
    assert wanted.may_have_started
    for fact in (Fact.ACCEPTED, Fact.REFUSED, Fact.NEVER_STARTED, Fact.CANCELLED):
        assert apply_report(after, Report(fact), NOW, "new") == after


def test_a_lost_journal_is_the_stronger_doubt() -> None:
    before = held(RunState.UNCONFIRMED, RunState.AUTHORISED, reason_code="journal_lost", bed_token="token")
    after = greet_run(before, report(facts_lost=True), NOW)
    assert (after.run.reason_code, after.printer.bed.state) == ("journal_lost", BedState.UNKNOWN)


@pytest.mark.parametrize("stage", [LocalStage.ACCEPTED, LocalStage.AUTHORISING])
def test_an_older_copy_of_a_journal_proves_nothing(stage: LocalStage) -> None:
    """The run may print; what such an agent concludes from its journal gives nothing free (I10)."""
    before = held(RunState.UNCONFIRMED, RunState.PRINTING, bed_token="token", started_at=3)
    after = greet_run(before, report(stage, journal_lost=True), NOW)
    assert (after.run.state, after.run.reason_code) == (RunState.UNCONFIRMED, "journal_lost")
    for fact in (Fact.ACCEPTED, Fact.REFUSED, Fact.NEVER_STARTED, Fact.CANCELLED):
        assert apply_report(after, Report(fact), NOW, "new") == after
    assert apply_report(after, Report(Fact.STARTED), NOW, "new").run.state is RunState.PRINTING


def test_a_database_behind_its_agent_trusts_no_row() -> None:
    before = replace(held(RunState.PRINTING), printer=a_printer(epoch=6))
    after = greet_run(before, report(max_epoch=6), NOW)
    assert (after.run.state, after.run.reason_code) == (RunState.UNCONFIRMED, "database_behind")
    assert greet_run(after, report(LocalStage.PRINTING), NOW) == after


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (RunState.AUTHORISED, RunState.UNCONFIRMED),
        (RunState.PRINTING, RunState.UNCONFIRMED),
        (RunState.ACCEPTED, RunState.ACCEPTED),
    ],
)
def test_a_lost_journal_leaves_unconfirmed_what_may_have_started(state: RunState, expected: RunState) -> None:
    assert greet_run(held(state), report(journal_lost=True), NOW).run.state is expected
