"""The execution machine: total over every state and input, and never a start without its journal entry and its authority."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from printfarm_agent import execution as ex
from printfarm_agent.driver import Ending, Handle, Heater, Observation, ObservedState

RULES = ex.Rules("boot")
# In an outcome: of the operation under way, whichever that is.
_NEWEST = -1
RUN = "00000000-0000-0000-0000-000000000001"
_epochs = st.integers(0, 3)
_wanted_runs = st.builds(
    ex.WantedRun,
    st.sampled_from([RUN, RUN[:-1] + "2"]),
    st.just("job"),
    _epochs,
    st.sampled_from(ex.Desire),
    st.just("a" * 64),
    st.just(1),
    st.sampled_from(["", "token"]),
    st.booleans(),
    st.sampled_from([None, 100.0]),
)
_local_runs = st.builds(
    ex.LocalRun,
    st.just(RUN),
    st.just("job"),
    _epochs,
    st.just("a" * 64),
    st.just(1),
    st.sampled_from(ex.Stage),
    bed_token=st.just("token"),
    nonce=st.sampled_from(["", "n1"]),
    nonce_boot=st.sampled_from(["boot", "older"]),
    handle=st.sampled_from([None, Handle(1, {"print_number": 4})]),
    boot_count=st.sampled_from([None, 1, 2]),
    paused_by_machine=st.booleans(),
    late=st.booleans(),
)
_left = st.sampled_from([(), (f"pf-{RUN}.gcode",), ("pf-older.gcode", f"pf-{RUN}.gcode")])
_books = st.builds(ex.Book, _epochs, st.one_of(st.none(), _local_runs), st.integers(0, 2), st.integers(0, 2), _left)
_observations = st.builds(
    Observation,
    st.sampled_from(ObservedState),
    st.sampled_from([None, f"pf-{RUN}.gcode", "other.gcode"]),
    st.sampled_from([None, *Ending]),
    end_of_file=st.booleans(),
    progress=st.sampled_from([None, 0.0, 1.0]),
    elapsed_seconds=st.sampled_from([None, 1.0]),
    heaters=st.sampled_from([(), (Heater("hotend", 20.0, 200.0),)]),
    boot_count=st.sampled_from([None, 1, 2]),
    print_number=st.sampled_from([None, 4, 5]),
    by_farm=st.sampled_from([None, True, False]),
    halted=st.booleans(),
)
_operations = st.sampled_from(ex.Operation)
_numbers = st.sampled_from([_NEWEST, _NEWEST, 0])
_nonces = st.sampled_from(["n1", "n2"])
_wanteds = st.builds(
    ex.Wanted, _epochs, st.one_of(st.none(), _wanted_runs), st.booleans(), st.integers(0, 3), st.integers(0, 3)
)
_inputs = st.one_of(
    _wanteds,
    st.builds(ex.Seen, _observations),
    st.builds(ex.Unseen, st.just("gone")),
    st.builds(ex.Done, _operations, _numbers, st.sampled_from([None, Handle(1, {})])),
    st.builds(ex.Failed, _operations, _numbers, st.just("code"), st.just("why"), st.booleans()),
    st.builds(ex.Granted, _nonces, st.sampled_from([25.0])),
    st.builds(ex.Denied, _nonces, st.sampled_from(["NOT_YET", "FENCED"]), st.just("why")),
    st.builds(ex.NoAnswer, _nonces),
    st.builds(ex.Stopped, st.integers(0, 3)),
    st.builds(ex.StopFailed, st.integers(0, 3)),
    st.builds(ex.Overheated, st.just("hot")),
    st.just(ex.Tick()),
)
_states = st.builds(
    ex.State,
    _books,
    st.one_of(st.none(), _wanteds),
    st.one_of(st.none(), _operations),
    st.integers(1, 2),
    st.integers(0, 2),
    st.one_of(st.none(), _observations),
    st.sampled_from([0.0, 98.0, 100.0]),
    st.booleans(),
    fetched=st.booleans(),
    uploaded=st.booleans(),
    asked_at=st.sampled_from([None, 60.0, 99.0]),
    until=st.sampled_from([None, 90.0, 120.0]),
    abandoning=st.booleans(),
    removals=st.integers(0, 3),
    stop_again=st.booleans(),
)


def _done(operation: ex.Operation, handle: Handle | None = None) -> ex.Done:
    return ex.Done(operation, _NEWEST, handle)


def _failed(operation: ex.Operation, code: str, why: str, *, certain: bool = False) -> ex.Failed:
    return ex.Failed(operation, _NEWEST, code, why, certain)


def _step(state: ex.State, given_input: Any, now: float, nonce: str) -> tuple[ex.State, tuple[ex.Effect, ...]]:
    if isinstance(given_input, ex.Done | ex.Failed) and given_input.number == _NEWEST:
        given_input = replace(given_input, number=state.number)
    return ex.step(state, given_input, now, RULES, nonce)


def _check(before: ex.State, after: ex.State, effects: tuple[ex.Effect, ...], now: float) -> None:
    does = [effect for effect in effects if isinstance(effect, ex.Do)]
    commits = [effect for effect in effects if isinstance(effect, ex.Commit)]
    assert len(does) <= 1 and len(commits) <= 1
    assert after.book.max_epoch >= before.book.max_epoch, "I6: the epoch went back"
    assert after.book.stop_done >= before.book.stop_done
    if after.book != before.book:
        assert commits and commits[0].book == after.book, "the page changed without a commit"
    if does:
        assert before.busy is None or after.busy is does[0].operation
        assert all(effects.index(commit) < effects.index(does[0]) for commit in commits), "the command came first"
    for do in does:
        if do.operation is ex.Operation.START:
            _check_start(after, do, now)


def _check_start(after: ex.State, do: ex.Do, now: float) -> None:
    run = after.book.run
    assert run is not None and run.stage is ex.Stage.STARTING, "commanded before it was journalled"
    assert run.nonce_boot == RULES.boot_id, "an authority of an earlier boot"
    assert do.before is not None and now < do.before, "after its authority"
    assert not ex.is_latched(after), "an emergency stop is latched"
    assert after.wanted is not None and after.wanted.run is not None
    assert after.wanted.run.run_id == run.run_id


@settings(max_examples=3_000, deadline=None)
@given(_states, _inputs)
def test_every_input_in_every_state(state: ex.State, given_input: Any) -> None:
    after, effects = _step(state, given_input, 100.0, "n1")
    _check(state, after, effects, 100.0)


@settings(max_examples=300, deadline=None)
@given(_books, st.lists(st.tuples(_inputs, st.sampled_from([0.1, 1.0, 10.0, 40.0])), max_size=40))
def test_histories_after_a_restart_start_at_most_once(book: ex.Book, history: list[tuple[Any, float]]) -> None:
    state, now = ex.reopened(book), 100.0
    starts: list[str] = []
    for nonce, (given_input, seconds) in enumerate(history):
        now += seconds
        before = state
        state, effects = _step(state, given_input, now, f"n{nonce}")
        _check(before, state, effects, now)
        starts += [
            e.run.run_id for e in effects if isinstance(e, ex.Do) and e.operation is ex.Operation.START and e.run
        ]
    assert len(starts) == len(set(starts)), "one run was commanded twice"


def _walk(*inputs: Any, state: ex.State | None = None) -> tuple[ex.State, list[str]]:
    state, kinds = state or ex.reopened(ex.Book()), []
    # What follows from an input without waiting is part of it, as in the worker.
    ticked = [each for given_input in inputs for each in (given_input, ex.Tick(), ex.Tick())]
    for number, given_input in enumerate(ticked):
        state, effects = _step(state, given_input, 100.0 + number * 0.01, f"n{number}")
        for effect in effects:
            kinds += [e.kind for e in effect.events] if isinstance(effect, ex.Commit) else []
            kinds += [f"do {effect.operation.value}"] if isinstance(effect, ex.Do) else []
            kinds += [f"abandon {effect.operation.value}"] if isinstance(effect, ex.Abandon) else []
    return state, [kind for kind in kinds if kind != "printer_changed"]


IDLE = ex.Seen(Observation(ObservedState.IDLE, boot_count=1))
WANT = ex.Wanted(1, ex.WantedRun(RUN, "job", 1, ex.Desire.PRINT, "a" * 64, 1, "token"))
PRINTING = ex.Seen(Observation(ObservedState.PRINTING, f"pf-{RUN}.gcode", boot_count=1))


def _begun() -> ex.State:
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    nonce = state.book.run.nonce if state.book.run else ""
    state, _ = _walk(ex.Granted(nonce, 25.0), _done(ex.Operation.START, Handle(1, {})), state=state)
    return state


def test_the_whole_way() -> None:
    state, kinds = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    assert kinds == ["do fetch", "accepted", "do upload", "do ask"]
    assert state.book.run is not None
    granted = ex.Granted(state.book.run.nonce, 25.0)
    done = Observation(
        ObservedState.IDLE, f"pf-{RUN}.gcode", Ending.COMPLETE, end_of_file=True, boot_count=1, elapsed_seconds=90.0
    )
    state, kinds = _walk(granted, _done(ex.Operation.START, Handle(1, {})), PRINTING, ex.Seen(done), state=state)
    assert kinds == ["starting", "do start", "started", "finished", "do remove"]
    assert state.book.left_files == (f"pf-{RUN}.gcode",)
    state, kinds = _walk(_done(ex.Operation.REMOVE), ex.Seen(done), state=state)
    assert (kinds, state.book.left_files) == ([], ())


UNWANTED = ex.Wanted(2)
CANCELLED = replace(WANT, run=replace(WANT.run, desire=ex.Desire.CANCEL)) if WANT.run else WANT
STOPPED = replace(WANT, stop_generation=1)


@pytest.mark.parametrize("wish", [UNWANTED, CANCELLED], ids=["unwanted", "cancelled"])
@pytest.mark.parametrize("transfer", [ex.Operation.FETCH, ex.Operation.UPLOAD])
def test_a_transfer_that_nobody_wants_is_broken_off(wish: ex.Wanted, transfer: ex.Operation) -> None:
    before = [_done(ex.Operation.FETCH)] if transfer is ex.Operation.UPLOAD else []
    state, _ = _walk(IDLE, WANT, *before)
    assert state.busy is transfer
    state, kinds = _walk(wish, IDLE, state=state)
    assert kinds == [f"abandon {transfer.value}"], "once"
    _, kinds = _walk(_failed(transfer, "abandoned", ""), state=state)
    assert kinds[0] == ("cancelled" if wish is CANCELLED else "never_started")


@given(_states, _operations, st.booleans())
def test_the_outcome_of_an_operation_that_is_not_under_way_is_nobodys(
    state: ex.State, operation: ex.Operation, succeeded: bool
) -> None:
    """It is as if only time had passed, also where another operation of its kind is under way."""
    older = state.number - 1
    outcome = ex.Done(operation, older) if succeeded else ex.Failed(operation, older, "abandoned", "", certain=True)
    assert ex.step(state, outcome, 100.0, RULES, "n") == ex.step(state, ex.Tick(), 100.0, RULES, "n")


def test_a_transfer_that_ended_before_it_was_broken_off_leaves_the_next_alone() -> None:
    """Another run's file is on its way when the word of the first one's end comes."""
    state, effects = _step(_walk(IDLE)[0], WANT, 100.0, "n")
    [first] = [effect for effect in effects if isinstance(effect, ex.Do)]
    run = ex.WantedRun(RUN[:-1] + "2", "job", 2, ex.Desire.PRINT, "b" * 64, 1, "token")
    state, effects = _step(state, ex.Wanted(2, run), 100.1, "n")
    assert ex.Abandon(ex.Operation.FETCH, first.number, first.run) in effects
    state, kinds = _walk(ex.Done(ex.Operation.FETCH, first.number), state=state)
    assert kinds == ["never_started", "do fetch"]
    late = ex.Failed(ex.Operation.FETCH, first.number, "abandoned", "", certain=False)
    state, kinds = _walk(late, state=state)
    assert (kinds, state.busy) == ([], ex.Operation.FETCH)
    _, kinds = _walk(IDLE, _done(ex.Operation.FETCH), state=state)
    assert kinds == ["accepted", "do upload"]


def test_a_file_that_was_damaged_is_fetched_once_more_and_then_refused() -> None:
    damaged = _failed(ex.Operation.UPLOAD, "wrong_bytes", "a bit")
    state, kinds = _walk(IDLE, WANT, _done(ex.Operation.FETCH), damaged)
    assert kinds == ["do fetch", "accepted", "do upload"]
    later = replace(state, retry_at=0.0)
    _, kinds = _walk(IDLE, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD), state=later)
    assert kinds == ["do fetch", "do upload", "do ask"]
    _, kinds = _walk(IDLE, _failed(ex.Operation.FETCH, "wrong_bytes", "again"), state=later)
    assert kinds == ["do fetch", "refused"]


@pytest.mark.parametrize(("streams", "next_one"), [(True, ex.Operation.UPLOAD), (False, ex.Operation.ASK)])
def test_a_file_that_is_streamed_is_checked_again_when_its_start_comes_late(
    streams: bool, next_one: ex.Operation
) -> None:
    """I17: on a printer it lies safe; on this host's disk it may rot while the bed waits for a person."""
    rules = replace(RULES, file_check_seconds=60.0) if streams else RULES
    assert WANT.run is not None
    waits = ex.Wanted(1, replace(WANT.run, bed_token=""))
    state, _ = _walk(IDLE, waits, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    state, _ = ex.step(state, IDLE, 5_000.0, rules, "n")
    state, effects = ex.step(state, WANT, 5_000.0, rules, "n")
    assert [effect.operation for effect in effects if isinstance(effect, ex.Do)] == [next_one]
    if streams:
        state, effects = ex.step(state, ex.Done(ex.Operation.UPLOAD, state.number), 5_003.0, rules, "n")
        assert [effect.operation for effect in effects if isinstance(effect, ex.Do)] == [ex.Operation.ASK]


def test_a_streamed_file_that_was_damaged_while_it_waited_is_fetched_anew() -> None:
    rules = replace(RULES, file_check_seconds=60.0)
    assert WANT.run is not None
    waits = ex.Wanted(1, replace(WANT.run, bed_token=""))
    state, _ = _walk(IDLE, waits, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    begun: list[ex.Operation] = []

    def at(now: float, given_input: ex.Input) -> None:
        nonlocal state
        state, effects = ex.step(state, given_input, now, rules, "n")
        begun.extend(effect.operation for effect in effects if isinstance(effect, ex.Do))

    at(5_000.0, IDLE)
    at(5_000.0, WANT)
    at(5_000.1, ex.Failed(ex.Operation.UPLOAD, state.number, "wrong_bytes", "rot", certain=False))
    at(5_006.0, IDLE)
    at(5_007.0, ex.Done(ex.Operation.FETCH, state.number))
    at(5_008.0, ex.Done(ex.Operation.UPLOAD, state.number))
    assert begun == [ex.Operation.UPLOAD, ex.Operation.FETCH, ex.Operation.UPLOAD, ex.Operation.ASK]


def test_a_transfer_is_broken_off_by_an_emergency_stop() -> None:
    state, kinds = _walk(IDLE, WANT, STOPPED)
    assert kinds == ["do fetch", "abandon fetch"]
    assert state.stopping == 1


def test_a_transfer_goes_on_while_the_coordinator_is_away() -> None:
    state, _ = _walk(IDLE, WANT)
    state, kinds = _walk(ex.Unseen("gone"), IDLE, state=replace(state, wanted=None))
    assert kinds == [] and state.busy is ex.Operation.FETCH


LEFT = ("pf-older.gcode",)


def test_a_file_that_cannot_be_removed_keeps_nobody_waiting() -> None:
    """Three tries; then the next run goes on, and after its end it is tried again."""
    state, now, tries = ex.reopened(ex.Book(left_files=LEFT)), 100.0, 0
    state, _ = ex.step(state, IDLE, now, RULES, "n")
    while state.busy is ex.Operation.REMOVE:
        tries += 1
        state, _ = _step(state, _failed(ex.Operation.REMOVE, "no", "no"), now, "n")
        now += 2.0
        state, _ = ex.step(state, IDLE, now, RULES, "n")
    assert tries == 3
    state, kinds = _walk(IDLE, WANT, _done(ex.Operation.FETCH), state=replace(state, retry_at=0.0))
    assert kinds == ["do fetch", "accepted", "do upload"]
    assert state.book.left_files == (*LEFT, f"pf-{RUN}.gcode")
    state, kinds = _walk(CANCELLED, _failed(ex.Operation.UPLOAD, "abandoned", ""), state=state)
    assert kinds == ["abandon upload", "cancelled"]
    _, effects = ex.step(replace(state, wanted=None), IDLE, 120.0, RULES, "n")
    assert [e.files for e in effects if isinstance(e, ex.Do)] == [tuple(sorted(state.book.left_files))]


@pytest.mark.parametrize("seen", [PRINTING, ex.Unseen("gone")])
def test_a_printer_in_use_or_out_of_sight_keeps_its_files(seen: Any) -> None:
    _, kinds = _walk(seen, ex.Tick(), state=ex.reopened(ex.Book(left_files=LEFT)))
    assert kinds == []


def test_the_file_of_a_run_under_way_is_never_removed() -> None:
    _, kinds = _walk(IDLE, PRINTING, IDLE, state=_begun())
    assert "do remove" not in kinds


def test_a_restart_while_starting_never_starts_again() -> None:
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    assert state.book.run is not None
    state, _ = _walk(ex.Granted(state.book.run.nonce, 25.0), state=state)
    again, kinds = _walk(WANT, IDLE, ex.Tick(), ex.Tick(), PRINTING, state=ex.reopened(state.book))
    assert kinds == ["started"] and again.book.run is not None and again.book.run.stage is ex.Stage.PRINTING


def test_a_restart_while_asking_gives_up() -> None:
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    older = ex.Rules("another boot")
    state = ex.reopened(state.book)
    state, effects = ex.step(state, WANT, 100.0, older, "n9")
    facts = [event.kind for effect in effects if isinstance(effect, ex.Commit) for event in effect.events]
    assert facts == ["never_started"]


def test_a_reset_during_the_print_is_a_failure() -> None:
    reset = ex.Seen(Observation(ObservedState.IDLE, boot_count=2))
    _, kinds = _walk(PRINTING, reset, state=_begun())
    assert kinds == ["failed", "do remove"]


def test_a_restart_between_the_last_look_and_the_start_is_none_of_the_print() -> None:
    """A person reset the printer, cleared it, and the print began before the next look: it runs."""
    later = ex.Seen(Observation(ObservedState.PRINTING, f"pf-{RUN}.gcode", boot_count=2))
    state, kinds = _walk(later, later, state=_begun())
    assert kinds == [] and state.book.run is not None and state.book.run.boot_count == 2
    _, kinds = _walk(ex.Seen(Observation(ObservedState.IDLE, boot_count=3)), state=state)
    assert kinds == ["failed", "do remove"]


PAUSED = ex.Seen(Observation(ObservedState.PAUSED, f"pf-{RUN}.gcode", boot_count=1))
PAUSE = replace(WANT, run=replace(WANT.run, desire=ex.Desire.PAUSE)) if WANT.run else WANT


def _paused(state: ex.State, seen: ex.Seen) -> tuple[list[bool], list[str]]:
    """Whether the pause is told as the machine's, and what is done about it."""
    state, effects = ex.step(replace(state, retry_at=0.0), seen, 200.0, RULES, "n")
    told = [event for effect in effects if isinstance(effect, ex.Commit) for event in effect.events]
    done = [effect.operation.value for effect in effects if isinstance(effect, ex.Do)]
    return [event.data["by_machine"] for event in told if event.kind == "paused"], done


def test_a_pause_of_the_farm_that_takes_effect_late_is_taken_back() -> None:
    """Asked for while it heats, and carried out when a person wants it to print again."""
    state, kinds = _walk(PRINTING, PAUSE, _done(ex.Operation.PAUSE), state=_begun())
    assert kinds == ["do pause"]
    state, kinds = _walk(WANT, PRINTING, state=state)
    assert kinds == []
    assert _paused(state, PAUSED) == ([False], ["resume"])
    again = ex.step(ex.reopened(state.book), WANT, 199.0, RULES, "n")[0]
    assert _paused(again, PAUSED) == ([False], ["resume"]), "also after a restart"
    by_machine = ex.Seen(replace(PAUSED.observation, by_farm=False))
    assert _paused(state, by_machine) == ([True], []), "the machine's own word is clearer"


def test_a_pause_at_the_machine_stands() -> None:
    state, _ = _walk(PRINTING, PAUSE, _done(ex.Operation.PAUSE), PAUSED, WANT, PRINTING, state=_begun())
    assert state.book.run is not None and state.book.run.stage is ex.Stage.PRINTING
    assert _paused(state, PAUSED) == ([True], []), "what was asked for was carried out before"
    refused = _failed(ex.Operation.PAUSE, "refused", "busy", certain=True)
    state, _ = _walk(PRINTING, PAUSE, refused, WANT, PRINTING, state=_begun())
    assert _paused(state, PAUSED) == ([True], []), "what was refused never comes"
    by_farm = ex.Seen(replace(PAUSED.observation, by_farm=True))
    assert _paused(_walk(PRINTING, WANT, state=_begun())[0], by_farm) == ([False], ["resume"])


def test_a_local_print_is_somebody_elses() -> None:
    state, _ = _walk(ex.Seen(Observation(ObservedState.PRINTING, "vase.gcode")))
    assert state.reported[0] == "busy_external"


def test_what_the_machine_is_is_told_also_before_anything_is_wanted() -> None:
    """Hello was said while the printer was still being reached, with none; they follow it."""
    described = ex.Described(b"abilities")
    for inputs in ((described, IDLE, IDLE), (IDLE, described, IDLE)):
        state, told = ex.reopened(ex.Book()), []
        for each in inputs:
            state, effects = ex.step(state, each, 100.0, RULES, "n")
            told += [e for effect in effects if isinstance(effect, ex.Commit) for e in effect.events]
        assert [event.data["abilities"] for event in told if "abilities" in event.data] == [b"abilities"]
        assert {event.data["observed_state"] for event in told} == {"idle"}, "it was never out of reach"


def test_an_overheated_heater_stops_the_machine_at_once() -> None:
    _, effects = ex.step(_begun(), ex.Overheated("hotend is at 260 C"), 101.0, RULES, "n")
    assert isinstance(effects[0], ex.EmergencyStop)
    commit = effects[1]
    assert isinstance(commit, ex.Commit)
    assert (commit.events[0].kind, commit.events[0].data["lock_printer"]) == ("failed", True)


def _hot(state: ObservedState = ObservedState.IDLE) -> Observation:
    return Observation(state, heaters=(Heater("hotend", 200.0, 200.0), Heater("bed", 20.0, 0.0)))


def _cooled_at(state: ex.State, seen: Observation, seconds: float, outcome: Any = None) -> list[float]:
    """When the machine wanted its heaters off, looked at every two seconds."""
    found: list[float] = []
    now = 0.0
    while now <= seconds:
        state, effects = ex.step(state, ex.Seen(seen), now, RULES, "n")
        for effect in effects:
            if isinstance(effect, ex.Do) and effect.operation is ex.Operation.COOL_DOWN:
                found.append(now)
                done = outcome or _done(ex.Operation.COOL_DOWN)
                state, _ = _step(state, done, now, "n")
        now += 2.0
    return found


@pytest.mark.parametrize("observed", [ObservedState.IDLE, ObservedState.ERROR])
@pytest.mark.parametrize("wanted", [None, ex.Wanted(0)])
def test_heaters_that_nobody_wants_go_off_after_ten_minutes(wanted: ex.Wanted | None, observed: ObservedState) -> None:
    """I23, with the coordinator and without."""
    state = replace(ex.reopened(ex.Book()), wanted=wanted)
    assert _cooled_at(state, _hot(observed), 700.0)[0] == 600.0


@pytest.mark.parametrize("changes", [{"desire": ex.Desire.PAUSE}, {"bed_token": ""}], ids=["pause", "no bed token"])
def test_heaters_go_off_while_a_run_waits_before_its_start(changes: dict[str, Any]) -> None:
    """I23: it may wait for hours."""
    assert WANT.run is not None
    wish = replace(WANT, run=replace(WANT.run, **changes))
    state, _ = _walk(IDLE, wish, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    assert state.busy is None
    assert _cooled_at(replace(state, retry_at=0.0), _hot(), 700.0)[0] == 600.0


@pytest.mark.parametrize("refused", [None, _failed(ex.Operation.COOL_DOWN, "busy", "no", certain=True)])
def test_a_file_that_is_asked_for_again_and_again_keeps_no_heater_on(refused: Any) -> None:
    """Nor does a heater that cannot be turned off keep the file away."""
    state, now, tried = _walk(IDLE, WANT)[0], 0.0, {ex.Operation.FETCH: 0, ex.Operation.COOL_DOWN: 0}
    while now < 660.0:
        assert state.busy in tried
        tried[state.busy] += 1
        is_fetch = state.busy is ex.Operation.FETCH
        lost = _failed(ex.Operation.FETCH, "unavailable", "no coordinator")
        state, _ = _step(state, lost if is_fetch else refused or _done(ex.Operation.COOL_DOWN), now, "n")
        while state.busy is None:
            now += 1.0
            state, _ = ex.step(state, ex.Seen(_hot()), now, RULES, "n")
    assert min(tried.values()) > 5
    assert tried[ex.Operation.FETCH] > 100


def test_heaters_that_stay_on_are_turned_off_again_and_again() -> None:
    refused = _failed(ex.Operation.COOL_DOWN, "busy", "no", certain=True)
    tried = _cooled_at(ex.reopened(ex.Book()), _hot(), 620.0, refused)
    assert tried[0] == 600.0
    assert len(tried) > 5


def test_heaters_that_a_person_wants_stay_on() -> None:
    held = replace(ex.reopened(ex.Book()), wanted=ex.Wanted(0, held=True))
    assert _cooled_at(held, _hot(), 3_600.0) == []


@pytest.mark.parametrize("stage", [ex.Stage.STARTING, ex.Stage.PRINTING, ex.Stage.PAUSED, ex.Stage.START_UNKNOWN])
def test_heaters_of_a_run_that_may_print_stay_on(stage: ex.Stage) -> None:
    run = ex.LocalRun(RUN, "job", 1, "a" * 64, 1, stage)
    state = ex.reopened(ex.Book(1, run))
    seen = replace(_hot(ObservedState.PAUSED), file_name=run.file_name)
    assert _cooled_at(state, seen, 1_000.0) == []


def test_the_ten_minutes_begin_anew_with_each_use() -> None:
    state = ex.reopened(ex.Book())
    for now in range(0, 500, 2):
        state, _ = ex.step(state, ex.Seen(_hot()), float(now), RULES, "n")
    state, _ = ex.step(state, ex.Seen(Observation(ObservedState.PRINTING, "other.gcode")), 500.0, RULES, "n")
    times: list[float] = []
    for now in range(502, 1_200, 2):
        state, effects = ex.step(state, ex.Seen(_hot()), float(now), RULES, "n")
        times += [float(now) for effect in effects if isinstance(effect, ex.Do)]
        if times:
            break
    assert times == [1_102.0]


def test_a_failed_print_is_told_with_the_printers_own_word() -> None:
    failed = Observation(
        ObservedState.IDLE, f"pf-{RUN}.gcode", Ending.FAILED, boot_count=1, message="why", failure_code="printer_lost"
    )
    _, effects = ex.step(_begun(), ex.Seen(failed), 101.0, RULES, "n")
    [event] = [e for effect in effects if isinstance(effect, ex.Commit) for e in effect.events if e.kind == "failed"]
    assert (event.data["code"], event.data["reason"]) == ("printer_lost", "why")


def test_an_older_copy_of_the_journal_looks_before_it_does_anything() -> None:
    """It says ACCEPTED; the coordinator says that it asked for authority, and may have started."""
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH))
    started = ex.Wanted(1, replace(WANT.run, may_have_started=True)) if WANT.run else WANT
    state, kinds = _walk(started, PRINTING, state=ex.reopened(state.book))
    assert kinds == ["started"]
    assert state.book.run is not None and state.book.run.stage is ex.Stage.PRINTING


@pytest.mark.parametrize("book", [ex.Book(), ex.Book(4)], ids=["new", "fenced"])
def test_a_stop_that_was_released_is_not_carried_out_again_by_a_journal_that_knows_nothing_of_it(book: ex.Book) -> None:
    """I9: the coordinator tells both generations; the print that runs since goes on."""
    released = replace(WANT, stop_generation=1, released_generation=1)
    _, effects = ex.step(ex.reopened(book), released, 100.0, RULES, "n")
    assert not any(isinstance(effect, ex.EmergencyStop) for effect in effects)
    assert not ex.is_stop_owed(book, released)
    _, effects = ex.step(ex.reopened(book), replace(released, stop_generation=2), 100.0, RULES, "n")
    assert ex.EmergencyStop(2) in effects


def _starting() -> tuple[ex.State, ex.Do]:
    """The start was decided, and waits behind a look at the printer."""
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    nonce = state.book.run.nonce if state.book.run else ""
    state, effects = ex.step(state, ex.Granted(nonce, 25.0), 100.1, RULES, "n")
    [do] = [effect for effect in effects if isinstance(effect, ex.Do)]
    assert do.operation is ex.Operation.START and ex.why_not_start(state, do, 100.2) == ""
    return state, do


@pytest.mark.parametrize("wish", [UNWANTED, CANCELLED, replace(CANCELLED, epoch=2)], ids=["gone", "cancel", "fenced"])
def test_a_start_that_was_called_off_while_it_waited_for_a_look_is_none(wish: ex.Wanted) -> None:
    """I6: nothing moves, and the bed token is not spent."""
    state, do = _starting()
    state, _ = ex.step(state, wish, 100.2, RULES, "n")
    assert ex.why_not_start(state, do, 100.3)
    _, kinds = _walk(_failed(ex.Operation.START, "refused", "called off", certain=True), state=state)
    assert kinds[0] == "never_started"


def test_a_start_goes_on_where_the_coordinator_fell_silent() -> None:
    state, do = _starting()
    assert ex.why_not_start(ex.step(state, ex.Tick(), 101.0, RULES, "n")[0], do, 101.0) == ""


def test_a_stop_while_a_start_is_on_its_way_is_written_again_behind_it() -> None:
    state, _ = _walk(IDLE, WANT, _done(ex.Operation.FETCH), _done(ex.Operation.UPLOAD))
    nonce = state.book.run.nonce if state.book.run else ""
    state, _ = _walk(ex.Granted(nonce, 25.0), state=state)
    assert state.busy is ex.Operation.START
    state, effects = ex.step(state, STOPPED, 101.0, RULES, "n")
    assert ex.EmergencyStop(1) in effects
    state, effects = ex.step(state, ex.Stopped(1), 101.1, RULES, "n")
    assert ex.EmergencyStop(1) in effects, "again"
    assert state.book.stop_done == 0
    state, _ = _step(state, _done(ex.Operation.START, Handle(1, {})), 101.2, "n")
    state, effects = ex.step(state, ex.Stopped(1), 101.3, RULES, "n")
    assert ex.EmergencyStop(1) in effects, "that one may have been written before the start was"
    assert state.book.stop_done == 0
    state, effects = ex.step(state, ex.Stopped(1), 101.4, RULES, "n")
    facts = [event.kind for effect in effects if isinstance(effect, ex.Commit) for event in effect.events]
    assert (state.book.stop_done, facts) == (1, ["emergency_stopped", "failed"])


def _finished_after_a_restart(host_boot: str, *looks: tuple[float, Observation]) -> float:
    """What is told of the time it took, by a printer that does not tell: begun at 100, then another process of the agent."""
    rules = replace(RULES, host_boot="host")
    state = _begun()
    assert state.book.run is not None
    run = replace(state.book.run, began_at=100.0, host_boot="host")
    state = ex.reopened(replace(state.book, run=run), host_boot)
    told: list[Any] = []
    for now, seen in looks:
        state, effects = ex.step(state, ex.Seen(seen), now, rules, "n")
        told += [
            e for effect in effects if isinstance(effect, ex.Commit) for e in effect.events if e.kind == "finished"
        ]
    (event,) = told
    return float(event.data["elapsed"])


def test_a_print_that_a_restarted_agent_saw_to_its_end_has_its_whole_time() -> None:
    printing = PRINTING.observation
    done = replace(printing, state=ObservedState.IDLE, ending=Ending.COMPLETE, end_of_file=True)
    assert _finished_after_a_restart("host", (150.0, printing), (160.0, done)) == 60.0
    # Another boot of the host: its clock began anew.
    assert _finished_after_a_restart("another", (150.0, printing), (160.0, done)) == 0.0
    # What ended while nobody looked may have ended at once.
    assert _finished_after_a_restart("host", (5_000.0, done)) == 0.0
    assert _finished_after_a_restart("host", (150.0, printing), (5_000.0, done)) == 50.0


def test_people_are_told_once_of_a_stop_that_cannot_be_carried_out() -> None:
    wanted = ex.Wanted(1, stop_generation=1)
    state, _ = ex.step(ex.reopened(ex.Book()), wanted, 1.0, RULES, "n")
    told = []
    for word in (ex.StopFailed(1, "no way"), ex.StopFailed(1, "no way"), ex.Stopped(1)):
        state, effects = ex.step(state, word, 2.0, RULES, "n")
        told += [e for effect in effects if isinstance(effect, ex.Commit) for e in effect.events]
        assert not any(isinstance(effect, ex.EmergencyStop) for effect in effects), "one is under way"
    assert [(event.kind, event.data.get("text")) for event in told] == [
        ("alarm", "no way"),
        ("emergency_stopped", None),
    ]


def test_people_are_told_that_there_was_nothing_to_stop() -> None:
    state, _ = ex.step(ex.reopened(ex.Book()), ex.Wanted(1, stop_generation=1), 1.0, RULES, "n")
    _, effects = ex.step(state, ex.Stopped(1, "it has no stop"), 2.0, RULES, "n")
    told = [e for effect in effects if isinstance(effect, ex.Commit) for e in effect.events]
    assert [event.kind for event in told] == ["alarm", "emergency_stopped"]
