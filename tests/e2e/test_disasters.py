"""A blocked coordinator, a second one, a full disk, a database from yesterday: real programs, and the printers' own logs."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.test_farm import all_events, checked, finish
from tests.support.farm import LEASE, RealFarm, real_farm, until
from tests.support.history import read_rows
from tests.support.ports import free_port

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[RealFarm]:
    with real_farm(tmp_path, printer_count=1) as running:
        yield running


def test_a_coordinator_whose_loop_was_blocked_blames_itself(farm: RealFarm) -> None:
    """I19: no agent is called unreachable for what the coordinator itself did not hear."""
    farm.coordinator.kill()
    farm.coordinator.start(fail_at=f"after_commit.authorise=sleep:{LEASE + 3:.0f}")
    until(farm.is_ready, 60)
    job_id = farm.submit("blocked", quantity=1)
    until(lambda: "printfarm_brake 1" in try_metrics(farm), 90, "the brake is on")
    finish(farm, job_id)
    kinds = [event["type"] for event in all_events(farm)]
    assert "run.unconfirmed" not in kinds
    restarted = kinds.count("agent.unreachable")
    # The one of the kill at the beginning, at most.
    assert restarted <= 1
    # The authority was granted before the block, and was over when its answer came: it never started then.
    assert checked(farm)["physical_start"] == 1


def try_metrics(farm: RealFarm) -> str:
    try:
        return farm.metrics()
    except OSError:
        return ""
    except Exception:
        return ""


def test_a_second_coordinator_on_the_same_ports_ends(farm: RealFarm) -> None:
    second = farm.coordinator
    done = subprocess.run(
        second.command, env=os.environ | second.environment, cwd=farm.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "cannot be listened on" in done.stderr + done.stdout
    job_id = farm.submit("undisturbed", quantity=1)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


@contextmanager
def standby(farm: RealFarm) -> Iterator[dict[str, int]]:
    """A second coordinator of the same farm, on ports of its own."""
    ports = {name: free_port() for name in ("AGENTS", "CONTROL", "ENROLLMENT", "ADMIN", "METRICS")}
    other = {f"PRINTFARM_{name}_ADDRESS": f"127.0.0.1:{port}" for name, port in ports.items()}
    environment = os.environ | farm.coordinator.environment | other
    log_path = farm.folder / "second.log"
    with log_path.open("ab") as log:
        second = subprocess.Popen(farm.coordinator.command, env=environment, cwd=farm.folder, stdout=log, stderr=log)
    try:
        until(lambda: "coordinator serves" in log_path.read_text(), 60)
        yield ports
    finally:
        second.kill()
        second.wait()


def test_a_second_coordinator_on_other_ports_takes_no_part(tmp_path: Path, postgres: Any) -> None:
    """I20: it stands by, and offers nothing while the first leads."""
    with real_farm(tmp_path, database_url=postgres.database(), printer_count=1) as farm, standby(farm):
        jobs = [farm.submit(f"one leads {n}", quantity=1) for n in range(2)]
        for job_id in jobs:
            finish(farm, job_id)
        assert checked(farm)["physical_start"] == 2


def status_of(farm: RealFarm, path: str) -> int:
    """Of a GET's answer; 0 while nobody answers."""
    with suppress(httpx.TransportError), farm.client() as client:
        return client.get(path).status_code
    return 0


def leads(port: int) -> bool | None:
    """As its figures say; None while they do not come."""
    with suppress(httpx.TransportError):
        return "printfarm_leads 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    return None


