"""Commands that the printer queues: sent once, and carried out when it comes to them, whether anybody waits or not."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Queued:
    """At most one command of a kind is under way. A second one while the first still waits is the same wish."""

    LONGEST_SECONDS = 3_600.0

    def __init__(self, patience_seconds: float = 1.5) -> None:
        # Long enough for an answer that comes at once; looks at the printer wait so long.
        self._patience_seconds = patience_seconds
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def put(self, kind: str, exchange: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Returns when it was carried out, or waits in the printer's queue. Raises what the exchange raises in that time;
        what came of it later shows on the printer."""
        task = self._tasks.get(kind)
        if task is None or task.done():
            task = self._tasks[kind] = asyncio.create_task(exchange())
            task.add_done_callback(_heard)
        await asyncio.wait({task}, timeout=self._patience_seconds)
        if task.done():
            task.result()

    async def close(self) -> None:
        """Nobody waits any more; what was sent is carried out all the same."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _heard(task: asyncio.Task[None]) -> None:
    """A failure that comes late is nobody's any more."""
    if not task.cancelled():
        task.exception()
