"""Background work that goes on whatever happens: begun again after an unexpected error, cancelled at the end."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import structlog

_LOG = structlog.get_logger(__name__)
_PAUSE_SECONDS = 1.0
Work = Callable[[], Awaitable[None]]


async def _supervise(name: str, work: Work, restarted: Callable[[str], None]) -> None:
    while True:
        try:
            await work()
            return
        except Exception:
            current = asyncio.current_task()
            if current is not None and current.cancelling():
                # What it raised on its way out, such as of a connection that was closed under it, hides that it was cancelled.
                raise asyncio.CancelledError from None
            _LOG.exception("background task failed; it is begun again", task=name)
            restarted(name)
            await asyncio.sleep(_PAUSE_SECONDS)


@asynccontextmanager
async def supervised(works: dict[str, Work], restarted: Callable[[str], None]) -> AsyncGenerator[None]:
    """Runs the works by name while the context is open."""
    tasks = [asyncio.create_task(_supervise(name, work, restarted), name=name) for name, work in works.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
