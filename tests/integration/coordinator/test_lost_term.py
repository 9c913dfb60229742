"""I20: a coordinator that lost its term sends its agents to the one that leads, and takes none in until it leads again."""

import asyncio
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
import sqlalchemy as sa

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm_agent.enroll import enroll
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.sql import tables
from printfarm_coordinator.app.enroll import create_token
from printfarm_coordinator.bootstrap import RunningCoordinator, open_coordinator
from printfarm_coordinator.settings import CoordinatorSettings
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL
from printfarm_rpc.tls import CredentialFiles, client_credentials
from tests.support.agent_plane import EVA, SECONDS, Host, code_of

_ANY = "127.0.0.1:0"
_LONG_US = 3_600_000_000


@pytest_asyncio.fixture
async def coordinator(tmp_path: Path) -> AsyncGenerator[RunningCoordinator]:
    """All of it, as its program joins it."""
    Authority.create(tmp_path / "ca")
    names = ("agents", "control", "enrollment", "admin", "metrics")
    addresses = {f"{name}_address": _ANY for name in names}
    async with open_coordinator(CoordinatorSettings(data_dir=tmp_path, **addresses)) as running:  # type: ignore[arg-type]
        yield running


@pytest_asyncio.fixture
async def host(coordinator: RunningCoordinator, tmp_path: Path) -> AsyncGenerator[Host]:
    token, _ = await create_token(coordinator.farm, EVA, "a1")
    state = tmp_path / "agent"
    await asyncio.to_thread(enroll, coordinator.enrollment_address, token, coordinator.authority.fingerprint, state)
    files = CredentialFiles.in_folder(state / "credentials")
    channel = open_channel(coordinator.agents_address, client_credentials(files), AGENT_CONTROL_CHANNEL, "coordinator")
    async with channel:
        yield Host(rpc.AgentServiceStub(channel), files, None)  # type: ignore[arg-type]


async def lead(coordinator: RunningCoordinator, holder: str) -> None:
    """The term is that one's, as if this coordinator had slept through the end of its own."""
    async with coordinator.farm.store.engine.begin() as database:  # type: ignore[attr-defined]
        later = time.time_ns() // 1000 + _LONG_US
        changed = sa.update(tables.leadership).values(
            holder=holder, term=tables.leadership.c.term + 1, expires_at=later
        )
        await database.execute(changed)


async def test_who_lost_the_term_sends_its_agents_away(coordinator: RunningCoordinator, host: Host) -> None:
    stream = await host.connect()
    mine = coordinator.leadership.holder
    await lead(coordinator, "another")
    assert not await coordinator.leadership.prolong(coordinator.farm)
    with pytest.raises(FarmError) as ended:
        await asyncio.wait_for(drained(stream), SECONDS)
    assert (ended.value.code, "another coordinator leads" in ended.value.detail) == (Code.DRAINING, True)
    assert await host.refused() is Code.DRAINING
    asked = pb.AuthoriseStartRequest(run_id="r", epoch=1, nonce="n" * 32, bed_token="t")
    assert await code_of(host.stub.AuthoriseStart(asked, timeout=SECONDS)) is Code.DRAINING

    await lead(coordinator, mine)
    assert await coordinator.leadership.prolong(coordinator.farm)
    (await host.connect()).cancel()


async def drained(stream: grpc.aio.StreamStreamCall) -> None:  # type: ignore[type-arg]
    """Reads to its end. Raises FarmError as the coordinator meant it."""
    try:
        while await stream.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error
