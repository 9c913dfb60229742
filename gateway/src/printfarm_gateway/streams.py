"""Live streams: how many there may be, and when they end: with the gateway, the coordinator, the right to see them."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from printfarm_rpc.errors import Code, FarmError

from .problems import Problem

T = TypeVar("T")
FIRST_SECONDS = 10.0
RECHECK_SECONDS = 4.0


class Streams:
    """One per gateway."""

    def __init__(self, per_principal: int) -> None:
        self._most = per_principal
        self._open: Counter[str] = Counter()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """All streams end now, in order."""
        self._stopping.set()

    def check_room(self, name: str) -> None:
        """Raises Problem 429."""
        if self._open[name] >= self._most:
            why = f"{self._most} streams are open already: close one"
            raise Problem(Code.RATE_LIMITED, why, headers={"Retry-After": "10"})

    async def follow(
        self, name: str, first: T, rest: AsyncGenerator[T], may_go_on: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[T]:
        """``first`` and what follows, one at a time: a reader who is slow makes the source wait, and nothing is kept."""
        self._open[name] += 1
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            async with aclosing(rest):
                yield first
                async for each in self._each(rest, stopping, may_go_on):
                    yield each
        finally:
            stopping.cancel()
            self._open[name] -= 1
            if not self._open[name]:
                del self._open[name]

    async def _each(
        self, rest: AsyncGenerator[T], stopping: "asyncio.Future[Any]", may_go_on: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[T]:
        loop = asyncio.get_running_loop()
        checked = loop.time()
        coming = asyncio.ensure_future(anext(rest))
        try:
            while True:
                await asyncio.wait({coming, stopping}, timeout=RECHECK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    return
                if loop.time() - checked >= RECHECK_SECONDS:
                    checked = loop.time()
                    if not await may_go_on():
                        return
                if coming.done():
                    try:
                        found = coming.result()
                    except StopAsyncIteration:
                        return
                    yield found
                    coming = asyncio.ensure_future(anext(rest))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def first_of(source: AsyncGenerator[T]) -> T:
    """The first item, so that what is wrong is known before the answer begins. Raises FarmError."""
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            return await anext(source)
    except (TimeoutError, StopAsyncIteration) as error:
        await source.aclose()
        raise FarmError(Code.UNAVAILABLE) from error
