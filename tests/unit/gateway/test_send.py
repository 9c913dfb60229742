"""What a stream of requests comes to when its answer comes before its end."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from printfarm_gateway.control_client import ControlClient
from printfarm_rpc.errors import Code, FarmError


class Full:
    """A call that is refused while its requests are still awaited, as gRPC does it: the sending is cancelled first."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = requests

    def __await__(self) -> Any:
        return self._refuse().__await__()

    async def _refuse(self) -> None:
        async def consume() -> None:
            async for _ in self._requests:
                pass

        sending = asyncio.create_task(consume())
        await asyncio.sleep(0)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.RESOURCE_EXHAUSTED, nothing, nothing, "full")


def call(requests: AsyncIterator[Any], timeout: float, metadata: Any) -> Full:
    return Full(requests)


async def test_an_answer_before_the_end_is_what_counts() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    with pytest.raises(FarmError) as refused:
        await ControlClient.send(object(), call, endless())  # type: ignore[arg-type]
    assert refused.value.code is not Code.INTERNAL


async def test_a_sender_that_fails_is_told_as_itself() -> None:
    async def broken() -> AsyncIterator[bytes]:
        raise ValueError("the body came too slowly")
        yield b""

    def failing(requests: AsyncIterator[Any], timeout: float, metadata: Any) -> Any:
        async def work() -> None:
            try:
                await anext(requests)
            except ValueError:
                nothing = grpc.aio.Metadata()
                raise grpc.aio.AioRpcError(grpc.StatusCode.CANCELLED, nothing, nothing, "") from None

        return work()

    with pytest.raises(ValueError, match="too slowly"):
        await ControlClient.send(object(), failing, broken())  # type: ignore[arg-type]


class Refusing(grpc.GenericRpcHandler):
    """Refuses an upload before it has come."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.stream_unary_rpc_method_handler(self.refuse)

    async def refuse(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        return b""


async def test_a_refusal_under_a_write_is_never_told_as_our_own_error() -> None:
    """Real gRPC: now and then a write meets the end of its call, and the refusal is lost. That is no 500."""

    async def pieces(turns: int) -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 20_000
            for _ in range(turns):
                await asyncio.sleep(0)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            method = channel.stream_unary("/printfarm.test.Store/Store")
            codes = set()
            for number in range(600):
                with pytest.raises(FarmError) as refused:
                    await ControlClient.send(object(), method, pieces(number % 7))  # type: ignore[arg-type]
                codes.add(refused.value.code)
    finally:
        await server.stop(0)
    assert codes <= {Code.PERMISSION_DENIED, Code.UNAVAILABLE}
    assert Code.PERMISSION_DENIED in codes