@pytest.mark.slow
def test_a_leader_that_slept_past_its_term_changes_nothing_when_it_wakes(tmp_path: Path, postgres: Any) -> None:
    """I20: a job waits and a printer is free, and who wakes up leads no more. When the other is gone it does again."""
    with real_farm(tmp_path, database_url=postgres.database(), printer_count=1) as farm:
        assert farm.post("/api/v1/printers/p0/hold", {"reason": "nobody offers yet"}).status_code == 200
        job_id = farm.submit("waits", quantity=1)
        with standby(farm) as ports:
            farm.coordinator.signal(signal.SIGSTOP)
            until(lambda: leads(ports["METRICS"]), 120, "the standby leads")
            before = read_rows(farm.database)
            farm.coordinator.signal(signal.SIGCONT)
            until(lambda: leads(farm.ports["metrics"]) is False, 60, "who woke up leads no more")
            assert leads(ports["METRICS"])
            after = read_rows(farm.database)
            assert (after["run"], after["job"]) == (before["run"], before["job"])
        until(lambda: leads(farm.ports["metrics"]), 120, "it leads again")
        until(lambda: farm.post("/api/v1/printers/p0/release").status_code == 200, 60, "released")
        finish(farm, job_id)
        assert checked(farm)["physical_start"] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB for the agent's state."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "agent"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let a test mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_an_agent_whose_disk_is_full_keeps_printing_and_starts_nothing(small_disk: Path) -> None:
    with real_farm(small_disk.parent, printer_count=1, time_scale=20.0) as farm:
        first = farm.submit("under way", quantity=1)
        run = farm.wait_run(first, "printing")
        fill(small_disk)
        second = farm.submit("must wait", quantity=1)
        until(lambda: [e for e in farm.printers.log(0) if e["event"] == "end"], why="it printed to its end")
        until(lambda: "the journal cannot be written" in farm.agent.log(), why="the agent says so")
        assert farm.agent.is_alive
        assert farm.status(first)["runs"][0]["state"] in ("printing", "finishing")
        assert farm.status(second)["runs"] == []
        (small_disk / "junk").unlink()
        # What could not be written then is written now: nothing was lost.
        assert farm.wait_run(first, "finished")["run_id"] == run["run_id"]
        finish(farm, first)
        finish(farm, second)
        assert checked(farm)["physical_start"] == 2


def fill(folder: Path) -> None:
    """Not a byte is left."""
    with (folder / "junk").open("wb", buffering=0) as junk:
        for size in (4096, 1):
            try:
                while junk.write(b"\0" * size):
                    pass
            except OSError:
                continue


def test_a_database_of_yesterday_starts_nothing_twice(farm: RealFarm) -> None:
    """The epoch never goes back, what prints is locked for a person, and what was lost is not printed on top of it."""
    before = farm.submit("before the copy", quantity=1)
    finish(farm, before)
    copy = farm.folder / "copy.db"
    _copy(farm.data / "farm.db", copy)
    lost = farm.submit("after the copy", quantity=1)
    run = farm.wait_run(lost, "printing")
    farm.coordinator.kill()
    for name in ("farm.db", "farm.db-wal", "farm.db-shm"):
        (farm.data / name).unlink(missing_ok=True)
    copy.rename(farm.data / "farm.db")
    farm.coordinator.start()
    # The database knows neither the job nor its run; the agent does.
    until(lambda: "printer.epoch_raised" in [event["type"] for event in all_events(farm)], 60, "the epoch is raised")
    until(lambda: status_of(farm, f"/api/v1/jobs/{lost}/status") == 404, why="the job is not known")
    again = farm.submit("after the restore", quantity=1)
    until(
        lambda: [e for e in farm.printers.log(0) if e["event"] == "end" and run["run_id"] in e["file"]], why="its end"
    )
    found = farm.get("/api/v1/printers/p0")
    assert found["gates"]["locked"] or found["bed"]["state"] != "clear", found
    assert farm.status(again)["runs"] == []
    farm.printers.admin("clear_plate")
    until(lambda: farm.post("/api/v1/printers/p0/release").status_code in (200, 409), why="released")
    until(lambda: farm.post("/api/v1/printers/p0/bed/clear").status_code == 200, why="cleared")
    finish(farm, again)
    starts = [entry["run_id"] for entry in farm.printers.starts(0)]
    assert len(starts) == len(set(starts)) == 3
    assert not [entry for entry in farm.printers.log(0) if entry["event"] == "crash_on_part"]
    assert farm.status(again)["runs"][0]["epoch"] > run["epoch"]


def _copy(source: Path, target: Path) -> None:
    """As a backup does, under a running coordinator."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()
