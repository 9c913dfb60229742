"""The authority to start: asked for, given once, for one bed token, to the run that holds its printer (I3, I4, I5, I11)."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.authority import AuthorityRequest, authorise
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.events import AuditEntry
from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_coordinator.domain.run import RunState
from printfarm_coordinator.domain.wishes import Wish, request_cancel
from tests.support.slices import EPOCH, held

NOW = 50
ASKED = AuthorityRequest("a1", EPOCH, "nonce", "token")
ANA = Wish("user/ana", "why")


def refused(before: Any, request: AuthorityRequest = ASKED) -> str:
    with pytest.raises(RuleError) as caught:
        authorise(before, request, NOW)
    return caught.value.code


def test_it_is_given_with_its_event_its_audit_row_and_the_bed_taken() -> None:
    before = held(RunState.ACCEPTED)
    after = authorise(before, ASKED, NOW)
    assert after.run == replace(
        before.run, state=RunState.AUTHORISED, nonce="nonce", bed_token="token", authorised_at=NOW, updated_at=NOW
    )
    assert after.printer == replace(before.printer, bed=Bed(BedState.OCCUPIED, None, "r1", "a1", NOW), updated_at=NOW)
    assert after.job == before.job
    assert [event.type for event in after.events] == ["run.authorised"]
    assert after.audit == (AuditEntry("run.start", "run", "r1", "key/k", "job j1", EPOCH),)


@pytest.mark.parametrize("printer", [{}, {"held": True}, {"locked": True}, {"emergency_generation": 1}])
def test_the_same_question_has_the_same_answer(printer: dict[str, Any]) -> None:
    given = authorise(held(RunState.ACCEPTED), ASKED, NOW)
    given = replace(given, printer=replace(given.printer, **printer))
    assert authorise(given, ASKED, NOW + 1) == given


@pytest.mark.parametrize(
    ("request_changes", "run", "printer", "code"),
    [
        ({"agent_id": "a2"}, {}, {}, "STALE_EPOCH"),
        ({"epoch": EPOCH - 1}, {}, {}, "STALE_EPOCH"),
        ({"epoch": EPOCH + 1}, {}, {}, "STALE_EPOCH"),
        ({}, {}, {"epoch": EPOCH + 1}, "STALE_EPOCH"),
        ({}, {"cancel_requested": True}, {}, "CANCEL_REQUESTED"),
        ({}, {}, {"held": True}, "NOT_YET"),
        ({}, {}, {"locked": True}, "NOT_YET"),
        ({}, {}, {"emergency_generation": 2, "emergency_released_generation": 1}, "NOT_YET"),
        ({"bed_token": "older"}, {}, {}, "BED_NOT_CLEAR"),
        ({"bed_token": ""}, {}, {}, "BED_NOT_CLEAR"),
        ({}, {}, {"bed": Bed(BedState.OCCUPIED)}, "BED_NOT_CLEAR"),
        ({"bed_token": ""}, {}, {"bed": Bed(BedState.UNKNOWN)}, "BED_NOT_CLEAR"),
    ],
)
def test_an_accepted_run_is_refused(
    request_changes: dict[str, Any], run: dict[str, Any], printer: dict[str, Any], code: str
) -> None:
    assert refused(held(RunState.ACCEPTED, printer=printer, **run), replace(ASKED, **request_changes)) == code


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (state, "NOT_YET" if state in (RunState.OFFERED, RunState.UNCONFIRMED) else "FENCED")
        for state in RunState
        if state is not RunState.ACCEPTED
    ],
)
def test_no_other_state_is_authorised(state: RunState, code: str) -> None:
    assert refused(held(state, nonce="another")) == code


def test_what_was_given_is_taken_back_by_a_cancel_but_for_what_the_agent_heard() -> None:
    given = request_cancel(authorise(held(RunState.ACCEPTED), ASKED, NOW), ANA, NOW)
    assert (given.run.state, given.run.cancel_requested) == (RunState.AUTHORISED, True)
    assert refused(given) == "CANCEL_REQUESTED"


def test_a_cancel_that_came_first_wins_for_ever() -> None:
    cancelled = request_cancel(held(RunState.ACCEPTED), ANA, NOW)
    assert cancelled.run.state is RunState.CANCELLED
    assert refused(cancelled) == "STALE_EPOCH"


def test_a_bed_token_starts_one_run() -> None:
    given = authorise(held(RunState.ACCEPTED), ASKED, NOW)
    after = held(
        RunState.ACCEPTED, run_id="r2", epoch=EPOCH + 1, printer={"bed": given.printer.bed, "epoch": EPOCH + 1}
    )
    assert refused(after, replace(ASKED, epoch=EPOCH + 1)) == "BED_NOT_CLEAR"
