"""What an agent's durable facts make of a run (I6, I10, I15, I16)."""

from dataclasses import dataclass, replace

from .job import Job
from .print_file import print_file_of
from .printer import Printer
from .refusals import REFUSED_FILE
from .run import EXECUTING, JOURNAL_LOST, EndEvidence, Fact, RunState, is_verified_end, next_state
from .slice import (
    Slice,
    bed_given_back,
    ended,
    entered,
    fenced_printer,
    job_event,
    occupied_by,
    printer_event,
    uncertain_after,
)

FIRST_BACKOFF_US = 10_000_000
LONGEST_BACKOFF_US = 600_000_000


# What an agent concludes from its journal alone. Where that is lost, only the printer's word counts, or a person's (I10).
_FROM_THE_JOURNAL = frozenset({Fact.ACCEPTED, Fact.REFUSED, Fact.NEVER_STARTED, Fact.CANCELLED})


@dataclass(frozen=True, slots=True)
class Report:
    """One fact of one run, as its agent journalled it."""

    fact: Fact
    code: str = ""
    reason: str = ""
    evidence: EndEvidence | None = None
    by_machine: bool = False
    lock_printer: bool = False


def apply_report(held: Slice, report: Report, now: int, new_token: str) -> Slice:
    """The run after the fact; unchanged if the fact says nothing new. ``new_token`` is used if the bed is given back."""
    target = next_state(held.run.state, report.fact)
    if target is None or (held.run.reason_code == JOURNAL_LOST and report.fact in _FROM_THE_JOURNAL):
        return held
    if target.is_active:
        return _go_on(held, report, target, now)
    if target is RunState.FINISHED:
        return _finish(held, report, now)
    if target is RunState.FENCED:
        return _fence(held, report, now, new_token)
    if target is RunState.CANCELLED:
        return _cancel(held, report, now, new_token)
    return _fail(held, report, now)


def _go_on(held: Slice, report: Report, target: RunState, now: int) -> Slice:
    agent = held.run.agent_id
    after = held
    if target is not held.run.state:
        after = entered(held, target, now, agent, code=report.code, reason=report.reason)
    if report.fact is Fact.STARTED:
        # Only a start ends the rest: a printer that accepts and never starts must not be asked again and again.
        after = replace(after, printer=replace(after.printer, refusals=0, backoff_until=0))
    if report.fact is Fact.START_UNKNOWN:
        after = replace(after, run=replace(after.run, reason_code="start_unknown"))
    if report.by_machine:
        # The wish follows the person at the machine, else the next sync would undo what they did.
        after = replace(after, run=replace(after.run, pause_requested=report.fact is Fact.PAUSED))
    return after


def _finish(held: Slice, report: Report, now: int) -> Slice:
    evidence = report.evidence or EndEvidence(False, False, 0.0)
    verified = is_verified_end(evidence, print_file_of(held.run, held.job).estimated_seconds)
    held = replace(held, run=replace(held.run, verified=verified))
    if verified:
        return ended(held, RunState.FINISHED, now, held.run.agent_id, bed=occupied_by(held.run, now))
    why = "the evidence of its end is incomplete"
    after = ended(
        held,
        RunState.FINISHED,
        now,
        held.run.agent_id,
        bed=uncertain_after(held.run, now),
        code="unverified",
        reason=why,
    )
    return _locked(after, f"run {held.run.run_id} finished, but {why}", now)


def _fence(held: Slice, report: Report, now: int, new_token: str) -> Slice:
    """It provably never started: its parts are owed again, its bed token is issued anew, and the printer rests a while, unless
    the file alone was refused."""
    run = held.run
    bed = bed_given_back(held, run.agent_id, now, new_token)
    after = ended(held, RunState.FENCED, now, run.agent_id, bed=bed, code=report.code, reason=report.reason)
    fenced = fenced_printer(after.printer, now)
    return replace(after, printer=fenced if report.code == REFUSED_FILE else _rested(fenced, now))


def _rested(printer: Printer, now: int) -> Printer:
    refusals = printer.refusals + 1
    pause = min(LONGEST_BACKOFF_US, FIRST_BACKOFF_US << min(refusals - 1, 10))
    return replace(printer, refusals=refusals, backoff_until=now + pause)


def _cancel(held: Slice, report: Report, now: int, new_token: str) -> Slice:
    run = held.run
    bed = occupied_by(run, now)
    if run.bed_token is None and run.started_at is None:
        bed = held.printer.bed
    elif RunState.AUTHORISED in (run.state, run.unconfirmed_from):
        # Its journal is applied in order, and has no start in it: nothing was put on the plate.
        bed = bed_given_back(held, run.agent_id, now, new_token)
    code = "local_override" if report.by_machine else report.code or "cancelled"
    after = ended(held, RunState.CANCELLED, now, run.agent_id, bed=bed, code=code, reason=report.reason)
    if not report.by_machine or after.job.state.is_final:
        return after
    # Whoever stopped it at the machine does not want it to start again next door.
    job: Job = replace(after.job, held=True, hold_reason=f"run {run.run_id} was cancelled at the machine")
    return replace(after, job=job, events=(*after.events, job_event(job, run.agent_id, "held")))


def _fail(held: Slice, report: Report, now: int) -> Slice:
    run = held.run
    code = "late_start" if report.fact is Fact.LATE_START else report.code or "failed"
    if run.bed_token is None and run.started_at is None:
        bed = held.printer.bed
    elif run.state in EXECUTING:
        bed = occupied_by(run, now)
    else:
        bed = uncertain_after(run, now)
    after = ended(held, RunState.FAILED, now, run.agent_id, bed=bed, code=code, reason=report.reason)
    return _locked(after, f"{code}: {report.reason}", now) if report.lock_printer else after


def _locked(held: Slice, reason: str, now: int) -> Slice:
    printer = replace(held.printer, locked=True, lock_reason=reason, updated_at=now)
    event = printer_event(printer, "locked", held.run.agent_id, reason=reason)
    return replace(held, printer=printer, events=(*held.events, event))
