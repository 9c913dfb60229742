"""A connection to SQLite that goes to its thread only for what may wait: a lock, the disk, a long read.

The way to a thread and back costs ten times what SQLite needs for a row by its key, more on a busy machine, and a statement
would take it four times: for the cursor, the statement, its rows, the end.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import aiosqlite

from printfarm_rpc.durability import end_if_fsync_failed

from ...app.ports import DatabaseUnavailable, StaleWrite
from .hot import RowTaken

T = TypeVar("T")

_ROWS_AT_ONCE = 64
# What a transaction does in the event loop without letting others have their turn.
_MOST_IN_A_ROW = 50
_WAIT, _DO_NOT_WAIT = "PRAGMA busy_timeout=5000", "PRAGMA busy_timeout=0"
_QUICK = {"execute", "executemany", "fetchall", "fetchone", "fetchmany", "close"}


class NearConnection(aiosqlite.Connection):
    """``is_near``: statements run where they are asked for, too. For transactions that touch few rows, each by its key."""

    def __init__(self, path: str, *, is_near: bool) -> None:
        # One user at a time, as the pool sees to; from this thread only while the connection's own is idle.
        super().__init__(partial(sqlite3.connect, path, check_same_thread=False), _ROWS_AT_ONCE)
        self.is_near = is_near
        self._under_way = 0
        self._in_a_row = 0
        # Its end is not waited for when the program ends.
        self._thread.daemon = True

    @property
    def is_open(self) -> bool:
        """Not closed by us: nobody else could."""
        return self._connection is not None

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Every call of the driver comes through here."""
        if self._connection is None or self._under_way or not self._is_quick(fn, args):
            return await self._in_thread(fn, *args, **kwargs)
        await self._let_others()
        return fn(*args, **kwargs)

    async def with_driver(self, work: Callable[[sqlite3.Connection], T], *, is_far: bool = False) -> T:
        """``work`` where it is asked for, or if it ``is_far`` in the thread, in one go."""
        if is_far or self._under_way:
            found: T = await self._in_thread(work, self._conn)
            return found
        await self._let_others()
        return work(self._conn)

    async def _let_others(self) -> None:
        self._in_a_row += 1
        if self._in_a_row > _MOST_IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)

    async def _in_thread(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self._in_a_row = 0
        self._under_way += 1

        def counted() -> Any:
            # Also when nobody waits for it any more.
            try:
                return fn(*args, **kwargs)
            finally:
                self._under_way -= 1

        execute: Any = super()._execute
        return await execute(counted)

    def _is_quick(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        owner, name = getattr(fn, "__self__", None), getattr(fn, "__name__", "")
        if owner is self._connection:
            # Given back to the pool, it is rolled back once more: mostly there is nothing to.
            return name == "cursor" or (name == "rollback" and not self._conn.in_transaction)
        if not isinstance(owner, sqlite3.Cursor) or name not in _QUICK:
            return False
        if name == "close":
            return True
        statement = args[0] if args and isinstance(args[0], str) else ""
        # A deferred BEGIN takes no lock.
        return statement == "BEGIN" or (self.is_near and not statement.startswith("BEGIN"))


def _patiently(text: str, driver: sqlite3.Connection) -> None:
    driver.execute(_WAIT)
    try:
        driver.execute(text)
    finally:
        driver.execute(_DO_NOT_WAIT)


class SqliteDriver:
    """``hot.Driver`` on SQLite."""

    def __init__(self, connection: NearConnection) -> None:
        self._connection = connection
        self._changes_before = 0

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    async def prepare(self) -> None:
        if self._connection.is_near:
            await self._with_driver(lambda driver: driver.execute(_DO_NOT_WAIT))

    async def begin(self, text: str) -> None:
        try:
            await self._connection.with_driver(lambda driver: driver.execute(text))
        except sqlite3.OperationalError:
            # Another process writes: its end is waited for where nobody else waits, too.
            await self._with_driver(partial(_patiently, text), is_far=True)
        self._changes_before = await self._with_driver(lambda driver: driver.total_changes)

    async def commit(self) -> None:
        # Where nothing was changed there is nothing to sync.
        changes = await self._with_driver(lambda driver: driver.total_changes)
        await self._with_driver(sqlite3.Connection.commit, is_far=changes != self._changes_before)

    async def rollback(self) -> None:
        await self._with_driver(sqlite3.Connection.rollback)

    async def now(self) -> int:
        """SQLite runs in this process and has no clock but this host's: it need not be asked."""
        return time.time_ns() // 1000

    async def rows(self, text: str, parameters: Sequence[Any], *, is_far: bool) -> Sequence[Sequence[Any]]:
        return await self._with_driver(lambda driver: driver.execute(text, parameters).fetchall(), is_far=is_far)

    async def change(self, text: str, parameters: Sequence[Any]) -> int:
        return await self._with_driver(lambda driver: driver.execute(text, parameters).rowcount)

    async def change_many(self, text: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._with_driver(lambda driver: driver.executemany(text, parameters))

    async def _with_driver(self, work: Callable[[sqlite3.Connection], T], *, is_far: bool = False) -> T:
        try:
            return await self._connection.with_driver(work, is_far=is_far)
        except sqlite3.IntegrityError as error:
            raise RowTaken(str(error)) from error
        except sqlite3.OperationalError as error:
            end_if_fsync_failed(error)
            raise StaleWrite(str(error)) if "locked" in str(error) else DatabaseUnavailable(str(error)) from error
