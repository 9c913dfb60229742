"""Notices that the event loop was blocked: HTTP/2 pings are answered by C threads even then."""

import asyncio
from collections.abc import Callable

PERIOD_SECONDS = 0.5


async def watch_loop(on_lag: Callable[[float], None], period: float = PERIOD_SECONDS) -> None:
    """Calls ``on_lag`` with the seconds by which the loop came late, each period, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + period
        await asyncio.sleep(period)
        on_lag(max(0.0, loop.time() - due))
