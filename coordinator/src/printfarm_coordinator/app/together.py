"""Group commit: whoever asks for the same kind of change while one is being committed shares the next transaction.

One transaction costs hardly more for sixteen than for one: the way to the disk, and on PostgreSQL the ways to the server. Who
is alone waits for nobody, so a single request is as fast as before.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .ports import DatabaseUnavailable, StaleWrite

W = TypeVar("W")
A = TypeVar("A")
MOST_TOGETHER = 64


@dataclass(eq=False, slots=True)
class _Asked(Generic[W, A]):
    wish: W
    answer: A | Exception | None = None


class Together(Generic[W, A]):
    """``serve`` commits a group in one transaction, and says for each wish in order its answer, or what is wrong with it alone.

    An answer is given only after the commit that holds it. What ``serve`` raises undid the group: each of it is then served
    alone, so that one wish fails no other.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: list[_Asked[W, A]] = []

    async def ask(self, wish: W, serve: Callable[[Sequence[W]], Awaitable[Sequence[A | Exception]]]) -> A:
        """The answer to the wish. Who is cancelled while it waits asked for nothing; later, it may have been committed."""
        asked: _Asked[W, A] = _Asked(wish)
        self._waiting.append(asked)
        try:
            async with self._turn:
                if asked in self._waiting:
                    await self._serve_next(serve)
        finally:
            if asked in self._waiting:
                self._waiting.remove(asked)
        if isinstance(asked.answer, Exception):
            raise asked.answer
        assert asked.answer is not None
        return asked.answer

    async def _serve_next(self, serve: Callable[[Sequence[W]], Awaitable[Sequence[A | Exception]]]) -> None:
        group, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
        if len(group) == 1:
            await _serve(group, serve)
        else:
            # Who is served with others is not torn out of their transaction.
            await _to_its_end(_serve(group, serve))


async def _serve(
    group: Sequence[_Asked[W, A]], serve: Callable[[Sequence[W]], Awaitable[Sequence[A | Exception]]]
) -> None:
    try:
        answers = await serve([asked.wish for asked in group])
    except Exception as error:
        if len(group) == 1 or isinstance(error, DatabaseUnavailable | StaleWrite):
            for asked in group:
                asked.answer = error
            return
        for asked in group:
            await _serve([asked], serve)
        return
    for asked, answer in zip(group, answers, strict=True):
        asked.answer = answer


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
