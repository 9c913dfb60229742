"""The coordinator's side towards agents: thin, over the use cases."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm_rpc.errors import Code, FarmError, invalid
from printfarm_rpc.identity import Identity
from printfarm_rpc.limits import (
    FIRST_ANSWER_SECONDS,
    LARGEST_CHUNK_BYTES,
    PROTOCOL_VERSION,
    SAMPLES_PER_BATCH,
)
from printfarm_rpc.serving import PEER, Context

from .. import __version__
from ..app import enroll
from ..app.authorise import authorise_start
from ..app.boots import Boots
from ..app.farm import Farm
from ..app.frames import Frame
from ..app.heartbeats import Heartbeats
from ..app.leading import Leadership
from ..app.ports import Agent, Reading
from ..app.sessions import greet
from ..app.trust import check_agent, lock_second_host, lock_two_hosts
from ..domain.authority import AuthorityRequest
from ..domain.errors import RuleError
from ..domain.print_file import print_file_of
from .agent_convert import duration, greeting, taken_at
from .agent_session import AgentSession
from .telemetry_convert import is_plausible, sample

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AgentTimes:
    """Seconds. The defaults are in ``printfarm_rpc.limits``; tests shorten them together."""

    heartbeat: float
    lease: float
    start_ttl: float

    @property
    def lease_us(self) -> int:
        """In microseconds."""
        return round(self.lease * 1e6)

    @property
    def heartbeat_us(self) -> int:
        """In microseconds."""
        return round(self.heartbeat * 1e6)


class AgentServicer(rpc.AgentServiceServicer):
    """Registered on the agents' listener, behind the Guard."""

    def __init__(
        self, farm: Farm, leadership: Leadership, heartbeats: Heartbeats, times: AgentTimes, signer: enroll.Signer
    ) -> None:
        self._farm = farm
        self._leadership = leadership
        self._heartbeats = heartbeats
        self._times = times
        self._signer = signer
        self._boots = Boots()

    async def Connect(
        self, request_iterator: AsyncIterator[pb.ConnectRequest], context: Context
    ) -> AsyncIterator[pb.ConnectResponse]:
        identity = peer()
        agent = await self._admitted(identity)
        if enroll.is_first_use(agent, identity):
            await enroll.note_first_use(self._farm, identity)
        session = await self._hello(identity, request_iterator)
        structlog.contextvars.bind_contextvars(agent_id=identity.name, connection_epoch=session.connection_epoch)
        _LOG.info("agent connected", printers=len(session.printer_ids))
        self._farm.hints.attach(identity.name, session)
        reader = asyncio.create_task(session.read(request_iterator))
        try:
            yield self._welcome(session)
            async for message in session.messages():
                yield message
        finally:
            # A stream that ends without Goodbye was a crash: the lease decides, not this.
            self._farm.hints.detach(identity.name, session)
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            _LOG.info("agent stream over")

    async def _hello(self, identity: Identity, requests: AsyncIterator[pb.ConnectRequest]) -> AgentSession:
        try:
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                first = await anext(requests)
        except (TimeoutError, StopAsyncIteration) as error:
            raise FarmError(Code.HELLO_REQUIRED) from error
        if first.WhichOneof("message") != "hello":
            raise FarmError(Code.HELLO_REQUIRED)
        if first.hello.protocol_version != PROTOCOL_VERSION:
            raise FarmError(Code.AGENT_TOO_OLD, f"this coordinator speaks protocol version {PROTOCOL_VERSION}")
        if not self._leadership.leads:
            raise FarmError(Code.DRAINING, "another coordinator leads; connect to that one")
        said = greeting(identity.name, first.hello)
        welcome = await greet(self._farm, said, self._times.lease_us)
        if self._boots.note(identity.name, said.boot_id):
            await lock_two_hosts(self._farm, identity.name)
            raise FarmError(Code.AGENT_LOCKED, "two hosts used this agent's identity; enrol it anew")
        printer_ids = frozenset(printer.printer_id for printer in said.printers)
        return AgentSession(self._farm, self._heartbeats, identity, welcome, printer_ids, self._times.lease)

    def _welcome(self, session: AgentSession) -> pb.ConnectResponse:
        return pb.ConnectResponse(
            welcome=pb.Welcome(
                connection_epoch=session.connection_epoch,
                heartbeat_period=duration(self._times.heartbeat),
                lease=duration(self._times.lease),
                protocol_version=PROTOCOL_VERSION,
                last_applied_sequence=session.last_applied_sequence,
                coordinator_version=__version__,
            )
        )

    async def AuthoriseStart(self, request: pb.AuthoriseStartRequest, context: Context) -> pb.AuthoriseStartResponse:
        identity = peer()
        await self._trusted(identity)
        if not 16 <= len(request.nonce) <= 64:
            raise invalid("nonce", "must be 16 to 64 characters")
        if not self._leadership.leads:
            raise FarmError(Code.DRAINING, "another coordinator leads; connect to that one")
        asked = AuthorityRequest(identity.name, request.epoch, request.nonce, request.bed_token)
        await authorise_start(self._farm, request.run_id, asked)
        return pb.AuthoriseStartResponse(time_to_live=duration(self._times.start_ttl))

    async def StreamTelemetry(
        self, request_iterator: AsyncIterator[pb.StreamTelemetryRequest], context: Context
    ) -> pb.StreamTelemetryResponse:
        identity = peer()
        await self._trusted(identity)
        latest = self._farm.latest
        async for batch in request_iterator:
            session = self._session_of(identity)
            if len(batch.samples) > SAMPLES_PER_BATCH:
                raise invalid("samples", f"must be at most {SAMPLES_PER_BATCH}")
            latest.dropped += max(0, batch.dropped)
            now = time.time_ns() // 1000
            for said in batch.samples:
                printer_id = said.printer_id
                if printer_id in session.printer_ids and is_plausible(said):
                    latest.keep(printer_id, partial(sample, said, now))
                else:
                    latest.refused += 1
        return pb.StreamTelemetryResponse()

    async def UploadFrames(
        self, request_iterator: AsyncIterator[pb.UploadFramesRequest], context: Context
    ) -> AsyncIterator[pb.UploadFramesResponse]:
        identity = peer()
        await self._trusted(identity)
        async for said in request_iterator:
            session = self._session_of(identity)
            if said.printer_id not in session.printer_ids:
                raise FarmError(Code.WRONG_AGENT, f"printer {said.printer_id[:64]} is not this agent's")
            self._farm.frames.dropped += max(0, said.dropped)
            frame = Frame(said.jpeg, taken_at(said.age, time.time_ns() // 1000), said.run_id[:64])
            refused = self._farm.frames.put(said.printer_id, said.camera[:64], frame)
            yield pb.UploadFramesResponse(printer_id=said.printer_id, camera=said.camera, refused=refused)

    def _session_of(self, identity: Identity) -> AgentSession:
        """Of the same certificate: whether that may still be used, the sweep looks for all streams in the session's place."""
        session = self._farm.hints.session(identity.name)
        if not isinstance(session, AgentSession):
            raise FarmError(Code.STALE_CONNECTION, "say Hello on the control stream first")
        if session.identity.serial != identity.serial:
            raise FarmError(
                Code.STALE_CONNECTION, "the agent's session is under another certificate: say Hello with this one"
            )
        return session

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        identity = peer()
        await self._trusted(identity)
        async with self._farm.store.read() as look:
            is_wanted = await _is_assigned(look, identity.name, request.sha256)
        size = await self._farm.blobs.size(request.sha256) if is_wanted else None
        if size is None:
            raise FarmError(Code.NOT_FOUND, "no such artifact is assigned to this agent")
        if not 0 <= request.offset <= size:
            raise invalid("offset", f"must be 0 to {size}")
        offset = request.offset
        # One piece is read while the one before is on its way.
        ahead = asyncio.ensure_future(self._farm.blobs.read(request.sha256, offset, LARGEST_CHUNK_BYTES))
        try:
            while offset < size:
                chunk = await ahead
                if not chunk:
                    raise FarmError(Code.UNAVAILABLE, "the stored file is shorter than it should be")
                offset += len(chunk)
                ahead = asyncio.ensure_future(self._farm.blobs.read(request.sha256, offset, LARGEST_CHUNK_BYTES))
                yield pb.DownloadArtifactResponse(chunk=chunk)
        finally:
            ahead.cancel()

    async def RenewCertificate(
        self, request: pb.RenewCertificateRequest, context: Context
    ) -> pb.RenewCertificateResponse:
        signed = await enroll.renew(self._farm, self._signer, peer(), request.certificate_signing_request)
        expires = Timestamp()
        expires.FromSeconds(signed.expires_at)
        return pb.RenewCertificateResponse(
            certificate_chain=signed.chain_pem, trusted_roots=signed.roots_pem, expire_time=expires
        )

    async def _admitted(self, identity: Identity) -> Agent:
        try:
            return await self._trusted(identity)
        except RuleError as error:
            if error.code == "CERTIFICATE_SUPERSEDED":
                await lock_second_host(self._farm, identity)
            raise

    async def _trusted(self, identity: Identity) -> Agent:
        async with self._farm.store.read() as look:
            agent = await look.agent(identity.name)
            return check_agent(agent, identity, look.now)


def peer() -> Identity:
    """The agent that calls. The Guard has checked that there is one."""
    identity = PEER.get()
    if identity is None:
        raise FarmError(Code.UNAUTHENTICATED)
    return identity


async def _is_assigned(look: Reading, agent_id: str, sha256: str) -> bool:
    for run in await look.active_runs(agent_id):
        job = await look.job(run.job_id)
        if job is not None and print_file_of(run, job).sha256 == sha256:
            return True
    return False
