"""Our gRPC options at work: an idle stream stays, a peer that hangs is noticed. Times are a tenth of the real ones, but for the
long tests. No deadline here is an assertion about speed: each is far beyond what works and short of what C-core does without.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL, AGENT_SERVER
from tests.integration.rpc import peer
from tests.integration.rpc.peer import dial, faster, serve
from tests.support.ports import free_port
from tests.support.proxy import FaultProxy

pytestmark = pytest.mark.timeout(200)
TENTH = 10
# Without the ping timeout a stopped peer is noticed after 61 s; with it, here, after about 3 s.
NOTICED_SECONDS = 42.0


@asynccontextmanager
async def other_end(role: str, port: int, divisor: int = TENTH) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Ready when this returns; killed at the end."""
    command = [sys.executable, str(Path(peer.__file__)), role, str(port), str(divisor)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: ASYNC220 - it does not wait
    assert process.stdout is not None
    try:
        # In a thread: the other end may wait for this one's loop.
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def ends(call: grpc.aio.StreamStreamCall) -> grpc.StatusCode:  # type: ignore[type-arg]
    """How the stream ended, once it did."""
    async with asyncio.timeout(NOTICED_SECONDS):
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
    return ended.value.code()


@pytest.mark.parametrize("idle_seconds", [0, 9], ids=["at once", "after a long idle time"])
async def test_a_stopped_server_is_noticed_by_its_client(idle_seconds: float) -> None:
    """C-core would let an idle connection ping twice, then once a minute."""
    port = free_port()
    async with other_end("server", port) as process:
        channel, call = await dial(port, faster(AGENT_CONTROL_CHANNEL, TENTH))
        await asyncio.sleep(idle_seconds)
        os.kill(process.pid, signal.SIGSTOP)
        assert await ends(call) is grpc.StatusCode.UNAVAILABLE
        await channel.close()


async def test_a_stopped_client_is_noticed_by_its_server() -> None:
    port = free_port()
    server, idle = await serve(port, faster(AGENT_SERVER, TENTH))
    async with other_end("client", port) as process:
        await idle.began.wait()
        os.kill(process.pid, signal.SIGSTOP)
        async with asyncio.timeout(NOTICED_SECONDS):
            await idle.ended.wait()
    await server.stop(None)


@pytest.mark.parametrize("ways", [(True, True), (True, False), (False, True)], ids=["both", "up", "down"])
async def test_a_black_hole_is_noticed_at_both_ends(ways: tuple[bool, bool]) -> None:
    """The proxy still acknowledges, as a stopped peer's kernel does: TCP alone would never tell."""
    port = free_port()
    server, idle = await serve(port, faster(AGENT_SERVER, TENTH))
    with FaultProxy(f"127.0.0.1:{port}") as proxy:
        channel, call = await dial(proxy.port, faster(AGENT_CONTROL_CHANNEL, TENTH))
        proxy.weather.hole_up, proxy.weather.hole_down = ways
        assert await ends(call) is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(NOTICED_SECONDS):
            await idle.ended.wait()
        await channel.close()
    await server.stop(None)


@pytest.mark.slow
async def test_an_idle_stream_stays_open() -> None:
    """Fifteen pings in 30 s, none too many; for a server with C-core's own options they are."""
    kept, lost = free_port(), free_port()
    client = faster(AGENT_CONTROL_CHANNEL, TENTH)
    server, _ = await serve(kept, faster(AGENT_SERVER, TENTH))
    other, _ = await serve(lost, [])
    channel, call = await dial(kept, client)
    doomed_channel, doomed = await dial(lost, client)
    reading = asyncio.create_task(call.read())
    assert await ends(doomed) is grpc.StatusCode.UNAVAILABLE
    done, _ = await asyncio.wait([reading], timeout=30)
    assert not done, "an idle stream ended"
    reading.cancel()
    call.cancel()
    for each in (channel, doomed_channel):
        await each.close()
    await server.stop(None)
    await other.stop(None)


@pytest.mark.slow
async def test_with_the_real_times_a_stopped_server_is_noticed_within_the_lease() -> None:
    port = free_port()
    async with other_end("server", port, 1) as process:
        channel, call = await dial(port, AGENT_CONTROL_CHANNEL)
        os.kill(process.pid, signal.SIGSTOP)
        assert await ends(call) is grpc.StatusCode.UNAVAILABLE
        await channel.close()
