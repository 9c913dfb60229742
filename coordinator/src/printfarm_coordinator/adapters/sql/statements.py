"""What every look and every change is made of."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ...app.ports import AlreadyExists, StaleWrite
from .rows import Row

# Statements are made once where they can be: to build one costs more than to run it.
_BEFORE = "before_"
_inserted = cache(sa.insert)


def by_key(table: sa.Table) -> sa.Select[Any]:
    """The row whose primary key is ``key``."""
    [column] = table.primary_key
    return sa.select(table).where(column == sa.bindparam("key"))


@cache
def _changed(table: sa.Table, columns: tuple[str, ...]) -> sa.Update:
    """The row of a key, if those columns and the version are as they were read."""
    [key] = table.primary_key
    same = [table.c[name] == sa.bindparam(_BEFORE + name) for name in (*columns, "version")]
    return sa.update(table).where(key == sa.bindparam(_BEFORE + "key"), *same)


@cache
def _put(dialect: Any, table: sa.Table, columns: tuple[str, ...]) -> Any:
    key = [column.name for column in table.primary_key]
    insert = dialect.insert(table)
    changed = {name: insert.excluded[name] for name in columns if name not in key}
    return insert.on_conflict_do_update(index_elements=key, set_=changed) if changed else insert


class SqlLook:
    """One connection inside one transaction. ``now``: the database's clock at its beginning, in microseconds."""

    def __init__(self, connection: AsyncConnection, now: int) -> None:
        self._connection = connection
        self.now = now

    async def _one(self, query: sa.Select[Any], values: dict[str, Any] | None = None) -> Row | None:
        row: Row | None = (await self._connection.execute(query, values)).mappings().one_or_none()
        return row

    async def _all(self, query: sa.Select[Any], values: dict[str, Any] | None = None) -> Sequence[Row]:
        found: Sequence[Row] = (await self._connection.execute(query, values)).mappings().all()
        return found


class SqlChange(SqlLook):
    """Rows inserted, replaced, or saved where nobody else was first."""

    @property
    def _dialect(self) -> Any:
        """The database's own insert, with its ON CONFLICT."""
        return postgresql if self._connection.dialect.name == "postgresql" else sqlite

    async def _save(self, table: sa.Table, key: str, values: dict[str, Any], version: int, **more: Any) -> None:
        """``more``: columns that must still be so, beside the version."""
        before = {_BEFORE + name: value for name, value in (more | {"version": version, "key": key}).items()}
        changed = _changed(table, tuple(sorted(more)))
        try:
            result = await self._connection.execute(changed, values | {"version": version + 1} | before)
        except IntegrityError as error:
            raise AlreadyExists(f"{table.name}: {error.orig}") from error
        if result.rowcount != 1:
            raise StaleWrite(f"{table.name} was changed since version {version}")

    async def _insert(self, table: sa.Table, values: dict[str, Any]) -> None:
        try:
            await self._connection.execute(_inserted(table), values)
        except IntegrityError as error:
            raise AlreadyExists(f"{table.name}: {error.orig}") from error

    async def _put(self, table: sa.Table, values: dict[str, Any]) -> None:
        """Inserts, or replaces the row of the same primary key."""
        await self._connection.execute(_put(self._dialect, table, tuple(values)), values)
