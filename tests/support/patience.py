"""Waiting for something to be so, in a test whose loop must go on meanwhile."""

import asyncio
from collections.abc import Callable

# For a broken farm: nothing takes so long.
PATIENCE_SECONDS = 30.0


async def until(is_so: Callable[[], object]) -> None:
    """Raises TimeoutError if it never is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)
