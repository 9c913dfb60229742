"""Agents that the benchmark plays itself: real identities, the real protocol, no drivers; many in one process."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm.model.v1 import printer_pb2, telemetry_pb2
from printfarm_agent.credentials import accept_certificate, new_request
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.enroll import create_token, enroll
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import Role
from printfarm_rpc.channel import open_channel
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL, AGENT_FILES_CHANNEL, AGENT_STREAMS_CHANNEL, Options
from printfarm_rpc.tls import CredentialFiles, client_credentials
from tests.support.farm import RealFarm

_BEAT_SECONDS = 5.0
_SERVER_NAME = "coordinator"


async def enrolled(farm: RealFarm, agent_ids: Sequence[str]) -> dict[str, CredentialFiles]:
    """As the enrolment service does, before the coordinator runs or beside it. Agent id -> its key and certificate."""
    authority = Authority.open(farm.data / "ca")
    store = SqlStore(farm.database)
    app = Farm(store, InProcessBus(), ArtifactFolder(farm.data / "artifacts"), TimeOrderedIds())
    found = {}
    try:
        for agent_id in agent_ids:
            folder = farm.folder / "fleet" / agent_id
            token, _ = await create_token(app, Caller("bench", Role.ADMIN), agent_id)
            key, request = new_request(folder)
            _, signed = await enroll(app, authority, token, request)
            found[agent_id] = CredentialFiles.in_folder(
                accept_certificate(folder, key, signed.chain_pem, signed.roots_pem)
            )
    finally:
        await store.close()
    return found


def printer(printer_id: str, state: Any = telemetry_pb2.PRINTER_STATE_IDLE) -> pb.PrinterReport:
    """As it stands in a Hello."""
    return pb.PrinterReport(
        printer_id=printer_id,
        driver="virtual",
        name=printer_id,
        abilities=printer_pb2.Abilities(model="bench", material="PLA", nozzle_diameter_mm=0.4, can_pause=True),
        observed_state=state,
        initial_bed=printer_pb2.BED_STATE_CLEAR,
    )


class PlayedAgent:
    """One agent's connections. ``connect`` says Hello; what comes is in ``inbox``."""

    def __init__(
        self, target: str, agent_id: str, files: CredentialFiles, printers: Sequence[pb.PrinterReport]
    ) -> None:
        self.agent_id = agent_id
        self._target = target
        self._files = files
        self._printers = printers
        self._sequence = 0
        self._channels: list[grpc.aio.Channel] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.inbox: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()

    def channel(self, options: Options) -> grpc.aio.Channel:
        """A connection of its own."""
        made = open_channel(self._target, client_credentials(self._files), options, _SERVER_NAME)
        self._channels.append(made)
        return made

    async def connect(self) -> pb.Welcome:
        """Returns with the first complete set of assignments in ``inbox``."""
        self.control = rpc.AgentServiceStub(self.channel(AGENT_CONTROL_CHANNEL))
        self.call = self.control.Connect()
        hello = pb.Hello(
            agent_version="bench",
            boot_id="boot",
            journal_id="journal",
            journal_max_sequence=self._sequence,
            protocol_version=1,
            printers=self._printers,
        )
        await self.call.write(pb.ConnectRequest(hello=hello))
        welcome = await self.call.read()
        self.inbox.put_nowait(await self.call.read())
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._beat())]
        found: pb.Welcome = welcome.welcome
        return found

    async def _read(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            while isinstance(response := await self.call.read(), pb.ConnectResponse):
                if response.WhichOneof("message") != "heartbeat_ack":
                    self.inbox.put_nowait(response)

    async def _beat(self) -> None:
        for number in itertools.count(1):
            await self.call.write(pb.ConnectRequest(heartbeat=pb.Heartbeat(sequence=number)))
            await asyncio.sleep(_BEAT_SECONDS)

    async def tell(self, printer_id: str, run: pb.AssignedRun | None = None, **fact: Any) -> None:
        """A fact, as from a journal; returns once it is acknowledged. No other may be told meanwhile."""
        self._sequence += 1
        said = pb.AgentEvent(
            sequence=self._sequence,
            printer_id=printer_id,
            run_id=run.run_id if run else "",
            epoch=run.epoch if run else 0,
            **fact,
        )
        await self.call.write(pb.ConnectRequest(events=pb.EventBatch(events=[said])))

    async def acknowledged(self) -> None:
        """Everything told so far was committed."""
        while (await self.inbox.get()).event_ack.sequence < self._sequence:
            pass

    async def assigned(self) -> pb.AssignedRun:
        """The next run that is wanted of a printer."""
        while True:
            response = await self.inbox.get()
            each = [response.change.assignment, *response.assignments.assignments]
            for assignment in each:
                if assignment.HasField("run"):
                    return assignment.run

    def streams(self) -> grpc.aio.Channel:
        """For telemetry and frames."""
        return self.channel(AGENT_STREAMS_CHANNEL)

    def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """As the agent's link does."""
        stub = rpc.AgentServiceStub(self.channel(AGENT_FILES_CHANNEL))
        return _chunks(stub.DownloadArtifact(pb.DownloadArtifactRequest(sha256=sha256, offset=offset)))

    async def close(self) -> None:
        """Ends everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for channel in self._channels:
            await channel.close()


async def _chunks(call: Any) -> AsyncIterator[bytes]:
    async for response in call:
        yield response.chunk


def agents_target(farm: RealFarm) -> str:
    """Where agents connect to."""
    return f"127.0.0.1:{farm.ports['agents']}"
