"""Which print is ours, and how it ends. Pure: a report and the time in, what is known and what to tell out.

A printer keeps FINISH and FAILED until the next print, shows a cancel as FAILED with a code that stands for a moment only, and
drops its figures to zero with it: so the last figures and codes are kept here.
"""

import hashlib
from dataclasses import dataclass, replace

from ...driver import Ending, Observation, ObservedState
from .report import CANCEL_CODES, NO_CONTROL, PAUSED_STAGES, PREPARING_STAGES, Report, refusal_text

SUFFIX = ".gcode"
FARM_PREFIX = "pf-"
STORED_SUFFIX = ".gcode.3mf"
# After project_file: until another id or an active state shows, and until it is active.
TAKEN_SECONDS, BEGIN_SECONDS = 90.0, 180.0
# A state that is ours and then of nobody: as long after our own stop it is a cancel.
_CANCEL_SECONDS = 120.0
_PAUSE_SECONDS = 10.0
# Another print in place of one that has not shown yet: for so long it may be the old ids of a printer that begins ours.
_FOREIGN_SECONDS = 30.0
_NEARLY_ALL = 0.98


@dataclass(frozen=True, slots=True)
class Job:
    """A print of ours. Seconds of a clock that only grows. ``taken``: the printer has shown it; ``active``: as under way."""

    name: str
    number: int
    since: float
    # What the printer complained of before.
    old_refusals: frozenset[str] = frozenset()
    taken: bool = False
    active: bool = False
    ending: Ending | None = None
    end_of_file: bool = False
    message: str = ""
    progress: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    cancel_sent: float | None = None
    cancel_seen: bool = False
    pausing_since: float | None = None
    foreign_since: float | None = None


def stem_of(name: str) -> str:
    """The name of the print, as the printer shows it."""
    return name.removesuffix(SUFFIX)


