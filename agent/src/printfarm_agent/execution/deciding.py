"""Deciding what to do next: at most one operation, chosen from the state alone."""

from dataclasses import replace

from ..driver import ObservedState
from .turn import FRESH_SECONDS, Turn, is_idle, is_latched, is_stop_owed, over, still_needed, want_of
from .values import (
    BEFORE_START,
    ON_PRINTER,
    TRANSFERS,
    Abandon,
    Desire,
    Do,
    EmergencyStop,
    LocalRun,
    Operation,
    Rules,
    Stage,
    State,
    WantedRun,
    fact,
)

OVERDUE_FACTOR, OVERDUE_SECONDS = 1.5, 1_800.0
STALLED_SECONDS = 1_800.0
MOST_REMOVALS = 3
MOST_LEFT_FILES = 64


def decide(turn: Turn, now: float, rules: Rules, nonce: str) -> Turn:
    turn = _call_off(_emergency(turn))
    state = turn.state
    if state.busy is not None:
        return turn
    run = state.book.run
    if _should_remove(state, now):
        unneeded = tuple(set(state.book.left_files) - set(still_needed(state)))
        return turn.begin(Operation.REMOVE, files=tuple(sorted(unneeded)))
    if run is not None and run.late and run.stage in ON_PRINTER:
        return turn.begin(Operation.CANCEL, run) if now >= state.retry_at else turn
    if state.wanted is None:
        return _tend(turn, now, rules)
    want = state.wanted.run
    if run is not None and run.stage is Stage.DONE:
        if want is not None and want.run_id == run.run_id and want.epoch == run.epoch:
            return _tend(turn, now, rules)
        turn = turn.write(run=None).put(fetched=False, uploaded=False, began_at=None, under_way_at=None, retry_at=0.0)
        run = None
    if run is None:
        return _begin(turn, want, now, rules, nonce) if want is not None else _tend(turn, now, rules)
    return _go_on(turn, run, now, rules, nonce)


def _emergency(turn: Turn) -> Turn:
    state = turn.state
    wanted = state.wanted.stop_generation if state.wanted else 0
    if not is_stop_owed(state.book, state.wanted) or state.stopping == wanted:
        return turn
    return replace(turn.put(stopping=wanted), stop=EmergencyStop(wanted))


def _call_off(turn: Turn) -> Turn:
    """A transfer for a run that is over, or is to be cancelled, is broken off: people wait for the printer."""
    state, run = turn.state, turn.state.book.run
    if state.busy not in TRANSFERS or state.abandoning or run is None or state.wanted is None:
        return turn
    want = want_of(state, run)
    if want is not None and want.desire is not Desire.CANCEL and not is_latched(state):
        return turn
    return replace(turn.put(abandoning=True), abandon=Abandon(state.busy, state.number, run))


def _should_remove(state: State, now: float) -> bool:
    """Files of runs that are over, from a printer that rests. A few tries, then not before the next run's end: a file that
    cannot be removed keeps nobody waiting."""
    run = state.book.run
    if state.removals >= MOST_REMOVALS or still_needed(state) == state.book.left_files:
        return False
    rests = run is None or run.stage in (Stage.DONE, Stage.FETCHING)
    return rests and now >= state.retry_at and is_idle(state, now)


def why_not_start(state: State, do: Do, now: float) -> str:
    """Asked at the last moment, after every wait: a stop, a cancel, a newer epoch (I6) or the authority's end may have come
    meanwhile."""
    run = state.book.run
    if run is None or do.run is None or run.run_id != do.run.run_id or run.stage is not Stage.STARTING:
        return "the run is over"
    if is_latched(state):
        return "an emergency stop is latched"
    if run.epoch < state.book.max_epoch:
        return "a newer epoch came before it was started"
    want = want_of(state, run)
    if want is None or want.desire is Desire.CANCEL:
        return "it was called off before it was started"
    if do.before is None or now >= do.before:
        return "the authority ended before the start could be commanded"
    return ""


