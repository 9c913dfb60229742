"""The whole line over real processes: a job from POST to a verified print, and through the death of each part."""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.checker import check
from tests.support.farm import LONG, RealFarm, real_farm, until
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.timeout(240)


# Every test on both databases in `make test-all`; in `make test` those that say so.
on_both = pytest.mark.parametrize("farm", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def farm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RealFarm]:
    """Two virtual printers, one agent, coordinator and gateway as processes."""
    url = request.getfixturevalue("postgres").database() if request.param == "postgresql" else ""
    with real_farm(tmp_path, database_url=url) as running:
        yield running


def all_events(farm: RealFarm) -> list[dict[str, Any]]:
    """From the first."""
    found: list[dict[str, Any]] = []
    cursor = "0"
    while cursor is not None:
        page = until(lambda at=cursor: farm.try_get(f"/api/v1/events?limit=500&cursor={at}"))
        found += page["items"]
        cursor = page["next"]
    return found


def checked(farm: RealFarm, *, settled: bool = False) -> Counter[str]:
    """What the printers say, against what the farm says."""
    until(farm.is_ready, 60, "the farm is whole again")
    return check(farm.history(settled=settled))


def finish(farm: RealFarm, job_id: str) -> None:
    """Signs every finished run off until the job is completed."""

    def step() -> bool:
        status = farm.status(job_id)
        for run in status["runs"]:
            if run["state"] == "finished" and run["verdict"] is None:
                farm.sign_off(run)
        return status["state"] == "completed"

    until(step, 120, f"the job is completed; {farm.status(job_id)}")


@on_both
def test_a_job_goes_from_post_to_a_verified_print(farm: RealFarm) -> None:
    job_id = farm.submit("one", quantity=3, parts_per_plate=1)
    finish(farm, job_id)
    status = farm.status(job_id)
    assert (status["state"], status["good_parts"], status["progress"]) == ("completed", 3, 1.0)
    assert all(run["verified"] for run in status["runs"])
    assert checked(farm)["physical_start"] == 3


def test_the_same_key_is_one_job(farm: RealFarm) -> None:
    assert farm.submit("again") == farm.submit("again")
    assert len(until(lambda: farm.try_get("/api/v1/jobs"))["items"]) == 1


def test_a_rejected_part_is_printed_again(farm: RealFarm) -> None:
    job_id = farm.submit("picky")
    farm.sign_off(farm.wait_run(job_id, "finished"), good_parts=0)
    second = until(lambda: [r for r in farm.status(job_id)["runs"] if r["retry_of"]] or None, why="a retry")
    assert second[0]["retry_of"] == farm.status(job_id)["runs"][0]["run_id"]
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


