"""A coordinator's listeners for agents and for enrolment, over real TLS; and hosts that come to them."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from printfarm.agent.v1 import agent_service_pb2 as agent_pb
from printfarm.agent.v1 import agent_service_pb2_grpc as agent_rpc
from printfarm.agent.v1 import enrollment_service_pb2 as pb
from printfarm.agent.v1 import enrollment_service_pb2_grpc as rpc
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ca.server import ensure_server_credentials
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.enroll import LONGEST_TOKEN_US, create_token
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.heartbeats import Heartbeats
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import Agent, Role
from printfarm_coordinator.app.relay import position_once
from printfarm_coordinator.grpc_api.agent_service import AgentServicer, AgentTimes
from printfarm_coordinator.grpc_api.authorize import AGENT_TABLE, ENROLLMENT_TABLE
from printfarm_coordinator.grpc_api.enrollment_service import add_enrollment_service
from printfarm_coordinator.grpc_api.errors import translate
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError, from_rpc_error, is_answer_lost
from printfarm_rpc.keys import new_key, write_private
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL, AGENT_SERVER, ENROLLMENT_SERVER
from printfarm_rpc.serving import Guard
from printfarm_rpc.tls import (
    CredentialFiles,
    client_credentials,
    mutual_server_credentials,
    open_server_credentials,
    roots_only_credentials,
)
from tests.support.control_plane import ManualClock

EVA = Caller("user/eva", Role.ADMIN, "request-1")
AGENT_URI = "spiffe://farm/agent/a1"
SECONDS = 10.0
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def csr_of(key: PrivateKey) -> bytes:
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def pem_of(key: PrivateKey) -> bytes:
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, pkcs8, plain)


async def answer(call: Any) -> Any:
    """Raises FarmError as the server meant it."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def code_of(call: Any) -> Code:
    with pytest.raises(FarmError) as refused:
        await answer(call)
    return refused.value.code


@dataclass
class Host:
    """A machine beside printers: what it has on disk, and a connection made of that."""

    stub: Any
    files: CredentialFiles
    key: PrivateKey

    async def hello(self, boot_id: str = "boot") -> Any:
        """The stream, and the first thing that came."""
        stream = self.stub.Connect()
        said = agent_pb.Hello(boot_id=boot_id, journal_id="journal", protocol_version=1, agent_version="1")
        try:
            # It may have been refused before this is written.
            with contextlib.suppress(asyncio.InvalidStateError):
                await stream.write(agent_pb.ConnectRequest(hello=said))
            return stream, await stream.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    async def connect(self) -> Any:
        """The open stream, after its Welcome."""
        stream, first = await self.hello()
        assert first.WhichOneof("message") == "welcome"
        return stream

    async def use(self) -> None:
        """Connects for a moment."""
        (await self.connect()).cancel()

    async def refused(self) -> Code:
        """The code with which its connection is refused. As an agent does, it asks again where gRPC lost the answer."""
        while True:
            with pytest.raises(FarmError) as refused:
                await self.hello()
            lost = refused.value.__cause__
            if not (isinstance(lost, grpc.aio.AioRpcError) and is_answer_lost(lost)):
                return refused.value.code

    async def renew(self, key: PrivateKey) -> agent_pb.RenewCertificateResponse:
        request = agent_pb.RenewCertificateRequest(certificate_signing_request=csr_of(key))
        found: agent_pb.RenewCertificateResponse = await answer(self.stub.RenewCertificate(request, timeout=SECONDS))
        return found


