"""Statements that go straight to the driver: those of every submit, offer, report, authority and look of an agent's session.

SQLAlchemy's way to run a statement (its context, its cursor, its result, and a greenlet for each) costs several times what
SQLite needs for a row by its key. Here it makes the text once; what is left for each run is the driver's own call. Both run on
the same connection, in the same transaction. Only for statements that are made once: the text is kept for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import sqlalchemy as sa

from .rows import Row

Values = Mapping[str, Any]


class RowTaken(Exception):
    """A row of that key is there, or one that it names is not."""


class Driver(Protocol):
    """The driver's own connection. Raises RowTaken, StaleWrite, DatabaseUnavailable."""

    @property
    def is_open(self) -> bool:
        """False once its end was seen."""
        ...

    async def prepare(self) -> None:
        """Once, before its first transaction."""
        ...

    async def begin(self, text: str) -> None: ...
    async def commit(self) -> None: ...
    async def rollback(self) -> None:
        """Also of what is still under way for a task that was cancelled."""
        ...

    async def now(self) -> int:
        """The database's clock, in microseconds since the epoch (I18)."""
        ...

    async def rows(self, text: str, parameters: Sequence[Any], *, is_far: bool) -> Sequence[Sequence[Any]]:
        """``is_far``: it may take long, so nothing else waits for it."""
        ...

    async def change(self, text: str, parameters: Sequence[Any]) -> int:
        """How many rows were changed."""
        ...

    async def change_many(self, text: str, parameters: Sequence[Sequence[Any]]) -> None:
        """The same for each, on the way to the database together."""
        ...


class Prepared:
    """A statement as the driver takes it: its text, the order of its parameters, and how values pass in and out."""

    def __init__(self, statement: Any, dialect: sa.Dialect, columns: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=columns)
        self.text = str(compiled)
        kept = compiled.params
        self._parameters = [
            (name, kept.get(name), compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in compiled.positiontup or ()
        ]
        chosen = statement.selected_columns if isinstance(statement, sa.Select) else ()
        self._names = [str(column.key) for column in chosen]
        self._read = [
            (str(column.key), change)
            for column in chosen
            # Of our types, these alone come back in other shape.
            if isinstance(column.type, sa.JSON | sa.Boolean)
            and (change := column.type.dialect_impl(dialect).result_processor(dialect, None)) is not None
        ]

    def parameters(self, values: Values) -> list[Any]:
        """In the order of the text."""
        found = []
        for name, kept, change in self._parameters:
            value = values.get(name, kept)
            found.append(change(value) if change else value)
        return found

    def row(self, found: Sequence[Any]) -> Row:
        """By the names of its columns."""
        named = dict(zip(self._names, found, strict=True))
        for name, change in self._read:
            named[name] = change(named[name])
        return named


_PREPARED: dict[tuple[str, Any, tuple[str, ...]], Prepared] = {}


def prepared(statement: Any, dialect: sa.Dialect, columns: tuple[str, ...] = ()) -> Prepared:
    """Made once for each kind of database. ``columns``: those that an insert or update sets from its values."""
    key = (dialect.name, statement, columns)
    found = _PREPARED.get(key)
    if found is None:
        found = _PREPARED[key] = Prepared(statement, dialect, columns)
    return found
