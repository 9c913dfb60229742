"""Answers that many ask for at once, or again and again: fetched once, and kept for a moment.

Whoever was told of a change, by the answer to a request or by an event, through this gateway, finds it: ``forget`` is called
before he is told. Of changes that came another way he may see what was up to ``KEPT_SECONDS`` ago.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
KEPT_SECONDS = 0.5
_MOST_KEPT = 2_000


@dataclass(slots=True)
class _Kept(Generic[T]):
    value: T
    until: float


class Recent(Generic[T]):
    """By key. Errors are not kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._generation = 0
        self._kept: OrderedDict[str, _Kept[T]] = OrderedDict()
        self._coming: dict[str, tuple[int, asyncio.Task[T]]] = {}

    def forget(self) -> None:
        """Something may have changed: nothing that was fetched, or begun to be fetched, before now is given to later askers."""
        self._generation += 1
        self._kept.clear()

    async def get(self, key: str, fetch: Callable[[], Awaitable[T]]) -> T:
        """What ``fetch`` answers, or answered a moment ago. Raises what it raises."""
        kept = self._kept.get(key)
        if kept is not None and self._clock() < kept.until:
            return kept.value
        generation, coming = self._coming.get(key, (-1, None))
        if coming is None or generation != self._generation:
            coming = asyncio.ensure_future(self._fetch(key, self._generation, fetch))
            self._coming[key] = (self._generation, coming)
            coming.add_done_callback(lambda done: self._landed(key, done))
        # One who goes away does not take the others' answer along.
        return await asyncio.shield(coming)

    async def _fetch(self, key: str, generation: int, fetch: Callable[[], Awaitable[T]]) -> T:
        asked = self._clock()
        value = await fetch()
        if generation == self._generation:
            self._kept[key] = _Kept(value, asked + KEPT_SECONDS)
            self._kept.move_to_end(key)
            if len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return value

    def _landed(self, key: str, done: "asyncio.Task[T]") -> None:
        if self._coming.get(key, (0, None))[1] is done:
            del self._coming[key]
        if not done.cancelled():
            # Whoever waits is told; if nobody does any more, nobody needs to be.
            done.exception()
