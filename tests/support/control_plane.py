"""The control services as the coordinator serves them: mutual TLS, the Guard, SQLite in a file, a folder of artifacts.

Time is turned by hand: ``plane.clock`` is the database's.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from printfarm.control.v1 import (
    access_service_pb2_grpc,
    agent_admin_service_pb2_grpc,
    artifact_service_pb2,
    artifact_service_pb2_grpc,
    event_service_pb2_grpc,
    farm_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    printer_service_pb2_grpc,
    run_service_pb2_grpc,
)
from printfarm.model.v1 import job_pb2
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ca.server import ensure_server_credentials
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.costing import save
from printfarm_coordinator.app.farm import Farm, transact
from printfarm_coordinator.app.ports import Agent, Writing
from printfarm_coordinator.app.relay import position_once
from printfarm_coordinator.app.roster import Roster
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Printer, PrinterState
from printfarm_coordinator.domain.reports import Report, apply_report
from printfarm_coordinator.domain.run import EndEvidence, Fact
from printfarm_coordinator.domain.safety_policy import Policy
from printfarm_coordinator.grpc_api.authorize import CONTROL_TABLE
from printfarm_coordinator.grpc_api.control import add_control_services
from printfarm_coordinator.grpc_api.errors import translate
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import FarmError, from_rpc_error
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.limits import CONTROL_CHANNEL, CONTROL_SERVER
from printfarm_rpc.serving import Guard
from printfarm_rpc.tls import CredentialFiles, client_credentials, mutual_server_credentials

SECOND = 1_000_000
HOUR = 3_600 * SECOND
GCODE = b"; estimated printing time (normal mode) = 1h\nG28\nG1 X10 Y10 F3000\nM84\n"
DEADLINE_SECONDS = 20.0


@dataclass
class ManualClock:
    """Microseconds; stands still unless moved."""

    now: int = 1_780_000_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def forward(self, microseconds: int) -> None:
        """Time passes."""
        self.now += microseconds


@dataclass
class Client:
    """Stubs on one channel, and for whom a gateway says that it asks."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...] = ()
    access: Any = field(init=False)
    agents: Any = field(init=False)
    artifacts: Any = field(init=False)
    events: Any = field(init=False)
    farm: Any = field(init=False)
    jobs: Any = field(init=False)
    printers: Any = field(init=False)
    runs: Any = field(init=False)

    def __post_init__(self) -> None:
        self.access = access_service_pb2_grpc.AccessServiceStub(self.channel)
        self.agents = agent_admin_service_pb2_grpc.AgentAdminServiceStub(self.channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(self.channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)
        self.farm = farm_service_pb2_grpc.FarmServiceStub(self.channel)
        self.jobs = job_service_pb2_grpc.JobServiceStub(self.channel)
        self.printers = printer_service_pb2_grpc.PrinterServiceStub(self.channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(self.channel)

    def acting_for(self, actor: str, role: str, **more: str) -> "Client":
        """The same connection, speaking for a principal."""
        said = (("x-printfarm-actor", actor), ("x-printfarm-role", role), *more.items())
        return Client(self.channel, said)

    async def __call__(self, method: Any, request: Any) -> Any:
        """One call. Raises FarmError as the server meant it."""
        try:
            return await method(request, metadata=self.metadata, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def refused(self, method: Any, request: Any) -> FarmError:
        """The error of a call that must fail."""
        try:
            answer = await self(method, request)
        except FarmError as error:
            return error
        raise AssertionError(f"it was answered: {answer}")

    async def store(self, content: bytes = GCODE, name: str = "part.gcode") -> str:
        """An artifact's SHA-256."""
        chunks = stored_chunks(content, name)
        answer = await self(self.artifacts.StoreArtifact, chunks)
        sha256: str = answer.artifact.sha256
        return sha256

    async def submit(self, sha256: str, **fields: Any) -> job_pb2.Job:
        """A new job of one part."""
        request = job_service_pb2.CreateJobRequest(
            **{"name": "part", "artifact_sha256": sha256, "quantity": 1, "parts_per_plate": 1} | fields
        )
        answer = await self(self.jobs.CreateJob, request)
        made: job_pb2.Job = answer.job
        return made


async def stored_chunks(
    content: bytes, name: str = "part.gcode", sha256: str = "", size: int = 1 << 19
) -> AsyncIterator[artifact_service_pb2.StoreArtifactRequest]:
    """The stream of a whole file."""
    yield artifact_service_pb2.StoreArtifactRequest(display_name=name, sha256=sha256)
    for at in range(0, len(content), size):
        yield artifact_service_pb2.StoreArtifactRequest(chunk=content[at : at + size])


async def eventually(has_come: Callable[[], Awaitable[bool]]) -> None:
    """Asks again until it is so. The deadline only ends a test that would never end."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await has_come():  # noqa: ASYNC110 - another process's or thread's doing: it sets no Event of ours
            await asyncio.sleep(0.01)


def sha256_of(content: bytes) -> str:
    """Hexadecimal."""
    return hashlib.sha256(content).hexdigest()


@dataclass
class ControlPlane:
    """What serves, and the keys to it."""

    farm: Farm
    clock: ManualClock
    authority: Authority
    folder: Path
    address: str
    channels: list[grpc.aio.Channel]

    def connect(self, files: CredentialFiles) -> Client:
        """A connection with those credentials."""
        channel = open_channel(self.address, client_credentials(files), CONTROL_CHANNEL, "coordinator")
        self.channels.append(channel)
        return Client(channel)

    def client(self, role: PeerRole, name: str) -> Client:
        """A connection with a good certificate."""
        return self.connect(self.authority.issue(self.folder / f"{role}-{name}", Identity(role, name)))

    @property
    def operator(self) -> Client:
        """An operator's own connection: an administrator."""
        return self.client(PeerRole.OPERATOR, "olga")

    @property
    def gateway(self) -> Client:
        """A gateway's connection, speaking for nobody yet."""
        return self.client(PeerRole.GATEWAY, "gw")

    async def add_printer(self, printer_id: str, *, agent_id: str = "host", **fields: Any) -> Printer:
        """An idle printer with a clear bed beside a reachable agent."""
        printer = Printer(
            **{
                "printer_id": printer_id,
                "agent_id": agent_id,
                "name": printer_id,
                "driver": "virtual",
                "abilities": Abilities(can_pause=True, material="PLA"),
                "created_at": self.clock.now,
                "updated_at": self.clock.now,
                "observed_state": PrinterState.IDLE,
                "bed": Bed(BedState.CLEAR, f"token-{printer_id}"),
            }
            | fields
        )

        async def work(tx: Writing) -> None:
            lease = self.clock.now + HOUR
            await tx.put_agent(
                Agent(agent_id, self.clock.now, 1, "boot", "journal", lease_expires_at=lease, reachable=True)
            )
            await tx.add_printer(printer)

        await transact(self.farm, "test", work)
        return printer

    async def report(self, run_id: str, *facts: Fact) -> None:
        """The run's agent says so."""

        async def work(tx: Writing) -> None:
            for fact in facts:
                held = await tx.lock_slice(run_id)
                assert held is not None
                said = Report(fact, evidence=EndEvidence(True, True, 1e6))
                await save(self.farm, tx, held, apply_report(held, said, tx.now, f"token-{self.farm.ids.new()}"))

        await transact(self.farm, "test", work)

    async def position(self) -> int:
        """What the relay does, once."""
        return await position_once(self.farm)


@asynccontextmanager
async def open_control_plane(folder: Path) -> AsyncGenerator[ControlPlane]:
    """Closed in order: channels, server, database."""
    clock = ManualClock()
    authority = Authority.create(folder / "ca")
    files = ensure_server_credentials(authority, folder / "coordinator")
    store = SqlStore(f"sqlite:///{folder / 'farm.db'}", clock=clock)
    await migrate(store.engine)
    blobs = ArtifactFolder(folder / "artifacts")
    farm = Farm(
        store,
        InProcessBus(),
        blobs,
        TimeOrderedIds(),
        roster=Roster(fresh_seconds=0.0),
        currency="EUR",
        safety=Policy(),
    )
    server = grpc.aio.server(options=CONTROL_SERVER, interceptors=[Guard(CONTROL_TABLE, translate)])
    add_control_services(server, farm, authority, has_broker=False)
    port = server.add_secure_port("127.0.0.1:0", mutual_server_credentials(files))
    await server.start()
    plane = ControlPlane(farm, clock, authority, folder, f"127.0.0.1:{port}", [])
    try:
        yield plane
    finally:
        for channel in plane.channels:
            await channel.close()
        await server.stop(None)
        await blobs.close()
        await store.close()
