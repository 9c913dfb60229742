"""What Moonraker and Klipper say, as values: each state, the traps, and everything that they should not say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_agent.driver import BadReply, Ending, Observation, ObservedState
from printfarm_agent.drivers.moonraker import protocol
from printfarm_agent.drivers.moonraker.protocol import Estimate, Past

NAME = "pf-00000000-0000-0000-0000-000000000001.gcode"
PATH = f"printfarm/{NAME}"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def seen(state: str, *, works: str = "ready", still: str = "Ready", **more: Any) -> dict[str, Any]:
    stats = {"state": state, "filename": PATH, "message": "", "print_duration": 5.0, "total_duration": 9.0}
    return {
        "webhooks": {"state": works, "state_message": "Lost communication with MCU"},
        "print_stats": stats | more.pop("stats", {}),
        "idle_timeout": {"state": still},
        "virtual_sdcard": {"progress": 0.5},
        **more,
    }


def look(said: dict[str, Any], past: Past | None = None, estimate: Estimate | None = None) -> Observation:
    return protocol.observation(said, NAME, past, estimate or Estimate())


@pytest.mark.parametrize(
    ("state", "still", "ours", "ending"),
    [
        ("standby", "Idle", ObservedState.IDLE, None),
        ("printing", "Printing", ObservedState.PRINTING, None),
        ("paused", "Ready", ObservedState.PAUSED, None),
        ("complete", "Printing", ObservedState.FINISHING, None),
        ("complete", "Ready", ObservedState.IDLE, Ending.COMPLETE),
        ("cancelled", "Ready", ObservedState.IDLE, Ending.CANCELLED),
        ("error", "Ready", ObservedState.IDLE, Ending.FAILED),
        ("complete", "Confused", ObservedState.UNKNOWN, None),
        ("levitating", "Ready", ObservedState.UNKNOWN, None),
    ],
)
def test_each_word_for_a_state(state: str, still: str, ours: ObservedState, ending: Ending | None) -> None:
    found = look(seen(state, still=still))
    assert (found.state, found.ending, found.end_of_file) == (ours, ending, ending is Ending.COMPLETE)


@pytest.mark.parametrize("works", ["shutdown", "error"])
def test_webhooks_comes_first(works: str) -> None:
    # After an emergency stop print_stats says "paused" for ever.
    found = look(seen("paused", works=works))
    assert (found.state, found.halted, found.ending) == (ObservedState.ERROR, True, Ending.FAILED)
    assert found.message == "Lost communication with MCU"
    assert look(seen("standby", works="startup")).state is ObservedState.OFFLINE
    assert look(seen("standby", works="?")).state is ObservedState.UNKNOWN


def test_moves_of_nobodys_print_are_no_idle() -> None:
    by_hand = protocol.observation(seen("standby", still="Printing", stats={"filename": ""}), "", None, Estimate())
    assert (by_hand.state, by_hand.file_name) == (ObservedState.PRINTING, None)


def test_heating_before_the_first_extrusion_is_preparing() -> None:
    cold = {"extruder": {"temperature": 80.0, "target": 200.0}}
    assert look(seen("printing", stats={"print_duration": 0}, **cold)).state is ObservedState.PREPARING
    warm = {"extruder": {"temperature": 199.0, "target": 200.0}}
    assert look(seen("printing", stats={"print_duration": 0}, **warm)).state is ObservedState.PRINTING
    assert look(seen("printing", **cold)).state is ObservedState.PRINTING, "a tool change heats too"


@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("completed", Ending.COMPLETE),
        ("cancelled", Ending.CANCELLED),
        ("klippy_disconnect", Ending.FAILED),
        ("klippy_shutdown", Ending.FAILED),
        ("interrupted", None),
        ("server_exit", None),
        ("in_progress", None),
    ],
)
def test_what_klipper_forgot_is_in_the_history(status: str, ending: Ending | None) -> None:
    jobs = [
        {"job_id": "00001A", "filename": PATH, "status": status, "total_duration": 7.0},
        {"job_id": "zz", "filename": PATH, "status": "completed"},
        {"job_id": "00001B", "filename": "theirs.gcode", "status": "completed"},
    ]
    past = protocol.past_of({"jobs": jobs}, PATH)
    assert past is not None
    found = look(seen("standby", stats={"filename": ""}), past)
    assert (found.file_name, found.ending, found.print_number, found.elapsed_seconds) == (NAME, ending, 0x1A, 7.0)


def test_everything_klipper_knows_is_told() -> None:
    said = seen(
        "printing",
        stats={"info": {"current_layer": 3, "total_layer": 40}},
        extruder={"temperature": 210.0, "target": 210.0},
        extruder1={"temperature": 25.0, "target": 0.0},
        heater_bed={"temperature": 60.0, "target": 60.0},
        motion_report={"live_position": [1.0, 2.0, 3.0, 99.0]},
    )
    said["heater_generic chamber"] = {"temperature": 41.0, "target": 45.0}
    said["filament_switch_sensor runout"] = {"filament_detected": True, "enabled": True}
    said["filament_motion_sensor old"] = {"filament_detected": False, "enabled": False}
    found = look(said, estimate=Estimate(65.0, 40))
    assert (found.layer, found.layer_count, found.progress, found.remaining_seconds) == (3, 40, 0.5, 60.0)
    assert [heater.name for heater in found.heaters] == ["hotend", "hotend1", "bed", "chamber"]
    assert (found.position_mm, found.filament_present) == ((1.0, 2.0, 3.0), True)
    said["filament_switch_sensor runout"]["filament_detected"] = False
    assert look(said).filament_present is False


def test_what_to_ask_for_comes_from_the_list() -> None:
    objects = ["webhooks", "print_stats", "gcode", "extruder", "heater_generic chamber", "filament_switch_sensor a", 3]
    assert protocol.names({"objects": objects}) == (
        "webhooks",
        "print_stats",
        "extruder",
        "heater_generic chamber",
        "filament_switch_sensor a",
    )
    assert protocol.names({}) == ("webhooks",)


@pytest.mark.parametrize(
    ("kinematics", "low", "high", "volume"),
    [
        ("corexy", [-10, -3, -2], [250, 210, 200], (250.0, 210.0, 200.0)),
        ("delta", [-100, -100, -1], [100, 100, 300], (200.0, 200.0, 300.0)),
        ("none", [0, 0, 0], [0, 0, 0], None),
        ("cartesian", [0, 0], [1, "x", 3], None),
    ],
)
def test_the_build_volume(kinematics: str, low: list[Any], high: list[Any], volume: tuple[float, ...] | None) -> None:
    settings = {"printer": {"kinematics": kinematics}, "extruder": {"nozzle_diameter": 0.6}}
    objects = {"toolhead": {"axis_minimum": low, "axis_maximum": high}, "configfile": {"settings": settings}}
    machine, _ = protocol.identity({"moonraker_version": "0.11.0"}, {"app": "Kalico"}, objects)
    assert (machine.volume_mm, machine.nozzle_diameter_mm) == (volume, 0.6)


@pytest.mark.parametrize("reply", [None, [], {}, {"result": []}, {"result": {"status": []}}, {"result": {}}])
def test_no_status_is_a_bad_reply(reply: object) -> None:
    with pytest.raises(BadReply):
        protocol.status(reply)


def test_an_upload_is_compared_with_where_it_lies() -> None:
    item = {"item": {"path": PATH, "root": "gcodes"}}
    assert protocol.stored_as(item, PATH)
    assert protocol.stored_as({"result": item}, PATH)
    assert not protocol.stored_as({"item": {"path": NAME, "root": "gcodes"}}, PATH)


@given(
    said=st.dictionaries(st.sampled_from([*protocol.ALWAYS, "extruder", "heater_bed"]), _JSON),
    stats=st.dictionaries(st.sampled_from(["state", "filename", "message", "print_duration", "info"]), _JSON),
)
def test_nothing_in_the_wrong_shape_is_idle(said: dict[str, Any], stats: dict[str, Any]) -> None:
    found = look(said)
    assert found.state is not ObservedState.IDLE
    found = look(said | {"webhooks": {"state": "ready"}, "print_stats": stats})
    assert found.state is not ObservedState.IDLE
    assert len(found.message) <= 256
