"""Taking an input: what has happened, written down before anything is decided."""

from dataclasses import replace
from types import MappingProxyType

from ..driver import Handle, ObservedState
from .inputs import (
    Denied,
    Described,
    Done,
    Failed,
    Granted,
    Input,
    NoAnswer,
    Overheated,
    Seen,
    StopFailed,
    Stopped,
    Unseen,
)
from .seeing import begun, handle_text, report_state, take_seen
from .turn import RETRY_SECONDS, Turn, fail, over, still_needed
from .values import BEFORE_START, Desire, EmergencyStop, Event, Operation, Rules, Stage, State, Wanted, fact

FETCH_RETRY_SECONDS = 5.0
# The code of a file whose bytes are not those that were assigned (I17). It is fetched once more, then refused.
WRONG_BYTES, MOST_WRONG_BYTES = "wrong_bytes", 2


def take(state: State, given: Input, now: float, rules: Rules) -> Turn:
    turn = Turn(state)
    match given:
        case Wanted():
            return _take_wanted(turn, given)
        case Seen(observation):
            return take_seen(turn, observation, now, rules)
        case Unseen():
            return report_state(turn.put(reachable=False), ObservedState.OFFLINE.value, None)
        case Granted() | Denied() | NoAnswer():
            return _take_answer(turn, given, now, rules)
        case Done(operation, number, handle) if (state.busy, state.number) == (operation, number):
            return _take_done(_ended(turn), operation, handle, now, rules)
        case Failed(operation, number) if (state.busy, state.number) == (operation, number):
            return _take_failed(_ended(turn), given, now)
        case Stopped(generation, word):
            return _take_stopped(_tell(turn, generation, "nothing_to_stop", word), generation)
        case StopFailed(generation, why):
            return _tell(turn, generation, "stop_not_written", why)
        case Overheated(reason):
            return _take_overheated(turn, reason)
        case Described(abilities):
            return _take_described(turn, abilities)
        case _:
            return turn


def _ended(turn: Turn) -> Turn:
    """The operation under way is over."""
    state = turn.state
    is_beside_a_stop = state.busy is Operation.START and state.stopping != 0
    return turn.put(busy=None, abandoning=False, stop_again=state.stop_again or is_beside_a_stop)


def _may_have_come_before_a_start(state: State) -> bool:
    """The command to start may have reached the machine behind the stop, which then had nothing to stop."""
    return state.busy is Operation.START or state.stop_again


def _take_wanted(turn: Turn, wanted: Wanted) -> Turn:
    book = turn.state.book
    if wanted.epoch < book.max_epoch:
        # Fenced (I6): a database behind this journal wants a run that is over. Only its stop is listened to.
        known = turn.state.wanted or Wanted(book.max_epoch)
        asked = wanted.stop_generation if wanted.stop_generation > wanted.released_generation else 0
        stop = max(known.stop_generation, asked)
        return turn.put(wanted=replace(known, stop_generation=stop))
    turn = turn.put(wanted=wanted)
    if wanted.epoch > book.max_epoch or wanted.released_generation > book.stop_released:
        released = max(book.stop_released, wanted.released_generation)
        turn = turn.write(max_epoch=wanted.epoch, stop_released=released)
    run, want = turn.state.book.run, wanted.run
    if run and want and want.run_id == run.run_id and want.desire is Desire.PAUSE and run.paused_by_machine:
        # The coordinator knows of the pause at the machine: from here on its wish counts again.
        turn = turn.write_run(replace(run, paused_by_machine=False))
    return turn


def _take_answer(turn: Turn, given: Granted | Denied | NoAnswer, now: float, rules: Rules) -> Turn:
    state, run = turn.state, turn.state.book.run
    if state.busy is Operation.ASK:
        turn = turn.put(busy=None)
    is_current = run is not None and run.stage is Stage.AUTHORISING and run.nonce == given.nonce
    if run is None or not is_current or run.nonce_boot != rules.boot_id or state.asked_at is None:
        return turn
    if isinstance(given, Granted):
        return turn.put(until=state.asked_at + given.time_to_live)
    if isinstance(given, NoAnswer) or given.code == "NOT_YET":
        return turn.put(retry_at=now + RETRY_SECONDS)
    return over(turn, run, fact("never_started", run, code=given.code.lower(), reason=given.reason))


