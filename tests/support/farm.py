"""The farm as its own programs: coordinator, gateway and agents as processes, with short times, to be killed at will."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from printfarm_agent.credentials import accept_certificate, new_request
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.enroll import create_token, enroll
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import Role
from printfarm_rpc.identity import Identity, PeerRole
from tests import cura

from .history import History, Outage, Told, read_files, read_journal, read_rows
from .plain_http import NO_AUTHORITIES
from .ports import free_port
from .virtual_printer import VirtualPrinters

T = TypeVar("T")
GCODE = (
    b"; estimated printing time (normal mode) = 1m 40s\nG28\nM104 S200\nM109 S200\n"
    + b"".join(b"G1 X%d Y%d E1 F3000\n" % (10 + (i % 2) * 180, 10 + i % 100) for i in range(20))
    + b"G1 X10 Y200\n"
)
# For whoever acts in the middle of a print: ten seconds more at the time scale of the tests.
LONG = GCODE + b"G4 S600\n"
# The margin of 5 s is the protocol's own, so the authority must outlast it.
HEARTBEAT, LEASE, TTL = 0.5, 9.0, 8.0
_SECONDS = 30.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 0.02, 0.1


def until(what: Callable[[], T | None], seconds: float = _SECONDS, why: str = "") -> T:
    """What the function returns once it is true. Looks often; the deadline is for a broken farm, not for a slow one."""
    deadline, pause = time.monotonic() + seconds, _SHORTEST_SECONDS
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {why or what}")
        time.sleep(pause)
        pause = min(1.25 * pause, _LONGEST_SECONDS)


@dataclass
class Program:
    """One of the farm's processes."""

    name: str
    command: list[str]
    environment: dict[str, str]
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    # When a test kept it from working.
    outages: list[Outage] = field(default_factory=list)

    def start(self, fail_at: str = "") -> "Program":
        """``fail_at`` is a failpoint, as in PRINTFARM_FAIL_AT."""
        environment = os.environ | self.environment | {"PRINTFARM_FAIL_AT": fail_at}
        self.starts += 1
        self._works_again()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=environment, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        return self

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        if self.process is None or not self.is_alive:
            return
        os.killpg(self.process.pid, number)
        if number in (signal.SIGSTOP, signal.SIGKILL):
            self.outages.append(Outage(self.name, time.time(), killed=number == signal.SIGKILL))
        elif number == signal.SIGCONT:
            self._works_again()

    def _works_again(self) -> None:
        for outage in self.outages:
            outage.until = outage.until or time.time()

    def kill(self) -> None:
        """``kill -9``, and waits for it."""
        self.signal(signal.SIGKILL)
        self.wait()

    def wait(self, seconds: float = _SECONDS) -> int:
        assert self.process is not None
        return self.process.wait(seconds)

    def log(self) -> str:
        return (self.folder / f"{self.name}.log").read_text(errors="replace")


