"""Streams of requests."""

from collections.abc import AsyncIterator
from typing import TypeVar

from printfarm_rpc.errors import invalid

T = TypeVar("T")


async def first_of(requests: AsyncIterator[T]) -> T:
    """The first message. Raises FarmError INVALID_ARGUMENT for an empty stream."""
    async for request in requests:
        return request
    raise invalid("chunk", "the stream is empty")
