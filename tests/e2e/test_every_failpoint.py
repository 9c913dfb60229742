"""One tour through all that a farm does; coordinator or agent dies at every boundary that its code has, each in its turn.

The names are read from the source (``tests/support/failpoint_names.py``): whoever adds one makes the tour pass it, or says here
why not.
"""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from printfarm_rpc.failpoints import EXIT_CODE
from tests.e2e.test_farm import checked
from tests.support.failpoint_names import agent_failpoints, coordinator_failpoints
from tests.support.farm import LONG, Program, RealFarm, real_farm, until
from tests.support.print_files import sliced_3mf

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_500)]

# No machine moves and no job is made by these; all or nothing is the store's contract (tests/contract/test_store.py).
ADMINISTRATION = {
    *("create_key", "revoke_key", "key_uses", "create_user", "update_user", "log_out"),
    *("token", "enroll", "renew", "first_use", "lock_agent", "agent_drained", "agent_undrained", "agent_revoked"),
    *("update_printer", "profile", "forget", "forget_events", "progress", "relay_cursor", "published", "drain_wish"),
    *("hello_refused", "rate"),
    *("file_facts", "delete_file", "erase_file", "file_erased", "inspection"),
}
# What the tour cannot bring about, and who does.
ELSEWHERE = {
    "clock": "tests/unit/coordinator/test_expire.py",
    "driver_age": "test_printer_faults.py::test_a_driver_that_hangs_makes_its_run_unconfirmed_and_no_other",
    "goodbye": "an agent that is killed says none; lose_agent is the same work as after silence (expire)",
    "upload": "tests/integration/coordinator/test_artifact_service.py",
    "finish_upload": "tests/integration/coordinator/test_artifact_service.py",
    "delete_upload": "tests/integration/coordinator/test_artifact_service.py",
    "assign_job": "the same transaction as offer, by a person's word",
    **dict.fromkeys(
        ("judge", "override", "override_revoked"),
        "nothing is offered before it is committed: tests/model/test_simulator.py dies before and after each",
    ),
    **dict.fromkeys(
        (
            "claim_slicing",
            "complete_slicing",
            "estimate",
            "fail_slicing",
            "prepare",
            "renew_claim",
            "slicer_worker",
            "slicing_ended",
        ),
        "slicing has tests of its own: no machine moves before its result is a G-code job like those of the tour",
    ),
}
AGENT_ELSEWHERE = {
    "alarm": "needs hours: tests/unit/agent/test_execution.py",
    "late_start": "test_network.py::test_agent_held_up_between_the_look_at_its_clock_and_the_write",
    "refused": "a refused offer is one fact: test_printer_faults.py::test_a_printer_that_refuses_rests_and_is_asked_again",
    "emergency_stopped": "under a print it is journalled with the run's failed, whose name the failpoint then has",
    # As stages these are written together with a fact, whose name the failpoint then has.
    **dict.fromkeys(("printing", "done"), "always journalled with a fact"),
    "page": "a page without a run: nothing can be lost with it",
}
# Half a minute of print, in which everything must happen.
_TRIES = 6
TOURED = sorted(
    name for name in coordinator_failpoints() if name.partition("_commit.")[2] not in ADMINISTRATION | ELSEWHERE.keys()
)
AGENT_TOURED = sorted(name for name in agent_failpoints() if name.partition("_journal.")[2] not in AGENT_ELSEWHERE)


class Reviver:
    """Starts a program again whenever it died of a failpoint, with those that are left."""

    def __init__(self, program: Program, names: list[str]) -> None:
        self.program = program
        self.left = list(names)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.fault = ""

    def start(self) -> None:
        self.program.start(",".join(self.left))

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            if self.program.is_alive or self.program.process is None:
                continue
            code = self.program.process.returncode
            if code != EXIT_CODE:
                self.fault = self.fault or f"it ended with {code}"
                return
            self.left.remove(re.findall(r"^failpoint (\S+)$", self.program.log(), re.M)[-1])
            self.start()

    def __enter__(self) -> "Reviver":
        self.program.kill()
        self.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self.fault


