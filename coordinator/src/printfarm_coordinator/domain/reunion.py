"""What an agent's Hello proves about the runs and the epochs of its printers."""

from dataclasses import dataclass, replace
from enum import StrEnum

from .desired import may_have_started
from .events import DomainEvent
from .printer import Bed, BedState, Printer, PrinterState
from .run import BEFORE_AUTHORITY, DATABASE_BEHIND, JOURNAL_LOST, Run, RunState
from .slice import Slice, entered, printer_event, uncertain_after

# A database restored from a backup is behind its agents; so far it is believed and caught up with. Beyond, it is an attack
# or a fault, and catching up would burn epochs for ever.
LARGEST_BELIEVED_LEAD = 1_000


class LocalStage(StrEnum):
    """The agent's own stage of a run, as journalled."""

    FETCHING = "fetching"
    ACCEPTED = "accepted"
    AUTHORISING = "authorising"
    STARTING = "starting"
    PRINTING = "printing"
    PAUSED = "paused"
    FINISHING = "finishing"
    START_UNKNOWN = "start_unknown"
    DONE = "done"


_ON_THE_PRINTER = {
    LocalStage.STARTING: RunState.STARTING,
    LocalStage.PRINTING: RunState.PRINTING,
    LocalStage.PAUSED: RunState.PAUSED,
    LocalStage.FINISHING: RunState.FINISHING,
}


@dataclass(frozen=True, slots=True)
class PrinterReport:
    """One printer as its agent knows it when it says Hello."""

    max_epoch: int
    observed_state: PrinterState
    local_run_id: str | None = None
    local_epoch: int = 0
    local_stage: LocalStage | None = None
    # The agent began a new journal: what the old one knew of starts is lost.
    journal_lost: bool = False
    # The database forgot facts that it had acknowledged: it was restored from an older copy.
    facts_lost: bool = False
    # The newest emergency stop that the agent carried out.
    stop_generation: int = 0


def epoch_is_believable(printer: Printer, report: PrinterReport) -> bool:
    """Bad input 70: a lead of the agent's journal over the database is believed only so far."""
    lead = max(report.max_epoch - printer.epoch, report.stop_generation - printer.emergency_generation)
    return lead <= LARGEST_BELIEVED_LEAD


def greet_printer(printer: Printer, report: PrinterReport, now: int) -> tuple[Printer, tuple[DomainEvent, ...]]:
    """The printer after Hello: seen again; its epoch never behind the agent's; locked where the two disagree too far."""
    agent = printer.agent_id
    printer = replace(printer, observed_state=report.observed_state, updated_at=now)
    events: list[DomainEvent] = []
    if report.facts_lost:
        printer, doubts = with_facts_lost(printer, now)
        events.extend(doubts)
    if not epoch_is_believable(printer, report):
        reason = f"its agent claims epoch {report.max_epoch} and emergency stop {report.stop_generation}; "
        reason += f"the database knows {printer.epoch} and {printer.emergency_generation}"
        locked = replace(printer, locked=True, lock_reason=reason)
        return locked, (*events, printer_event(locked, "quarantined", agent, claimed_epoch=str(report.max_epoch)))
    if report.max_epoch > printer.epoch:
        # Runs were made and lost with the database's last changes: what they left on the bed, nobody here knows.
        known, bed = printer.epoch, Bed(BedState.UNKNOWN, None, report.local_run_id, agent, now)
        printer = replace(printer, epoch=report.max_epoch, bed=bed)
        events.append(printer_event(printer, "epoch_raised", agent, from_epoch=known, epoch=printer.epoch))
    if report.stop_generation > printer.emergency_generation:
        # A database from before that stop: were it not caught up with, the agent would take the next one for done.
        done = report.stop_generation
        printer = replace(printer, emergency_generation=done, emergency_done_generation=done)
        events.append(printer_event(printer, "emergency_stopped", agent, generation=done))
    if _prints_a_run_that_is_over(printer, report):
        reason = f"it still holds run {report.local_run_id}, which is over for the coordinator"
        bed = Bed(BedState.UNKNOWN, None, report.local_run_id, agent, now)
        printer = replace(printer, locked=True, lock_reason=reason, bed=bed)
        events.append(printer_event(printer, "locked", agent, reason=reason))
    return printer, tuple(events)


