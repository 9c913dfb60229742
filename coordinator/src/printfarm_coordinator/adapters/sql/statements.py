"""What every look and every change is made of."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ...app.ports import AlreadyExists, StaleWrite
from .hot import Driver, RowTaken, Values, prepared
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

    def __init__(self, connection: AsyncConnection, driver: Driver, now: int) -> None:
        self._connection = connection
        self._driver = driver
        self.now = now

    async def _hot_one(self, query: sa.Select[Any], values: Values) -> Row | None:
        """Of a query that is made once; ``values`` are its parameters. The row, or None."""
        found = await self._hot_all(query, values)
        return found[0] if found else None

    async def _hot_all(
        self, query: sa.Select[Any], values: Values | None = None, *, is_far: bool = False
    ) -> Sequence[Row]:
        """As ``_hot_one``. ``is_far``: it may read more than some rows."""
        made = prepared(query, self._connection.dialect)
        found = await self._driver.rows(made.text, made.parameters(values or {}), is_far=is_far)
        return [made.row(each) for each in found]

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
        changed = await self._hot_change(
            _changed(table, tuple(sorted(more))), values | {"version": version + 1}, before
        )
        if changed != 1:
            raise StaleWrite(f"{table.name} was changed since version {version}")

    async def _insert(self, table: sa.Table, values: dict[str, Any]) -> None:
        await self._hot_change(_inserted(table), values)

    async def _insert_all(self, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
        """Rows of the same columns."""
        await self._hot_change_all(_inserted(table), rows)

    async def _put(self, table: sa.Table, values: dict[str, Any]) -> None:
        """Inserts, or replaces the row of the same primary key."""
        await self._hot_change(_put(self._dialect, table, tuple(values)), values)

    async def _hot_change(self, statement: Any, values: dict[str, Any], more: Values | None = None) -> int:
        """How many rows a statement that is made once changed. ``values`` are what it sets, ``more`` what else it names."""
        made = prepared(statement, self._connection.dialect, tuple(values))
        try:
            return await self._driver.change(made.text, made.parameters({**values, **more} if more else values))
        except RowTaken as error:
            raise AlreadyExists(str(error)) from error

    async def _hot_change_all(
        self, statement: Any, rows: Sequence[dict[str, Any]], more: Sequence[Values] = ()
    ) -> None:
        """As ``_hot_change``, for each."""
        if not rows:
            return
        made = prepared(statement, self._connection.dialect, tuple(rows[0]))
        each = [made.parameters({**row, **named}) for row, named in zip(rows, more or ({},) * len(rows), strict=True)]
        try:
            await self._driver.change_many(made.text, each)
        except RowTaken as error:
            raise AlreadyExists(str(error)) from error
