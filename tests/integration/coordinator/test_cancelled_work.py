"""Tasks cancelled anywhere in a transaction leave nothing behind: no lock, no connection, no thread that calls a dead loop."""

import asyncio
import threading
from pathlib import Path

import pytest

from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore


@pytest.mark.parametrize("write", [True, False])
def test_cancelled_anywhere_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    broken: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", broken.append)
    asyncio.run(_prepare(url))
    before = set(threading.enumerate())
    for turns in range(60):
        asyncio.run(_cancelled_after(url, turns, write))
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
            assert not thread.is_alive(), turns
        assert not broken, turns


async def _prepare(url: str) -> None:
    store = SqlStore(url)
    await migrate(store.engine)
    await store.close()


async def _cancelled_after(url: str, turns: int, write: bool) -> None:
    store = SqlStore(url)
    work = [asyncio.create_task(_work(store, write)) for _ in range(3)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in work:
        task.cancel()
    await asyncio.gather(*work, return_exceptions=True)
    await store.close()


async def _work(store: SqlStore, write: bool) -> None:
    while True:
        if write:
            async with store.write("test") as writing:
                await writing.job("none")
        else:
            async with store.read() as reading:
                await reading.job("none")
