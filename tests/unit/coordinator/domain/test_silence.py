"""Silence proves nothing (I10), and much of it at once accuses the listener (I19)."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, Printer
from printfarm_coordinator.domain.run import ACTIVE, MAY_HAVE_STARTED, Run, RunState
from printfarm_coordinator.domain.silence import (
    MASS_SILENCE_WINDOW_US,
    Brake,
    Lease,
    braked,
    driver_back,
    driver_stuck,
    expired,
    is_mass_silence,
    lost,
)
from printfarm_coordinator.domain.slice import Slice

NOW = 10 * MASS_SILENCE_WINDOW_US
LEASE = 45_000_000
BEAT = 10_000_000
# Of a lease that is kept up: a beat, its way and its commit after it was prolonged.
KEPT_UP = LEASE - BEAT - 3_000_000


def held(state: RunState, **changes: Any) -> Slice:
    job = Job("j1", "n", "c", "a" * 64, 2, 1, 0, None, Requirements(), 3, None, 1, 1, JobState.ACTIVE, active_runs=1)
    run = Run("r1", "j1", "p1", "a1", 1, 1, 1, 1, state)
    printer = Printer("p1", "a1", "P", "virtual", Abilities(), 1, 1, epoch=1, active_run_id="r1")
    return Slice(replace(job, pending_parts=1), replace(run, **changes), printer)


@pytest.mark.parametrize(
    ("agents", "silent", "mass"),
    [
        (1, 1, False),
        (2, 2, False),
        (3, 2, False),
        (3, 3, True),
        (9, 3, True),
        (11, 3, False),
        (11, 4, True),
        (20, 5, False),
        (20, 6, True),
    ],
)
def test_mass_silence_is_three_and_a_third(agents: int, silent: int, mass: bool) -> None:
    leases = [Lease(f"a{n}", NOW - 1 if n < silent else NOW + KEPT_UP) for n in range(agents)]
    assert len(expired(leases, NOW)) == silent
    assert is_mass_silence(leases, NOW, BEAT) is mass


def test_those_long_gone_are_no_mass_silence() -> None:
    assert not is_mass_silence([Lease(f"a{n}", NOW - MASS_SILENCE_WINDOW_US) for n in range(9)], NOW, BEAT)
    assert is_mass_silence([Lease(f"a{n}", NOW - MASS_SILENCE_WINDOW_US + 1) for n in range(9)], NOW, BEAT)


def test_the_brake_holds_for_two_leases_and_is_never_shortened() -> None:
    brake = braked(Brake(), NOW, LEASE)
    assert brake.is_on(NOW + 2 * LEASE - 1)
    assert not brake.is_on(NOW + 2 * LEASE)
    assert braked(brake, NOW - LEASE, LEASE) == brake


@pytest.mark.parametrize("state", sorted(ACTIVE - {RunState.UNCONFIRMED}))
def test_a_lost_agents_run_is_unconfirmed_and_its_parts_are_not_owed_again(state: RunState) -> None:
    before = held(state)
    after = lost(before, NOW)
    assert (after.run.state, after.run.unconfirmed_from, after.run.reason_code) == (
        RunState.UNCONFIRMED,
        state,
        "agent_unreachable",
    )
    assert (after.job.active_runs, after.job.pending_parts) == (1, 1)
    assert after.printer.active_run_id == "r1"
    assert lost(after, NOW + 1) == after


@pytest.mark.parametrize("state", sorted(set(RunState) - ACTIVE))
def test_silence_never_opens_a_run_that_is_over(state: RunState) -> None:
    """It may have ended between the look for active runs and the lock (I15)."""
    assert lost(held(state), NOW) == held(state)
    assert driver_stuck(held(state), NOW) == held(state)


@pytest.mark.parametrize("state", sorted(ACTIVE))
def test_a_stuck_driver_makes_unconfirmed_what_may_have_started_and_its_return_gives_it_back(state: RunState) -> None:
    before = held(state)
    after = driver_stuck(before, NOW)
    if state not in MAY_HAVE_STARTED or state is RunState.UNCONFIRMED:
        assert after == before
        return
    assert after.run.state is RunState.UNCONFIRMED
    assert driver_back(after, NOW + 1).run.state is state


def test_a_driver_that_returns_proves_nothing_about_a_lost_agent() -> None:
    after = lost(held(RunState.PRINTING), NOW)
    assert driver_back(after, NOW + 1) == after