def with_facts_lost(printer: Printer, now: int) -> tuple[Printer, tuple[DomainEvent, ...]]:
    """A printer of an agent whose facts were forgotten: what a clear bed was used for since may be among them (I11)."""
    if printer.bed.state is not BedState.CLEAR:
        return printer, ()
    doubted = replace(printer, bed=Bed(BedState.UNKNOWN, None, None, printer.agent_id, now), updated_at=now)
    reason = "the database was restored: what its agent has told since the copy is forgotten"
    return doubted, (printer_event(doubted, "bed_doubted", printer.agent_id, reason=reason),)


def _prints_a_run_that_is_over(printer: Printer, report: PrinterReport) -> bool:
    on_the_printer = report.local_stage in _ON_THE_PRINTER
    return on_the_printer and report.local_run_id != printer.active_run_id


def greet_run(held: Slice, report: PrinterReport, now: int) -> Slice:
    """The active run after Hello. Only an unconfirmed run moves: others wait for their events."""
    run = held.run
    if not run.state.is_active:
        # It ended between the look at its printer and its lock.
        return held
    is_behind = held.printer.epoch > run.epoch or report.facts_lost
    if is_behind and held.printer.bed.state is not BedState.UNKNOWN:
        # An authority may be among what was lost, and with it the bed's token: spent, and clear in these rows (I11).
        held = replace(held, printer=replace(held.printer, bed=uncertain_after(run, now)))
    if report.journal_lost and (is_behind or may_have_started(run)):
        why = "the agent lost its journal: only the printer, or a person, can tell"
        return _doubted(held, JOURNAL_LOST, why, now)
    if is_behind and run.reason_code != JOURNAL_LOST:
        why = "the agent knows more than the database: its last changes were lost"
        return _doubted(held, DATABASE_BEHIND, why, now)
    if run.state is not RunState.UNCONFIRMED or run.reason_code in (DATABASE_BEHIND, JOURNAL_LOST):
        return held
    target = _proven_state(run, report)
    return held if target is None else entered(held, target, now, run.agent_id)


def _doubted(held: Slice, code: str, why: str, now: int) -> Slice:
    """Unconfirmed for this reason, also where it was for another: a run that was merely out of reach would be offered anew."""
    run = held.run
    if run.state is not RunState.UNCONFIRMED:
        return entered(held, RunState.UNCONFIRMED, now, run.agent_id, code=code, reason=why)
    if run.reason_code == code:
        return held
    return replace(held, run=replace(run, reason_code=code, reason=why, updated_at=now))


def _proven_state(run: Run, report: PrinterReport) -> RunState | None:
    same_run = report.local_run_id == run.run_id and report.local_epoch == run.epoch
    if not same_run:
        never_seen = report.max_epoch < run.epoch and run.unconfirmed_from is RunState.OFFERED
        return RunState.OFFERED if never_seen else None
    stage = report.local_stage
    if stage in _ON_THE_PRINTER:
        return _ON_THE_PRINTER[stage]
    if run.bed_token is not None:
        # Authorised: the agent either starts it, or journals that it never will.
        return RunState.AUTHORISED if stage in (LocalStage.ACCEPTED, LocalStage.AUTHORISING) else None
    if stage is LocalStage.FETCHING:
        return RunState.OFFERED
    known = run.unconfirmed_from in BEFORE_AUTHORITY
    return RunState.ACCEPTED if known and stage in (LocalStage.ACCEPTED, LocalStage.AUTHORISING) else None
