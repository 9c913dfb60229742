"""A serial printer in a whole farm of real processes: a job from POST to a verified print, and what dies meanwhile."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.fake_marlin import FakeMarlin
from tests.support.farm import RealFarm, until
from tests.support.marlin_board import Firmware
from tests.support.serial_host import SerialHost

pytestmark = pytest.mark.timeout(240)


def gcode(seconds: int) -> bytes:
    """Hot, at 100 mm/s, for so long."""
    moves = b"".join(b"G1 X%d E%d F6000\n" % (i % 2 * 10 + 10, i + 1) for i in range(seconds * 10))
    head = b"; estimated printing time (normal mode) = %ds\nM140 S40\nM104 S200\nG92 E0\n" % seconds
    return head + moves + b"M104 S0\nM140 S0\nG1 X0\n"


class FarmOfOne(RealFarm):
    """No virtual printers: ready once the serial one is idle."""

    def is_ready(self) -> bool:
        answer = self.try_get("/api/v1/printers")
        return answer is not None and [printer["state"] for printer in answer["items"]] == ["idle"]


class SerialFarm:
    """The farm, and its one printer."""

    def __init__(self, farm: RealFarm, printer: FakeMarlin, host: SerialHost) -> None:
        self.farm, self.printer, self.host = farm, printer, host

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: self.farm.try_get("/api/v1/printers/serial-1"))
        return found

    def is_idle(self) -> bool:
        return bool(self.shown()["state"] == "idle")

    def moves(self) -> int:
        return sum(command.startswith("G1 X") for command in self.printer.commands())

    def sessions(self) -> int:
        """Prints that the board saw begin."""
        return sum(command == "M85 S3600" for command in self.printer.commands())

    def let_it_go_on(self, job_id: str) -> None:
        """Nobody wants the job any more; a person took off what lies there, and said so."""
        self.farm.post(f"/api/v1/jobs/{job_id}/cancel")
        until(self.is_idle, 60, "it is there again")
        printer = "/api/v1/printers/serial-1"
        until(lambda: self.farm.post(f"{printer}/release").status_code in (200, 409), why="released")
        until(lambda: self.farm.post(f"{printer}/bed/clear").status_code in (200, 409), why="cleared")

    def is_cold(self) -> bool:
        return self.printer.do(lambda board: not any(heater.target for heater in board.heaters.values()))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SerialFarm]:
    tmp_path = tmp_path_factory.mktemp("serial")
    host = SerialHost(tmp_path / "agent" / "printers" / "serial-1")
    with FakeMarlin(tmp_path / "printer", Firmware()) as printer:
        table = f"""
[[printer]]
id = "serial-1"
driver = "marlin"
initial_bed = "clear"
volume_mm = [200, 200, 200]
options = {{ port = "{printer.path}", quiet_seconds = 0.2 }}
"""
        farm = FarmOfOne(tmp_path, printer_count=0, agent_toml=table)
        farm.prepare()
        try:
            farm.start()
            yield SerialFarm(farm, printer, host)
        finally:
            farm.stop()
            host.kill()


@pytest.fixture
def serial(running: SerialFarm) -> SerialFarm:
    """One farm for all; each test sees the board's log from its own beginning, and leaves an idle printer."""
    running.printer.do(lambda board: board.log.clear())
    return running


def test_a_job_is_printed_through_the_death_of_its_agent(serial: SerialFarm) -> None:
    """The agent is killed in the middle: the port's own process goes on, and the run is found again, and verified."""
    farm = serial.farm
    job_id = farm.submit("streamed", gcode=gcode(12), quantity=1)
    run = farm.wait_run(job_id, "printing")
    until(lambda: serial.moves() > 20, why="it moves")
    holder = serial.host.pid
    farm.agent.kill()
    count = serial.moves()
    until(lambda: serial.moves() > count + 20, why="the print goes on without its agent")
    farm.agent.start()
    ended = farm.wait_run(job_id, "finished")
    assert (ended["run_id"], ended["verified"], len(farm.status(job_id)["runs"])) == (run["run_id"], True, 1)
    assert (serial.host.pid, serial.sessions(), serial.moves()) == (holder, 1, 121)
    assert serial.printer.dtr_resets == 1, "when it was plugged in"
    answer = farm.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": 1})
    assert answer.status_code == 200, answer.text
    until(lambda: farm.status(job_id)["state"] == "completed", why="the job is completed")
    assert serial.is_idle()


def test_a_job_is_cancelled_and_leaves_a_cold_printer(serial: SerialFarm) -> None:
    farm = serial.farm
    job_id = farm.submit("unwanted", gcode=gcode(60), quantity=1)
    run = farm.wait_run(job_id, "printing")
    assert farm.post(f"/api/v1/runs/{run['run_id']}/pause").status_code == 202
    farm.wait_run(job_id, "paused")
    assert farm.post(f"/api/v1/jobs/{job_id}/cancel").status_code == 202
    farm.wait_run(job_id, "cancelled")
    assert serial.is_cold()
    serial.let_it_go_on(job_id)


@pytest.mark.parametrize("how", ["host_interrupted", "printer_lost", "printer_reset"])
def test_a_streamed_print_that_is_cut_off_has_failed_and_is_not_taken_up_again(serial: SerialFarm, how: str) -> None:
    farm = serial.farm
    job_id = farm.submit(f"cut off: {how}", gcode=gcode(60), quantity=1)
    farm.wait_run(job_id, "printing")
    until(lambda: serial.moves() > 20, why="it moves")
    if how == "host_interrupted":
        serial.host.kill()
    elif how == "printer_lost":
        serial.printer.unplug()
        until(lambda: serial.shown()["state"] == "offline", why="it is missed")
        serial.printer.plug_in()
    else:
        serial.printer.reset()
    run = farm.wait_run(job_id, "failed")
    assert run["reason_code"] == how
    until(serial.is_cold, why="it cools down")
    until(serial.is_idle, why="it is there again")
    count = serial.moves()
    waiting = farm.status(job_id)
    assert (waiting["state"], len(waiting["runs"])) == ("queued", 1), "not on top of what lies there"
    assert (serial.moves(), serial.sessions()) == (count, 1)
    serial.let_it_go_on(job_id)