def _begin(turn: Turn, want: WantedRun, now: float, rules: Rules, nonce: str) -> Turn:
    state = turn.state
    if want.epoch < state.book.max_epoch:
        return _tend(turn, now, rules)
    stage = Stage.STARTING if want.may_have_started else Stage.FETCHING
    run = LocalRun(
        want.run_id,
        want.job_id,
        want.epoch,
        want.sha256,
        want.size_bytes,
        stage,
        bed_token=want.bed_token,
        estimated_seconds=want.estimated_seconds,
        packed_kind=want.packed_kind,
        plate=want.plate,
        gcode_sha256=want.gcode_sha256,
    )
    if want.may_have_started:
        # This journal knows nothing of it, the coordinator does: only the printer can tell.
        return turn.write(run=run, left_files=(*state.book.left_files, run.file_name)[-MOST_LEFT_FILES:]).put(
            looked_since=None
        )
    if rules.closed:
        return over(turn.write_run(run), run, fact("refused", run, code="closed", reason=rules.closed))
    if want.desire is Desire.CANCEL:
        return over(turn.write_run(run), run, fact("cancelled", run, by_machine=False))
    turn = turn.write_run(run).put(fetched=False, uploaded=False, wrong_bytes=0, asked_at=None, until=None)
    return turn.begin(Operation.FETCH, run)


def _go_on(turn: Turn, run: LocalRun, now: float, rules: Rules, nonce: str) -> Turn:
    want = want_of(turn.state, run)
    if want is None:
        return _unwanted(turn, run, now, rules)
    if want.may_have_started and run.stage in (Stage.FETCHING, Stage.ACCEPTED):
        # It asked for authority, says the coordinator; this journal is an older copy. Only the printer can tell.
        return turn.write_run(replace(run, stage=Stage.STARTING)).put(looked_since=None)
    if want.desire is Desire.CANCEL:
        return _cancel(turn, run, now, rules)
    if run.stage in BEFORE_START:
        return _prepare(turn, run, want, now, rules, nonce)
    if run.stage in ON_PRINTER:
        return _steer(turn, run, want, now, rules)
    return turn


def _unwanted(turn: Turn, run: LocalRun, now: float, rules: Rules) -> Turn:
    """Over for the coordinator. What never started is dropped; what prints goes on, and is watched."""
    if run.stage in (Stage.STARTING, Stage.START_UNKNOWN) and is_idle(turn.state, now):
        # A person, or the coordinator, has said what became of it, and the printer prints nothing.
        return turn.write_run(replace(run, stage=Stage.DONE))
    if run.stage not in BEFORE_START:
        return _tend(turn, now, rules)
    event = fact("never_started", run, code="unwanted", reason="the coordinator no longer wants it")
    return over(turn, run, event)


def _cancel(turn: Turn, run: LocalRun, now: float, rules: Rules) -> Turn:
    if run.stage in BEFORE_START:
        return over(turn, run, fact("cancelled", run, by_machine=False))
    if run.stage in ON_PRINTER and now >= turn.state.retry_at:
        return turn.begin(Operation.CANCEL, run)
    return turn


def _prepare(turn: Turn, run: LocalRun, want: WantedRun, now: float, rules: Rules, nonce: str) -> Turn:
    state = turn.state
    if run.stage is Stage.AUTHORISING:
        return _authorising(turn, run, now, rules)
    if not state.fetched:
        return turn.begin(Operation.FETCH, run) if now >= state.retry_at else _tend(turn, now, rules)
    if is_latched(state) or not is_idle(state, now):
        return _refuse_if_taken(turn, run, now, rules)
    if run.stage is Stage.FETCHING:
        accepted = replace(run, stage=Stage.ACCEPTED)
        left = (*state.book.left_files, run.file_name)[-MOST_LEFT_FILES:]
        return turn.write(fact("accepted", run), run=accepted, left_files=left)
    if not state.uploaded:
        return turn.begin(Operation.UPLOAD, run) if now >= state.retry_at else _tend(turn, now, rules)
    if not want.bed_token or want.desire is not Desire.PRINT or now < state.retry_at:
        return _tend(turn, now, rules)
    if now - state.uploaded_at > rules.file_check_seconds:
        return turn.begin(Operation.UPLOAD, run)
    asking = replace(run, stage=Stage.AUTHORISING, nonce=nonce, nonce_boot=rules.boot_id, bed_token=want.bed_token)
    return turn.write_run(asking).put(asked_at=now, until=None).begin(Operation.ASK, asking)


