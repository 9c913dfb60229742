"""The tour again, with the coordinator stopped at each of its boundaries while its database or its gateway is killed.

Before a commit the database takes the transaction with it; after it, the coordinator holds an answer from a server that is
gone. The gateway dies between the coordinator's commit and its own answer: its client asks again, under the same key.
"""

import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.test_every_failpoint import TOURED, one_printer, resolved_by_a_person, tour
from tests.e2e.test_farm import checked
from tests.support.farm import Program, until
from tests.support.history import Outage
from tests.support.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]


class Assassin:
    """Strikes whenever the program has stopped at one of the failpoints, then lets it go on."""

    def __init__(self, program: Program, names: list[str], strike: Callable[[], None]) -> None:
        self.program = program
        self.left = list(names)
        self._strike = strike
        self._seen = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.fault = ""

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            if not self.program.is_alive:
                self._begin()
            reached = re.findall(r"^failpoint (\S+)$", self.program.log(), re.M)
            if len(reached) == self._seen:
                continue
            try:
                until(self._is_stopped, 30, f"{self.program.name} stopped at {reached[-1]}")
                self.program.outages.append(Outage(self.program.name, time.time(), killed=False))
                self._strike()
            except Exception as error:
                self.fault = f"{reached[-1]}: {error!r}"
                return
            finally:
                self.program.signal(signal.SIGCONT)
            self._seen += 1
            self.left.remove(reached[-1])

    def _begin(self) -> None:
        """Also when it ended by itself: a coordinator that has no database while it starts does, and its manager waits."""
        self.program.start(",".join(f"{name}=stop" for name in self.left))

    def _is_stopped(self) -> bool:
        assert self.program.process is not None
        stat = Path(f"/proc/{self.program.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def __enter__(self) -> "Assassin":
        self.program.kill()
        self._begin()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self.fault


def test_the_database_dies_at_every_commit(tmp_path: Path, postgres: PostgresServer) -> None:
    def strike() -> None:
        postgres.kill()
        postgres.start()

    with one_printer(tmp_path, postgres.database()) as farm:
        with Assassin(farm.coordinator, TOURED, strike) as assassin:
            tour(farm, assassin.left, lambda: resolved_by_a_person(farm))
            assert assassin.left == []
        assert checked(farm, settled=True)["run.finished"] >= 4


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_gateway_dies_at_every_commit(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    url = request.getfixturevalue("postgres").database() if database == "postgresql" else ""
    with one_printer(tmp_path, url) as farm:

        def strike() -> None:
            farm.gateway.kill()
            farm.gateway.start()

        with Assassin(farm.coordinator, TOURED, strike) as assassin:
            tour(farm, assassin.left, lambda: resolved_by_a_person(farm))
            assert assassin.left == []
        assert checked(farm, settled=True)["run.finished"] >= 4
