"""The agent's way to the coordinator, when the session ends under a question."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm_agent.execution import Book, Event, LocalRun, NoAnswer, Stage
from printfarm_agent.journal import Journal
from printfarm_agent.link.link import Link
from printfarm_agent.link.session import LoopLag, Session
from printfarm_agent.settings import parse
from printfarm_agent.telemetry import Telemetry
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_rpc.errors import Code, FarmError
from tests.support.certificates import odd_certificate

RUN = LocalRun("r1", "j1", 1, "a" * 64, 1, Stage.AUTHORISING, nonce="n" * 16)


class Issuing(rpc.AgentServiceServicer):
    """Issues a certificate to whoever asks, and counts them."""

    issued = 0

    async def RenewCertificate(self, request: pb.RenewCertificateRequest, context: Any) -> pb.RenewCertificateResponse:
        self.issued += 1
        return pb.RenewCertificateResponse(certificate_chain=b"chain %d" % self.issued, trusted_roots=b"roots")


class Silent(rpc.AgentServiceServicer):
    """Takes every question, and answers none."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def AuthoriseStart(self, request: pb.AuthoriseStartRequest, context: Any) -> pb.AuthoriseStartResponse:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError("not reached")

    async def DownloadArtifact(
        self, request: pb.DownloadArtifactRequest, context: Any
    ) -> AsyncIterator[pb.DownloadArtifactResponse]:
        self.asked.set()
        yield pb.DownloadArtifactResponse(chunk=b"a")
        await asyncio.Event().wait()


@asynccontextmanager
async def served(servicer: rpc.AgentServiceServicer) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to it."""
    server = grpc.aio.server()
    rpc.add_AgentServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    try:
        yield channel
    finally:
        await channel.close()
        await server.stop(0)


@asynccontextmanager
async def session(tmp_path: Path) -> AsyncIterator[tuple[Link, grpc.aio.Channel, Silent]]:
    """A link in the middle of a session."""
    silent = Silent()
    settings = parse({"agent": {"coordinator": "127.0.0.1:1", "state_dir": str(tmp_path)}})
    link = Link(settings, {}, None, Telemetry(), "boot")
    async with served(silent) as channel:
        link._control = link._files = rpc.AgentServiceStub(channel)
        yield link, channel, silent


async def test_a_session_that_ends_under_a_question_leaves_no_answer(tmp_path: Path) -> None:
    """Not a question that waits for ever: the run would never be given up."""
    async with session(tmp_path) as (link, channel, silent):
        asked = asyncio.create_task(link.authorise("p", RUN))
        await silent.asked.wait()
        await channel.close()
        assert await asked == NoAnswer(RUN.nonce)


async def test_a_session_that_ends_under_a_download_is_told(tmp_path: Path) -> None:
    async with session(tmp_path) as (link, channel, _):
        chunks = link.download("a" * 64, 0)
        assert await anext(chunks) == b"a"
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0)
        await channel.close()
        with pytest.raises(FarmError) as ended:
            await waiting
        assert ended.value.code is Code.UNAVAILABLE


async def test_a_question_that_is_cancelled_itself_stays_cancelled(tmp_path: Path) -> None:
    async with session(tmp_path) as (link, _, silent):
        asked = asyncio.create_task(link.authorise("p", RUN))
        await silent.asked.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


def _pairs(state_dir: Path) -> list[str]:
    return [path.name for path in state_dir.glob("credentials-*")]


async def test_a_certificate_that_cannot_be_kept_ends_no_session_and_is_asked_for_once(tmp_path: Path) -> None:
    Authority.create(tmp_path / "ca")
    folder = tmp_path / "credentials"
    odd_certificate(tmp_path / "ca", folder, ["spiffe://farm/agent/a1"], ends=timedelta(seconds=1))
    in_the_way = tmp_path / ".credentials.new"
    in_the_way.mkdir()
    link = Link(parse({"agent": {"coordinator": "c:1", "state_dir": str(tmp_path)}}), {}, None, Telemetry(), "boot")
    issuing = Issuing()
    async with served(issuing) as channel:
        control = rpc.AgentServiceStub(channel)
        await link._renew_if_due(control)
        assert not link._renewed.is_set()
        assert not _pairs(tmp_path), "nothing of the first try is left"
        in_the_way.rmdir()
        folder.rename(tmp_path / "credentials-1")
        folder.symlink_to("credentials-1")
        await link._renew_if_due(control)
    assert link._renewed.is_set()
    assert (folder / "certificate.pem").read_bytes() == b"chain 1"
    assert issuing.issued == 1


class Farm(Silent):
    """Has applied 6 facts of the journal, and reads on."""

    def __init__(self) -> None:
        super().__init__()
        self.hello = pb.Hello()
        self.facts: asyncio.Queue[pb.AgentEvent] = asyncio.Queue()

    async def Connect(
        self, requests: AsyncIterator[pb.ConnectRequest], context: Any
    ) -> AsyncIterator[pb.ConnectResponse]:
        self.hello = (await anext(requests)).hello
        welcome = pb.Welcome(connection_epoch=1, last_applied_sequence=6)
        welcome.heartbeat_period.FromSeconds(10)
        welcome.lease.FromSeconds(45)
        yield pb.ConnectResponse(welcome=welcome)
        async for request in requests:
            for event in request.events.events:
                self.facts.put_nowait(event)


async def test_an_older_copy_says_hello_as_what_it_is_and_loses_no_fact(tmp_path: Path) -> None:
    """I12, with a disk that refuses once when the numbers change: the session goes on."""
    path, farm = tmp_path / "journal.db", Farm()
    with Journal(path, lambda: 0.0) as journal:
        await journal.welcomed(0)
        await journal.commit("p", Book(1), [Event("accepted", "r0", 1)] * 3)
    async with served(farm) as channel:
        with Journal(path, lambda: 0.0) as journal:
            await journal.commit(
                "p", Book(1), [Event("accepted", "r1", 1), Event("starting", "r1", 1), Event("never_started", "r1", 1)]
            )
            link = Link(parse({"agent": {"coordinator": "127.0.0.1:1"}}), {}, journal, Telemetry(), "boot")
            call = rpc.AgentServiceStub(channel).Connect()
            session = Session(call, {}, journal, LoopLag())
            welcome = await session.greet(link._hello())
            assert farm.hello.journal_max_sequence == 3
            welcomed, refusals = journal.welcomed, [OSError("no space left")]

            async def refusing(sequence: int) -> None:
                if refusals:
                    raise refusals.pop()
                await welcomed(sequence)

            journal.welcomed = refusing  # type: ignore[method-assign]
            running = asyncio.create_task(session.run(welcome))
            async with asyncio.timeout(20):
                facts = [await farm.facts.get() for _ in range(6)]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            call.cancel()
    assert [fact.sequence for fact in facts] == [7, 8, 9, 10, 11, 12]
    assert facts[-1].WhichOneof("fact") == "never_started" and not refusals
