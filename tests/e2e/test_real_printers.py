"""The whole line with real printer software, OctoPrint and Moonraker with Klipper: a job from POST to a verified print."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.farm import RealFarm, real_farm, until
from tests.support.klipper import KlipperServer
from tests.support.octoprint import KEY, OctoPrintServer

pytestmark = pytest.mark.timeout(300)
_PRINTER = """
[[printer]]
id = "{driver}"
driver = "{driver}"
initial_bed = "clear"
options = {{ url = "{url}", api_key_file = "{key}", timeout_seconds = 5 }}
"""


def gcode(seconds: int) -> bytes:
    """Both virtual machines dwell in real time."""
    dwell = b"".join(b"G1 X%d Y20 F6000\nG4 P200\n" % (10 + i % 2 * 10) for i in range(seconds * 4))
    return b"; estimated printing time (normal mode) = %ds\nG28\nG1 Z0.2 F600\n" % seconds + dwell


@pytest.fixture(params=["octoprint", "moonraker"])
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[RealFarm, str, Callable[[], list[str]]]]:
    """An agent with one real printer; the printer's name; and the files whose print began on it."""
    driver = str(request.param)
    server: OctoPrintServer | KlipperServer
    if driver == "octoprint":
        server = request.getfixturevalue("octoprint_server")
        key = KEY
    else:
        server = request.getfixturevalue("klipper_server")
        key = server.key
    server.clear()
    before = len(_starts(server))
    (tmp_path / "key").write_text(key)
    table = _PRINTER.format(driver=driver, url=server.url, key=tmp_path / "key")
    with real_farm(tmp_path, printer_count=0, agent_toml=table) as running:
        until(lambda: _state(running, driver) == "idle", why="the printer is seen")
        yield running, driver, lambda: _starts(server)[before:]


def _starts(server: OctoPrintServer | KlipperServer) -> list[str]:
    paths = server.starts() if isinstance(server, OctoPrintServer) else [job["filename"] for job in server.history(0.0)]
    return [path.rpartition("/")[2] for path in paths]


def _state(farm: RealFarm, printer_id: str) -> str | None:
    answer = farm.try_get(f"/api/v1/printers/{printer_id}")
    return str(answer["state"]) if answer else None


def _submit(farm: RealFarm, driver: str, seconds: int) -> str:
    return farm.submit("real", gcode=gcode(seconds), requirements={"printer_ids": [driver]})


def _act(farm: RealFarm, run: dict[str, Any], action: str) -> None:
    answer = farm.post(f"/api/v1/runs/{run['run_id']}/{action}")
    assert answer.status_code in (200, 202), answer.text


def test_a_job_is_printed_paused_survives_the_agent_and_is_verified(
    farm: tuple[RealFarm, str, Callable[[], list[str]]],
) -> None:
    running, driver, starts = farm
    job_id = _submit(running, driver, 8)
    run = running.wait_run(job_id, "printing")
    _act(running, run, "pause")
    running.wait_run(job_id, "paused")
    _act(running, run, "resume")
    running.wait_run(job_id, "printing")
    running.agent.kill()
    running.agent.start()
    run = running.wait_run(job_id, "finished", seconds=120)
    assert run["verified"], run
    assert starts() == [f"pf-{run['run_id']}.gcode"], "once"
    answer = running.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": 1})
    assert answer.status_code == 200, answer.text
    assert running.status(job_id)["state"] == "completed"


def test_a_job_is_cancelled(farm: tuple[RealFarm, str, Callable[[], list[str]]]) -> None:
    running, driver, starts = farm
    job_id = _submit(running, driver, 60)
    run = running.wait_run(job_id, "printing")
    answer = running.post(f"/api/v1/jobs/{job_id}/cancel")
    assert answer.status_code in (200, 202), answer.text
    running.wait_run(job_id, "cancelled")
    until(lambda: _state(running, driver) == "idle", why="the printer is idle again")
    assert starts() == [f"pf-{run['run_id']}.gcode"]
