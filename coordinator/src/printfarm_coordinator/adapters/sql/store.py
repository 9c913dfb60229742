"""The database behind the ``Store`` port: SQLite or PostgreSQL, chosen by the URL."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from printfarm_rpc.durability import end_if_fsync_failed
from printfarm_rpc.failpoints import failpoint

from ...app.ports import DatabaseUnavailable, Reading, StaleWrite, Writing
from .clock import Clock, database_now
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
# Serialisation failure, deadlock, lock timeout; and the states of a server that stops or starts.
_AGAIN = {"40001", "40P01", "55P03"}
_GOING_DOWN = {"57P01", "57P02", "57P03", "53300"}
_NO_ANSWER = (DBAPIError, PoolTimeout, OSError, TimeoutError)
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
    """On SQLite a second engine reads, so that reads never wait for the one writer. On PostgreSQL both share a pool.

    ``clock`` replaces the database's clock, for tests that turn time by hand.
    """

    def __init__(self, url: str, *, pool_size: int = 10, clock: Clock | None = None) -> None:
        target = async_url(url)
        self._clock = clock
        if target.get_backend_name() == "sqlite":
            self._writer = _sqlite_engine(target, begin="BEGIN IMMEDIATE", pool_size=1, is_near=True)
            self._reader = _sqlite_engine(target, begin="BEGIN", pool_size=4, is_near=False)
            self._presence: Presence = FilePresence(_lock_path(target))
        else:
            self._writer = create_async_engine(
                target,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_timeout=10,
                pool_pre_ping=True,
                connect_args={"server_settings": _POSTGRES_SETTINGS, "timeout": 5},
            )
            # Every statement of a look sees the same commits; a writer must see the newest behind each lock it waited for.
            self._reader = self._writer.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            self._presence = SessionPresence(self._writer)

    @property
    def engine(self) -> AsyncEngine:
        """The writing engine, for migrations."""
        return self._writer

    def read(self) -> AbstractAsyncContextManager[Reading]:
        """A consistent look."""
        return self._read()

    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager[Writing]:
        """All or nothing."""
        return self._write(name, request_id)

    @asynccontextmanager
    async def _read(self) -> AsyncGenerator[SqlReading]:
        async with _transaction(self._reader) as connection:
            yield SqlReading(connection, await self._now(connection))

    @asynccontextmanager
    async def _write(self, name: str, request_id: str) -> AsyncGenerator[SqlWriting]:
        async with _transaction(self._writer) as connection:
            writing = SqlWriting(connection, await self._now(connection))
            writing.request_id = request_id
            yield writing
            failpoint(f"before_commit.{name}")
        failpoint(f"after_commit.{name}")

    async def _now(self, connection: AsyncConnection) -> int:
        return self._clock() if self._clock else await database_now(connection)

    async def ping(self) -> None:
        """Raises if the database does not answer."""
        async with _transaction(self._reader) as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def take_presence(self) -> bool:
        """True while this process holds the lock that a living coordinator holds."""
        try:
            return await self._presence.take()
        except _NO_ANSWER as error:
            raise DatabaseUnavailable(str(error)) from error

    async def let_presence_go(self) -> None:
        """Another process may hold it from now on."""
        await self._presence.let_go()

    async def close(self) -> None:
        """Ends every connection."""
        await self._presence.let_go()
        await self._writer.dispose()
        await self._reader.dispose()


@asynccontextmanager
async def _transaction(engine: AsyncEngine) -> AsyncGenerator[AsyncConnection]:
    """Commits at the end, rolls back on any way out else; neither is torn apart by a cancellation."""
    try:
        connection = await _connected(engine)
    except _NO_ANSWER as error:
        raise DatabaseUnavailable(str(error)) from error
    try:
        await connection.begin()
        yield connection
        await _undisturbed(connection.commit())
    except BaseException as error:
        end_if_fsync_failed(getattr(error, "orig", None))
        # A task cancelled between write and commit would leave SQLite's file locked for everyone.
        await _roll_back(connection)
        raise _translated(error) from error
    finally:
        await _undisturbed(connection.close())


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    """A connection. One that opens while its task is cancelled is given back, not left behind half open."""
    opening = asyncio.ensure_future(engine.connect().start())
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            await _undisturbed(opening.result().close())
        raise


async def _roll_back(connection: AsyncConnection) -> None:
    try:
        await _undisturbed(connection.rollback())
    except _NO_ANSWER:
        await connection.invalidate()


def _translated(error: BaseException) -> BaseException:
    """The database's ways to say "again" and "not now", as the port says them."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state in _AGAIN or "database is locked" in str(error.orig):
            return StaleWrite(str(error.orig))
        if error.connection_invalidated or state in _GOING_DOWN or isinstance(error, OperationalError | InterfaceError):
            return DatabaseUnavailable(str(error.orig))
    if isinstance(error, PoolTimeout | ConnectionError):
        return DatabaseUnavailable(str(error))
    return error


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _lock_path(url: URL) -> Path | None:
    name = url.database or ":memory:"
    return None if name == ":memory:" or name.startswith("file:") else Path(f"{name}.lock")


def _sqlite_engine(url: URL, *, begin: str, pool_size: int, is_near: bool) -> AsyncEngine:
    async def connect() -> NearConnection:
        opened = NearConnection(url.database or ":memory:", is_near=is_near)
        await opened
        return opened

    engine = create_async_engine(url, async_creator=connect, pool_size=pool_size, max_overflow=0, pool_timeout=30)

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
        connection.exec_driver_sql(begin)

    return engine
