"""How a print on a Duet ended. Pure.

There is no finished state: a job that is complete, cancelled or aborted leaves the printer idle. A standalone board tells them
apart by one figure (``lastDuration`` above 0 is finished), the SBC by flags that come shortly after the state. Both are
believed only for a job that was seen, or is known, to have begun.
"""

from dataclasses import dataclass, replace

from ...driver import Ending, Observation, ObservedState
from .model import Look

_NEARLY_ALL = 0.98
_SLACK_SECONDS = 5.0
_GONE_LOOKS = 2
# The SBC's flags of an end come with a later update than the state.
_FLAGS_SECONDS = 0.5
_BEGIN_SECONDS = 30.0
_BUSY = frozenset({"busy", "cancelling", "pausing", "resuming", "processing", "changingTool", "paused"})
_RESTARTED = "the printer restarted during the print"


@dataclass(frozen=True, slots=True)
class Memory:
    """One print. ``begun``: it was seen to run. Seconds of a clock that only grows."""

    name: str
    seen_at: float
    begun: bool = False
    up_time: float | None = None
    progress: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    duration: float | None = None
    remaining: float | None = None
    cancel_asked: bool = False
    ending: Ending | None = None
    end_of_file: bool = False
    message: str = ""
    gone_looks: int = 0
    gone_at: float = 0.0


def fold(memory: Memory | None, look: Look, now: float) -> tuple[Memory | None, Observation]:
    """Takes a look in: what is known afterwards, and what to tell."""
    if look.file_name is not None and look.status != "simulating":
        memory = _runs(memory, look, now)
    elif memory is not None and memory.ending is None:
        memory = _rests(memory, look, now)
    return memory, _told(memory, look)


def _runs(memory: Memory | None, look: Look, now: float) -> Memory:
    name = look.file_name or ""
    if memory is None or memory.name != name or memory.ending is not None:
        memory = Memory(name, now)
    return replace(
        memory,
        seen_at=now,
        begun=True,
        up_time=look.up_time,
        progress=look.progress if look.progress is not None else memory.progress,
        layer=look.layer if look.layer is not None else memory.layer,
        layer_count=look.layer_count or memory.layer_count,
        duration=look.duration if look.duration is not None else memory.duration,
        remaining=look.remaining,
        gone_looks=0,
    )


def _rests(memory: Memory, look: Look, now: float) -> Memory:
    if look.status in ("halted", "off"):
        return replace(memory, ending=Ending.FAILED, message=look.message or f"the printer is {look.status}")
    if look.status in _BUSY or look.status not in ("idle", "starting", "updating"):
        return replace(memory, gone_looks=0)
    if not memory.begun:
        if now - memory.seen_at < _BEGIN_SECONDS:
            return memory
        return replace(memory, ending=Ending.FAILED, message="the printer took the start, and did not print")
    gone_at = memory.gone_at if memory.gone_looks else now
    has_flags = look.last is not None and look.last.aborted is not None
    if memory.gone_looks + 1 < _GONE_LOOKS or (has_flags and now - gone_at < _FLAGS_SECONDS):
        return replace(memory, gone_looks=memory.gone_looks + 1, gone_at=gone_at)
    return _ended(memory, look, now)


def _ended(memory: Memory, look: Look, now: float) -> Memory:
    last = look.last
    if last is None or last.name != memory.name:
        reset = last is None or (memory.up_time is not None and (look.up_time or 0.0) < memory.up_time)
        return replace(memory, ending=Ending.FAILED, message=_RESTARTED if reset else "lost track of the print")
    if last.aborted is None and last.cancelled is None:
        complete, cancelled = bool(last.duration), memory.cancel_asked
    else:
        complete, cancelled = not (last.aborted or last.cancelled), bool(last.cancelled) or memory.cancel_asked
    memory = replace(memory, duration=last.duration or memory.duration)
    if complete:
        return replace(memory, ending=Ending.COMPLETE, end_of_file=_is_through(memory, now))
    if cancelled:
        return replace(memory, ending=Ending.CANCELLED)
    return replace(memory, ending=Ending.FAILED, message="the print was cancelled or aborted at the printer")


def _is_through(memory: Memory, now: float) -> bool:
    """Judged at the last look at the running job."""
    if memory.progress is not None and memory.progress >= _NEARLY_ALL:
        return True
    return memory.remaining is not None and memory.remaining <= now - memory.seen_at + _SLACK_SECONDS


def _told(memory: Memory | None, look: Look) -> Observation:
    state = _state(memory, look)
    still = state in (ObservedState.IDLE, ObservedState.ERROR)
    known = memory if memory is not None and (memory.ending is None or still) else None
    fault = f"heater fault: {', '.join(look.faults)}" if look.faults else ""
    ended = known is not None and known.ending is not None
    message = (known.message if ended and known else "") or fault or look.message
    if state is ObservedState.ERROR and not message:
        message = "the printer is halted: look at it, then reset it"
    return Observation(
        state=state,
        file_name=known.name if known else None,
        ending=known.ending if known else None,
        end_of_file=known.end_of_file if known else False,
        progress=known.progress if known else None,
        layer=known.layer if known else None,
        layer_count=known.layer_count if known else None,
        elapsed_seconds=known.duration if known else None,
        remaining_seconds=known.remaining if known and not ended else None,
        heaters=look.heaters,
        position_mm=look.position_mm,
        message=message[:256],
        by_farm=known.cancel_asked if known and known.ending is Ending.CANCELLED else None,
        halted=state is ObservedState.ERROR,
    )


def _state(memory: Memory | None, look: Look) -> ObservedState:
    runs = look.file_name is not None
    is_open = memory is not None and memory.ending is None
    if runs and look.waits_for_person and look.status in _BUSY:
        # The print stands still until somebody answers at the printer.
        return ObservedState.PAUSED
    match look.status:
        case "halted":
            return ObservedState.ERROR
        case "off":
            return ObservedState.OFFLINE
        case "paused" if runs:
            return ObservedState.PAUSED
        case "pausing" | "resuming" | "changingTool" if runs:
            return ObservedState.PRINTING
        case "processing":
            return ObservedState.PRINTING if look.layer else ObservedState.PREPARING
        case "idle" if not is_open:
            return ObservedState.ERROR if look.faults else ObservedState.IDLE
        case "":
            return ObservedState.UNKNOWN
    if is_open and memory is not None:
        return ObservedState.FINISHING if memory.begun else ObservedState.PREPARING
    # Macros, simulations, updates: not to be used, and nobody's print.
    return ObservedState.PREPARING
