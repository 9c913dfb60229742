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
