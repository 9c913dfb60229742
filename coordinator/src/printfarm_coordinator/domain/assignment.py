"""Which printer gets which job, and the offer that says so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .errors import IllegalState, RuleError
from .job import Job, parts_owed
from .printer import Obstacle, Printer, gates_closed, mismatches
from .run import Run
from .slice import Slice, run_event, with_job

COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A printer with what the decision needs to know of its agent."""

    printer: Printer
    agent_reachable: bool
    agent_draining: bool


def obstacles(job: Job, candidate: Candidate, now: int) -> list[Obstacle]:
    """Everything that keeps the job off the printer now; empty: it could start."""
    gates = gates_closed(
        candidate.printer,
        agent_reachable=candidate.agent_reachable,
        agent_draining=candidate.agent_draining,
        now=now,
    )
    return mismatches(candidate.printer, job.requirements) + gates


def urgency(job: Job) -> tuple[int, int, int, str]:
    """Sorts the most urgent first: priority, due time, age. The id makes the order total."""
    no_due_time = 1 << 62
    return (-job.priority, job.due_at if job.due_at is not None else no_due_time, job.created_at, job.job_id)


def choose(jobs: Sequence[Job], candidates: Iterable[Candidate], now: int) -> list[tuple[str, str]]:
    """Pairs of (job id, printer id) to offer, at most one per printer, the most urgent job first.

    A job takes as many printers as it owes plates. Of the printers that can take a job, it gets the one that can take the
    fewest other waiting jobs, so that a picky job behind it is not left without.
    """
    open_printers = {
        candidate.printer.printer_id: candidate
        for candidate in candidates
        if not gates_closed(
            candidate.printer,
            agent_reachable=candidate.agent_reachable,
            agent_draining=candidate.agent_draining,
            now=now,
        )
    }
    waiting = sorted((job for job in jobs if parts_owed(job)), key=urgency)
    fits = _fits(waiting, open_printers.values())
    wanted_by = {printer_id: sum(printer_id in able for able in fits.values()) for printer_id in open_printers}
    chosen: list[tuple[str, str]] = []
    for job in waiting:
        if not open_printers:
            break
        able = sorted((p for p in fits[job.job_id] if p in open_printers), key=lambda p: (wanted_by[p], p))
        for printer_id in able[: plates_owed(job)]:
            del open_printers[printer_id]
            chosen.append((job.job_id, printer_id))
    return chosen


def _fits(jobs: Sequence[Job], candidates: Iterable[Candidate]) -> dict[str, set[str]]:
    """For each job the printers that meet its requirements; worked out once for jobs that require the same."""
    printers = [candidate.printer for candidate in candidates]
    by_requirements: dict[object, set[str]] = {}
    fits = {}
    for job in jobs:
        able = by_requirements.get(job.requirements)
        if able is None:
            able = {p.printer_id for p in printers if not mismatches(p, job.requirements)}
            by_requirements[job.requirements] = able
        fits[job.job_id] = able
    return fits


def plates_owed(job: Job) -> int:
    """Whole plates for the parts owed (I1)."""
    return -(-parts_owed(job) // job.parts_per_plate)


def offer(job: Job, candidate: Candidate, run_id: str, now: int, *, actor: str, retry_of: str | None) -> Slice:
    """A new run of the job on the printer, under the printer's next epoch.

    Raises IllegalState if nothing is owed, RuleError PRINTER_NOT_ELIGIBLE with the reasons if the printer cannot take it.
    """
    if not parts_owed(job):
        raise IllegalState(f"the job owes no parts: it is {'held' if job.held else job.state.value}")
    if found := obstacles(job, candidate, now):
        raise RuleError(
            "PRINTER_NOT_ELIGIBLE", "; ".join(o.explanation for o in found), codes=",".join(o.code for o in found)
        )
    printer = candidate.printer
    epoch = printer.epoch + 1
    run = Run(
        run_id,
        job.job_id,
        printer.printer_id,
        printer.agent_id,
        epoch,
        job.parts_per_plate,
        now,
        now,
        retry_of=retry_of,
    )
    taken = replace(printer, epoch=epoch, active_run_id=run_id, updated_at=now)
    counted = replace(job, active_runs=job.active_runs + 1, pending_parts=job.pending_parts + run.parts)
    return with_job(Slice(job, run, taken, events=(run_event(run, "offered", actor),)), counted, now, actor)
