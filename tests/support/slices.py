"""Jobs, runs and printers as values, for tests of the pure rules."""

from dataclasses import replace
from typing import Any

from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Printer, PrinterState
from printfarm_coordinator.domain.run import ACTIVE, Run, RunState
from printfarm_coordinator.domain.slice import Slice

# Of the run and of its printer.
EPOCH = 5
PARTS = 2
CLEAR = Bed(BedState.CLEAR, "token", None, "user/ana", 3)


def a_job(**changes: Any) -> Job:
    """Four parts, two to a plate; queued."""
    return replace(Job("j1", "n", "key/k", "a" * 64, 4, PARTS, 0, None, Requirements(), 1, None, 1, 1), **changes)


def a_run(state: RunState = RunState.OFFERED, **changes: Any) -> Run:
    """Run r1 of job j1 on printer p1 of agent a1."""
    return replace(Run("r1", "j1", "p1", "a1", EPOCH, PARTS, 1, 1, state), **changes)


def a_printer(**changes: Any) -> Printer:
    """Idle, its bed clear, with no run on it."""
    plain = Printer("p1", "a1", "P", "virtual", Abilities(), 1, 1, epoch=EPOCH, bed=CLEAR)
    return replace(plain, observed_state=PrinterState.IDLE, **changes)


def held(
    state: RunState, *, job: dict[str, Any] | None = None, printer: dict[str, Any] | None = None, **run: Any
) -> Slice:
    """The run in that state, counted by its job, and on its printer while it is active."""
    active = state in ACTIVE
    counts = {"state": JobState.ACTIVE, "active_runs": 1, "pending_parts": PARTS} if active else {}
    return Slice(
        a_job(**counts | (job or {})),
        a_run(state, **run),
        a_printer(**{"active_run_id": "r1" if active else None} | (printer or {})),
    )
