"""From the wish to the start: a job posted, and a printer that becomes idle while a job waits."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import uvloop

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import telemetry_pb2
from printfarm_rpc.tls import CredentialFiles
from tests.support.farm import RealFarm, until

from .farms import bare_grpc, serving_farm, whole_farm
from .figures import at_most, single, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer

_TRIALS = 40
_SUBMITS = 24
# What must happen one after the other before a machine moves (docs/architecture.md). Durable commits: the job; its offer; the
# agent's journal with the accepted run; the report of that; the journal with the nonce; the authority; the journal with the
# start. Round trips: client to gateway, gateway to coordinator, the offer with its answer, the authority, and three to the
# printer (is it idle, the file, the start).
_COMMITS = 7
_ROUND_TRIPS = 7


def idle() -> None:
    """An agent says "idle"; a job waits; the agent holds the authority to start it."""
    with serving_farm() as farm, bare_grpc(farm) as bare:
        uvloop.run(_idle(farm, bare[0]))


async def _idle(farm: RealFarm, bare_port: int) -> None:
    files = (await enrolled(farm, ["a"]))["a"]
    agent = PlayedAgent(agents_target(farm), "a", files, [printer("p", telemetry_pb2.PRINTER_STATE_ERROR)])
    bare = PlayedAgent(f"127.0.0.1:{bare_port}", "a", files, ())
    await agent.connect()
    job_id = await asyncio.to_thread(farm.submit, "many", quantity=_TRIALS + 1)
    echo = bare.streams().stream_stream("/bare/echo")()
    offered, authorised, trips = [], [], []
    for _ in range(_TRIALS):
        began = time.perf_counter()
        run, at = await _idle_to_authority(agent)
        authorised.append(time.perf_counter() - began)
        offered.append(at - began)
        trips.append(statistics.median([await _trip(echo) for _ in range(10)]))
        await _finish(farm, agent, run)
    assert job_id
    trip = statistics.median(trips)
    _tell_both("idle to offer at the agent, job waiting", offered, trip)
    _tell_both("idle to authority to start, job waiting", authorised, trip)
    for each in (agent, bare):
        await each.close()


def _tell_both(name: str, times: list[float], trip: float) -> None:
    ordered = sorted(times[2:])
    p50, p95 = statistics.median(ordered), ordered[int(len(ordered) * 0.95)]
    tell(f"{name}, p50", single(p50 * 1000, trip * 1000), "ms", at_most(3))
    tell(f"{name}, p95", single(p95 * 1000, trip * 1000), "ms", at_most(6))


async def _idle_to_authority(agent: PlayedAgent) -> tuple[pb.AssignedRun, float]:
    """The run, and when its offer came."""
    await agent.tell("p", printer_changed=pb.PrinterChanged(observed_state=telemetry_pb2.PRINTER_STATE_IDLE))
    run = await agent.assigned()
    at = time.perf_counter()
    await agent.tell("p", run, accepted=pb.RunAccepted())
    await agent.acknowledged()
    request = pb.AuthoriseStartRequest(
        run_id=run.run_id,
        printer_id="p",
        epoch=run.epoch,
        nonce=uuid.uuid4().hex,
        bed_token=run.bed_token,
        boot_id="boot",
    )
    await agent.control.AuthoriseStart(request, timeout=10)
    return run, at


async def _finish(farm: RealFarm, agent: PlayedAgent, run: pb.AssignedRun) -> None:
    """Prints nothing, is signed off, and is away before the next part is owed a printer."""
    await agent.tell("p", run, starting=pb.RunStarting())
    await agent.tell("p", run, started=pb.RunStarted())
    evidence = pb.RunFinished(end_of_file_reached=True, printer_reports_complete=True)
    evidence.elapsed.FromSeconds(1_000)
    await agent.tell("p", printer_changed=pb.PrinterChanged(observed_state=telemetry_pb2.PRINTER_STATE_ERROR))
    await agent.tell("p", run, finished=evidence)
    await agent.acknowledged()
    answer = await asyncio.to_thread(farm.post, f"/api/v1/runs/{run.run_id}/verdict", {"good_parts": 1})
    assert answer.status_code == 200, answer.text
    await asyncio.sleep(0.1)
    while not agent.inbox.empty():
        agent.inbox.get_nowait()


async def _trip(stream: Any) -> float:
    began = time.perf_counter()
    await stream.write(b"x" * 64)
    await stream.read()
    return time.perf_counter() - began


def submit() -> None:
    """From the POST of a job (its file is there) to the physical start in the printer's log."""
    with whole_farm(printer_count=1, time_scale=2000.0) as farm, bare_grpc(farm) as bare:
        uvloop.run(_submit(farm, bare[0]))


async def _submit(farm: RealFarm, bare_port: int) -> None:
    bare = PlayedAgent(f"127.0.0.1:{bare_port}", "a1", CredentialFiles.in_folder(farm.folder / "agent/credentials"), ())
    echo = bare.streams().stream_stream("/bare/echo")()
    sha256 = await asyncio.to_thread(lambda: farm.status(farm.submit("warm"))["artifact_sha256"])
    took, floors = [], []
    for number in range(_SUBMITS):
        await asyncio.to_thread(_sign_off_all, farm)
        took.append(await asyncio.to_thread(_submitted, farm, f"n{number}", sha256))
        trip = statistics.median([await _trip(echo) for _ in range(10)])
        floors.append(_COMMITS * _commit(farm.folder) + _ROUND_TRIPS * trip)
    found = single(statistics.median(took[2:]) * 1000, statistics.median(floors[2:]) * 1000)
    tell("submit by REST to start", found, "ms", at_most(2), commits=_COMMITS, round_trips=_ROUND_TRIPS)
    await bare.close()


def _submitted(farm: RealFarm, name: str, sha256: str) -> float:
    starts = len(farm.printers.starts())
    began = time.time()
    farm.post("/api/v1/jobs", {"name": name, "artifact_sha256": sha256})
    until(lambda: len(farm.printers.starts()) > starts, 60)
    return float(farm.printers.starts()[-1]["t"]) - began


def _sign_off_all(farm: RealFarm) -> None:
    def step() -> bool:
        waiting = [run for run in farm.all_runs() if run["verdict"] is None and run["state"] != "fenced"]
        for run in waiting:
            if run["state"] == "finished":
                farm.sign_off(run)
        return not waiting

    until(step, 60)


def _commit(folder: Path) -> float:
    """One durable row, bare, in seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        connection = sqlite3.connect(Path(own) / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (x)")
        began = time.perf_counter()
        for _ in range(20):
            connection.execute("INSERT INTO t VALUES (1)")
        took = (time.perf_counter() - began) / 20
        connection.close()
    return took