def _refuse_if_taken(turn: Turn, run: LocalRun, now: float, rules: Rules) -> Turn:
    """Somebody else uses the printer: the job goes elsewhere. A printer that is merely out of sight is waited for."""
    state = turn.state
    if is_latched(state):
        return over(turn, run, fact("refused", run, code="emergency_stop", reason="an emergency stop is latched"))
    fresh = state.reachable and state.seen is not None and now - state.seen_at <= FRESH_SECONDS
    if not fresh or state.seen is None or state.seen.state in (ObservedState.UNKNOWN, ObservedState.OFFLINE):
        return _tend(turn, now, rules)
    return over(turn, run, fact("refused", run, code="not_idle", reason=f"the printer is {state.seen.state.value}"))


def _authorising(turn: Turn, run: LocalRun, now: float, rules: Rules) -> Turn:
    state = turn.state
    if run.nonce_boot != rules.boot_id or state.asked_at is None:
        # Asked by an earlier process: how long ago, nobody knows.
        return over(turn, run, fact("never_started", run, code="restarted", reason="the agent was restarted"))
    end = state.until if state.until is not None else state.asked_at + rules.start_ttl
    if now >= end or is_latched(state):
        return over(turn, run, fact("never_started", run, code="gave_up", reason="no authority in time"))
    if state.until is None:
        return turn.begin(Operation.ASK, run) if now >= state.retry_at else turn
    if not is_idle(state, now):
        return turn
    starting = replace(run, stage=Stage.STARTING)
    turn = turn.write_run(starting, fact("starting", run)).put(looked_since=None, began_at=None, hot_since=None)
    return turn.begin(Operation.START, starting, before=end)


def _steer(turn: Turn, run: LocalRun, want: WantedRun, now: float, rules: Rules) -> Turn:
    if now >= turn.state.retry_at:
        if want.desire is Desire.PAUSE and run.stage is Stage.PRINTING and rules.can_pause:
            asked = replace(run, pause_asked=True)
            return (turn if run.pause_asked else turn.write_run(asked)).begin(Operation.PAUSE, asked)
        if want.desire is Desire.PRINT and run.stage is Stage.PAUSED and not run.paused_by_machine:
            return turn.begin(Operation.RESUME, run)
    return _watch(turn, run, now)


def _watch(turn: Turn, run: LocalRun, now: float) -> Turn:
    """Worth a person's look; nothing is concluded from time."""
    state = turn.state
    estimate = run.estimated_seconds
    if estimate is not None and state.began_at is not None:
        late = now - state.began_at > OVERDUE_FACTOR * estimate + OVERDUE_SECONDS
        turn = _alarm(turn, run, "overdue", "it takes far longer than estimated") if late else turn
    if run.stage is Stage.PRINTING and state.moved_at and now - state.moved_at > STALLED_SECONDS:
        turn = _alarm(turn, run, "stalled", "its progress has not moved for half an hour")
    return turn


def _alarm(turn: Turn, run: LocalRun, code: str, text: str) -> Turn:
    if code in turn.state.alarms:
        return turn
    return turn.put(alarms=turn.state.alarms | {code}).write(fact("alarm", run, code=code, text=text))


def _tend(turn: Turn, now: float, rules: Rules) -> Turn:
    """Nothing prints: heaters that nobody wants go off after a while, coordinator or not, a run waiting or not (I23)."""
    state = turn.state
    run = state.book.run
    held = state.wanted.held if state.wanted else False
    may_print = run is not None and run.stage not in BEFORE_START | {Stage.DONE}
    still = state.seen is not None and state.seen.state in (ObservedState.IDLE, ObservedState.ERROR)
    hot = state.seen is not None and any(heater.target > 0 for heater in state.seen.heaters)
    if held or may_print or not (state.reachable and still) or not hot:
        return turn.put(hot_since=None) if state.hot_since is not None else turn
    if state.hot_since is None:
        return turn.put(hot_since=now)
    if now - state.hot_since < rules.idle_heat_seconds or now < state.cool_at or state.busy is not None:
        return turn
    return turn.begin(Operation.COOL_DOWN)
