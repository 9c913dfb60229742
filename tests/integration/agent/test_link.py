"""The agent's way to the coordinator, when the session ends under a question."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm_agent.execution import LocalRun, NoAnswer, Stage
from printfarm_agent.link.link import Link
from printfarm_agent.settings import parse
from printfarm_agent.telemetry import Telemetry
from printfarm_rpc.errors import Code, FarmError

RUN = LocalRun("r1", "j1", 1, "a" * 64, 1, Stage.AUTHORISING, nonce="n" * 16)


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
async def session(tmp_path: Path) -> AsyncIterator[tuple[Link, grpc.aio.Channel, Silent]]:
    """A link in the middle of a session."""
    silent, server = Silent(), grpc.aio.server()
    rpc.add_AgentServiceServicer_to_server(silent, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    settings = parse({"agent": {"coordinator": f"127.0.0.1:{port}", "state_dir": str(tmp_path)}})
    link = Link(settings, {}, None, Telemetry(), "boot")
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    link._control = link._files = rpc.AgentServiceStub(channel)
    try:
        yield link, channel, silent
    finally:
        await channel.close()
        await server.stop(0)


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
