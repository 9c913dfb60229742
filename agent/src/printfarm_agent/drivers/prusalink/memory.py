"""What was seen of the last print, because PrusaLink forgets a print the moment it ends. Pure.

Both servers drop the job with its end; FINISHED and STOPPED tell how it ended, on Buddy until somebody touches the screen, on
the Pi for about 11 seconds. So the end is tied to a print by what was seen just before, and an end that nobody saw is
a finish only if the print was as good as through.

The Pi keeps the last print's figures, and shows them again when the next one begins, until that one's first own word: a
hundred commands later where the file tells nothing, which may be after all its heating. They are no word about it.
"""

from dataclasses import dataclass, replace

from ...driver import Ending, Observation, ObservedState
from .protocol import Dialect, Job, Look, Native

# As good as through: by the printer's own figures.
_NEARLY_ALL = 0.98
_SLACK_SECONDS = 5.0
# One look may fall into a moment of change.
_GONE_LOOKS = 2
# A start that was taken shows as a job within this.
BEGIN_SECONDS = 60.0
# How long the Pi shows an end, and takes no other print (``PRINT_END_TIMEOUT`` of PrusaLink 0.8.1).
_END_SHOWN_SECONDS = 11.0
_HEATING_DEGREES = 10.0
_ATTENTION = "the printer waits for a person at its screen"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What the printer said at the first look and has not changed since, so that it may be the last print's. None: no doubt."""

    progress: float | None = None
    remaining_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """One print. ``job_id`` is None until the printer gave it one; ``seen_at`` in seconds of a clock that only grows.

    ``printing_seconds`` is the printer's word, and what was seen to print since: the Pi counts on at each hundredth command.
    """

    name: str | None
    job_id: int | None
    seen_at: float
    progress: float | None = None
    remaining_seconds: float | None = None
    printing_seconds: float | None = None
    told_seconds: float | None = None
    was_printing: bool = False
    cancel_asked: bool = False
    ending: Ending | None = None
    end_of_file: bool = False
    message: str = ""
    gone_looks: int = 0
    # None until the job itself was seen.
    doubt: Doubt | None = None

    @property
    def begins(self) -> bool:
        """The start was taken, and the printer has not shown a job for it yet."""
        return self.job_id is None and self.ending is None


def fold(memory: Memory | None, look: Look, now: float, dialect: Dialect) -> tuple[Memory | None, Observation]:
    """Takes a look in: what is known afterwards, and what to tell. A job's name must be the agent's name for it."""
    if look.job is not None and look.native not in (Native.FINISHED, Native.STOPPED):
        doubt = _doubt(memory, look.job, dialect)
        look = replace(look, job=_undoubted(look.job, doubt))
        memory = _taken(memory, look, now, doubt)
    elif memory is not None and memory.ending is None:
        memory = _without_job(memory, look, now, dialect)
    return memory, _told(memory, look, dialect)


def _doubt(memory: Memory | None, job: Job, dialect: Dialect) -> Doubt:
    if dialect is not Dialect.PI:
        return Doubt()
    if memory is not None and memory.job_id == job.job_id and memory.ending is None and memory.doubt is not None:
        known = memory.doubt
    elif (memory is not None and memory.begins) or not job.printing_seconds:
        known = Doubt(job.progress or None, job.remaining_seconds)
    else:
        # It has printed a hundred commands, so it has had its word.
        known = Doubt()
    return Doubt(
        progress=known.progress if known.progress == job.progress else None,
        remaining_seconds=known.remaining_seconds if known.remaining_seconds == job.remaining_seconds else None,
    )


def _undoubted(job: Job, doubt: Doubt) -> Job:
    return replace(
        job,
        progress=job.progress if doubt.progress is None else None,
        remaining_seconds=job.remaining_seconds if doubt.remaining_seconds is None else None,
    )


def _taken(memory: Memory | None, look: Look, now: float, doubt: Doubt) -> Memory:
    job = look.job
    assert job is not None
    begins = memory is not None and memory.begins
    if memory is not None and begins and job.name is None:
        # Whose it is will be told by its name.
        return replace(memory, seen_at=now)
    same = memory is not None and (memory.job_id == job.job_id or (begins and job.name == memory.name))
    # The same number with an ending: 16 bits have wrapped, or the firmware was flashed. Another print.
    if memory is None or not same or memory.ending is not None:
        memory = Memory(job.name, job.job_id, now)
    return replace(
        memory,
        name=job.name or memory.name,
        job_id=job.job_id,
        seen_at=now,
        progress=job.progress if job.progress is not None else memory.progress,
        remaining_seconds=job.remaining_seconds,
        printing_seconds=_printed(memory, job, now),
        told_seconds=job.printing_seconds,
        was_printing=look.native is Native.PRINTING and not _prepares(look),
        message=look.message,
        gone_looks=0,
        doubt=doubt,
    )