def test_cancel_while_it_prints_is_proven_by_the_printer(farm: RealFarm) -> None:
    job_id = farm.submit("unwanted", gcode=LONG)
    run = farm.wait_run(job_id, "printing")
    answer = farm.post(f"/api/v1/jobs/{job_id}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (202, "cancelling")
    until(lambda: farm.status(job_id)["state"] == "cancelled", why="cancelled")
    log = farm.printers.log(int(run["printer_id"][1:]))
    assert [e["ending"] for e in log if e["event"] == "end"] == ["cancelled"]
    checked(farm)


def test_pause_and_resume(farm: RealFarm) -> None:
    job_id = farm.submit("slowly", gcode=LONG)
    run = farm.wait_run(job_id, "printing")
    assert farm.post(f"/api/v1/runs/{run['run_id']}/pause").status_code == 202
    farm.wait_run(job_id, "paused")
    assert farm.post(f"/api/v1/runs/{run['run_id']}/resume").status_code == 202
    farm.wait_run(job_id, "printing", "finished")
    finish(farm, job_id)
    checked(farm)


def test_emergency_stop_latches_until_a_person_releases(farm: RealFarm) -> None:
    job_id = farm.submit("danger", gcode=LONG)
    run = farm.wait_run(job_id, "printing")
    printer = f"/api/v1/printers/{run['printer_id']}"
    assert farm.post(f"{printer}/emergency-stop", {"reason": "smoke"}).status_code == 202
    assert farm.wait_run(job_id, "failed", "printing")
    index = int(run["printer_id"][1:])
    until(lambda: any(e["event"] == "emergency_stop" for e in farm.printers.log(index)), why="written to the machine")
    until(lambda: farm.status(job_id)["runs"][0]["state"] == "failed", why="the run is over")
    assert farm.get(printer)["gates"]["emergency_stopped"]
    farm.printers.admin("reset", index)
    farm.printers.admin("clear_plate", index)
    until(lambda: farm.post(f"{printer}/release").status_code == 200, why="released")
    until(lambda: farm.post(f"{printer}/bed/clear").status_code == 200, why="cleared")
    finish(farm, job_id)
    checked(farm)


def test_agent_killed_while_printing_re_attaches(farm: RealFarm) -> None:
    """I9."""
    job_id = farm.submit("long", gcode=LONG, quantity=1)
    run = farm.wait_run(job_id, "printing")
    index = int(run["printer_id"][1:])
    farm.agent.kill()
    farm.agent.start()
    until(lambda: "connected to the coordinator" in farm.agent.log().split("agent works")[-1], why="back")
    assert not [e for e in farm.printers.log(index) if e["event"] == "end"], "it prints when its agent is back"
    farm.wait_run(job_id, "finished")
    log = farm.printers.log(index)
    over = next(number for number, entry in enumerate(log) if entry["event"] == "end")
    began = next(number for number, entry in enumerate(log) if entry["event"] == "physical_start")
    assert not [entry for entry in log[began:over] if entry["event"] == "command"], log[began:over]
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


@on_both
@pytest.mark.parametrize("part", ["coordinator", "gateway"])
def test_killed_while_printing(farm: RealFarm, part: str) -> None:
    """I7, I24: the print goes on, the job is there afterwards."""
    job_id = farm.submit("steady", gcode=LONG)
    farm.wait_run(job_id, "printing")
    program = getattr(farm, part)
    program.kill()
    program.start()
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


def test_stopped_coordinator_wakes_up_and_nothing_was_lost(farm: RealFarm) -> None:
    job_id = farm.submit("asleep", gcode=LONG)
    farm.wait_run(job_id, "printing")
    farm.coordinator.signal(signal.SIGSTOP)
    until(lambda: any(e["event"] == "end" for i in (0, 1) for e in farm.printers.log(i)), why="it printed to the end")
    farm.coordinator.signal(signal.SIGCONT)
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 1


@on_both
def test_silence_does_not_start_anything_elsewhere(farm: RealFarm) -> None:
    """I10: an agent that is gone leaves its run unconfirmed; a person resolves it; then it is owed again."""
    job_id = farm.submit("lost", gcode=LONG)
    run = farm.wait_run(job_id, "printing")
    farm.agent.kill()
    farm.wait_run(job_id, "unconfirmed")
    assert len(farm.status(job_id)["runs"]) == 1
    answer = farm.post(f"/api/v1/runs/{run['run_id']}/resolve", {"outcome": "failed", "reason": "looked at it"})
    assert answer.status_code == 200, answer.text
    audit = until(lambda: farm.try_get("/api/v1/audit"))["items"]
    assert any(entry["action"] == "run.resolve.failed" for entry in audit)
    index = int(run["printer_id"][1:])
    until(lambda: any(e["event"] == "end" for e in farm.printers.log(index)), why="the print ends by itself")
    farm.printers.admin("clear_plate", index)
    farm.agent.start()
    until(farm.is_ready, 60)
    assert farm.post(f"/api/v1/printers/{run['printer_id']}/bed/clear").status_code == 200
    finish(farm, job_id)
    assert checked(farm)["physical_start"] == 2


# In `make test`: where a job could be lost or doubled. The others, and all on the other database, in `make test-all`.
_ALWAYS = ("after_commit.submit", "before_commit.authorise", "after_commit.authorise", "after_commit.report")
_COMMITS = (
    *(f"{edge}_commit.{name}" for edge in ("before", "after") for name in ("submit", "offer", "report", "authorise")),
    "before_commit.artifact",
    "after_commit.hello",
    "before_artifact_visible",
    "after_artifact_visible",
    "before_commit.relay",
    "after_commit.verdict",
)


def _rarely(names: tuple[str, ...], always: tuple[str, ...]) -> list[Any]:
    return [name if name in always else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize("failpoint", _rarely(_COMMITS, _ALWAYS))
def test_coordinator_dies_at_a_commit_boundary(farm: RealFarm, failpoint: str) -> None:
    """No job lost, none doubled, none started twice."""
    farm.coordinator.kill()
    farm.coordinator.start(fail_at=failpoint)
    job_id = submit_through_death(farm, f"dies at {failpoint}")
    finish(farm, job_id)
    assert farm.coordinator.starts >= 3, "the failpoint was never reached"
    assert checked(farm)["physical_start"] >= 1
    assert len(until(lambda: farm.try_get("/api/v1/jobs"))["items"]) == 1


def submit_through_death(farm: RealFarm, key: str) -> str:
    """Posts, and starts the coordinator again whenever it died of its failpoint."""
    import threading

    stop = threading.Event()

    def revive() -> None:
        while not stop.wait(0.05):
            if not farm.coordinator.is_alive:
                assert farm.coordinator.wait() == 86
                farm.coordinator.start()
                return

    watcher = threading.Thread(target=revive, daemon=True)
    watcher.start()
    job_id = farm.submit(key)

    def settled() -> bool:
        for run in farm.status(job_id)["runs"]:
            if run["state"] == "finished" and run["verdict"] is None:
                farm.printers.admin("clear_plate", int(run["printer_id"][1:]))
                try:
                    farm.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": run["parts"]})
                except Exception:
                    return False
        return farm.coordinator.starts >= 3

    until(settled, 90, f"death at the failpoint; {farm.try_get(f'/api/v1/jobs/{job_id}/status')}")
    watcher.join(10)
    stop.set()
    return job_id


_JOURNAL = (
    *(
        f"{edge}_journal.{what}"
        for edge in ("before", "after")
        for what in ("accepted", "authorising", "starting", "started")
    ),
    "before_start_command",
    "after_start_command",
    "before_file_visible",
    "before_journal.finished",
    "after_journal.finished",
)
_SHARP = ("after_journal.authorising", "after_journal.starting", "after_start_command", "before_journal.started")


@pytest.mark.parametrize("failpoint", _rarely(_JOURNAL, _SHARP))
def test_agent_dies_at_a_journal_boundary(tmp_path: Path, failpoint: str) -> None:
    """Whatever the moment: at most one start, and the job is done in the end, or waits for a person."""
    with real_farm(tmp_path) as farm:
        farm.agent.kill()
        farm.agent.start(fail_at=failpoint)
        until(farm.is_ready)
        job_id = farm.submit(f"agent dies at {failpoint}")
        assert farm.agent.wait(60) == 86
        farm.agent.start()

        def over() -> bool:
            status = farm.status(job_id)
            for run in status["runs"]:
                if run["state"] == "finished" and run["verdict"] is None:
                    farm.sign_off(run)
                if run["state"] == "unconfirmed" and run["reason_code"] == "start_unknown":
                    farm.post(f"/api/v1/runs/{run['run_id']}/resolve", {"outcome": "never_started"})
                    index = int(run["printer_id"][1:])
                    begun = [entry["run_id"] for entry in farm.printers.starts(index)]
                    assert run["run_id"] not in begun, "unknown, and yet it started"
            return bool(status["state"] == "completed")

        until(over, 90, f"{failpoint}: {farm.try_get(f'/api/v1/jobs/{job_id}/status')}")
        checked(farm)


def test_database_killed_and_started_again(tmp_path: Path, postgres: PostgresServer) -> None:
    """503 while it is away, agents keep their streams, nothing is lost."""
    with real_farm(tmp_path, database_url=postgres.database()) as farm:
        job_id = farm.submit("database")
        farm.wait_run(job_id, "printing")
        postgres.kill()
        try:
            answers: list[Any] = []

            def refused() -> bool:
                with suppress(httpx.TransportError):
                    answers.append(farm.post("/api/v1/jobs/x/cancel"))
                return bool(answers) and answers[-1].status_code == 503

            until(refused, why="503 while the database is away")
            assert answers[-1].headers["retry-after"]
        finally:
            postgres.start()
        finish(farm, job_id)
        assert checked(farm)["physical_start"] == 1