def asked(
    farm: RealFarm, path: str, body: dict[str, Any] | None = None, *, good: tuple[int, ...] = (200, 201, 202)
) -> None:
    """Until it is answered so; whoever answers 409 has done it before it died. Whatever dies, nobody answers 500."""

    def attempt() -> bool:
        try:
            answer = farm.post(path, body)
        except httpx.TransportError:
            return False
        assert answer.status_code != 500, f"{path}: {answer.text}"
        return answer.status_code in (*good, 409)

    until(attempt, 300, path)


def patiently(farm: RealFarm, job_id: str, *states: str) -> dict[str, Any]:
    """The newest run, once it is in one of the states; a person looks at starts that nobody is sure of."""

    def look() -> dict[str, Any] | None:
        runs = farm.status(job_id)["runs"]
        for run in runs:
            attend(farm, run)
        if not runs or runs[-1]["state"] == "fenced":
            # It rests after so many refusals; a person knows better.
            asked(farm, "/api/v1/printers/p0/release")
        return runs[-1] if runs and runs[-1]["state"] in states else None

    return until(look, 400, f"a run {states} of {farm.status(job_id)['name']}")


def attend(farm: RealFarm, run: dict[str, Any]) -> None:
    if run["state"] == "unconfirmed" and run["reason_code"] == "start_unknown":
        begun = [start["run_id"] for start in farm.printers.starts(0)]
        assert run["run_id"] not in begun, "unknown, and yet it started"
        asked(farm, f"/api/v1/runs/{run['run_id']}/resolve", {"outcome": "never_started"})


