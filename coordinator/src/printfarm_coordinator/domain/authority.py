"""The authority to start: asked for by the agent, given once, never pushed (I3, I4, I5, I11)."""

from dataclasses import dataclass, replace

from .errors import RuleError
from .events import AuditEntry
from .inbox import holds_printer, is_believed
from .printer import Printer
from .run import RunState
from .slice import Slice, occupied_by, run_event


@dataclass(frozen=True, slots=True)
class AuthorityRequest:
    """What the agent says when it asks; ``agent_id`` is from its certificate."""

    agent_id: str
    epoch: int
    nonce: str
    bed_token: str


def authorise(held: Slice, request: AuthorityRequest, now: int) -> Slice:
    """The run authorised; unchanged if this very request was granted before.

    Raises RuleError NOT_YET (ask again), or STALE_EPOCH, FENCED, CANCEL_REQUESTED, BED_NOT_CLEAR: it will never start.
    """
    run, printer = held.run, held.printer
    if not is_believed(run, request.agent_id, request.epoch) or not holds_printer(run, printer):
        raise RuleError("STALE_EPOCH", f"the run's epoch is {run.epoch}, the printer's {printer.epoch}")
    if run.cancel_requested:
        raise RuleError("CANCEL_REQUESTED", "the run is being cancelled")
    if run.state is RunState.AUTHORISED:
        if run.nonce == request.nonce:
            return held
        raise RuleError("FENCED", "the run was authorised under another nonce")
    _refuse_unless_open(held)
    if not _is_bed_token(printer, request.bed_token):
        raise RuleError("BED_NOT_CLEAR", f"the bed is {printer.bed.state}")
    granted = replace(
        run,
        state=RunState.AUTHORISED,
        nonce=request.nonce,
        bed_token=request.bed_token,
        authorised_at=now,
        updated_at=now,
    )
    event = run_event(granted, "authorised", run.agent_id)
    # Who moves and heats the machine, and why, is on record before the agent hears of it (I21).
    entry = AuditEntry("run.start", "run", run.run_id, held.job.client, f"job {run.job_id}", run.epoch)
    # Pessimistic from here on: only evidence gives the bed back.
    taken = replace(printer, bed=occupied_by(run, now), updated_at=now)
    return replace(held, run=granted, printer=taken, events=(*held.events, event), audit=(*held.audit, entry))


def _is_bed_token(printer: Printer, token: str) -> bool:
    return printer.bed.token is not None and printer.bed.token == token


def _refuse_unless_open(held: Slice) -> None:
    run, printer = held.run, held.printer
    if run.state in (RunState.OFFERED, RunState.UNCONFIRMED):
        raise RuleError("NOT_YET", f"the run is {run.state}: its agent's events are not applied yet")
    if run.state is not RunState.ACCEPTED:
        raise RuleError("FENCED", f"the run is {run.state}")
    if printer.held or printer.locked or printer.emergency_stopped:
        raise RuleError("NOT_YET", "the printer is held, locked or stopped")
