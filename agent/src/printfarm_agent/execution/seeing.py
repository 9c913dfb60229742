"""A look at the printer: what it tells of the run, as facts."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..driver import Ending, Observation, ObservedState
from .turn import Turn, fail, over, want_of
from .values import BEFORE_START, ON_PRINTER, Desire, Event, LocalRun, Operation, Rules, Stage, State, fact

# After a start whose outcome is unknown: how long the printer is watched before a person is asked.
LOOKED_FOR_SECONDS = 15.0
# A print that is gone must be gone twice: one look may fall into a moment of change.
GONE_LOOKS = 2
# A print that was seen under way so recently has been watched to its end.
WATCHED_SECONDS = 30.0


def take_seen(turn: Turn, seen: Observation, now: float, rules: Rules) -> Turn:
    state = turn.state
    moved = state.seen is None or state.seen.progress != seen.progress or seen.state is not state.seen.state
    turn = turn.put(seen=seen, seen_at=now, reachable=True, moved_at=now if moved else state.moved_at)
    turn = report_state(turn, _shown_state(turn.state, seen), seen.plate_occupied)
    run = turn.state.book.run
    if run is None or run.stage is Stage.DONE or turn.state.busy is Operation.START:
        return turn
    if run.stage in (Stage.STARTING, Stage.START_UNKNOWN):
        return _look_for(turn, run, seen, now, rules)
    if run.stage in ON_PRINTER:
        return follow(turn, run, seen, now)
    return turn


def _shown_state(state: State, seen: Observation) -> str:
    """A print that is not ours is somebody else's."""
    if seen.state in (ObservedState.PREPARING, ObservedState.PRINTING, ObservedState.PAUSED, ObservedState.FINISHING):
        run = state.book.run
        ours = run is not None and run.stage not in BEFORE_START and seen.file_name == run.file_name
        return seen.state.value if ours else "busy_external"
    return seen.state.value


def report_state(turn: Turn, shown: str, plate: bool | None) -> Turn:
    if turn.state.reported == (shown, plate):
        return turn
    data: dict[str, Any] = {"observed_state": shown, "plate_occupied": plate}
    if turn.state.described:
        data["abilities"] = turn.state.described
    event = Event("printer_changed", data=MappingProxyType(data))
    return turn.put(reported=(shown, plate), described=b"").write(event)


def is_ours(run: LocalRun, seen: Observation) -> bool:
    """The printer prints, or printed last, this very run."""
    if seen.file_name != run.file_name:
        return False
    number = run.handle.facts.get("print_number") if run.handle else None
    return number is None or seen.print_number is None or number == seen.print_number


def begun(run: LocalRun, now: float, rules: Rules) -> LocalRun:
    """It prints, since now by all that is known."""
    return replace(run, stage=Stage.PRINTING, began_at=now, host_boot=rules.host_boot)


def _look_for(turn: Turn, run: LocalRun, seen: Observation, now: float, rules: Rules) -> Turn:
    """STARTING with no certain outcome: the printer alone can tell. Never started again."""
    if is_ours(run, seen):
        began = begun(replace(run, boot_count=seen.boot_count), now, rules)
        turn = turn.write_run(began, fact("started", run, handle=handle_text(run))).put(
            began_at=now, under_way_at=now, looked_since=None, gone_looks=0
        )
        return follow(turn, began, seen, now)
    since = turn.state.looked_since
    if since is None:
        return turn.put(looked_since=now)
    if run.stage is Stage.STARTING and now - since >= LOOKED_FOR_SECONDS and _is_conclusive(seen):
        reason = f"the start was commanded, and the printer shows {seen.file_name or 'no print'}"
        return turn.write_run(replace(run, stage=Stage.START_UNKNOWN), fact("start_unknown", run, reason=reason))
    return turn


def _is_conclusive(seen: Observation) -> bool:
    return seen.state not in (ObservedState.UNKNOWN, ObservedState.OFFLINE)


def handle_text(run: LocalRun) -> str:
    return str(dict(run.handle.facts)) if run.handle else ""


