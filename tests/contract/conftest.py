"""Every implementation of the ``Store`` port."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.ports import Store
from tests.support.memory_store import MemoryStore
from tests.support.stores import database_url, sql_store


@pytest_asyncio.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Store]:
    """In memory (as the simulations use it), SQLite, PostgreSQL."""
    if request.param == "memory":
        yield MemoryStore()
        return
    database = await sql_store(database_url(request, tmp_path, request.param))
    yield database
    await database.close()


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SqlStore]:
    """What only a database can do: wait, break, tell the time."""
    made = await sql_store(database_url(request, tmp_path, request.param))
    yield made
    await made.close()


@pytest_asyncio.fixture
async def postgresql(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SqlStore]:
    """Where two really write at once."""
    made = await sql_store(database_url(request, tmp_path, "postgresql"))
    yield made
    await made.close()
