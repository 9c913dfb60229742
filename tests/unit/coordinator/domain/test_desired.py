"""What is wanted of a printer, derived from the rows; and which of an agent's words count."""

from typing import Any

import pytest

from printfarm_coordinator.domain.desired import DesiredState, desired
from printfarm_coordinator.domain.inbox import Admission, admit, holds_printer, is_believed, is_from_future
from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_coordinator.domain.run import ACTIVE, BEFORE_AUTHORITY, RunState
from tests.support.slices import EPOCH, a_printer, a_run, held


@pytest.mark.parametrize("state", sorted(RunState))
def test_an_active_run_is_wanted_and_no_other(state: RunState) -> None:
    rows = held(state)
    found = desired(rows.printer, rows.run, rows.job, 9)
    assert found.printer == rows.printer
    assert (found.run is not None) is (state in ACTIVE)
    if found.run is not None:
        assert (found.run.run, found.run.job, found.run.size_bytes) == (rows.run, rows.job, 9)


def test_without_a_run_or_its_job_nothing_is_wanted() -> None:
    rows = held(RunState.PRINTING)
    assert desired(rows.printer, None, rows.job, 9).run is None
    assert desired(rows.printer, rows.run, None, 9).run is None


@pytest.mark.parametrize(
    ("wishes", "state"),
    [
        ({}, DesiredState.PRINT),
        ({"pause_requested": True}, DesiredState.PAUSE),
        ({"cancel_requested": True}, DesiredState.CANCEL),
        ({"pause_requested": True, "cancel_requested": True}, DesiredState.CANCEL),
    ],
)
def test_a_cancel_goes_before_a_pause(wishes: dict[str, Any], state: DesiredState) -> None:
    rows = held(RunState.PRINTING, **wishes)
    found = desired(rows.printer, rows.run, rows.job, 9).run
    assert found is not None
    assert found.state is state


@pytest.mark.parametrize(
    ("used", "bed", "token"),
    [
        (None, Bed(BedState.CLEAR, "free"), "free"),
        (None, Bed(BedState.OCCUPIED), ""),
        # The agent may ask again under the token that it was given.
        ("used", Bed(BedState.OCCUPIED), "used"),
        ("used", Bed(BedState.CLEAR, "free"), "used"),
    ],
)
def test_the_agent_is_told_the_token_of_its_run(used: str | None, bed: Bed, token: str) -> None:
    rows = held(RunState.AUTHORISED, bed_token=used, printer={"bed": bed})
    found = desired(rows.printer, rows.run, rows.job, 9).run
    assert found is not None
    assert found.bed_token == token


@pytest.mark.parametrize(
    ("state", "changes", "may"),
    [(state, {}, state not in BEFORE_AUTHORITY) for state in sorted(ACTIVE)]
    + [
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.OFFERED}, False),
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.ACCEPTED}, False),
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.ACCEPTED, "bed_token": "t"}, True),
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.AUTHORISED}, True),
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.OFFERED, "reason_code": "database_behind"}, True),
        (RunState.UNCONFIRMED, {"unconfirmed_from": RunState.OFFERED, "reason_code": "agent_unreachable"}, False),
    ],
)
def test_the_agent_is_told_what_may_have_started(state: RunState, changes: dict[str, Any], may: bool) -> None:
    rows = held(state, **changes)
    found = desired(rows.printer, rows.run, rows.job, 9).run
    assert found is not None
    assert found.may_have_started is may


@pytest.mark.parametrize(
    ("last", "sequence", "admission"),
    [
        (0, 1, Admission.APPLY),
        (4, 5, Admission.APPLY),
        (4, 4, Admission.REPEATED),
        (4, 1, Admission.REPEATED),
        (4, 6, Admission.GAP),
        (0, 2, Admission.GAP),
        (0, 0, Admission.REPEATED),
    ],
)
def test_events_are_applied_once_and_without_a_gap(last: int, sequence: int, admission: Admission) -> None:
    assert admit(last, sequence) is admission


@pytest.mark.parametrize(
    ("epoch", "future", "newest"), [(EPOCH - 1, False, False), (EPOCH, False, True), (EPOCH + 1, True, False)]
)
def test_an_epoch_is_known_or_of_the_future(epoch: int, future: bool, newest: bool) -> None:
    assert is_from_future(a_printer(), epoch) is future
    assert holds_printer(a_run(epoch=epoch), a_printer()) is newest


@pytest.mark.parametrize(
    ("agent_id", "epoch", "believed"),
    [("a1", EPOCH, True), ("a2", EPOCH, False), ("a1", EPOCH - 1, False), ("a1", EPOCH + 1, False)],
)
def test_a_word_counts_from_the_runs_own_agent_under_its_own_epoch(agent_id: str, epoch: int, believed: bool) -> None:
    assert is_believed(a_run(), agent_id, epoch) is believed
