"""Streams of requests that are refused while they are sent: who sends them reads why."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from printfarm_rpc import refusing
from printfarm_rpc.errors import Code, FarmError, from_rpc_error, invalid
from printfarm_rpc.limits import READ_ON_BYTES
from printfarm_rpc.serving import Guard

METHOD = "/printfarm.test.Store/Store"
PIECE = b"x" * 20_000
CALLS = 300


class Store(grpc.GenericRpcHandler):
    """Refuses at the first message, or the fourth; counts what is parsed, whoever reads it."""

    def __init__(self) -> None:
        self.came = 0
        self.refuses_at = 1
        self.ended = asyncio.Event()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_unary_rpc_method_handler(self.store, self._parse)

    def _parse(self, data: bytes) -> bytes:
        self.came += len(data)
        return data

    async def store(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        context.add_done_callback(lambda _: self.ended.set())
        number = 0
        async for _ in requests:
            number += 1
            if number == self.refuses_at:
                raise invalid("offset", "must be the stored length")
        return b"stored"


@asynccontextmanager
async def served() -> AsyncGenerator[tuple[Store, Any]]:
    store = Store()
    server = grpc.aio.server(interceptors=[Guard({METHOD: None}, lambda error: None)])
    server.add_generic_rpc_handlers((store,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield store, channel.stream_unary(METHOD)
    finally:
        await server.stop(0)


async def pieces(count: int, turns: int = 0) -> AsyncIterator[bytes]:
    """With turns of the loop between them, so that writes meet the refusal at every moment."""
    for _ in range(count):
        yield PIECE
        for _ in range(turns):
            await asyncio.sleep(0)


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield PIECE
        await asyncio.sleep(0)


async def plainly(method: Any, requests: AsyncIterator[bytes]) -> Any:
    """A sender that knows nothing of it."""
    return await method(requests)


async def refusal(send: Any, method: Any, requests: AsyncIterator[bytes]) -> FarmError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await send(method, requests)
    return from_rpc_error(refused.value)


@pytest.mark.parametrize("send", [refusing.send, plainly])
@pytest.mark.parametrize("refuses_at", [1, 4])
async def test_a_refusal_is_read_whenever_it_comes(send: Any, refuses_at: int) -> None:
    """Without the reading on, one in twelve is lost. The field and the fix come along."""
    async with served() as (store, method):
        store.refuses_at = refuses_at
        seen: Counter[tuple[Code, str]] = Counter()
        for number in range(CALLS):
            error = await refusal(send, method, pieces(50, number % 7))
            seen[(error.code, error.fields[0].field if error.fields else "")] += 1
        assert seen == {(Code.INVALID_ARGUMENT, "offset"): CALLS}


async def test_a_sender_that_listens_stops() -> None:
    async with served() as (store, method):
        error = await refusal(refusing.send, method, endless())
        assert error.code is Code.INVALID_ARGUMENT
        assert store.came < READ_ON_BYTES / 4


async def test_a_sender_that_does_not_listen_is_read_from_so_far_and_no_further() -> None:
    async with served() as (store, method):
        error = await refusal(plainly, method, endless())
        await store.ended.wait()
        # Its own write may have met the end.
        assert error.code in (Code.INVALID_ARGUMENT, Code.UNAVAILABLE)
        # What had come when the bound was reached is parsed, but not much more.
        assert store.came < READ_ON_BYTES + (4 << 20)


async def test_a_sender_that_pauses_is_not_waited_for() -> None:
    """It has nothing under way that the refusal could meet; and nobody waits for what it would send."""
    ended = asyncio.Event()

    async def paused() -> AsyncIterator[bytes]:
        yield PIECE
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with served() as (_, method), asyncio.timeout(60):
        assert (await refusal(refusing.send, method, paused())).code is Code.INVALID_ARGUMENT
        await ended.wait()


async def test_what_the_sender_itself_raises_ends_the_call() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield PIECE
        raise ValueError("the body came too slowly")

    async with served() as (store, method):
        store.refuses_at = 0
        with pytest.raises(asyncio.CancelledError):
            await refusing.send(method, broken())
        await store.ended.wait()


async def test_what_is_not_refused_is_sent_whole() -> None:
    async with served() as (store, method):
        store.refuses_at = 0
        assert await refusing.send(method, pieces(50)) == b"stored"
        assert store.came == 50 * len(PIECE)
