"""Proof that a coordinator process lives: a lock that ends with the process, however it ends.

SQLite: an exclusive lock on a file beside the database. PostgreSQL: an advisory lock of a session of its own.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from .postgres_connection import ENDING

_ADVISORY_LOCK = 7_304
_LOST = (DBAPIError, ENDING, OSError, TimeoutError)


class Presence(Protocol):
    """One process's hold on the lock. Both calls may be repeated."""

    async def take(self) -> bool:
        """True while this process holds the lock; taken if it is free."""
        ...

    async def let_go(self) -> None: ...


class FilePresence:
    """On SQLite. ``path`` None: a database in memory, which nobody else can open."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: int | None = None

    async def take(self) -> bool:
        if self._path is None or self._file is not None:
            return True
        file = await asyncio.to_thread(os.open, self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return False
        self._file = file
        return True

    async def let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            os.close(file)


class SessionPresence:
    """On PostgreSQL, which frees the lock as soon as the session's connection is gone."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._connection: AsyncConnection | None = None

    async def take(self) -> bool:
        if self._connection is not None:
            if await self._still_there(self._connection):
                return True
            await self.let_go()
        connection = await self._engine.connect()
        try:
            taken = await connection.scalar(sa.select(sa.func.pg_try_advisory_lock(_ADVISORY_LOCK)))
        except BaseException:
            await connection.invalidate()
            raise
        if not taken:
            await connection.close()
            return False
        self._connection = connection
        return True

    async def _still_there(self, connection: AsyncConnection) -> bool:
        try:
            await connection.execute(sa.text("SELECT 1"))
        except _LOST:
            return False
        return True

    async def let_go(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The session must end, or the pool would keep the lock.
            await connection.invalidate()
            await connection.close()
