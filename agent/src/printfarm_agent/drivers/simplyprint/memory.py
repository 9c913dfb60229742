"""How a job in the cloud ended. Pure: the printer's row and the job's own record in, what is known and what to tell out.

The job's number is made by the cloud and lasts, so an end is never guessed: the record is asked. The printer's row lags behind
by seconds, and a printer whose link to the cloud is down prints on.
"""

from dataclasses import dataclass, replace

from ...driver import Ending, Observation, ObservedState
from .protocol import Job, Row

_NEARLY_ALL = 0.98
_ENDINGS = {"done": Ending.COMPLETE, "failed": Ending.FAILED, "cancelled": Ending.CANCELLED}
FARM_PREFIX = "pf-"
FOREIGN_BED = "SimplyPrint wants the bed cleared of a print that is not the farm's: do so, and say it in its panel"


@dataclass(frozen=True, slots=True)
class Memory:
    """A job of ours."""

    name: str
    number: int
    uid: str = ""
    begun: bool = False
    progress: float | None = None
    layer: int | None = None
    elapsed_seconds: float | None = None
    cancel_asked: bool = False
    ending: Ending | None = None
    end_of_file: bool = False
    message: str = ""


def adopt(memory: Memory | None, row: Row) -> Memory | None:
    """A job of the farm that the printer itself shows, started by an earlier process."""
    job = row.job
    if job is None or not job.name.startswith(FARM_PREFIX):
        return memory
    if memory is not None and memory.number == job.number:
        return replace(memory, uid=job.uid or memory.uid)
    return Memory(job.name, job.number, job.uid) if memory is None or memory.ending is not None else memory


def needs_record(memory: Memory | None, row: Row) -> bool:
    """The printer no longer shows our job: what became of it, its record tells."""
    if memory is None or memory.ending is not None or row.state == "offline":
        return False
    return row.job is None or row.job.number != memory.number or row.job.outcome in _ENDINGS


def needs_newest(memory: Memory | None, row: Row) -> bool:
    """Whose print the cloud wants cleared away, only the newest job tells: the row does not."""
    return row.state == "awaiting_bed_clear" and memory is not None and memory.ending is not None


def fold(
    memory: Memory | None, row: Row, record: Job | None, newest: int | None = None
) -> tuple[Memory | None, Observation]:
    """Takes a look in. ``record`` is our job's own, ``newest`` the number of the printer's newest job, if they were needed."""
    if memory is not None and memory.ending is None:
        shown = row.job if row.job is not None and row.job.number == memory.number else None
        memory = _goes_on(memory, shown) if shown is not None else memory
        if record is not None and record.number == memory.number:
            memory = _recorded(memory, record)
    return memory, _told(memory, row, newest)


def _goes_on(memory: Memory, job: Job) -> Memory:
    return replace(
        memory,
        begun=True,
        progress=job.progress if job.progress is not None else memory.progress,
        layer=job.layer if job.layer is not None else memory.layer,
        elapsed_seconds=job.elapsed_seconds if job.elapsed_seconds is not None else memory.elapsed_seconds,
    )


def _recorded(memory: Memory, record: Job) -> Memory:
    ending = _ENDINGS.get(record.outcome)
    if ending is None:
        return memory
    progress = max(filter(None, (memory.progress, record.progress)), default=0.0)
    return replace(
        memory,
        ending=ending,
        end_of_file=ending is Ending.COMPLETE and progress >= _NEARLY_ALL,
        progress=progress or memory.progress,
        message=record.reason,
    )


def _told(memory: Memory | None, row: Row, newest: int | None) -> Observation:
    state = _state(memory, row, newest)
    is_open = memory is not None and memory.ending is None
    still = state in (ObservedState.IDLE, ObservedState.ERROR)
    known = memory if memory is not None and (is_open or still) else None
    theirs = row.job.name or None if row.job is not None and known is None else None
    message = known.message if known else ""
    if row.state == "print_pending":
        message = "SimplyPrint waits for a person or a schedule before it starts"
    if row.state == "awaiting_bed_clear" and state is ObservedState.PREPARING:
        message = FOREIGN_BED
    if not row.usable:
        message = "SimplyPrint has this printer as out of order or unsupported"
    if state is ObservedState.ERROR:
        message = message or "SimplyPrint says that the printer has an error"
    return Observation(
        state=state,
        file_name=known.name if known else theirs,
        ending=known.ending if known else None,
        end_of_file=known.end_of_file if known else False,
        progress=known.progress if known else None,
        layer=known.layer if known else None,
        elapsed_seconds=known.elapsed_seconds if known else None,
        heaters=row.heaters,
        message=message[:256],
        print_number=known.number if known else None,
        by_farm=known.cancel_asked if known and known.ending is Ending.CANCELLED else None,
    )


def _state(memory: Memory | None, row: Row, newest: int | None) -> ObservedState:
    is_open = memory is not None and memory.ending is None
    match row.state:
        case "offline":
            return ObservedState.OFFLINE
        case "downloading" | "print_pending":
            return ObservedState.PREPARING
        case "printing" | "pausing" | "resuming":
            return ObservedState.PRINTING
        case "paused":
            return ObservedState.PAUSED
        case "error" if not is_open:
            return ObservedState.ERROR
        case "":
            return ObservedState.UNKNOWN
    if is_open and memory is not None:
        # The row lags: the record says that it goes on.
        return ObservedState.FINISHING if memory.begun else ObservedState.PREPARING
    if row.state == "operational" and row.usable:
        return ObservedState.IDLE
    if row.state == "awaiting_bed_clear" and memory is not None and memory.number == newest:
        # Of our own job: the farm knows by itself whether the bed is clear.
        return ObservedState.IDLE
    return ObservedState.PREPARING
