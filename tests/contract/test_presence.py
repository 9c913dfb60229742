"""The lock of a living coordinator: one holds it, and it ends with its process. What leadership makes of it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.farm import Farm
from printfarm_coordinator.app.leading import TERM_US, Leadership
from tests.support.stores import forward

_HOLDER = """
import asyncio, sys
from printfarm_coordinator.adapters.sql.store import SqlStore
async def main():
    store = SqlStore(sys.argv[1])
    print(await store.take_presence(), flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


def url_of(store: SqlStore) -> str:
    return store.engine.url.render_as_string(hide_password=False)


@pytest.fixture
def other(database: SqlStore) -> SqlStore:
    """A second process's look at the same database: its clock goes with the first's."""
    return SqlStore(url_of(database), clock=database._clock)


def farm_on(store: SqlStore, folder: Path) -> Farm:
    return Farm(store, InProcessBus(), ArtifactFolder(folder / "artifacts"), TimeOrderedIds())


async def test_one_holds_it_until_it_lets_go(database: SqlStore, other: SqlStore) -> None:
    assert await database.take_presence()
    assert await database.take_presence()
    assert not await other.take_presence()
    await database.let_presence_go()
    assert await other.take_presence()
    assert not await database.take_presence()
    await other.close()
    assert await database.take_presence()


async def test_it_ends_with_its_process(database: SqlStore) -> None:
    command = (sys.executable, "-c", _HOLDER, url_of(database))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, start_new_session=True)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"True\n"
        assert not await database.take_presence()
    finally:
        process.kill()
        await process.wait()
    for _ in range(200):
        # PostgreSQL notices the end of a connection a moment later.
        if await database.take_presence():
            return
    raise AssertionError("the lock outlived its process")


async def test_an_heir_waits_for_nobody(database: SqlStore, other: SqlStore, tmp_path: Path) -> None:
    first, second = Leadership("first"), Leadership("second")
    here, there = farm_on(database, tmp_path), farm_on(other, tmp_path)
    assert await first.prolong(here)
    assert not await second.prolong(there)
    await database.let_presence_go()  # as its death does
    assert await second.prolong(there)
    assert (first.term, second.term) == (1, 2)
    async with database.write("late") as tx:
        assert not await first.confirm(tx), "I20: the late one writes nothing"
    assert not await first.prolong(here)
    await other.close()


async def test_one_that_slept_past_its_term_stands_back(database: SqlStore, other: SqlStore, tmp_path: Path) -> None:
    """It still holds the lock, for it never died; it must not take the term back from who leads by now."""
    first, second = Leadership("first"), Leadership("second")
    here, there = farm_on(database, tmp_path), farm_on(other, tmp_path)
    assert await first.prolong(here)
    forward(database, TERM_US + 1)
    assert await second.prolong(there)
    assert not await first.prolong(here)
    assert await second.prolong(there)
    assert second.term == 2
    assert not await database.take_presence(), "the lock went to who leads"
    await other.close()
