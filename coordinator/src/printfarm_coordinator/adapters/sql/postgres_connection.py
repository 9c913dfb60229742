"""A connection to PostgreSQL as the hot statements use it: asyncpg's own, which prepares each text once."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg

from ...app.ports import DatabaseUnavailable, StaleWrite
from .hot import RowTaken

# Serialisation failure, deadlock, lock timeout; and the states of a server that stops or starts.
AGAIN = frozenset({"40001", "40P01", "55P03"})
GOING_DOWN = frozenset({"57P01", "57P02", "57P03", "53300"})
# What asyncpg says of a connection between the server's last word ("terminating connection") and its end.
ENDING = asyncpg.InternalClientError
# Of a server that answers a rollback takes no time: the one that failed before it was waited for.
UNDO_SECONDS = 5.0
# now() would be the transaction's start; a lease is judged by the time at which it is looked at.
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class PostgresDriver:
    """``hot.Driver`` on PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_open(self) -> bool:
        return not self._connection.is_closed()

    async def prepare(self) -> None:
        return

    async def begin(self, text: str) -> None:
        await self._run(text)

    async def commit(self) -> None:
        await self._run("COMMIT")

    async def rollback(self) -> None:
        # Whatever asyncpg knows: a BEGIN whose task was cancelled may have come to the server all the same.
        await self._run("ROLLBACK", UNDO_SECONDS)

    async def now(self) -> int:
        [[found]] = await self.rows(_NOW, (), is_far=False)
        return int(found)

    async def _run(self, text: str, seconds: float | None = None) -> None:
        """``seconds`` None: as long as any statement."""
        with _translating():
            await self._connection.execute(text, timeout=seconds)

    async def rows(self, text: str, parameters: Sequence[Any], *, is_far: bool) -> Sequence[Sequence[Any]]:
        with _translating():
            found: list[Any] = await self._connection.fetch(text, *parameters)
        return [tuple(each.values()) for each in found]

    async def change(self, text: str, parameters: Sequence[Any]) -> int:
        with _translating():
            said: str = await self._connection.execute(text, *parameters)
        return int(said.rpartition(" ")[2])

    async def change_many(self, text: str, parameters: Sequence[Sequence[Any]]) -> None:
        with _translating():
            await self._connection.executemany(text, parameters)


@contextmanager
def _translating() -> Generator[None]:
    """The server's ways to say "taken", "again" and "not now", as the port says them."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        raise RowTaken(str(error)) from error
    except asyncpg.PostgresError as error:
        if error.sqlstate in AGAIN:
            raise StaleWrite(str(error)) from error
        if error.sqlstate in GOING_DOWN or isinstance(error, asyncpg.PostgresConnectionError):
            raise DatabaseUnavailable(str(error)) from error
        raise
    except (asyncpg.InterfaceError, ENDING, OSError) as error:
        raise DatabaseUnavailable(str(error)) from error
