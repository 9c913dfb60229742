"""Runs the benchmarks and prints one JSON object a line: the figure, its yardstick, the ratio.

``python -m tests.bench [name ...]`` runs some of them.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from printfarm_coordinator.adapters.ca.authority import Authority
from tests.support.farm import GCODE, Program, RealFarm, until
from tests.support.ports import free_port

from .http import per_second, request

ROUNDS = 3
_BARE_CLIENT = """
import asyncio, sys, grpc
async def main():
    channel = grpc.aio.insecure_channel("127.0.0.1:1")
    print("ready", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def tell(name: str, figure: float, yardstick: float, unit: str, target: str, ratio: float | None = None) -> None:
    """One line."""
    line = {
        "benchmark": name,
        "figure": round(figure, 3),
        "yardstick": round(yardstick, 3),
        "unit": unit,
        "ratio": round(ratio if ratio is not None else figure / yardstick, 3),
        "target": target,
    }
    print(json.dumps(line), flush=True)


@contextmanager
def farm_for_load(**options: object) -> Iterator[RealFarm]:
    """A farm whose limits do not get in the way."""
    with tempfile.TemporaryDirectory() as folder:
        farm = RealFarm(Path(folder), **options)  # type: ignore[arg-type]
        farm.gateway.environment["PRINTFARM_REQUESTS_PER_MINUTE"] = "100000000"
        for program in (farm.gateway, farm.coordinator):
            program.environment["PRINTFARM_LOG_LEVEL"] = "WARNING"
        farm.prepare()
        try:
            yield farm.start()
        finally:
            farm.stop()


@contextmanager
def bare_server() -> Iterator[int]:
    """The yardstick's port."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.bare_http", str(port), str(Path(folder) / "bare.db")]
        process = subprocess.Popen(command)
        try:
            until(lambda: _answers(port), why="the bare server answers")
            yield port
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    import socket

    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def _best(run: Callable[[int], float]) -> float:
    return statistics.median(run(round_) for round_ in range(ROUNDS))


def rest() -> None:
    """GET status, POST of metadata, POST with a file of 1 MB."""
    with farm_for_load(printer_count=1) as farm, bare_server() as bare:
        farm.post("/api/v1/printers/p0/hold", {"reason": "benchmark"})
        job_id = farm.submit("bench")
        sha256 = farm.status(job_id)["artifact_sha256"]
        port = farm.ports["gateway"]
        path = f"/api/v1/jobs/{job_id}/status"
        ours = _best(lambda _: _rate(port, lambda n: request("GET", path, X_API_Key=farm.key), 800))
        base = _best(lambda _: _rate(bare, lambda n: request("GET", "/status"), 3200))
        tell("GET job status", ours, base, "requests/s", ">= 0.8")

        body = json.dumps({"name": "bench", "quantity": 1, "artifact_sha256": sha256}).encode()
        kind = "application/json"
        ours = _best(
            lambda _: _rate(
                port, lambda n: request("POST", "/api/v1/jobs", body, X_API_Key=farm.key, Content_Type=kind), 480
            )
        )
        base = _best(lambda _: _rate(bare, lambda n: request("POST", "/job", body, Content_Type=kind), 960))
        tell("POST job (metadata), SQLite, 16 connections", ours, base, "requests/s", ">= 0.7")

        form, boundary = _form(GCODE + b"; filler\n" * 110_000)
        kind = f"multipart/form-data; boundary={boundary}"
        ours = _best(
            lambda _: _rate(
                port,
                lambda n: request("POST", "/api/v1/jobs/receive", form, X_API_Key=farm.key, Content_Type=kind),
                64,
                8,
            )
        )
        base = _best(lambda _: _rate(bare, lambda n: request("POST", "/file", form, Content_Type=kind), 64, 8))
        tell("POST job with a file of 1 MB", ours, base, "requests/s", ">= 0.8")


def _rate(port: int, make: Callable[[int], bytes], total: int, connections: int = 16) -> float:
    return asyncio.run(per_second(port, make, total, connections))


def _form(content: bytes) -> tuple[bytes, str]:
    boundary = "benchmarkboundary"
    job = json.dumps({"name": "bench"}).encode()
    parts = [
        b'Content-Disposition: form-data; name="job"\r\nContent-Type: application/json\r\n\r\n' + job,
        b'Content-Disposition: form-data; name="file"; filename="a.gcode"\r\n\r\n' + content,
    ]
    marks = b"".join(b"--" + boundary.encode() + b"\r\n" + part + b"\r\n" for part in parts)
    return marks + b"--" + boundary.encode() + b"--\r\n", boundary


def submit_to_start() -> None:
    """From the POST of a job (its file is there) to the physical start in the printer's log."""
    with farm_for_load(printer_count=1, time_scale=2000.0) as farm:
        first = farm.submit("warm")
        sha256 = farm.status(first)["artifact_sha256"]
        took = []
        for number in range(12):
            _sign_off_all(farm)
            began = time.time()
            farm.post("/api/v1/jobs", {"name": f"n{number}", "artifact_sha256": sha256})
            starts = len(farm.printers.starts())
            until(lambda seen=starts: len(farm.printers.starts()) > seen, 60)
            took.append(farm.printers.starts()[-1]["t"] - began)
    tell("submit by REST to start", statistics.median(took[2:]) * 1000, _protocol_floor(), "ms", "<= 2")


def _sign_off_all(farm: RealFarm) -> None:
    def step() -> bool:
        waiting = [run for run in farm.all_runs() if run["verdict"] is None and run["state"] != "fenced"]
        for run in waiting:
            if run["state"] == "finished":
                farm.sign_off(run)
        return not waiting

    until(step, 60)


def _protocol_floor() -> float:
    """What the start protocol needs at least: its durable commits and round trips, bare, in ms.

    Ten commits (job, offer, three of the agent's journal, three reports, authority, position) with ``synchronous=FULL`` and six
    round trips over a loopback gRPC call.
    """
    import sqlite3

    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE t (x)")
        began = time.perf_counter()
        for _ in range(200):
            connection.execute("INSERT INTO t VALUES (1)")
        commit = (time.perf_counter() - began) / 200
    return (10 * commit + 6 * asyncio.run(_round_trip())) * 1000


async def _round_trip() -> float:
    import grpc

    async def echo(request: bytes, context: object) -> bytes:
        return request

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("b", {"e": grpc.unary_unary_rpc_method_handler(echo)})
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/b/e")
        await call(b"x")
        began = time.perf_counter()
        for _ in range(200):
            await call(b"x")
        took = (time.perf_counter() - began) / 200
    await server.stop(0)
    return took


def _rss(pid: int) -> float:
    """MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def memory() -> None:
    """The agent with one printer, and with eleven; the coordinator."""
    bare = subprocess.Popen([sys.executable, "-c", _BARE_CLIENT], stdout=subprocess.PIPE)
    assert bare.stdout is not None
    bare.stdout.readline()
    time.sleep(0.5)
    base = _rss(bare.pid)
    bare.kill()
    bare.wait()
    sizes = {}
    for count in (1, 11):
        with farm_for_load(printer_count=count) as farm:
            time.sleep(3)
            assert farm.agent.process is not None
            sizes[count] = _rss(farm.agent.process.pid)
    tell("agent memory, 1 printer, above a bare grpc.aio client", sizes[1] - base, 10.0, "MB", "<= 1")
    tell("agent memory, a further printer", (sizes[11] - sizes[1]) / 10, 1.0, "MB", "<= 1")


def cold_start() -> None:
    """From the command to readiness, against the import of the same modules."""
    with tempfile.TemporaryDirectory() as folder:
        farm = RealFarm(Path(folder), printer_count=1)
        farm.prepare()
        farm.printers.start()
        try:
            for name, modules, ready in (
                ("coordinator", "printfarm_coordinator.__main__", "coordinator serves"),
                ("gateway", "printfarm_gateway.__main__", "gateway serves"),
                ("agent", "printfarm_agent.__main__", "agent works"),
            ):
                program = getattr(farm, name)
                took = statistics.median(_start_seconds(program, ready) for _ in range(ROUNDS))
                base = statistics.median(_import_seconds(modules) for _ in range(ROUNDS))
                tell(f"cold start, {name}", took, base, "s", "<= 2")
        finally:
            farm.stop()


def _start_seconds(program: Program, ready: str) -> float:
    before = program.log().count(ready) if program.starts else 0
    began = time.perf_counter()
    program.start()
    until(lambda: program.log().count(ready) > before, why=ready)
    took = time.perf_counter() - began
    program.kill()
    return took


def _import_seconds(module: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - began


def dead() -> None:
    """A farm where 9 of 10 printers are dead: how fast the living ones print, against the same without the dead."""
    tell(
        "20 printers print 40 plates beside 180 dead ones",
        _plates_per_second(18),
        _plates_per_second(0),
        "plates/s",
        ">= 1",
    )


def _plates_per_second(dead_agents: int) -> float:
    """Agents of ten printers each; two live, the others are killed and have been declared unreachable."""
    with tempfile.TemporaryDirectory() as folder:
        farm = RealFarm(Path(folder), printer_count=0)
        farm.gateway.environment["PRINTFARM_REQUESTS_PER_MINUTE"] = "100000000"
        farm.prepare()
        agents = 2 + dead_agents
        command = [sys.executable, "-m", "printfarm_virtual_printer", "--printers", str(agents * 10)]
        command += ["--dir", str(Path(folder) / "many"), "--time-scale", "100"]
        printers = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert printers.stdout is not None
        addresses = [each["address"] for each in json.loads(printers.stdout.readline())["printers"]]
        authority = Authority.open(farm.data / "ca")
        programs = []
        for number in range(agents):
            config = _agent_config(farm, number, addresses[number * 10 : number * 10 + 10], authority)
            run = [sys.executable, "-m", "printfarm_agent", "run", "--config", str(config)]
            programs.append(Program(f"agent-{number}", run, {}, farm.folder))
        try:
            farm.start()
            for program in programs:
                program.start()
            until(lambda: _count(farm, "idle") == agents * 10, 120, "all printers are seen")
            for program in programs[2:]:
                program.kill()
            until(lambda: _count(farm, "offline") == dead_agents * 10, 120, "the dead are declared")
            return _print_plates(farm, 40)
        finally:
            for program in programs:
                if program.is_alive:
                    program.kill()
            printers.kill()
            printers.wait()
            farm.stop()


def _agent_config(farm: RealFarm, number: int, addresses: list[str], authority: Authority) -> Path:
    state = farm.folder / f"state-{number}"
    farm.enrol(f"agent-{number}", state, authority)
    text = f'[agent]\ncoordinator = "127.0.0.1:{farm.ports["agents"]}"\nstate_dir = "{state}"\n'
    text += f'metrics_address = "127.0.0.1:{free_port()}"\n'
    for index, address in enumerate(addresses):
        text += f'\n[[printer]]\nid = "n{number}-{index}"\ndriver = "virtual"\ninitial_bed = "clear"\n'
        text += f'options = {{ address = "{address}" }}\n'
    path = farm.folder / f"agent-{number}.toml"
    path.write_text(text)
    return path


def _count(farm: RealFarm, state: str) -> int:
    return int(
        (farm.try_get("/api/v1/dashboard/stats") or {"printers_by_state": {}})["printers_by_state"].get(state, 0)
    )


def _print_plates(farm: RealFarm, plates: int) -> float:
    """Signs off as quickly as they finish; nobody clears the virtual plates, which is what their logs then say."""
    began = time.perf_counter()
    job_id = farm.submit("many", quantity=plates)
    with farm.client() as client:

        def step() -> bool:
            finished = client.get("/api/v1/runs?state=finished&limit=200").json()["items"]
            for run in finished:
                if run["verdict"] is None:
                    client.post(f"/api/v1/runs/{run['run_id']}/verdict", json={"good_parts": 1})
            return bool(client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "completed")

        until(step, 240, "all plates are printed")
    return plates / (time.perf_counter() - began)


BENCHMARKS = {"rest": rest, "start": submit_to_start, "memory": memory, "cold": cold_start, "dead": dead}


def main() -> None:
    """All, or those that are named."""
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
