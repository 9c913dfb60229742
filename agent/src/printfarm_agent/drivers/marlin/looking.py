"""What a machine shows of itself at a moment: the farm's states out of the line's. Pure."""

from ...driver import Ending, ObservedState
from .course import Course, Phase
from .machine import Machine
from .memory import LastPrint
from .status import Status

# An idle printer that said nothing for so long is not known to be idle.
FRESH_SECONDS = 8.0
_PHASES = {
    Phase.STARTING: ObservedState.PREPARING,
    Phase.PAUSING: ObservedState.PRINTING,
    Phase.PAUSED: ObservedState.PAUSED,
    Phase.RESUMING: ObservedState.PRINTING,
    Phase.FINISHING: ObservedState.FINISHING,
    Phase.CLOSING: ObservedState.FINISHING,
}


def look(machine: Machine, now: float) -> Status:
    """One look, fresh: the age of what the printer said last decides whether it is known at all."""
    machine.halting.looked()
    course, last = machine.course, machine.memory.last
    return Status(
        state=_state(machine, now),
        why=machine.why,
        file_name=_file_name(machine, now),
        ending=last.ending if last and not course else None,
        code=last.code if last and not course else "",
        end_of_file=course.is_at_end_of_file if course else bool(last and last.end_of_file),
        progress=_progress(machine),
        layer=course.layer if course else None,
        layer_count=course.layer_count if course else None,
        elapsed_seconds=now - course.began_at if course else (last.elapsed_seconds if last else None),
        remaining_seconds=_remaining(machine),
        heaters=tuple(machine.facts.heaters.values()),
        position_mm=_position(course),
        message=_message(machine, last),
        boot_count=machine.memory.boot_count,
        print_number=machine.memory.print_number or None,
        filament_present=machine.facts.filament,
        by_farm=_by_farm(machine, now),
        halted=machine.halt is not None,
        link=_link(machine),
    )


def _state(machine: Machine, now: float) -> ObservedState:
    if not machine.is_open:
        return ObservedState.OFFLINE
    if machine.halt is not None:
        return ObservedState.ERROR
    if not machine.is_known:
        return ObservedState.OFFLINE
    course = machine.course
    if course is None:
        return _without_a_print(machine, now)
    if machine.facts.waits_for_person or machine.facts.paused_itself:
        return ObservedState.PAUSED
    if course.phase is Phase.STREAMING:
        return ObservedState.PRINTING if course.is_printing else ObservedState.PREPARING
    return _PHASES.get(course.phase, ObservedState.UNKNOWN)


def _without_a_print(machine: Machine, now: float) -> ObservedState:
    if _is_foreign(machine, now):
        return ObservedState.PRINTING
    return ObservedState.IDLE if now - machine.heard_at < FRESH_SECONDS else ObservedState.UNKNOWN


def _is_foreign(machine: Machine, now: float) -> bool:
    """Somebody at the printer uses it: a print from its card, or work that keeps it busy."""
    return machine.course is None and machine.facts.is_foreign(now)


def _file_name(machine: Machine, now: float) -> str | None:
    if _is_foreign(machine, now):
        return machine.facts.sd_file
    return machine.memory.last.name if machine.memory.last else None


def _by_farm(machine: Machine, now: float) -> bool | None:
    if _is_foreign(machine, now):
        return False
    if machine.course is not None:
        return machine.course.by_farm and not machine.facts.waits_for_person and not machine.facts.paused_itself
    return machine.memory.last.by_farm if machine.memory.last else None


def _progress(machine: Machine) -> float | None:
    if machine.course is not None:
        return machine.course.progress
    if machine.facts.sd is not None and machine.facts.sd.total:
        return min(machine.facts.sd.done / machine.facts.sd.total, 1.0)
    return machine.memory.last.progress if machine.memory.last else None


def _remaining(machine: Machine) -> float | None:
    course = machine.course
    if course is None:
        return None
    minutes = course.modal.minutes_left
    if minutes is None and machine.facts.percent is not None:
        minutes = machine.facts.percent.minutes_left
    return minutes * 60 if minutes is not None else None


def _position(course: Course | None) -> tuple[float, float, float] | None:
    if course is None:
        return None
    x, y, z = course.modal.x, course.modal.y, course.modal.z
    return None if x is None or y is None or z is None else (x, y, z)


def _message(machine: Machine, last: LastPrint | None) -> str:
    """The most important first: why it stands, why the last print failed, what the printer said."""
    if machine.halt is not None:
        return machine.halt.text
    if machine.course is None and last is not None and last.ending is Ending.FAILED:
        return last.text
    return machine.message


def _link(machine: Machine) -> dict[str, int]:
    counts = machine.link.counts
    return {
        "lines": counts.sent,
        "resends": counts.resends,
        "lost_oks": counts.lost_oks,
        "stray_oks": counts.stray_oks,
        "starved": machine.link.window.starved,
    }