def follow(turn: Turn, run: LocalRun, seen: Observation, now: float) -> Turn:
    """A print that is on the printer."""
    if run.boot_count is None and seen.boot_count is not None and is_ours(run, seen):
        run = replace(run, boot_count=seen.boot_count)
        turn = turn.write_run(run)
    if run.boot_count is not None and seen.boot_count is not None and seen.boot_count != run.boot_count:
        return fail(turn, run, "printer_reset", "the printer's firmware restarted during the print")
    if seen.halted:
        code = "thermal" if "THERMAL" in seen.message.upper() else "printer_error"
        return fail(turn, run, code, seen.message or "the printer halted", lock=True)
    match seen.state:
        case ObservedState.PREPARING | ObservedState.PRINTING if is_ours(run, seen):
            return _goes_on(turn.put(under_way_at=now), run, Stage.PRINTING, seen)
        case ObservedState.PAUSED if is_ours(run, seen):
            return _goes_on(turn.put(under_way_at=now), run, Stage.PAUSED, seen)
        case ObservedState.FINISHING if is_ours(run, seen):
            return _goes_on(turn.put(under_way_at=now), run, Stage.FINISHING, seen)
        case ObservedState.IDLE if is_ours(run, seen) and seen.ending is not None:
            return _ended(turn, run, seen, now)
        case ObservedState.UNKNOWN | ObservedState.OFFLINE:
            return turn
        case _:
            return _gone(turn, run, seen)


def _goes_on(turn: Turn, run: LocalRun, stage: Stage, seen: Observation) -> Turn:
    turn = turn.put(gone_looks=0)
    if run.stage is stage:
        return turn
    want = want_of(turn.state, run)
    by_machine = False
    kind = {Stage.PRINTING: "resumed", Stage.PAUSED: "paused", Stage.FINISHING: "finishing"}[stage]
    if stage is Stage.PAUSED:
        is_unwanted = want is not None and want.desire is Desire.PRINT
        by_machine = is_unwanted and _is_the_machines_pause(run, seen)
    elif stage is Stage.PRINTING and run.stage is Stage.PAUSED:
        by_machine = want is not None and want.desire is Desire.PAUSE
    data = {} if stage is Stage.FINISHING else {"by_machine": by_machine}
    paused_by_machine = by_machine and stage is Stage.PAUSED
    changed = replace(run, stage=stage, paused_by_machine=paused_by_machine, pause_asked=False)
    return turn.write_run(changed, fact(kind, run, **data))


def _is_the_machines_pause(run: LocalRun, seen: Observation) -> bool:
    """A pause that was asked for while it heats comes when the heating is over: by then the farm may want it to print again."""
    return not run.pause_asked if seen.by_farm is None else not seen.by_farm


def _ended(turn: Turn, run: LocalRun, seen: Observation, now: float) -> Turn:
    if run.late:
        return turn.write_run(replace(run, stage=Stage.DONE))
    if seen.ending is Ending.CANCELLED:
        want = want_of(turn.state, run)
        by_machine = seen.by_farm is False or (seen.by_farm is None and not (want and want.desire is Desire.CANCEL))
        return over(turn, run, fact("cancelled", run, by_machine=by_machine))
    if seen.ending is Ending.FAILED:
        code = seen.failure_code or "printer_error"
        return fail(turn, run, code, seen.message or "the printer says that the print failed")
    elapsed = _watched_seconds(turn.state, now) if seen.elapsed_seconds is None else seen.elapsed_seconds
    evidence = {"end_of_file_reached": seen.end_of_file, "printer_reports_complete": True, "elapsed": elapsed}
    return over(turn, run, fact("finished", run, **evidence))


def _watched_seconds(state: State, now: float) -> float:
    """Of a printer that does not tell how long it took. What ended while nobody looked ended as early as it was last seen."""
    if state.began_at is None or state.under_way_at is None:
        return 0.0
    end = now if now - state.under_way_at <= WATCHED_SECONDS else state.under_way_at
    return end - state.began_at


def _gone(turn: Turn, run: LocalRun, seen: Observation) -> Turn:
    looks = turn.state.gone_looks + 1
    if looks < GONE_LOOKS:
        return turn.put(gone_looks=looks)
    if run.late:
        return turn.write_run(replace(run, stage=Stage.DONE))
    want = want_of(turn.state, run)
    if want and want.desire is Desire.CANCEL and seen.state is ObservedState.IDLE:
        return over(turn, run, fact("cancelled", run, by_machine=False))
    return fail(turn, run, "printer_lost", f"the print is gone from the printer, which is {seen.state.value}")
