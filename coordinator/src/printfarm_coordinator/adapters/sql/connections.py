"""Open connections and the transactions on them.

A connection stays checked out of SQLAlchemy, in its AUTOCOMMIT, and the driver itself begins and ends: pool, BEGIN, COMMIT and
the way back to the pool took longer in SQLAlchemy than the transaction. What is not hot runs through SQLAlchemy all the same,
inside the driver's transaction.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from printfarm_rpc.durability import end_if_fsync_failed

from ...app.ports import DatabaseUnavailable, StaleWrite
from .hot import Driver
from .postgres_connection import AGAIN, ENDING, GOING_DOWN, PostgresDriver
from .sqlite_connection import NearConnection, SqliteDriver

NO_ANSWER = (DBAPIError, ENDING, OSError, TimeoutError)


@dataclass(frozen=True, eq=False, slots=True)
class Opened:
    """A connection, as SQLAlchemy has it and as its driver has it."""

    connection: AsyncConnection
    driver: Driver

    @property
    def is_usable(self) -> bool:
        """Neither side has seen its end."""
        return not self.connection.invalidated and self.driver.is_open


class Connections:
    """At most so many, each with one user at a time. Who finds none free waits for one so long."""

    def __init__(self, engine: AsyncEngine, most: int, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds
        self._room = asyncio.Semaphore(most)
        self._free: list[Opened] = []
        self._is_over = False

    @asynccontextmanager
    async def transaction(self, begin: str) -> AsyncGenerator[Opened]:
        """Commits at the end, rolls back on any way out else; neither is torn apart by a cancellation."""
        await self._enter()
        try:
            opened = await self._opened()
            try:
                await opened.driver.begin(begin)
                yield opened
                await _undisturbed(opened.driver.commit())
            except BaseException as error:
                end_if_fsync_failed(getattr(error, "orig", error))
                # A task cancelled between write and commit would leave SQLite's file locked for everyone.
                await _undisturbed(self._undo(opened))
                raise _translated(error) from error
            finally:
                if not self._is_given_back(opened):
                    await _undisturbed(self._give_back(opened))
        finally:
            self._room.release()

    async def _enter(self) -> None:
        if not self._room.locked():
            await self._room.acquire()
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._room.acquire()
        except TimeoutError as error:
            raise DatabaseUnavailable("every connection is in use") from error

    async def _opened(self) -> Opened:
        """A connection whose end was not seen. To ask the server before each use would cost a round trip."""
        while self._free:
            opened = self._free.pop()
            if opened.is_usable:
                return opened
            await _undisturbed(_discard(opened))
        try:
            return await _connected(self._engine)
        except NO_ANSWER as error:
            raise DatabaseUnavailable(str(error)) from error

    async def _undo(self, opened: Opened) -> None:
        try:
            await opened.driver.rollback()
        except (DatabaseUnavailable, *NO_ANSWER):
            await opened.connection.invalidate()
            # What cut this one off has cut off the others: each would cost its next user as long.
            others, self._free = self._free, []
            await asyncio.gather(*map(_cut, others))

    def _is_given_back(self, opened: Opened) -> bool:
        """At once, where nothing is to be done for it."""
        is_ready = opened.is_usable and not self._is_over and not opened.connection.in_transaction()
        if is_ready:
            self._free.append(opened)
        return is_ready

    async def _give_back(self, opened: Opened) -> None:
        if self._is_over or not opened.is_usable:
            await _discard(opened)
            return
        if opened.connection.in_transaction():
            # SQLAlchemy's own idea of one; the driver's is over.
            await opened.connection.rollback()
        self._free.append(opened)

    async def close(self) -> None:
        """Ends those that nobody uses; the others end with their transaction."""
        self._is_over = True
        unused, self._free = self._free, []
        await asyncio.gather(*map(_discard, unused))


async def _discard(opened: Opened) -> None:
    if opened.is_usable:
        await opened.connection.close()
    else:
        await _cut(opened)


async def _cut(opened: Opened) -> None:
    """Ends it whether or not the server answers."""
    await opened.connection.invalidate()
    await opened.connection.close()


def _driver_of(connection: AsyncConnection) -> Driver:
    opened = connection.sync_connection
    assert opened is not None
    own = opened.connection.driver_connection
    return SqliteDriver(own) if isinstance(own, NearConnection) else PostgresDriver(own)


async def _connected(engine: AsyncEngine) -> Opened:
    """A connection. One that opens while its task is cancelled is given back, not left behind half open."""
    opening = asyncio.ensure_future(_opened(engine))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        await asyncio.wait([opening])
        if opening.exception() is None:
            await _undisturbed(_discard(opening.result()))
        raise


async def _opened(engine: AsyncEngine) -> Opened:
    connection = await engine.connect().start()
    try:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        opened = Opened(connection, _driver_of(connection))
        await opened.driver.prepare()
    except BaseException:
        await connection.close()
        raise
    return opened


def _translated(error: BaseException) -> BaseException:
    """SQLAlchemy's ways to say "again" and "not now", as the port says them. The drivers say so themselves."""
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None)
        if state in AGAIN or "database is locked" in str(error.orig):
            return StaleWrite(str(error.orig))
        if error.connection_invalidated or state in GOING_DOWN or isinstance(error, OperationalError | InterfaceError):
            return DatabaseUnavailable(str(error.orig))
    if isinstance(error, ConnectionError | TimeoutError | ENDING):
        return DatabaseUnavailable(str(error))
    return error


async def _undisturbed(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
