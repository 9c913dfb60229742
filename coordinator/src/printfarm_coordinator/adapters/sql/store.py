"""The database behind the ``Store`` port: SQLite or PostgreSQL, chosen by the URL."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from printfarm_rpc.failpoints import failpoint

from ...app.ports import DatabaseUnavailable, Reading, Writing
from .clock import Clock
from .connections import NO_ANSWER, Connections
from .hot import Driver
from .presence import FilePresence, Presence, SessionPresence
from .reading import SqlReading
from .sqlite_connection import NearConnection
from .writing import SqlWriting

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
)
_SQLITE_READERS = 4
# Seconds that a transaction waits for a connection.
_SQLITE_PATIENCE, _POSTGRES_PATIENCE = 30.0, 10.0
# A server's host that is gone says nothing: TCP alone would wait a quarter of an hour. Longer than what the server allows.
ANSWER_SECONDS = 20.0
_POSTGRES_SETTINGS = {
    "statement_timeout": "15000",
    "idle_in_transaction_session_timeout": "15000",
    "lock_timeout": "5000",
}


def async_url(url: str) -> URL:
    """The URL with our driver, whichever driver it named."""
    parsed = make_url(url)
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if kind in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+asyncpg")
    raise ValueError(f"DATABASE_URL: {kind} is not supported; use sqlite or postgresql")


class SqlStore:
    """On SQLite others read than the one that writes, so that no look waits for it. On PostgreSQL both share connections.

    ``clock`` replaces the database's clock, for tests that turn time by hand.
    """

    def __init__(self, url: str, *, pool_size: int = 10, clock: Clock | None = None) -> None:
        target = async_url(url)
        self._clock = clock
        self._presence: Presence
        if target.get_backend_name() == "sqlite":
            self._begin_reading, self._begin_writing = "BEGIN", "BEGIN IMMEDIATE"
            self._engine = self._migrating_engine = _sqlite_engine(target, is_near=True)
            self._reading_engine = _sqlite_engine(target, is_near=False)
            self._writers = Connections(self._engine, 1, _SQLITE_PATIENCE)
            self._readers = Connections(self._reading_engine, _SQLITE_READERS, _SQLITE_PATIENCE)
            self._presence = FilePresence(_lock_path(target))
        else:
            # Every statement of a look sees the same commits; a writer must see the newest behind each lock it waited for.
            self._begin_reading = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            self._begin_writing = "BEGIN ISOLATION LEVEL READ COMMITTED"
            self._engine = self._reading_engine = _postgres_engine(target, ANSWER_SECONDS)
            # A migration takes as long as it takes.
            self._migrating_engine = _postgres_engine(target, None)
            self._writers = self._readers = Connections(self._engine, 2 * pool_size, _POSTGRES_PATIENCE)
            self._presence = SessionPresence(self._engine)

    @property
    def engine(self) -> AsyncEngine:
        """For migrations."""
        return self._migrating_engine

    def read(self) -> AbstractAsyncContextManager[Reading]:
        """A consistent look."""
        return self._read()

    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager[Writing]:
        """All or nothing."""
        return self._write(name, request_id)

    @asynccontextmanager
    async def _read(self) -> AsyncGenerator[SqlReading]:
        async with self._readers.transaction(self._begin_reading) as opened:
            yield SqlReading(opened.connection, opened.driver, await self._now(opened.driver))

    @asynccontextmanager
    async def _write(self, name: str, request_id: str) -> AsyncGenerator[SqlWriting]:
        async with self._writers.transaction(self._begin_writing) as opened:
            writing = SqlWriting(opened.connection, opened.driver, await self._now(opened.driver))
            writing.request_id = request_id
            yield writing
            failpoint(f"before_commit.{name}")
        failpoint(f"after_commit.{name}")

    async def _now(self, driver: Driver) -> int:
        return self._clock() if self._clock else await driver.now()

    async def ping(self) -> None:
        """Raises if the database does not answer."""
        async with self._readers.transaction(self._begin_reading) as opened:
            await opened.driver.rows("SELECT 1", (), is_far=True)

    async def take_presence(self) -> bool:
        """True while this process holds the lock that a living coordinator holds."""
        try:
            return await self._presence.take()
        except NO_ANSWER as error:
            raise DatabaseUnavailable(str(error)) from error

    async def let_presence_go(self) -> None:
        """Another process may hold it from now on."""
        await self._presence.let_go()

    async def close(self) -> None:
        """Ends every connection."""
        await self._presence.let_go()
        await self._writers.close()
        await self._readers.close()
        await self._engine.dispose()
        await self._reading_engine.dispose()
        await self._migrating_engine.dispose()


def _lock_path(url: URL) -> Path | None:
    name = url.database or ":memory:"
    return None if name == ":memory:" or name.startswith("file:") else Path(f"{name}.lock")


def _postgres_engine(url: URL, answer_seconds: float | None) -> AsyncEngine:
    arguments = {"server_settings": _POSTGRES_SETTINGS, "timeout": 5, "command_timeout": answer_seconds}
    return create_async_engine(url, poolclass=NullPool, connect_args=arguments)


def _sqlite_engine(url: URL, *, is_near: bool) -> AsyncEngine:
    async def connect() -> NearConnection:
        opened = NearConnection(url.database or ":memory:", is_near=is_near)
        await opened
        return opened

    engine = create_async_engine(url, async_creator=connect, poolclass=NullPool)

    @sa.event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        # sqlite3 would otherwise begin by itself, deferred, and lose updates.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in _SQLITE_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        # Ours are begun by the driver; a migration's here.
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
