"""Printers that lie, hang, reset, drift and fall silent, under real programs: what the farm says then, and does not do."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_farm import checked, finish
from tests.support.farm import GCODE, LONG, RealFarm, real_farm, until

pytestmark = pytest.mark.timeout(240)
HOT = "heat = { deviation_seconds = 0.5 }\n"
# Most of its time comes after most of its bytes.
SLOW_END = GCODE.replace(b"1m 40s", b"6m 0s") + b"G4 S280\n"


@pytest.fixture
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealFarm]:
    """One printer; its fault is the test's."""
    with real_farm(tmp_path, printer_count=1, **getattr(request, "param", {})) as running:
        yield running


def fault(farm: RealFarm, name: str, argument: float | None = None) -> None:
    farm.printers.admin("fault", name=name, **({} if argument is None else {"argument": argument}))


def clear(farm: RealFarm) -> None:
    farm.printers.admin("clear_fault")


def printer(farm: RealFarm) -> dict[str, Any]:
    found: dict[str, Any] = until(lambda: farm.try_get("/api/v1/printers/p0"))
    return found


def progress(farm: RealFarm) -> float:
    """How far the print has come, from 0 to 1; before its first telemetry it is not known, and no further than 0."""
    return printer(farm)["latest"]["progress"] or 0.0


def logged(farm: RealFarm, event: str) -> list[dict[str, Any]]:
    return [entry for entry in farm.printers.log(0) if entry["event"] == event]


def stays_reset(farm: RealFarm) -> bool:
    """A person resets the machine, and again where a stop for what was read before the reset came after it."""
    told = [entry["event"] for entry in farm.printers.log(0) if entry["event"] in ("halted", "reset_by_person")]
    if told[-1] == "halted":
        farm.printers.admin("reset")
        return False
    return bool(printer(farm)["state"] == "idle")


def let_it_go_on(farm: RealFarm) -> None:
    """A person looked, took the part off, and said so."""
    farm.printers.admin("clear_plate")
    until(lambda: farm.post("/api/v1/printers/p0/release").status_code in (200, 409), why="released")
    until(lambda: farm.post("/api/v1/printers/p0/bed/clear").status_code == 200, why="cleared")


def test_a_printer_that_says_done_and_is_not(farm: RealFarm) -> None:
    """I16: not verified, its bed unknown, and nothing starts on it until a person has looked."""
    fault(farm, "lie_done_at", 0.4)
    job_id = farm.submit("lied to", gcode=SLOW_END, quantity=1)
    run = farm.wait_run(job_id, "finished")
    assert run["verified"] is False
    found = printer(farm)
    assert (found["bed"]["state"], found["gates"]["locked"]) == ("unknown", True)
    until(lambda: logged(farm, "end"), why="its real end")
    assert farm.post("/api/v1/printers/p0/assign", {"job_id": job_id}).status_code == 409
    assert farm.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": 0, "reason": "half"}).status_code == 200
    let_it_go_on(farm)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


def test_a_print_that_hangs_near_its_end_is_still_printing(farm: RealFarm) -> None:
    """No timer makes it a success or a failure; a person may cancel it."""
    fault(farm, "hang_at", 0.9)
    job_id = farm.submit("hung", quantity=1)
    run = farm.wait_run(job_id, "printing")
    until(lambda: any(entry["name"] == "hang" for entry in logged(farm, "fault")), why="it hangs")
    before = farm.status(job_id)["runs"]
    until(lambda: progress(farm) >= 0.85, why="its progress is seen")
    after = farm.status(job_id)["runs"]
    assert [(r["run_id"], r["state"]) for r in before] == [(r["run_id"], r["state"]) for r in after]
    assert farm.post(f"/api/v1/runs/{run['run_id']}/cancel").status_code == 202
    farm.wait_run(job_id, "cancelled")
    assert [entry["ending"] for entry in logged(farm, "end")] == ["cancelled"]
    checked(farm)


@pytest.mark.parametrize(
    ("name", "code", "locked"), [("reset_at", "printer_reset", False), ("thermal_runaway_at", "thermal", True)]
)
def test_a_print_that_the_firmware_ends(farm: RealFarm, name: str, code: str, locked: bool) -> None:
    fault(farm, name, 0.5)
    job_id = farm.submit("ended", quantity=1)
    run = farm.wait_run(job_id, "failed")
    assert run["reason_code"] == code
    found = printer(farm)
    assert found["bed"]["state"] in ("occupied", "unknown")
    assert found["gates"]["locked"] is locked
    # Owed again, and not started on top of what lies there.
    waiting = farm.status(job_id)
    assert (waiting["state"], len(waiting["runs"])) == ("queued", 1)
    farm.printers.admin("reset")
    let_it_go_on(farm)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


@pytest.mark.parametrize("farm", [{"printer_toml": HOT, "time_scale": 5.0}], indirect=True)
def test_a_heater_that_leaves_its_target_stops_the_machine(farm: RealFarm) -> None:
    job_id = farm.submit("drifts", quantity=1)
    farm.wait_run(job_id, "printing")
    until(lambda: progress(farm) > 0.05, why="it is hot and moves")
    fault(farm, "heater_drift", 600.0)
    run = farm.wait_run(job_id, "failed")
    assert run["reason_code"] == "thermal"
    assert logged(farm, "emergency_stop")
    assert printer(farm)["gates"]["locked"]
    assert farm.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 202
    clear(farm)
    until(lambda: stays_reset(farm), why="the machine is reset, and no stop came after that")
    let_it_go_on(farm)
    checked(farm)


