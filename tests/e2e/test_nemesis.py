"""Everything at once, at random, from a seed: cuts, partitions of either direction, damage, delays, kills and stops.

Afterwards all must be done, and the checker must find nothing.
"""

import contextlib
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_farm import checked
from tests.support.farm import Program, RealFarm, until
from tests.support.postgres import PostgresServer
from tests.support.proxy import FaultProxy, Weather

pytestmark = pytest.mark.timeout(900)
OVER = ("completed", "cancelled", "failed")
_NO_DATABASE = re.compile(r"database system\s+is|Connect call failed|Connection (refused|reset)|connection was closed")


class Nemesis:
    """Does one bad thing after the other; and, between them, what people and clients do on any day."""

    def __init__(self, farm: RealFarm, proxy: FaultProxy, seed: int, postgres: PostgresServer | None = None) -> None:
        self.farm = farm
        self.proxy = proxy
        self.postgres = postgres
        self.random = random.Random(seed)
        self.orders = 0
        self.done: list[str] = []
        # Held while a program is killed and started again on purpose.
        self._hands = threading.Lock()
        self._over = threading.Event()
        self.faults: list[str] = []

    def rage(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        evils: list[Callable[[], None]] = [self.cut, self.hole, self.hold, self.damage, self.slow, self.kill, self.stop]
        evils += [self.kill, self.hole, self.printer_line]
        if self.postgres:
            evils.append(self.kill_database)
        while time.monotonic() < deadline:
            if self.orders < 40 and self.random.random() < 0.5:
                self.orders += 1
                self.farm.submit(f"order {self.orders}", quantity=self.random.randint(1, 2), max_retries=50)
            evil = self.random.choice(evils)
            self.done.append(evil.__name__)
            evil()
            with contextlib.suppress(httpx.HTTPError):
                self.day()
        self.proxy.weather = Weather()
        self.proxy.cut()

    @contextmanager
    def managed(self) -> Iterator[None]:
        """As systemd does it: a coordinator that finds no database while it starts ends, and is begun again."""
        manager = threading.Thread(target=self._manage, daemon=True)
        manager.start()
        try:
            yield
        finally:
            self._over.set()
            manager.join(30)
        assert not self.faults, self.faults

    def _manage(self) -> None:
        coordinator = self.farm.coordinator
        while not self._over.wait(0.5):
            with self._hands:
                if coordinator.process is None or coordinator.is_alive:
                    continue
                end = coordinator.log()[-2_000:]
                if coordinator.process.returncode != 1 or not _NO_DATABASE.search(end):
                    self.faults.append(f"ended with {coordinator.process.returncode}: {end}")
                coordinator.start()

    # -- evils

    def cut(self) -> None:
        self.proxy.cut()

    def _for_a_while(self, least: float, most: float, **weather: Any) -> None:
        self.proxy.weather = Weather(**weather)
        time.sleep(self.random.uniform(least, most))
        self.proxy.weather = Weather()

    def hole(self) -> None:
        ways = self.random.choice([(True, True), (True, False), (False, True)])
        self._for_a_while(0.5, 12.0, hole_up=ways[0], hole_down=ways[1])
        self.proxy.cut()

    def hold(self) -> None:
        ways = self.random.choice([(True, True), (True, False), (False, True)])
        self._for_a_while(0.5, 12.0, hold_up=ways[0], hold_down=ways[1])

    def damage(self) -> None:
        self._for_a_while(0.5, 3.0, flip_chance=0.05)

    def slow(self) -> None:
        self._for_a_while(1.0, 4.0, delay=self.random.uniform(0.1, 0.8), bytes_per_second=20_000)

    def _victim(self) -> Program:
        return self.random.choice([self.farm.agent, self.farm.coordinator, self.farm.gateway])

    def kill(self) -> None:
        victim = self._victim()
        with self._hands:
            victim.kill()
            time.sleep(self.random.uniform(0.0, 1.5))
            victim.start()

    def stop(self) -> None:
        victim = self._victim()
        victim.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.2, 11.0))
        victim.signal(signal.SIGCONT)

    def printer_line(self) -> None:
        self.farm.printers.admin("fault", self._printer(), name="drop_line", argument=self.random.uniform(0.2, 2.0))

    def _printer(self) -> int:
        return self.random.randrange(self.farm.printer_count)

    def kill_database(self) -> None:
        assert self.postgres is not None
        self.postgres.kill()
        time.sleep(self.random.uniform(0.0, 2.0))
        self.postgres.start()

    # -- people

    def day(self, *, cancels: bool = True) -> None:
        """Parts are taken off and judged, beds cleared, printers released, unknown starts looked at; now and then a cancel."""
        runs = self.farm.try_get("/api/v1/runs?limit=500")
        printers = self.farm.try_get("/api/v1/printers")
        if runs is None or printers is None:
            return
        for run in runs["items"]:
            self._look_at(run)
        busy = {run["printer_id"] for run in runs["items"] if run["ended_at"] is None}
        for printer in printers["items"]:
            if printer["printer_id"] not in busy:
                self._tidy(printer)
        jobs = [run["job_id"] for run in runs["items"] if run["ended_at"] is None]
        if cancels and jobs and self.random.random() < 0.15:
            self.farm.post(f"/api/v1/jobs/{self.random.choice(jobs)}/cancel")

    def _look_at(self, run: dict[str, Any]) -> None:
        index = int(run["printer_id"][1:])
        if run["state"] == "finished" and run["verdict"] is None:
            self._take_off(index)
            self.farm.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": run["parts"]})
        elif run["state"] == "unconfirmed" and run["reason_code"] == "start_unknown":
            starts = [start for start in self.farm.printers.starts(index) if start["run_id"] == run["run_id"]]
            outcome = "failed" if starts else "never_started"
            if self._is_idle(index):
                self.farm.post(f"/api/v1/runs/{run['run_id']}/resolve", {"outcome": outcome, "reason": "looked at it"})

    def _is_idle(self, index: int) -> bool:
        return bool(self.farm.printers.admin("status", index)["state"] == "idle")

    def _take_off(self, index: int) -> None:
        if self._is_idle(index):
            self.farm.printers.admin("clear_plate", index)

    def _tidy(self, printer: dict[str, Any]) -> None:
        index = int(printer["printer_id"][1:])
        if not self._is_idle(index):
            return
        if printer["gates"]["locked"]:
            self.farm.post(f"/api/v1/printers/{printer['printer_id']}/release")
        if printer["bed"]["state"] != "clear":
            self.farm.printers.admin("clear_plate", index)
            self.farm.post(f"/api/v1/printers/{printer['printer_id']}/bed/clear")

    def all_is_done(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            self.day(cancels=False)
        jobs = self.farm.try_get("/api/v1/jobs?limit=500")
        if jobs is None:
            return False
        for job in jobs["items"]:
            if job["held"]:
                self.farm.post(f"/api/v1/jobs/{job['job_id']}/release")
        return all(job["state"] in OVER for job in jobs["items"])


@contextmanager
def behind_a_proxy(folder: Path, seed: int, url: str = "") -> Iterator[tuple[RealFarm, FaultProxy]]:
    farm = RealFarm(folder, database_url=url)
    with FaultProxy(f"127.0.0.1:{farm.ports['agents']}", seed) as proxy:
        farm.agent_target = proxy.address
        farm.prepare()
        try:
            yield farm.start(), proxy
        finally:
            farm.stop()


def rage(farm: RealFarm, proxy: FaultProxy, seed: int, seconds: float, postgres: PostgresServer | None = None) -> None:
    nemesis = Nemesis(farm, proxy, seed, postgres)
    try:
        with nemesis.managed():
            nemesis.rage(seconds)
            until(nemesis.all_is_done, 240, f"all is done; {farm.try_get('/api/v1/jobs')}")
        seen = checked(farm, settled=True)
        assert seen["physical_start"] >= 2, "too little happened"
    except BaseException:
        print(f"seed {seed}: {nemesis.done}")
        raise


def test_a_minute_of_chaos(tmp_path: Path) -> None:
    with behind_a_proxy(tmp_path, 1) as (farm, proxy):
        rage(farm, proxy, 1, 50)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
def test_minutes_of_chaos(tmp_path: Path, seed: int) -> None:
    with behind_a_proxy(tmp_path, seed) as (farm, proxy):
        rage(farm, proxy, seed, 240)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_minutes_of_chaos_with_a_database_that_dies(tmp_path: Path, postgres: PostgresServer, seed: int) -> None:
    with behind_a_proxy(tmp_path, seed, postgres.database()) as (farm, proxy):
        rage(farm, proxy, seed, 240, postgres)