def _printed(memory: Memory, job: Job, now: float) -> float | None:
    told, known = job.printing_seconds, memory.printing_seconds
    if told is not None and told != memory.told_seconds:
        return told if known is None else max(told, known)
    return known if known is None or not memory.was_printing else known + now - memory.seen_at


def _without_job(memory: Memory, look: Look, now: float, dialect: Dialect) -> Memory:
    match look.native:
        case Native.FINISHED if memory.job_id is not None:
            through = _is_through(memory, now) or (dialect is Dialect.PI and _ended_before_our_eyes(memory, now))
            return replace(memory, ending=Ending.COMPLETE, end_of_file=through)
        case Native.STOPPED if memory.job_id is not None:
            return replace(memory, ending=Ending.CANCELLED)
        case Native.ERROR if dialect is Dialect.BUDDY:
            return replace(memory, ending=Ending.FAILED, message=look.message or "the printer shows an error")
        case Native.IDLE | Native.READY | Native.FINISHED | Native.STOPPED:
            return _gone(memory, now)
        case _:
            return replace(memory, gone_looks=0)


def _gone(memory: Memory, now: float) -> Memory:
    looks = memory.gone_looks + 1
    if looks < _GONE_LOOKS or (memory.job_id is None and now - memory.seen_at < BEGIN_SECONDS):
        return replace(memory, gone_looks=looks)
    if memory.job_id is None:
        return replace(memory, ending=Ending.FAILED, message="the printer took the start, and did not print")
    if memory.cancel_asked:
        return replace(memory, ending=Ending.CANCELLED)
    if _is_through(memory, now):
        return replace(memory, ending=Ending.COMPLETE, end_of_file=True)
    return replace(memory, ending=Ending.FAILED, message="the print ended unseen: a person must judge it")


def _is_through(memory: Memory, now: float) -> bool:
    """Judged at the last look: the rest of the time has passed since, or nearly everything was printed."""
    if memory.progress is not None and memory.progress >= _NEARLY_ALL:
        return True
    left = memory.remaining_seconds
    return left is not None and left <= now - memory.seen_at + _SLACK_SECONDS


def _ended_before_our_eyes(memory: Memory, now: float) -> bool:
    """The Pi says FINISHED after a file's last line alone, and no other print can have come in between."""
    return memory.doubt is not None and now - memory.seen_at < _END_SHOWN_SECONDS


def _told(memory: Memory | None, look: Look, dialect: Dialect) -> Observation:
    state = _state(memory, look)
    known = memory if memory is not None and (memory.ending is None or state is ObservedState.IDLE) else None
    if state is ObservedState.ERROR:
        known = memory
    message = look.message or (known.message if known else "")
    if look.native is Native.ATTENTION:
        message = message or _ATTENTION
    if state is ObservedState.ERROR:
        message = message or "PrusaLink has lost the printer, or the printer shows an error"
    return Observation(
        state=state,
        file_name=known.name if known else None,
        ending=known.ending if known else None,
        end_of_file=known.end_of_file if known else False,
        progress=known.progress if known else None,
        elapsed_seconds=known.printing_seconds if known else None,
        remaining_seconds=known.remaining_seconds if known and known.ending is None else None,
        heaters=look.heaters,
        position_mm=look.position_mm,
        message=message,
        print_number=known.job_id if known else None,
        by_farm=known.cancel_asked if known and known.ending is Ending.CANCELLED else None,
        # Buddy's red screen goes only with the power; the Pi's ERROR may be a cable, and clears by itself.
        halted=state is ObservedState.ERROR and dialect is Dialect.BUDDY,
    )


def _state(memory: Memory | None, look: Look) -> ObservedState:
    native, has_job = look.native, look.job is not None
    is_open = memory is not None and memory.ending is None
    begins = memory is not None and memory.begins
    match native:
        case Native.ERROR:
            return ObservedState.ERROR
        case Native.UNKNOWN:
            return ObservedState.UNKNOWN
        case Native.PRINTING if has_job:
            return ObservedState.PREPARING if _prepares(look) else ObservedState.PRINTING
        case Native.PAUSED | Native.ATTENTION if has_job:
            return ObservedState.PAUSED
        case _ if begins:
            return ObservedState.PREPARING
        case _ if is_open and not has_job:
            # Parking, aborting, or the moment between two words.
            return ObservedState.FINISHING
        case Native.IDLE | Native.READY | Native.FINISHED | Native.STOPPED:
            return ObservedState.IDLE
        case Native.PRINTING:
            return ObservedState.PRINTING
        case _:
            # Busy with itself or with a person: not to be used, and not ours.
            return ObservedState.PREPARING


def _prepares(look: Look) -> bool:
    job = look.job
    if job is None or (job.progress or 0.0) >= 0.01:
        return False
    hotend = next((heater for heater in look.heaters if heater.name == "hotend"), None)
    heats = hotend is not None and hotend.target - hotend.current > _HEATING_DEGREES
    return heats or not job.printing_seconds
