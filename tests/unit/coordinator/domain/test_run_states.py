"""Every pair of state and fact, and what a job's counts prove."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from printfarm_coordinator.domain.job import Job, JobState, Requirements, parts_owed, settled
from printfarm_coordinator.domain.run import ACTIVE, EndEvidence, Fact, RunState, is_verified_end, next_state

FINAL = frozenset(RunState) - ACTIVE


# What each fact makes of each state; "-": it changes nothing. Columns are in the order of Fact.
TABLE = """
                acc ref nev sti sta pau res fng fin fai can unk lat
    offered     acc fen fen sti pri pau pri fng fin fai can unc -
    accepted    -   fen fen sti pri pau pri fng fin fai can unc -
    authorised  -   -   fen sti pri pau pri fng fin fai can unc fai
    starting    -   -   fen -   pri pau pri fng fin fai can unc fai
    printing    -   -   -   -   -   pau pri fng fin fai can -   fai
    paused      -   -   -   -   -   pau pri fng fin fai can -   fai
    finishing   -   -   -   -   -   pau pri fng fin fai can -   fai
    unconfirmed acc fen fen sti pri pau pri fng fin fai can unc fai
"""
_FACTS = dict(
    zip(["acc", "ref", "nev", "sti", "sta", "pau", "res", "fng", "fin", "fai", "can", "unk", "lat"], Fact, strict=True)
)
_STATES = {"sti": RunState.STARTING, "fng": RunState.FINISHING, "fin": RunState.FINISHED, "-": None}


def _table() -> dict[tuple[RunState, Fact], RunState | None]:
    head, *lines = [line.split() for line in TABLE.strip().splitlines()]
    facts = dict(zip(head, Fact, strict=True))
    known = {state.value[:3]: state for state in RunState} | _STATES
    return {
        (RunState(line[0]), facts[fact]): known[cell]
        for line in lines
        for fact, cell in zip(head, line[1:], strict=True)
    }


def test_every_fact_makes_of_every_state_what_the_table_says() -> None:
    expected = _table()
    assert {pair: next_state(*pair) for pair in expected} == expected
    assert {state for state, _ in expected} == ACTIVE


@pytest.mark.parametrize(("state", "fact"), list(product(sorted(FINAL), sorted(Fact))))
def test_a_final_state_listens_to_nothing(state: RunState, fact: Fact) -> None:
    assert next_state(state, fact) is None


@pytest.mark.parametrize(("state", "fact"), list(product(sorted(ACTIVE), sorted(Fact))))
def test_a_fact_never_leads_back_before_the_authority(state: RunState, fact: Fact) -> None:
    after = next_state(state, fact)
    if state.may_have_started and state is not RunState.UNCONFIRMED:
        assert after not in {RunState.OFFERED, RunState.ACCEPTED, RunState.AUTHORISED}
    if state in {RunState.PRINTING, RunState.PAUSED, RunState.FINISHING}:
        # What prints is over only by its end: its parts are never owed again by "it never started" (I10).
        assert after is not RunState.FENCED


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_evidence_of_an_end_is_believed_wherever_a_print_may_be(state: RunState) -> None:
    assert next_state(state, Fact.FAILED) is RunState.FAILED
    assert next_state(state, Fact.CANCELLED) is RunState.CANCELLED


@pytest.mark.parametrize(
    ("end_of_file", "reports", "elapsed", "estimate", "verified"),
    [
        (True, True, 70.0, 100.0, True),
        (True, True, 69.9, 100.0, False),
        (True, True, 0.0, None, True),
        (False, True, 100.0, 100.0, False),
        (True, False, 100.0, 100.0, False),
    ],
)
def test_an_end_is_verified_by_three_witnesses(
    end_of_file: bool, reports: bool, elapsed: float, estimate: float | None, verified: bool
) -> None:
    assert is_verified_end(EndEvidence(end_of_file, reports, elapsed), estimate) is verified


def a_job(**changes: Any) -> Job:
    return replace(Job("j1", "n", "c", "a" * 64, 4, 2, 0, None, Requirements(), 1, None, 1, 1), **changes)


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, JobState.QUEUED),
        ({"active_runs": 1, "pending_parts": 2}, JobState.ACTIVE),
        ({"pending_parts": 2}, JobState.ACTIVE),
        ({"good_parts": 2}, JobState.QUEUED),
        ({"good_parts": 4}, JobState.COMPLETED),
        ({"good_parts": 5, "active_runs": 1}, JobState.COMPLETED),
        ({"cancel_requested": True}, JobState.CANCELLED),
        ({"cancel_requested": True, "active_runs": 1}, JobState.ACTIVE),
        ({"failed_runs": 1}, JobState.QUEUED),
        ({"failed_runs": 2}, JobState.FAILED),
        ({"failed_runs": 2, "active_runs": 1}, JobState.ACTIVE),
        ({"state": JobState.CANCELLED, "good_parts": 4}, JobState.CANCELLED),
    ],
)
def test_a_jobs_state_is_what_its_counts_prove(changes: dict[str, Any], state: JobState) -> None:
    after = settled(a_job(**changes), 9)
    assert after.state is state
    assert (after.ended_at is not None) == (state.is_final and "state" not in changes)
    assert bool(after.failure_reason) == (state is JobState.FAILED)


@pytest.mark.parametrize(
    ("changes", "owed"),
    [
        ({}, 4),
        ({"good_parts": 1}, 3),
        ({"pending_parts": 2}, 2),
        ({"good_parts": 3, "pending_parts": 2}, 0),
        ({"held": True}, 0),
    ],
)
def test_pending_parts_are_not_owed_again(changes: dict[str, Any], owed: int) -> None:
    assert parts_owed(a_job(**changes)) == owed
