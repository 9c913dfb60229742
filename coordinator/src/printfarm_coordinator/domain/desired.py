"""What the coordinator wants of a printer: derived from the rows each time, never remembered."""

from dataclasses import dataclass
from enum import StrEnum

from .job import Job
from .print_file import PrintFile, print_file_of
from .printer import Printer
from .run import BEFORE_AUTHORITY, DATABASE_BEHIND, JOURNAL_LOST, Run, RunState


class DesiredState(StrEnum):
    """What is wanted of a run."""

    PRINT = "print"
    PAUSE = "pause"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class DesiredRun:
    """The run that the printer should be at."""

    run: Run
    job: Job
    file: PrintFile
    size_bytes: int
    state: DesiredState
    bed_token: str
    may_have_started: bool


@dataclass(frozen=True, slots=True)
class Desired:
    """All that is wanted of one printer. Without a run: none is wanted."""

    printer: Printer
    run: DesiredRun | None


def desired(printer: Printer, run: Run | None, job: Job | None, size_bytes: int) -> Desired:
    """What is wanted, as the rows say it."""
    if run is None or job is None or not run.state.is_active:
        return Desired(printer, None)
    token = run.bed_token or printer.bed.token or ""
    file = print_file_of(run, job)
    return Desired(printer, DesiredRun(run, job, file, size_bytes, _wanted(run), token, may_have_started(run)))


def _wanted(run: Run) -> DesiredState:
    if run.cancel_requested:
        return DesiredState.CANCEL
    return DesiredState.PAUSE if run.pause_requested else DesiredState.PRINT


def may_have_started(run: Run) -> bool:
    """The agent must look for it before anything else. Where the rows may have lost the authority, they do not decide."""
    if run.state is not RunState.UNCONFIRMED:
        return run.state.may_have_started
    known_before = run.unconfirmed_from in BEFORE_AUTHORITY and run.bed_token is None
    return not known_before or run.reason_code in (DATABASE_BEHIND, JOURNAL_LOST, "start_unknown")
