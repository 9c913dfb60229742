"""What people and clients want of runs and jobs. A wish is durable at once; its result is seen in the state."""

from dataclasses import dataclass, replace

from .errors import IllegalState, Invalid
from .events import AuditEntry
from .job import Job, settled
from .run import BEFORE_AUTHORITY, EXECUTING, Run, RunState, Verdict
from .slice import Slice, bed_given_back, ended, fenced_printer, run_event, uncertain_after, with_job

# An authority lasts no longer, whatever is configured; it is counted from the question, which came before the row's time.
LONGEST_AUTHORITY_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """Who wants it, and why."""

    actor: str
    reason: str = ""


def audited(held: Slice, action: str, wish: Wish) -> Slice:
    """The slice with an audit row about its run."""
    run = held.run
    entry = AuditEntry(action, "run", run.run_id, wish.actor, wish.reason, run.epoch)
    return replace(held, audit=(*held.audit, entry))


def request_cancel(held: Slice, wish: Wish, now: int) -> Slice:
    """CANCELLED at once where no authority was given, under a raised epoch; else wanted until the agent proves it (I5).

    Unchanged if it is wanted already or was cancelled. Raises IllegalState if the run ended otherwise.
    """
    run = held.run
    if run.state is RunState.CANCELLED or (run.state.is_active and run.cancel_requested):
        return held
    if not run.state.is_active:
        raise IllegalState(f"the run is {run.state}")
    held = audited(held, "run.cancel", wish)
    if run.state in BEFORE_AUTHORITY:
        fenced = replace(held, printer=fenced_printer(held.printer, now))
        bed = held.printer.bed
        return ended(fenced, RunState.CANCELLED, now, wish.actor, bed=bed, code="cancelled", reason=wish.reason)
    wanted = replace(run, cancel_requested=True, updated_at=now)
    return replace(held, run=wanted, events=(*held.events, run_event(wanted, "cancel_requested", wish.actor)))


def request_pause(held: Slice, wish: Wish, now: int, *, pause: bool) -> Slice:
    """The run wanted paused, or printing again. Raises IllegalState where there is nothing to pause."""
    run = held.run
    if run.state not in EXECUTING and run.state is not RunState.UNCONFIRMED:
        raise IllegalState(f"the run is {run.state}")
    if run.cancel_requested:
        raise IllegalState("the run is being cancelled")
    if run.pause_requested == pause:
        return held
    wanted = replace(run, pause_requested=pause, updated_at=now)
    held = audited(held, "run.pause" if pause else "run.resume", wish)
    event = run_event(wanted, "pause_requested" if pause else "resume_requested", wish.actor)
    return replace(held, run=wanted, events=(*held.events, event))


def give_verdict(held: Slice, wish: Wish, good_parts: int, now: int) -> Slice:
    """Good parts of those on the plate. The same word again changes nothing; another word is refused."""
    run, job = held.run, held.job
    if not 0 <= good_parts <= run.parts:
        raise Invalid("good_parts", f"must be 0 to {run.parts}, the parts on this plate")
    if run.verdict is not None:
        if run.verdict.good_parts == good_parts:
            return held
        raise IllegalState(f"{run.verdict.actor} has said that {run.verdict.good_parts} parts are good")
    if run.state not in (RunState.FINISHED, RunState.FAILED):
        raise IllegalState(f"the run is {run.state}; a verdict is given on a finished or failed run")
    judged = replace(run, verdict=Verdict(good_parts, wish.reason, wish.actor, now), updated_at=now)
    finished = run.state is RunState.FINISHED
    job = replace(
        job,
        good_parts=job.good_parts + good_parts,
        pending_parts=job.pending_parts - (run.parts if finished else 0),
        failed_runs=job.failed_runs + (finished and good_parts == 0),
    )
    event = run_event(
        judged, "verdict", wish.actor, good_parts=good_parts, reason=wish.reason, rejected_parts=run.parts - good_parts
    )
    held = audited(held, "run.verdict", wish)
    return with_job(replace(held, run=judged, events=(*held.events, event)), job, now, wish.actor)


OUTCOMES = {"finished": RunState.FINISHED, "failed": RunState.FAILED, "never_started": RunState.FENCED}


def resolve(held: Slice, wish: Wish, outcome: str, now: int, new_token: str) -> Slice:
    """An unconfirmed run ended by a person's word. Its epoch is over: what its agent says later changes nothing (I10, I15)."""
    run = held.run
    state = OUTCOMES.get(outcome)
    if state is None:
        raise Invalid("outcome", f"must be one of {', '.join(OUTCOMES)}")
    if run.state is state and run.reason_code == "resolved":
        return held
    if run.state is not RunState.UNCONFIRMED:
        raise IllegalState(f"the run is {run.state}; only an unconfirmed run is resolved by a person")
    unused = run.authorised_at is not None and run.started_at is None
    if unused and now < (run.authorised_at or 0) + LONGEST_AUTHORITY_US:
        # Its agent may be about to start it: until then nobody's look at the printer proves anything.
        raise IllegalState("its authority to start has not expired yet; look again in half a minute")
    held = audited(held, f"run.resolve.{outcome}", wish)
    fenced = replace(held, printer=fenced_printer(held.printer, now))
    bed = uncertain_after(run, now)
    if state is RunState.FENCED:
        bed = bed_given_back(held, wish.actor, now, new_token)
    if state is RunState.FINISHED:
        fenced = replace(fenced, run=replace(run, verified=False))
    return ended(fenced, state, now, wish.actor, bed=bed, code="resolved", reason=wish.reason)


def request_job_cancel(job: Job, wish: Wish, now: int) -> Job:
    """The job with the wish; CANCELLED already if none of its runs is active. Raises IllegalState if it ended otherwise."""
    if job.state.is_final and not job.cancel_requested:
        raise IllegalState(f"the job is {job.state}")
    if job.cancel_requested:
        return job
    return settled(replace(job, cancel_requested=True), now)


def hold_job(job: Job, reason: str, now: int) -> Job:
    """Nothing more of the job starts; runs under way go on."""
    if job.state.is_final:
        raise IllegalState(f"the job is {job.state}")
    return replace(job, held=True, hold_reason=reason, updated_at=now)


def release_job(job: Job, now: int) -> Job:
    """The job may start again."""
    if job.state.is_final:
        raise IllegalState(f"the job is {job.state}")
    return replace(job, held=False, hold_reason="", updated_at=now)


def newest_loss(runs: list[Run]) -> str | None:
    """The latest run whose parts are printed again and that no run names as its ``retry_of`` yet."""
    repeated = {run.retry_of for run in runs}
    lost = [run for run in runs if _is_lost(run) and run.run_id not in repeated]
    return max(lost, key=lambda run: (run.created_at, run.run_id)).run_id if lost else None


def _is_lost(run: Run) -> bool:
    if run.state is RunState.FINISHED:
        return run.verdict is not None and run.verdict.good_parts < run.parts
    return run.state in (RunState.FAILED, RunState.CANCELLED, RunState.FENCED)
