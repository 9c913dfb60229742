"""Duet's pure parts: the object model of any shape, and how a print ended where there is no finished state."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, Observation, ObservedState
from printfarm_agent.drivers.duet import model
from printfarm_agent.drivers.duet.memory import Memory, fold
from printfarm_agent.drivers.duet.model import STATES, Last, Look

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
RUNS = Look("processing", up_time=500.0, file_name=NAME, progress=0.5, duration=300.0, remaining=300.0, layer=7)
BEGUN = Memory(NAME, 100.0, begun=True, up_time=500.0, progress=0.5, remaining=300.0)


@given(st.dictionaries(st.sampled_from(["state", "job", "heat", "tools", "move", "boards", "volumes"]), JSON))
def test_any_model_is_read_or_refused(said: dict[str, object]) -> None:
    for read in (model.look, model.identity):
        with contextlib.suppress(BadReply):
            read(said)


@given(JSON, st.dictionaries(st.text(max_size=9), JSON))
def test_a_word_that_nobody_knows_is_never_idle(word: object, rest: dict[str, object]) -> None:
    look = model.look({"state": {**rest, "status": word}})
    _, seen = fold(None, replace(look, file_name=None), 0.0)
    if not (isinstance(word, str) and word in STATES):
        assert seen.state is ObservedState.UNKNOWN
    if seen.state is ObservedState.IDLE:
        assert word == "idle"


def test_old_firmware_is_refused() -> None:
    with pytest.raises(BadReply, match=r"3\.4"):
        model.identity({"boards": [{"firmwareVersion": "3.3.0"}]})
    assert model.identity({"boards": [{"firmwareVersion": "3.10.1", "firmwareName": "RepRapFirmware"}]}).firmware


@pytest.mark.parametrize("name", ["a'b.gcode", 'a"b.gcode', "a b.gcode", "../a.gcode", "a" * 81, "a;b", ""])
def test_names_that_gcode_would_not_carry_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        model.path_of(name)


def test_heaters_by_their_numbers_and_empty_places() -> None:
    sensors = [
        {"current": 60, "active": 60, "state": "active"},
        None,
        {"current": 25, "active": -273.15, "state": "active"},
    ]
    said = {
        "state": {"status": "idle"},
        "heat": {"heaters": sensors, "bedHeaters": [0, -1]},
        "tools": [None, {"heaters": [2, 9]}],
    }
    assert {(h.name, h.current, h.target) for h in model.look(said).heaters} == {
        ("hotend", 25.0, 0.0),
        ("bed", 60.0, 60.0),
    }


def ends(memory: Memory, look: Look, now: float = 110.0) -> Observation:
    between, first = fold(memory, look, now)
    assert first.ending is None, "the flags of the end come after the state"
    return fold(between, look, now + 1.0)[1]


def test_standalone_tells_by_one_figure() -> None:
    idle = Look("idle", up_time=800.0, last=Last(NAME, 600.0))
    seen = ends(replace(BEGUN, progress=0.99), idle)
    assert (seen.state, seen.ending, seen.end_of_file, seen.file_name) == (
        ObservedState.IDLE,
        Ending.COMPLETE,
        True,
        NAME,
    )
    assert not ends(BEGUN, idle).end_of_file, "the file was read to the middle only"
    none = replace(idle, last=Last(NAME, 0.0))
    assert ends(BEGUN, none).ending is Ending.FAILED
    cancelled = ends(replace(BEGUN, cancel_asked=True), none)
    assert (cancelled.ending, cancelled.by_farm) == (Ending.CANCELLED, True)


def test_the_sbc_tells_by_flags() -> None:
    idle = Look("idle", up_time=800.0)
    for aborted, cancelled, ending in (
        (False, False, Ending.COMPLETE),
        (True, False, Ending.FAILED),
        (False, True, Ending.CANCELLED),
    ):
        assert ends(BEGUN, replace(idle, last=Last(NAME, 600.0, aborted, cancelled))).ending is ending


def test_a_selected_file_is_no_finished_one() -> None:
    """M23 alone changes the last name, and leaves the duration of the job before."""
    _, seen = fold(None, Look("idle", last=Last(NAME, 600.0)), 0.0)
    assert (seen.file_name, seen.ending) == (None, None)


def test_a_reset_and_another_print() -> None:
    assert "restarted" in ends(BEGUN, Look("idle", up_time=3.0)).message
    other = ends(BEGUN, Look("idle", up_time=900.0, last=Last("theirs.gcode", 10.0)))
    assert other.ending is Ending.FAILED and "lost track" in other.message


def test_power_and_halt() -> None:
    _, off = fold(BEGUN, Look("off"), 110.0)
    assert off.state is ObservedState.OFFLINE
    _, halted = fold(BEGUN, Look("halted"), 110.0)
    assert (halted.state, halted.halted, halted.ending) == (ObservedState.ERROR, True, Ending.FAILED) and halted.message
    _, fault = fold(None, Look("idle", faults=("hotend",)), 0.0)
    assert fault.state is ObservedState.ERROR and "hotend" in fault.message


@pytest.mark.parametrize(
    ("look", "state"),
    [
        (RUNS, ObservedState.PRINTING),
        (replace(RUNS, layer=None), ObservedState.PREPARING),
        (replace(RUNS, status="pausing"), ObservedState.PRINTING),
        (replace(RUNS, status="paused"), ObservedState.PAUSED),
        (replace(RUNS, status="changingTool"), ObservedState.PRINTING),
        (Look("busy"), ObservedState.PREPARING),
        (replace(RUNS, status="simulating"), ObservedState.PREPARING),
        (Look("updating"), ObservedState.PREPARING),
        (Look("idle"), ObservedState.IDLE),
    ],
)
def test_states(look: Look, state: ObservedState) -> None:
    assert fold(None, look, 0.0)[1].state is state


def test_stop_macros_are_no_end() -> None:
    for status in ("busy", "cancelling"):
        _, seen = fold(BEGUN, Look(status), 110.0)
        assert (seen.state, seen.file_name, seen.ending) == (ObservedState.FINISHING, NAME, None)


@given(st.sampled_from(sorted(STATES | {""})), st.booleans(), st.sampled_from([None, BEGUN, Memory(NAME, 0.0)]))
def test_every_pair_has_an_answer(status: str, runs: bool, memory: Memory | None) -> None:
    _, seen = fold(memory, replace(RUNS, status=status) if runs else Look(status), 1000.0)
    if seen.state is ObservedState.IDLE:
        assert status == "idle"