def completed(farm: RealFarm, job_id: str) -> None:
    """Every plate is taken off and signed off, until nothing is owed."""

    def step() -> bool:
        status = farm.status(job_id)
        for run in status["runs"]:
            attend(farm, run)
            if run["state"] == "finished" and run["verdict"] is None:
                farm.printers.admin("clear_plate")
                asked(farm, f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": run["parts"]})
            elif run["state"] == "failed":
                cleared(farm)
        if status["runs"] and status["runs"][-1]["state"] == "fenced":
            asked(farm, "/api/v1/printers/p0/release")
        return bool(status["state"] == "completed")

    until(step, 400, f"{farm.status(job_id)['name']} is completed")


def cleared(farm: RealFarm) -> None:
    """Whatever lies there is taken off, and said to be."""
    farm.printers.admin("clear_plate")

    def attempt() -> bool:
        asked(farm, "/api/v1/printers/p0/bed/clear")
        found = farm.try_get("/api/v1/printers/p0")
        return bool(found and found["bed"]["state"] == "clear")

    until(attempt, 300, "the bed is clear")


def order(farm: RealFarm, name: str) -> str:
    return farm.submit(name, gcode=LONG, quantity=1, max_retries=9)


def under_way(farm: RealFarm, name: str) -> tuple[str, dict[str, Any]]:
    """A job and its run that prints. One that was over before anybody saw it print is signed off, and another ordered."""
    for number in range(_TRIES):
        job_id = order(farm, f"{name} {number}")
        run = patiently(farm, job_id, "printing", "finished", "failed")
        if run["state"] == "printing":
            return job_id, run
        completed(farm, job_id)
    raise AssertionError(f"{name}: never seen to print")


def paused(farm: RealFarm, left: list[str]) -> None:
    """A print stands still for a while; another does if it was over before it was seen to, or before all was passed."""
    for _ in range(_TRIES):
        job_id, run = under_way(farm, f"pauses {run_count(farm)}")
        asked(farm, f"/api/v1/runs/{run['run_id']}/pause")
        state = patiently(farm, job_id, "paused", "finished", "failed")["state"]
        asked(farm, f"/api/v1/runs/{run['run_id']}/resume")
        completed(farm, job_id)
        if state == "paused" and not any(re.search(r"\.(paused|resumed|pause_run)$", name) for name in left):
            return
    raise AssertionError("never seen to stand still")


def run_count(farm: RealFarm) -> int:
    return len(farm.all_runs())


def tour(farm: RealFarm, left: list[str], kill: Callable[[], None]) -> None:
    """A print with a pause; cancels of a job and of a run; a hold; an emergency stop; an agent that is gone.

    ``left`` are the failpoints that nobody has passed yet.
    """
    paused(farm, left)

    unwanted, _ = under_way(farm, "unwanted")
    asked(farm, f"/api/v1/jobs/{unwanted}/cancel")
    until(lambda: not running(farm), 300, "nothing prints")
    cleared(farm)

    again, run = under_way(farm, "once more")
    asked(farm, f"/api/v1/runs/{run['run_id']}/cancel")
    until(lambda: not running(farm), 300, "nothing prints")
    cleared(farm)
    completed(farm, again)

    asked(farm, "/api/v1/printers/p0/hold", {"reason": "tour"})
    # What is in it is taken out before it is offered.
    held = farm.submit("held", gcode=sliced_3mf({1: LONG}), quantity=1, max_retries=9)
    asked(farm, f"/api/v1/jobs/{held}/hold")
    asked(farm, f"/api/v1/jobs/{held}/release")
    asked(farm, "/api/v1/printers/p0/release")
    patiently(farm, held, "printing", "finished", "failed")
    asked(farm, "/api/v1/printers/p0/emergency-stop", {"reason": "tour"})
    until(lambda: any(e["event"] == "emergency_stop" for e in farm.printers.log(0)), 300, "stopped")
    until(lambda: not running(farm), 300, "the run is over")
    farm.printers.admin("reset")
    until(lambda: released(farm), 300, "released")
    cleared(farm)
    completed(farm, held)

    silent, _ = under_way(farm, "silent")
    kill()
    completed(farm, silent)


def running(farm: RealFarm) -> bool:
    return any(run["state"] not in ("finished", "failed", "cancelled", "fenced") for run in farm.all_runs())


def released(farm: RealFarm) -> bool:
    asked(farm, "/api/v1/printers/p0/release")
    found = farm.try_get("/api/v1/printers/p0")
    return bool(found and not found["gates"]["emergency_stopped"])


def is_locked(farm: RealFarm) -> bool:
    found = farm.try_get("/api/v1/printers/p0")
    return bool(found and found["gates"]["locked"])


def resolved_by_a_person(farm: RealFarm) -> None:
    """The agent is away until its run is unconfirmed; a person says what became of it; then it comes back."""
    farm.agent.kill()
    run = until(lambda: next((r for r in farm.all_runs() if r["state"] == "unconfirmed"), None), 300, "unconfirmed")
    asked(farm, f"/api/v1/runs/{run['run_id']}/resolve", {"outcome": "failed", "reason": "looked"})
    until(lambda: farm.printers.log(0)[-1]["event"] != "physical_start" and not running(farm), 300)
    until(
        lambda: sum(e["event"] == "end" for e in farm.printers.log(0)) == len(farm.printers.starts(0)), 300, "its end"
    )
    farm.agent.start()
    until(farm.is_ready, 300)
    # It came back with a run that was over for the coordinator: the printer is locked until a person looked.
    until(lambda: is_locked(farm), 300, "locked")
    asked(farm, "/api/v1/printers/p0/release")
    cleared(farm)


@contextmanager
def one_printer(folder: Path, url: str) -> Iterator[RealFarm]:
    with real_farm(folder, database_url=url, printer_count=1, time_scale=20.0, patience=300.0) as farm:
        yield farm


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_coordinator_dies_at_every_commit(request: pytest.FixtureRequest, tmp_path: Path, database: str) -> None:
    url = request.getfixturevalue("postgres").database() if database == "postgresql" else ""
    with one_printer(tmp_path, url) as farm:
        with Reviver(farm.coordinator, TOURED) as reviver:
            tour(farm, reviver.left, lambda: resolved_by_a_person(farm))
            assert reviver.left == []
        assert checked(farm, settled=True)["run.finished"] >= 4


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_agent_dies_at_every_journal_boundary(
    request: pytest.FixtureRequest, tmp_path: Path, database: str
) -> None:
    url = request.getfixturevalue("postgres").database() if database == "postgresql" else ""
    with one_printer(tmp_path, url) as farm:
        with Reviver(farm.agent, AGENT_TOURED) as reviver:
            tour(farm, reviver.left, lambda: None)
            assert reviver.left == []
        checked(farm, settled=True)