@dataclass
class Plane:
    """A coordinator's agents' listener and enrolment listener."""

    farm: Farm
    clock: ManualClock
    authority: Authority
    folder: Path
    server_files: CredentialFiles
    enrollment_address: str
    agents_address: str
    channels: list[grpc.aio.Channel] = field(default_factory=list)
    hosts: int = 0
    # Seconds of the clock that attempts to enrol are counted by.
    seconds: float = 1_000.0

    async def token(self, lifetime_us: int = LONGEST_TOKEN_US, agent_id: str = "a1") -> str:
        made, _ = await create_token(self.farm, EVA, agent_id, lifetime_us)
        return made

    def enrollment(self, address: str = "") -> Any:
        roots = roots_only_credentials(self.authority.roots_pem)
        channel = open_channel(address or self.enrollment_address, roots, AGENT_CONTROL_CHANNEL, "coordinator")
        self.channels.append(channel)
        return rpc.EnrollmentServiceStub(channel)

    async def enroll(self, token: str, csr: bytes) -> pb.EnrollResponse:
        request = pb.EnrollRequest(token=token, certificate_signing_request=csr)
        found: pb.EnrollResponse = await answer(self.enrollment().Enroll(request, timeout=SECONDS))
        return found

    def host(self, key: PrivateKey, chain: bytes, roots: bytes) -> Host:
        self.hosts += 1
        files = CredentialFiles.in_folder(self.folder / f"host-{self.hosts}")
        for path, content in ((files.key, pem_of(key)), (files.chain, chain), (files.roots, roots)):
            write_private(path, content)
        return Host(self.agents_stub(files), files, key)

    def agents_stub(self, files: CredentialFiles) -> Any:
        channel = open_channel(self.agents_address, client_credentials(files), AGENT_CONTROL_CHANNEL, "coordinator")
        self.channels.append(channel)
        return agent_rpc.AgentServiceStub(channel)

    async def enrolled(self, agent_id: str = "a1") -> Host:
        key = new_key()
        got = await self.enroll(await self.token(agent_id=agent_id), csr_of(key))
        return self.host(key, got.certificate_chain, got.trusted_roots)

    async def renewed(self, host: Host, key: PrivateKey | None = None) -> Host:
        key = key or new_key()
        got = await host.renew(key)
        return self.host(key, got.certificate_chain, got.trusted_roots)

    async def agent(self, agent_id: str = "a1") -> Agent | None:
        async with self.farm.store.read() as look:
            return await look.agent(agent_id)

    async def told(self) -> list[str]:
        """Types of all events about agents, in order."""
        await position_once(self.farm)
        async with self.farm.store.read() as look:
            return [stored.event.type for stored in await look.events(0, 500) if stored.event.type.startswith("agent.")]

    async def audited(self, action: str) -> list[str]:
        """Actors of the audit rows of that action."""
        async with self.farm.store.read() as look:
            return [stored.entry.actor for stored in await look.audit(500, None, "") if stored.entry.action == action]


@asynccontextmanager
async def open_agent_plane(url: str, folder: Path) -> AsyncGenerator[Plane]:
    """On that database, with its files in the folder."""
    clock = ManualClock(time.time_ns() // 1000)
    authority = Authority.create(folder / "ca")
    files = ensure_server_credentials(authority, folder / "coordinator")
    store = SqlStore(url, clock=clock)
    await migrate(store.engine)
    farm = Farm(store, InProcessBus(), ArtifactFolder(folder / "artifacts"), TimeOrderedIds())
    leadership = Leadership("test")
    await leadership.prolong(farm)
    agents = grpc.aio.server(options=AGENT_SERVER, interceptors=[Guard(AGENT_TABLE, translate)])
    servicer = AgentServicer(farm, leadership, Heartbeats(), AgentTimes(10.0, 45.0, 30.0), authority)
    agent_rpc.add_AgentServiceServicer_to_server(servicer, agents)
    enrollment = grpc.aio.server(options=ENROLLMENT_SERVER, interceptors=[Guard(ENROLLMENT_TABLE, translate)])
    add_enrollment_service(enrollment, farm, authority, lambda: made.seconds)
    agents_port = agents.add_secure_port("127.0.0.1:0", mutual_server_credentials(files))
    enrollment_port = enrollment.add_secure_port("127.0.0.1:0", open_server_credentials(files))
    await agents.start()
    await enrollment.start()
    made = Plane(
        farm,
        clock,
        authority,
        folder,
        files,
        f"127.0.0.1:{enrollment_port}",
        f"127.0.0.1:{agents_port}",
    )
    try:
        yield made
    finally:
        for channel in made.channels:
            await channel.close()
        await agents.stop(None)
        await enrollment.stop(None)
        await store.close()
