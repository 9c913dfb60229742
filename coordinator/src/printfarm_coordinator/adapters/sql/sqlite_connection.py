"""A connection to SQLite that goes to its thread only for what may wait: a lock, the disk, a long read.

The way to a thread and back costs ten times what SQLite needs for a row by its key, more on a busy machine, and a statement
would take it four times: for the cursor, the statement, its rows, the end.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import aiosqlite

_ROWS_AT_ONCE = 64
# What a transaction does in the event loop without letting others have their turn.
_MOST_IN_A_ROW = 50
_QUICK = {"execute", "executemany", "fetchall", "fetchone", "fetchmany", "close"}


class NearConnection(aiosqlite.Connection):
    """``is_near``: statements run where they are asked for, too. For transactions that touch few rows, each by its key."""

    def __init__(self, path: str, *, is_near: bool) -> None:
        # One user at a time, as the pool sees to; from this thread only while the connection's own is idle.
        super().__init__(partial(sqlite3.connect, path, check_same_thread=False), _ROWS_AT_ONCE)
        self._is_near = is_near
        self._under_way = 0
        self._in_a_row = 0
        # Its end is not waited for when the program ends.
        self._thread.daemon = True

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Every call of the driver comes through here."""
        if self._connection is None or self._under_way or not self._is_quick(fn, args):
            return await self._in_thread(fn, *args, **kwargs)
        self._in_a_row += 1
        if self._in_a_row > _MOST_IN_A_ROW:
            self._in_a_row = 0
            await asyncio.sleep(0)
        return fn(*args, **kwargs)

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
        return statement == "BEGIN" or (self._is_near and not statement.startswith("BEGIN"))