@pytest.mark.parametrize(
    ("name", "argument"), [("drop_line", 3.0), ("never_answer", None), ("garbage", None), ("unknown_state", None)]
)
def test_a_printer_out_of_touch_goes_on_and_is_found_again(farm: RealFarm, name: str, argument: float | None) -> None:
    job_id = farm.submit("out of touch", gcode=LONG, quantity=1)
    farm.wait_run(job_id, "printing")
    fault(farm, name, argument)
    until(lambda: printer(farm)["state"] in ("offline", "unknown"), why="it is missed")
    assert farm.status(job_id)["runs"][0]["state"] in ("printing", "unconfirmed")
    clear(farm)
    finish(farm, job_id)
    assert len(farm.status(job_id)["runs"]) == 1
    assert checked(farm)["physical_start"] == 1


def test_a_printer_that_refuses_rests_and_is_asked_again(farm: RealFarm) -> None:
    fault(farm, "refuse_start")
    job_id = farm.submit("refused", quantity=1)
    run = farm.wait_run(job_id, "fenced")
    assert run["reason_code"]
    waits = until(lambda: farm.status(job_id)["waiting"] or None)
    assert "refused" in {reason["code"].lower() for reason in waits["reasons"]}
    clear(farm)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


def test_a_start_whose_answer_is_lost_is_found_on_the_printer(farm: RealFarm) -> None:
    fault(farm, "lose_start_reply")
    job_id = farm.submit("answer lost", quantity=1)
    farm.wait_run(job_id, "printing", "finishing", "finished")
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


def test_a_power_cut_of_the_printer(farm: RealFarm) -> None:
    job_id = farm.submit("dark", gcode=LONG, quantity=1)
    farm.wait_run(job_id, "printing")
    farm.printers.kill()
    until(lambda: printer(farm)["state"] == "offline", why="it is missed")
    farm.printers.start()
    run = farm.wait_run(job_id, "failed")
    assert run["reason_code"] in ("printer_reset", "printer_lost")
    assert printer(farm)["bed"]["state"] != "clear"
    let_it_go_on(farm)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


def test_a_cancel_at_the_machine_holds_the_job(farm: RealFarm) -> None:
    """Somebody there did not want it: it is not printed again unasked."""
    job_id = farm.submit("unwanted there", gcode=LONG, quantity=1)
    farm.wait_run(job_id, "printing")
    farm.printers.admin("local_cancel")
    farm.wait_run(job_id, "cancelled")
    assert farm.status(job_id)["held"]
    let_it_go_on(farm)
    assert len(farm.status(job_id)["runs"]) == 1
    assert farm.post(f"/api/v1/jobs/{job_id}/release").status_code == 200
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


def test_a_print_started_at_the_machine_is_nobodys_run(farm: RealFarm) -> None:
    first = farm.submit("leaves its file", quantity=1)
    finish(farm, first)
    name = logged(farm, "physical_start")[0]["file"]
    until(lambda: farm.post("/api/v1/printers/p0/hold", {"reason": "mine"}).status_code == 200)
    (farm.printers._folder / "0" / "virtual-1" / "files" / "own.gcode").write_bytes(GCODE + b"G4 S200\n")
    assert name != "own.gcode"
    farm.printers.admin("local_start", name="own.gcode")
    until(lambda: printer(farm)["state"] == "busy_external", why="it is seen as somebody else's")
    farm.post("/api/v1/printers/p0/release")
    second = farm.submit("must wait", quantity=1)
    waits = until(lambda: farm.status(second)["waiting"] or None)
    assert "not_idle" in {reason["code"].lower() for reason in waits["reasons"]}
    until(lambda: len(logged(farm, "end")) == 2, why="their print is over")
    let_it_go_on(farm)
    finish(farm, second)
    assert checked(farm)["physical_start"] == 2


@pytest.mark.parametrize("farm", [{"driver_timeout": 600.0}], indirect=True)
def test_a_driver_that_hangs_makes_its_run_unconfirmed_and_no_other(farm: RealFarm) -> None:
    """The process lives and beats; the driver's own progress age tells."""
    job_id = farm.submit("driver hangs", quantity=1)
    farm.wait_run(job_id, "printing")
    fault(farm, "never_answer")
    run = farm.wait_run(job_id, "unconfirmed")
    assert run["reason_code"] == "driver_stuck"
    assert farm.get("/api/v1/agents")["items"][0]["reachability"] == "connected"
    # The line breaks: the driver comes back to life.
    clear(farm)
    fault(farm, "drop_line", 0.2)
    finish(farm, job_id)
    assert len(farm.status(job_id)["runs"]) == 1
    assert checked(farm)["physical_start"] == 1


@pytest.mark.parametrize("farm", [{"agent_toml": "idle_heat_seconds = 3\n"}], indirect=True)
@pytest.mark.parametrize("coordinator", ["present", "gone"])
def test_heaters_left_on_by_a_file_go_off(farm: RealFarm, coordinator: str) -> None:
    """I23; the ten minutes are three seconds here, and a unit test counts the ten."""
    job_id = farm.submit("leaves it hot", quantity=1)
    farm.wait_run(job_id, "printing")
    if coordinator == "gone":
        farm.coordinator.kill()
    until(lambda: logged(farm, "end"), why="the print is over")
    until(lambda: (logged(farm, "heater") or [{"target": 1}])[-1]["target"] == 0, why="cold")
    at = [entry["event"] for entry in farm.printers.log(0)]
    assert at.index("end") < len(at) - 1 - at[::-1].index("heater")
    if coordinator == "gone":
        farm.coordinator.start()
    finish(farm, job_id)
    checked(farm)