def number_of(name: str, attempt: int = 0) -> int:
    """The print's id: from 1 to 2^31-1, the same for the same run, so that it is known after any crash."""
    digest = hashlib.sha256(f"{attempt}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % ((1 << 31) - 1) + 1


def is_ours(job: Job, report: Report) -> bool:
    """By an id, else by the name."""
    stem = stem_of(job.name)
    if report.ids:
        return str(job.number) in report.ids or report.subtask_name == stem
    return report.subtask_name == stem or stem in report.gcode_file


def found_in(report: Report, unsure: Job | None, now: float) -> Job | None:
    """A print of the farm that the printer itself shows: one whose start was never answered, or of an earlier process,
    its end included. The name belongs to one run alone, so that whoever waits for that run may believe it."""
    if unsure is not None and is_ours(unsure, report):
        return replace(unsure, taken=True)
    shows = report.is_active or report.state in ("FINISH", "FAILED")
    if not shows or not report.ids or not report.subtask_name.startswith(FARM_PREFIX):
        return None
    name = report.subtask_name + SUFFIX
    shown = next((int(given) for given in sorted(report.ids) if given.isdecimal()), number_of(name))
    return Job(name, shown, now, taken=True, active=True)


def fold(job: Job | None, report: Report, now: float) -> tuple[Job | None, Observation]:
    """Takes a report in."""
    if job is not None and job.ending is None:
        job = _followed(job, report, now)
    return job, _told(job, report, now)


def _followed(job: Job, report: Report, now: float) -> Job:
    if not report.names_print:
        # Half a report, as the first change after a reconnect may be.
        return job
    ours = is_ours(job, report)
    if not job.active:
        return _begins(job, report, now, ours)
    if report.print_error in CANCEL_CODES or report.cancelled & {str(job.number), stem_of(job.name)}:
        job = replace(job, cancel_seen=True)
    if report.is_active:
        return _goes_on(job, report, now) if ours else _lost(job)
    match report.state:
        case "FINISH" if ours:
            whole = report.progress if report.progress is not None else job.progress
            return replace(job, ending=Ending.COMPLETE, end_of_file=(whole or 0.0) >= _NEARLY_ALL)
        case "FAILED" | "IDLE" if _is_cancel(job, now):
            return replace(job, ending=Ending.CANCELLED)
        case "FAILED" if ours:
            return replace(job, ending=Ending.FAILED, message=report.fault or "the printer says that the print failed")
        case "IDLE" | "FINISH" | "FAILED":
            return _lost(job)
    return job


def _begins(job: Job, report: Report, now: float, ours: bool) -> Job:
    """Between project_file and the first sign of life. What the printer showed before says nothing yet."""
    if ours and report.is_active:
        return _goes_on(replace(job, taken=True, active=True), report, now)
    if ours and report.state in ("FINISH", "FAILED") and job.taken:
        # A short print, or one that ended while nobody was connected.
        return _followed(replace(job, active=True), report, now)
    if refusals := report.refusals - job.old_refusals:
        return replace(job, ending=Ending.FAILED, message=refusal_text(refusals))
    if now - job.since > (BEGIN_SECONDS if job.taken or ours else TAKEN_SECONDS):
        if job.taken and not ours:
            return _lost(job)
        return replace(job, ending=Ending.FAILED, message="the printer did not take the job")
    since = (job.foreign_since if job.foreign_since is not None else now) if report.is_active else None
    if since is not None and now - since > _FOREIGN_SECONDS:
        return _lost(job)
    return replace(job, taken=job.taken or ours, foreign_since=since)


def _goes_on(job: Job, report: Report, now: float) -> Job:
    pausing = report.state == "RUNNING" and report.stage in PAUSED_STAGES
    return replace(
        job,
        progress=report.progress if report.progress is not None else job.progress,
        layer=report.layer if report.layer is not None else job.layer,
        layer_count=report.layer_count or job.layer_count,
        pausing_since=(job.pausing_since if job.pausing_since is not None else now) if pausing else None,
    )


def _is_cancel(job: Job, now: float) -> bool:
    return job.cancel_seen or (job.cancel_sent is not None and now - job.cancel_sent < _CANCEL_SECONDS)


def _lost(job: Job) -> Job:
    return replace(job, ending=Ending.FAILED, message="lost track of the print: the printer shows another, or none")


def _told(job: Job | None, report: Report, now: float) -> Observation:
    state = _state(job, report, now)
    shows_ours = job is not None and (
        job.ending is None or (state is ObservedState.IDLE and not _replaced(job, report))
    )
    known = job if shows_ours else None
    foreign = None if known else (report.subtask_name or report.gcode_file or None)
    message = report.fault or (known.message if known else "") or report.stage_text
    if report.needs_signature:
        message = NO_CONTROL
    ended = known is not None and known.ending is not None
    return Observation(
        state=state,
        file_name=known.name if known else (foreign if state is not ObservedState.IDLE else None),
        ending=known.ending if known else None,
        end_of_file=known.end_of_file if known else False,
        progress=known.progress if known else report.progress,
        layer=known.layer if known else report.layer,
        layer_count=known.layer_count if known else report.layer_count,
        remaining_seconds=None if ended else report.remaining_seconds,
        heaters=report.heaters,
        message=(known.message if ended and known and known.message else message)[:256],
        print_number=known.number if known else None,
        by_farm=known.cancel_sent is not None if known and known.ending is Ending.CANCELLED else None,
    )


def _replaced(job: Job, report: Report) -> bool:
    """Another print has come after ours."""
    return bool(report.ids) and job.taken and not is_ours(job, report) and report.is_active


def _state(job: Job | None, report: Report, now: float) -> ObservedState:
    is_open = job is not None and job.ending is None
    if report.state == "OFFLINE":
        return ObservedState.OFFLINE
    if is_open and job is not None and not job.active:
        return ObservedState.PREPARING
    match report.state:
        case "IDLE" | "FINISH" | "FAILED":
            return _still(job, report)
        case "INIT" | "SLICING" | "PREPARE":
            return ObservedState.PREPARING
        case "PAUSE":
            return ObservedState.PAUSED
        case "RUNNING":
            return _running(job, report, now)
    return ObservedState.UNKNOWN


def _still(job: Job | None, report: Report) -> ObservedState:
    if report.updates_firmware or report.stage in PREPARING_STAGES:
        return ObservedState.PREPARING
    ours_ended = job is not None and job.ending is not None
    # How our own print ended is told as its ending; the fault of nobody's print is the printer's.
    return ObservedState.ERROR if report.fault and not ours_ended else ObservedState.IDLE


def _running(job: Job | None, report: Report, now: float) -> ObservedState:
    stands = job is not None and job.pausing_since is not None and now - job.pausing_since > _PAUSE_SECONDS
    if stands:
        return ObservedState.PAUSED
    # None, 0, 4 and 255 are printing, a filament change, and no stage. New firmware adds numbers.
    if not report.layer and report.stage not in (None, 0, 4, 255):
        return ObservedState.PREPARING
    return ObservedState.PRINTING
