"""OctoPrint's answers as values: each state it knows, and everything that it should not say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, ObservedState
from printfarm_agent.drivers.octoprint import protocol

NAME = "pf-00000000-0000-0000-0000-000000000001.gcode"
FLAGS = {"ready": True, "operational": True, "printing": False, "paused": False, "error": False, "closedOrError": False}
READY = {"state": {"text": "Operational", "flags": FLAGS}}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def job(state: str, path: str | None = f"printfarm/{NAME}", completion: float | None = None) -> dict[str, object]:
    file = {"path": path, "origin": None if path is None else "local"}
    return {"job": {"file": file}, "progress": {"completion": completion}, "state": state}


def look(state: str, printer: protocol.Json | None = None, file: protocol.Json | None = None) -> protocol.Observation:
    return protocol.observation(job(state), printer, NAME, file, cancelled=False)


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("Offline", ObservedState.OFFLINE),
        ("Connecting", ObservedState.OFFLINE),
        ("Starting", ObservedState.PREPARING),
        ("Printing", ObservedState.PRINTING),
        ("Printing from SD", ObservedState.PRINTING),
        ("Pausing", ObservedState.PRINTING),
        ("Paused", ObservedState.PAUSED),
        ("Finishing", ObservedState.FINISHING),
        ("Cancelling", ObservedState.PRINTING),
        ("Error", ObservedState.ERROR),
        ("Offline after error", ObservedState.ERROR),
        ("Offline (Error: SerialException)", ObservedState.ERROR),
        ("Unknown State (17)", ObservedState.UNKNOWN),
        ("", ObservedState.UNKNOWN),
    ],
)
def test_each_word_for_a_state(word: str, state: ObservedState) -> None:
    assert look(word).state is state


@pytest.mark.parametrize(
    ("flag", "value"), [("ready", False), ("operational", False), ("printing", True), ("paused", True), ("error", True)]
)
def test_idle_needs_the_flags_too(flag: str, value: bool) -> None:
    assert look("Operational", READY).state is ObservedState.IDLE
    assert (
        look("Operational", {"state": {"text": "Operational", "flags": FLAGS | {flag: value}}}).state
        is ObservedState.UNKNOWN
    )
    assert look("Operational", None).state is ObservedState.UNKNOWN


def test_the_record_tells_the_end() -> None:
    done = {"prints": {"last": {"success": True, "printTime": 3.5}}}
    seen = look("Operational", READY, done)
    assert (seen.ending, seen.end_of_file, seen.elapsed_seconds, seen.progress) == (Ending.COMPLETE, True, 3.5, 1.0)
    failed = {"prints": {"last": {"success": False}}}
    assert look("Operational", READY, failed).ending is Ending.FAILED
    ours = protocol.observation(job("Operational"), READY, NAME, failed, cancelled=True)
    assert ours.ending is Ending.CANCELLED
    assert look("Finishing", READY, done).ending is None, "it still moves"


@pytest.mark.parametrize(
    ("path", "origin", "name"),
    [
        (f"printfarm/{NAME}", "local", NAME),
        (NAME, "local", f"/{NAME}"),
        ("theirs.gcode", "local", "theirs.gcode"),
        (f"printfarm/{NAME}", "sdcard", f"sdcard/printfarm/{NAME}"),
        (None, None, ""),
    ],
)
def test_only_files_in_our_folder_are_ours(path: str | None, origin: str | None, name: str) -> None:
    assert protocol.name_of({"job": {"file": {"path": path, "origin": origin}}}, "printfarm") == name


@pytest.mark.parametrize(
    ("said", "driver"), [("OctoPrint (Moonraker v0.9)", "moonraker"), ("PrusaLink 2", "prusalink")]
)
def test_imitators_are_sent_to_their_driver(said: str, driver: str) -> None:
    with pytest.raises(BadReply, match=driver):
        protocol.server_version({"text": said, "server": "1.0"})


def test_permissions_that_are_missing_are_named() -> None:
    assert protocol.missing_permissions({"name": None, "permissions": []}) is None
    every = ["STATUS", "FILES_LIST", "FILES_UPLOAD", "FILES_SELECT", "FILES_DELETE", "PRINT"]
    assert protocol.missing_permissions({"name": "farm", "permissions": every}) == ["CONTROL"]
    assert protocol.missing_permissions({"name": "farm", "permissions": [{"key": key} for key in every]}) == ["CONTROL"]


def test_only_a_cancel_by_somebody_is_one() -> None:
    def told(kind: str = "PrintCancelled", **payload: object) -> dict[str, object]:
        return {"event": {"type": kind, "payload": {"path": "a", "origin": "local", "user": "eva"} | payload}}

    assert protocol.cancelled_path(told()) == "a"
    for other in (told(user=None), told(origin="sdcard"), told("PrintFailed"), {"current": {}}, [], {"event": 3}):
        assert protocol.cancelled_path(other) == ""
    assert protocol.wants_login({"reauthRequired": {"reason": "stale"}})
    assert protocol.socket_login({"name": "farm", "session": "s"}) == "farm:s"
    with pytest.raises(BadReply):
        protocol.socket_login({"name": "farm"})


def test_what_was_printed_last_is_found_in_the_folder() -> None:
    def file(name: str, date: object) -> dict[str, object]:
        return {"name": name, "prints": {"last": {"date": date}}}

    children = [file("a", 5.0), file("b", 7.5), file("c", float("nan")), {"name": "d"}, 3]
    assert protocol.last_printed({"children": children}) == "b"
    assert protocol.last_printed({"children": "?"}) == ""


@given(said=st.dictionaries(st.sampled_from(["job", "progress", "state", "error"]), _JSON), printer=_JSON, file=_JSON)
def test_nothing_in_the_wrong_shape_is_idle(said: dict[str, object], printer: object, file: object) -> None:
    asked = printer if isinstance(printer, dict) else None
    record = file if isinstance(file, dict) else None
    name = protocol.name_of(said, "printfarm")
    seen = protocol.observation(said, asked, name, record, cancelled=False)
    assert seen.state is not ObservedState.IDLE
    assert len(seen.message) <= 256