def _take_done(turn: Turn, operation: Operation, handle: Handle | None, now: float, rules: Rules) -> Turn:
    run = turn.state.book.run
    if operation is Operation.FETCH:
        return turn.put(fetched=True)
    if operation is Operation.UPLOAD:
        return turn.put(uploaded=True, uploaded_at=now)
    if operation is Operation.START and run is not None and run.stage is Stage.STARTING:
        until = turn.state.until
        # The firmware's boot is that of the first look at the print: the last look before it may be older than a restart.
        began = begun(replace(run, handle=handle, boot_count=None), now, rules)
        turn = turn.put(began_at=now, under_way_at=now, moved_at=now, gone_looks=0)
        if until is not None and now >= until:
            # The process was held up between the last look at its clock and the write.
            late = fact("late_start", run, late_by=now - until)
            return turn.write_run(replace(began, late=True), late)
        return turn.write_run(began, fact("started", run, handle=handle_text(began)))
    if operation is Operation.REMOVE:
        return turn.write(left_files=still_needed(turn.state))
    # Pause, resume, cancel and cool-down were taken; the next look shows whether they took effect.
    if operation is Operation.COOL_DOWN:
        return turn.put(cool_at=now + RETRY_SECONDS)
    return turn.put(retry_at=now + RETRY_SECONDS)


def _take_failed(turn: Turn, given: Failed, now: float) -> Turn:
    run = turn.state.book.run
    if given.operation is Operation.COOL_DOWN:
        return turn.put(cool_at=now + RETRY_SECONDS)
    turn = turn.put(retry_at=now + (FETCH_RETRY_SECONDS if given.operation is Operation.FETCH else RETRY_SECONDS))
    if given.operation is Operation.REMOVE:
        return turn.put(removals=turn.state.removals + 1)
    if run is None:
        return turn
    if given.operation in (Operation.FETCH, Operation.UPLOAD) and run.stage in BEFORE_START:
        if given.code == WRONG_BYTES:
            turn = turn.put(fetched=False, uploaded=False, wrong_bytes=turn.state.wrong_bytes + 1)
        if given.certain or turn.state.wrong_bytes >= MOST_WRONG_BYTES:
            return over(turn, run, fact("refused", run, code=given.code, reason=given.reason))
        return turn
    if given.operation is Operation.PAUSE and given.certain and run.pause_asked:
        return turn.write_run(replace(run, pause_asked=False))
    if given.operation is Operation.START and run.stage is Stage.STARTING:
        if given.certain:
            return over(turn, run, fact("never_started", run, code=given.code, reason=given.reason))
        return turn.put(looked_since=now)
    return turn


def _tell(turn: Turn, generation: int, code: str, text: str) -> Turn:
    """Once for each stop: what a person has to do instead. It is tried again all the same."""
    if not text or turn.state.stop_told >= generation:
        return turn
    alarm = Event("alarm", data=MappingProxyType({"code": code, "text": text}))
    return turn.put(stop_told=generation).write(alarm)


def _take_stopped(turn: Turn, generation: int) -> Turn:
    state = turn.state
    if state.stopping == generation:
        turn = turn.put(stopping=0)
    if generation <= state.book.stop_done:
        return turn
    if _may_have_come_before_a_start(state):
        # Asked for once more, until one is written that no start was beside.
        return turn.put(stop_again=turn.state.stopping != 0)
    stopped = Event("emergency_stopped", data=MappingProxyType({"emergency_stop_generation": generation}))
    turn = turn.write(stopped, stop_done=generation)
    run = turn.state.book.run
    if run is None or run.stage is Stage.DONE:
        return turn
    if run.stage in BEFORE_START:
        return over(turn, run, fact("never_started", run, code="emergency_stop", reason="the printer was stopped"))
    return fail(turn, run, "emergency_stop", "the printer was stopped by a person")


def _take_described(turn: Turn, abilities: bytes) -> Turn:
    """Hello may have been said before the machine answered, with none: they follow it as a fact, with the first word of the
    machine's state if there is none yet."""
    if not turn.state.reported[0]:
        return turn.put(described=abilities)
    data = {"observed_state": turn.state.reported[0], "abilities": abilities}
    return turn.write(Event("printer_changed", data=MappingProxyType(data)))


def _take_overheated(turn: Turn, reason: str) -> Turn:
    run = turn.state.book.run
    turn = replace(turn, stop=EmergencyStop(0))
    if run is None or run.stage is Stage.DONE or run.stage in BEFORE_START:
        event = Event("alarm", data=MappingProxyType({"code": "heater_deviation", "text": reason}))
        return turn.write(event)
    return fail(turn, run, "thermal", reason, lock=True)
