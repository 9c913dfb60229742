"""What one transaction holds locked, and what the rules made of it."""

from dataclasses import dataclass, replace

from .events import AuditEntry, DomainEvent, Scalar
from .job import Job, settled
from .printer import Bed, BedState, Printer
from .run import EXECUTING, Run, RunState


@dataclass(frozen=True, slots=True)
class Slice:
    """A run with its job and its printer, locked together; with the events and audit rows to commit with them."""

    job: Job
    run: Run
    printer: Printer
    events: tuple[DomainEvent, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


def entered(held: Slice, state: RunState, now: int, actor: str, *, code: str = "", reason: str = "") -> Slice:
    """The run in another active state. Entering a printing state means that the plate is in use, whatever was said."""
    run, printer = held.run, held.printer
    starts = state in EXECUTING and run.started_at is None
    changed = replace(
        run,
        state=state,
        unconfirmed_from=run.state if state is RunState.UNCONFIRMED else None,
        reason_code=code,
        reason=reason,
        started_at=now if starts else run.started_at,
        updated_at=now,
    )
    if state in EXECUTING or state is RunState.STARTING:
        printer = replace(printer, bed=occupied_by(run, now), updated_at=now)
    word = "started" if starts and state is RunState.PRINTING else state.value
    event = run_event(changed, word, actor, from_state=run.state.value, code=code)
    if starts:
        event = replace(event, data={**event.data, "seconds_since_offer": (now - run.created_at) / 1e6})
    return replace(held, run=changed, printer=printer, events=(*held.events, event))


def ended(held: Slice, state: RunState, now: int, actor: str, *, bed: Bed, code: str = "", reason: str = "") -> Slice:
    """The run in a final state, its printer free of it, its job counted anew."""
    run = replace(
        held.run,
        state=state,
        unconfirmed_from=None,
        reason_code=code,
        reason=reason,
        progress=1.0 if state is RunState.FINISHED else held.run.progress,
        ended_at=now,
        updated_at=now,
    )
    printer = replace(held.printer, active_run_id=None, bed=bed, updated_at=now)
    job = held.job
    waits_for_verdict = state is RunState.FINISHED
    job = replace(
        job,
        active_runs=job.active_runs - 1,
        pending_parts=job.pending_parts - (0 if waits_for_verdict else run.parts),
        failed_runs=job.failed_runs + (state is RunState.FAILED),
    )
    event = run_event(run, state.value, actor, from_state=held.run.state.value, code=code, verified=run.verified)
    return with_job(replace(held, run=run, printer=printer, events=(*held.events, event)), job, now, actor)


def with_job(held: Slice, job: Job, now: int, actor: str) -> Slice:
    """The job settled after a change of its counts, with the event that tells of a new state."""
    after = settled(job, now)
    events = held.events
    if after.state is not held.job.state:
        events = (*events, job_event(after, actor))
    return replace(held, job=after, events=events)


def fenced_printer(printer: Printer, now: int) -> Printer:
    """The printer with its epoch raised: whatever holds the old epoch can start nothing any more."""
    return replace(printer, epoch=printer.epoch + 1, updated_at=now)


def occupied_by(run: Run, now: int) -> Bed:
    """The run's part is, or must be taken to be, on the plate."""
    return Bed(BedState.OCCUPIED, None, run.run_id, run.agent_id, now)


def uncertain_after(run: Run, now: int) -> Bed:
    """A person must look at the plate."""
    return Bed(BedState.UNKNOWN, None, run.run_id, run.agent_id, now)


def bed_given_back(held: Slice, actor: str, now: int, new_token: str) -> Bed:
    """The bed of a run that put nothing on it; one that was doubted since its token was spent stays so (I11)."""
    bed = held.printer.bed
    is_spent = held.run.bed_token is not None and bed.state is BedState.OCCUPIED
    return Bed(BedState.CLEAR, new_token, None, actor, now) if is_spent else bed


def run_event(run: Run, what: str, actor: str, **data: Scalar) -> DomainEvent:
    """An event of a run; it carries the ids that a follower needs."""
    ids: dict[str, Scalar] = {"job_id": run.job_id, "printer_id": run.printer_id, "epoch": run.epoch}
    return DomainEvent(f"run.{what}", run.run_id, actor, ids | {"state": run.state.value} | data)


def job_event(job: Job, actor: str, what: str | None = None) -> DomainEvent:
    """An event of a job, named by its state unless said otherwise."""
    data: dict[str, Scalar] = {"state": job.state.value, "good_parts": job.good_parts, "quantity": job.quantity}
    if job.ended_at is not None:
        data["duration_seconds"] = (job.ended_at - job.created_at) / 1e6
    return DomainEvent(f"job.{what or job.state.value}", job.job_id, actor, data)


def printer_event(printer: Printer, what: str, actor: str, **data: Scalar) -> DomainEvent:
    """An event of a printer alone."""
    return DomainEvent(f"printer.{what}", printer.printer_id, actor, data)