@dataclass
class RealFarm:
    """Processes that share nothing but the network and their own folders."""

    folder: Path
    database_url: str = ""
    printer_count: int = 2
    time_scale: float = 60.0
    agent_target: str = ""
    # More variables for the coordinator and the gateway.
    environment: dict[str, str] = field(default_factory=dict)
    # More settings of the agent, and of each of its printers, as TOML.
    agent_toml: str = ""
    printer_toml: str = ""
    driver_timeout: float = 2.0
    # How many slicer workers; a test starts them.
    slicer_count: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    key: str = ""
    told: list[Told] = field(default_factory=list)
    # How long a client goes on asking, in seconds.
    patience: float = 60.0

    def __post_init__(self) -> None:
        for name in ("agents", "control", "enrollment", "admin", "metrics", "gateway"):
            self.ports[name] = free_port()
        self.printers = VirtualPrinters(self.folder / "printers", self.printer_count, time_scale=self.time_scale)
        self.data = self.folder / "data"
        self.database = self.database_url or f"sqlite:///{self.data / 'farm.db'}"
        environment = {
            "PRINTFARM_DATA_DIR": str(self.data),
            "DATABASE_URL": self.database,
            "PRINTFARM_HEARTBEAT_SECONDS": str(HEARTBEAT),
            "PRINTFARM_LEASE_SECONDS": str(LEASE),
            "PRINTFARM_START_TTL_SECONDS": str(TTL),
            "PRINTFARM_PORT": str(self.ports["gateway"]),
            **{f"PRINTFARM_{name.upper()}_ADDRESS": f"127.0.0.1:{self.ports[name]}" for name in self.ports},
            **self.environment,
        }
        python = [sys.executable, "-m"]
        self.coordinator = Program("coordinator", [*python, "printfarm_coordinator", "run"], environment, self.folder)
        self.gateway = Program("gateway", [*python, "printfarm_gateway"], environment, self.folder)
        self.slicers = [
            Program(name, [*python, "printfarm_slicer"], self._slicer_environment(name), self.folder)
            for name in (f"slicer-{number}" for number in range(self.slicer_count))
        ]
        self.agent = Program(
            "agent",
            [*python, "printfarm_agent", "run", "--config", str(self.folder / "agent.toml")],
            {},
            self.folder,
        )

    def _slicer_environment(self, name: str) -> dict[str, str]:
        definitions = cura.definitions()
        return {
            "PRINTFARM_CONTROL_TARGET": f"127.0.0.1:{self.ports['control']}",
            "PRINTFARM_SLICER_CREDENTIALS": str(self.data / name),
            **({"PRINTFARM_SLICER_CURA_DEFINITIONS": str(definitions)} if definitions else {}),
        }

    # -- setting up

    def prepare(self) -> None:
        """CA, credentials, database, one enrolled agent."""
        self.data.mkdir(parents=True)
        authority = Authority.create(self.data / "ca")
        authority.issue(self.data / "gateway", Identity(PeerRole.GATEWAY, "gateway"))
        authority.issue(self.data / "operator", Identity(PeerRole.OPERATOR, "tester"))
        for worker in self.slicers:
            authority.issue(self.data / worker.name, Identity(PeerRole.SLICER, worker.name))
        self.enrol("a1", self.folder / "agent", authority)
        self.write_agent_config()

    def enrol(self, agent_id: str, state_dir: Path, authority: Authority) -> None:
        """As the enrolment service does, without its listener."""

        is_new = not self.coordinator.starts

        async def work() -> None:
            store = SqlStore(self.database)
            try:
                if is_new:
                    await migrate(store.engine)
                farm = Farm(store, InProcessBus(), ArtifactFolder(self.data / "artifacts"), TimeOrderedIds())
                token, _ = await create_token(farm, Caller("test", Role.ADMIN), agent_id)
                key, request = new_request(state_dir)
                _, signed = await enroll(farm, authority, token, request)
                accept_certificate(state_dir, key, signed.chain_pem, signed.roots_pem)
            finally:
                await store.close()

        asyncio.run(work())

    def write_agent_config(self) -> None:
        target = self.agent_target or f"127.0.0.1:{self.ports['agents']}"
        text = f'[agent]\ncoordinator = "{target}"\nstate_dir = "{self.folder / "agent"}"\n'
        text += f'metrics_address = "127.0.0.1:{free_port()}"\nobserve_seconds = 0.1\nidle_observe_seconds = 0.2\n'
        text += self.agent_toml
        for index in range(self.printer_count):
            text += f'\n[[printer]]\nid = "p{index}"\ndriver = "virtual"\ninitial_bed = "clear"\n'
            text += self.printer_toml
            text += (
                f'options = {{ address = "{self.printers.address(index)}", timeout_seconds = {self.driver_timeout} }}\n'
            )
        (self.folder / "agent.toml").write_text(text)

    def start(self) -> "RealFarm":
        """All of it; returns when the gateway answers and the printers are seen."""
        self.printers.start()
        self.coordinator.start()
        self.gateway.start()
        self.agent.start()
        until(lambda: (self.data / "admin-api-key").exists() or None, why="the coordinator's first start")
        self.key = (self.data / "admin-api-key").read_text().strip()
        until(self.is_ready, why="the farm is ready")
        return self

    def is_ready(self) -> bool:
        answer = self.try_get("/api/v1/printers")
        return answer is not None and sum(p["state"] == "idle" for p in answer["items"]) >= self.printer_count

    def stop(self) -> None:
        for program in (*self.slicers, self.agent, self.gateway, self.coordinator):
            if program.process is not None:
                program.signal(signal.SIGCONT)
                program.kill()
        self.printers.kill()

    # -- as a client

    def client(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.ports['gateway']}"
        return httpx.Client(base_url=url, headers={"X-API-Key": self.key}, timeout=20.0, verify=NO_AUTHORITIES)

    def try_get(self, path: str) -> Any:
        """The JSON, or None while nobody answers."""
        try:
            with self.client() as client:
                answer = client.get(path)
            return answer.json() if answer.status_code == 200 else None
        except httpx.TransportError:
            return None

    def get(self, path: str) -> Any:
        """The JSON, asked for until it is answered."""
        return until(lambda: self.try_get(path), self.patience, f"an answer to {path}")

    def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        with self.client() as client:
            return client.post(path, json=body or {})

    def submit(self, key: str, *, gcode: bytes = GCODE, file_name: str = "part.gcode", **fields: Any) -> str:
        """Posts until it is answered, under one idempotency key, as a good client does."""
        job = {"name": key, **fields}
        files = {"file": (file_name, gcode), "job": (None, json.dumps(job), "application/json")}

        def attempt() -> str | None:
            try:
                with self.client() as client:
                    answer = client.post("/api/v1/jobs/receive", files=files, headers={"Idempotency-Key": key})  # type: ignore[arg-type]
            except httpx.TransportError:
                return None
            if answer.status_code in (502, 503):
                return None
            assert answer.status_code == 202, answer.text
            return str(answer.json()["job_id"])

        job_id = until(attempt, self.patience, "the job is accepted")
        digest, quantity = hashlib.sha256(gcode).hexdigest(), fields.get("quantity", 1)
        self.told.append(Told("accepted", job_id, time.time(), key, digest, quantity))
        return job_id

    def status(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: self.try_get(f"/api/v1/jobs/{job_id}/status"), self.patience, "a status")
        if found["state"] == "cancelled":
            self.told.append(Told("cancelled", job_id, time.time()))
        return found

    def wait_run(self, job_id: str, *states: str, seconds: float = 60.0) -> dict[str, Any]:
        """The newest run, once it is in one of the states."""

        def look() -> dict[str, Any] | None:
            runs = self.status(job_id)["runs"]
            return runs[-1] if runs and runs[-1]["state"] in states else None

        return until(look, seconds, f"a run {states}; last: {self.try_get(f'/api/v1/jobs/{job_id}/status')}")

    def sign_off(self, run: dict[str, Any], good_parts: int | None = None) -> None:
        """The part is taken off the plate, then said to be good."""
        self.printers.admin("clear_plate", int(run["printer_id"].removeprefix("p")))
        parts = run["parts"] if good_parts is None else good_parts
        answer = self.post(f"/api/v1/runs/{run['run_id']}/verdict", {"good_parts": parts})
        assert answer.status_code == 200, answer.text

    def all_runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = until(lambda: self.try_get("/api/v1/runs?limit=500"), self.patience)["items"]
        return found

    def history(self, *, settled: bool = False) -> History:
        """Everything that the checker needs. The logs first: what a printer did is older than what the database says."""
        logs = {f"p{index}": self.printers.log(index) for index in range(self.printer_count)}
        while True:
            rows = read_rows(self.database)
            again = {f"p{index}": self.printers.log(index) for index in range(self.printer_count)}
            if again == logs:
                break
            logs = again
        journal = self.folder / "agent" / "journal.db"
        return History(
            logs,
            rows,
            {"a1": read_journal(journal)},
            list(self.told),
            [*self.coordinator.outages, *self.gateway.outages, *self.agent.outages],
            read_files(self.data / "artifacts", self.folder / "agent" / "files"),
            time_scale=self.time_scale,
            start_ttl=TTL,
            idle_heat=self.idle_heat,
            settled=settled,
        )

    @property
    def idle_heat(self) -> float:
        """Seconds, as the agent's settings have it."""
        return float(tomllib.loads(self.agent_toml).get("idle_heat_seconds", 600.0))

    def metrics(self) -> str:
        url = f"http://127.0.0.1:{self.ports['metrics']}/metrics"
        return httpx.get(url, timeout=10, verify=NO_AUTHORITIES).text


@contextmanager
def real_farm(folder: Path, **options: Any) -> Iterator[RealFarm]:
    """Started, and ended whatever happens."""
    farm = RealFarm(folder, **options)
    farm.prepare()
    try:
        yield farm.start()
    finally:
        farm.stop()
