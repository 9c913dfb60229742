"""SimplyPrint's pure parts: answers of any shape, and ends that are asked for, never guessed."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, ObservedState, Refused
from printfarm_agent.drivers.simplyprint import protocol
from printfarm_agent.drivers.simplyprint.memory import Memory, adopt, fold, needs_record
from printfarm_agent.drivers.simplyprint.protocol import STATES, Job, Row

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5),
    max_leaves=20,
)
NAME = "pf-00000000-0000-4000-8000-000000000001.gcode"
OURS = Memory(NAME, 9001, "abc", begun=True, progress=0.5)
RUNS = Row(17, "printing", job=Job(9001, "abc", NAME, "ongoing", 0.6, 300.0, 7))
IDLE = Row(17, "operational")


@given(
    JSON, st.dictionaries(st.sampled_from(["status", "data", "job", "jobIds", "file", "page_amount", "message"]), JSON)
)
def test_any_answer_is_read_or_refused(said: object, fields: dict[str, object]) -> None:
    with contextlib.suppress(BadReply, Refused):
        protocol.envelope(200, said)
    with contextlib.suppress(BadReply):
        protocol.file_id(fields)
    assert all(isinstance(number, int) for number in protocol.started_jobs(fields))
    assert protocol.rows(fields) is not None and protocol.jobs(fields) is not None and protocol.pages(fields) <= 100
    assert protocol.details(fields, 1, "a").number == 1


def test_a_no_may_come_with_200() -> None:
    with pytest.raises(Refused, match="Print Farm plan"):
        protocol.envelope(200, {"status": False, "message": "Needs the Print Farm plan"})
    with pytest.raises(Refused):
        protocol.envelope(404, {"status": True})
    with pytest.raises(BadReply):
        protocol.envelope(200, {"success": True})


@given(JSON)
def test_a_word_that_nobody_knows_is_never_idle(word: object) -> None:
    for row in protocol.rows({"data": [{"id": 17, "printer": {"state": word}}]}):
        _, seen = fold(None, row, None)
        if not (isinstance(word, str) and word in STATES):
            assert seen.state is ObservedState.UNKNOWN
        if seen.state is ObservedState.IDLE:
            assert word == "operational"


def test_no_job_ids_means_that_nothing_started() -> None:
    assert protocol.started_jobs({"status": True, "token": "x"}) == []
    assert protocol.started_jobs({"jobIds": [5]}) == protocol.started_jobs({"job_ids": [5]}) == [5]


def test_numbers_that_cannot_be_are_left_out() -> None:
    temps = {"current": {"tool": [float("nan"), 25], "bed": -300}, "target": {"tool": [0], "bed": 60}}
    (row,) = protocol.rows({"data": {"id": 1, "printer": {"state": "operational", "temps": temps}}})
    assert [heater.name for heater in row.heaters] == ["hotend1"]


def test_a_finish_is_told_by_its_record() -> None:
    assert needs_record(OURS, IDLE) and not needs_record(OURS, RUNS)
    waits, seen = fold(OURS, IDLE, Job(9001, "abc", NAME, "ongoing"))
    assert (seen.state, seen.file_name, seen.ending) == (ObservedState.FINISHING, NAME, None), "the row lags"
    for word, ending in (("done", Ending.COMPLETE), ("failed", Ending.FAILED), ("cancelled", Ending.CANCELLED)):
        _, seen = fold(waits, IDLE, Job(9001, "abc", NAME, word, 1.0, reason="because"))
        assert (seen.state, seen.ending, seen.print_number) == (ObservedState.IDLE, ending, 9001)
    _, no_word = fold(waits, IDLE, None)
    assert no_word.ending is None, "never guessed"


def test_a_done_in_the_middle_is_not_believed() -> None:
    _, seen = fold(OURS, IDLE, Job(9001, "abc", NAME, "done", 0.4))
    assert seen.ending is Ending.COMPLETE and not seen.end_of_file


def test_offline_is_no_end() -> None:
    offline = Row(17, "offline")
    assert not needs_record(OURS, offline)
    memory, seen = fold(OURS, offline, None)
    assert seen.state is ObservedState.OFFLINE and memory == OURS


def test_another_job_is_not_ours() -> None:
    theirs = replace(RUNS, job=Job(9002, "x", "theirs.gcode", "ongoing"))
    _, seen = fold(None, theirs, None)
    assert (seen.state, seen.file_name) == (ObservedState.PRINTING, "theirs.gcode")
    assert adopt(None, theirs) is None
    found = adopt(None, RUNS)
    assert found is not None and (found.name, found.number, found.uid) == (NAME, 9001, "abc")


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (replace(IDLE, state="print_pending"), ObservedState.PREPARING),
        (replace(IDLE, state="downloading"), ObservedState.PREPARING),
        (replace(IDLE, state="awaiting_bed_clear"), ObservedState.PREPARING),
        (replace(IDLE, state="in_maintenance"), ObservedState.PREPARING),
        (replace(IDLE, usable=False), ObservedState.PREPARING),
        (replace(IDLE, state="error"), ObservedState.ERROR),
        (replace(RUNS, state="pausing"), ObservedState.PRINTING),
        (replace(RUNS, state="paused"), ObservedState.PAUSED),
        (IDLE, ObservedState.IDLE),
    ],
)
def test_states(row: Row, state: ObservedState) -> None:
    assert fold(None, row, None)[1].state is state


def test_a_bed_that_the_cloud_wants_cleared_after_our_own_job_is_the_farms_business() -> None:
    ended = replace(OURS, ending=Ending.COMPLETE)
    waits = replace(IDLE, state="awaiting_bed_clear")
    _, seen = fold(ended, waits, None, OURS.number)
    assert (seen.state, seen.ending) == (ObservedState.IDLE, Ending.COMPLETE)
    for newest in (OURS.number + 1, None):
        _, seen = fold(ended, waits, None, newest)
        assert (seen.state, seen.ending) == (ObservedState.PREPARING, None) and "not the farm's" in seen.message
