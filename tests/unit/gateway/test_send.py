"""What a stream of requests comes to when its answer comes before its end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from printfarm_gateway.control_client import ControlClient
from printfarm_rpc.errors import Code, FarmError


class Refusing(grpc.GenericRpcHandler):
    """Refuses an upload before it has come."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_unary_rpc_method_handler(self.refuse)

    async def refuse(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        return b""


class Reading(grpc.GenericRpcHandler):
    """Takes whatever comes, to its end."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_unary_rpc_method_handler(self.read)

    async def read(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])


@asynccontextmanager
async def served(handler: grpc.GenericRpcHandler) -> AsyncGenerator[Any]:
    """Real gRPC: its one method."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.stream_unary("/printfarm.test.Store/Store")
    finally:
        await server.stop(0)


async def test_an_answer_before_the_end_is_what_counts() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with served(Refusing()) as method:
        with pytest.raises(FarmError) as refused:
            await ControlClient.send(object(), method, endless())  # type: ignore[arg-type]
    assert refused.value.code is Code.PERMISSION_DENIED


async def test_a_sender_that_fails_is_told_as_itself() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError("the body came too slowly")

    async with served(Reading()) as method:
        with pytest.raises(ValueError, match="too slowly"):
            await ControlClient.send(object(), method, broken())  # type: ignore[arg-type]


async def test_a_refusal_under_a_write_is_never_told_as_our_own_error() -> None:
    """Real gRPC: a server that does not read on; now and then a write meets the end of its call, and the
    refusal is lost. That is no 500."""

    async def pieces(turns: int) -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 20_000
            for _ in range(turns):
                await asyncio.sleep(0)

    codes = set()
    async with served(Refusing()) as method:
        for number in range(600):
            with pytest.raises(FarmError) as refused:
                await ControlClient.send(object(), method, pieces(number % 7))  # type: ignore[arg-type]
            codes.add(refused.value.code)
    assert codes <= {Code.PERMISSION_DENIED, Code.UNAVAILABLE}
    assert Code.PERMISSION_DENIED in codes
