"""I18: the wall clocks of coordinator and agent jump by hours while a print is under way. Nothing may notice."""

import time
import tomllib
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from tests.conftest import need
from tests.e2e.test_farm import all_events, checked, finish
from tests.servers import program
from tests.support.farm import GCODE, Program, RealFarm, until
from tests.support.plain_http import NO_AUTHORITIES

pytestmark = pytest.mark.timeout(240)
HOURS = 3_600


class WallClock:
    """One program's, turned while it runs. What counts durations, CLOCK_MONOTONIC, is left as it is, as by any clock's jump."""

    def __init__(self, victim: Program) -> None:
        self._file = victim.folder / f"{victim.name}.clock"
        self._set(0)
        library = program("faketime")
        assert library is not None
        victim.environment |= {
            "LD_PRELOAD": library,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def _set(self, seconds: int) -> None:
        # By a rename: a half-written file would be another time.
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)

    def jump(self, seconds: int, metrics_address: str) -> None:
        """So far from the true time; returns when the program shows it."""
        self._set(seconds)

        def shows() -> bool:
            date = httpx.get(f"http://{metrics_address}/metrics", timeout=20, verify=NO_AUTHORITIES).headers["date"]
            return abs(parsedate_to_datetime(date).timestamp() - time.time() - seconds) < 600

        until(shows, why="the program's clock jumped")


@pytest.mark.parametrize("database", ["postgresql", pytest.param("sqlite", marks=pytest.mark.slow)])
def test_clocks_that_jump_by_hours_while_it_prints(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    need("faketime")
    url = request.getfixturevalue("postgres").database() if database == "postgresql" else ""
    farm = RealFarm(tmp_path, database_url=url, printer_count=1, time_scale=20.0)
    coordinators, agents = WallClock(farm.coordinator), WallClock(farm.agent)
    farm.prepare()
    agent_metrics = tomllib.loads((tmp_path / "agent.toml").read_text())["agent"]["metrics_address"]
    coordinator_metrics = f"127.0.0.1:{farm.ports['metrics']}"
    try:
        farm.start()
        first = farm.submit("jumps", gcode=GCODE + b"G4 S200\n", quantity=1)
        run = farm.wait_run(first, "printing")
        coordinators.jump(5 * HOURS, coordinator_metrics)
        agents.jump(-7 * HOURS, agent_metrics)
        coordinators.jump(-3 * HOURS, coordinator_metrics)
        agents.jump(9 * HOURS, agent_metrics)
        assert farm.wait_run(first, "finished")["run_id"] == run["run_id"]
        finish(farm, first)
        # A start needs authority, which lasts seconds; coordinator and agent are twelve hours apart now.
        finish(farm, farm.submit("apart", quantity=1))
        kinds = [event["type"] for event in all_events(farm)]
        assert "agent.unreachable" not in kinds and "run.unconfirmed" not in kinds
        assert len({start["run_id"] for start in farm.printers.starts(0)}) == len(farm.printers.starts(0)) == 2
        if url:
            # SQLite's clock is the coordinator's, and the checker holds the database's time against the printers'.
            checked(farm)
    finally:
        farm.stop()
