"""Background work begins again after an error, and ends when it is told to."""

import asyncio

from printfarm_coordinator.tasks import supervised


async def test_an_error_on_the_way_out_does_not_hide_the_end() -> None:
    """As when a connection is closed under a read that is cancelled: what it raises is no reason to begin again."""
    restarted: list[str] = []
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("no active connection")

    async with asyncio.timeout(5):
        async with supervised({"expire": work}, restarted.append):
            await began.wait()
    assert restarted == []
