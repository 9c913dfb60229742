"""Rates, as rows."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from ...domain.costing import CostTally
from ...domain.file_facts import StoredFacts
from ...domain.rate import Rate, RateKind, Subject
from ...domain.run import RunState
from . import tables
from .files import facts_from
from .rows import Row
from .statements import SqlChange, SqlLook

_ALL = sa.select(tables.rate).order_by(tables.rate.c.valid_from, tables.rate.c.created_at, tables.rate.c.rate_id)
_OF = tuple(field.name for field in fields(Subject))
_FACTS = [
    tables.file_facts.c[name].label(f"file_{name}")
    for name in ("sha256", "reader_version", "read_at", "reason", "facts")
]


def _priced() -> sa.Select[Any]:
    """Each rate of a time, the first of them with what was read from the file: one look, and the file's facts once."""
    rate = (
        sa.select(tables.rate, sa.func.row_number().over(order_by=tables.rate.c.rate_id).label("place"))
        .where(tables.rate.c.valid_from <= sa.bindparam("at"))
        .subquery()
    )
    mine = (tables.file_facts.c.sha256 == sa.bindparam("sha256")) & (rate.c.place == 1)
    return sa.select(rate, *_FACTS).select_from(rate.outerjoin(tables.file_facts, mine))


_PRICED = _priced()


def _tallied(by: sa.ColumnElement[str]) -> sa.Select[Any]:
    """As ``domain.costing.CostTally`` for each of those. What is not known of a run is NULL, and so is its total."""
    run = tables.run.c
    total = sum((_amount(name) for name in ("machine", "start")), _amount("material"))
    mine = sa.case((run.cost["currency"].as_string() == sa.bindparam("currency"), total), else_=sa.null())
    has_printed = run.started_at.is_not(None) | (run.state == RunState.FINISHED.value)
    figures = (sa.func.count().label("runs"), sa.func.count(mine).label("known"), sa.func.sum(mine).label("total"))
    columns: list[sa.ColumnElement[Any]] = [by.label("of"), *figures]
    return sa.select(*columns).where(run.ended_at.is_not(None), has_printed).group_by(by)


def _amount(name: str) -> sa.ColumnElement[int]:
    """Millionths: more than an INTEGER of PostgreSQL holds."""
    return sa.cast(tables.run.c.cost[name].as_string(), sa.BigInteger)


_OF_JOBS = _tallied(tables.run.c.job_id).where(tables.run.c.job_id.in_(sa.bindparam("job_ids", expanding=True)))
_SINCE = _tallied(tables.run.c.state).where(tables.run.c.ended_at >= sa.bindparam("since"))


def rate_row(rate: Rate) -> dict[str, Any]:
    """A rate as columns."""
    values = {field.name: getattr(rate, field.name) for field in fields(Rate) if field.name != "subject"}
    return values | asdict(rate.subject) | {"kind": rate.subject.kind.value}


def rate_from(row: Row) -> Rate:
    """A rate from its columns."""
    values = {field.name: row[field.name] for field in fields(Rate) if field.name != "subject"}
    of = {name: row[name] for name in _OF}
    return Rate(**values, subject=Subject(**of | {"kind": RateKind(row["kind"])}))


class SqlRateReading(SqlLook):
    """The looks of ``RateReading``."""

    async def rates(self) -> list[Rate]:
        return [rate_from(row) for row in await self._all(_ALL)]

    async def rates_and_facts(self, at: int, sha256: str) -> tuple[list[Rate], StoredFacts | None]:
        found = await self._all(_PRICED, {"at": at, "sha256": sha256})
        facts = next((_facts(row) for row in found if row["file_sha256"] is not None), None)
        return [rate_from(row) for row in found], facts

    async def costs_of_jobs(self, job_ids: Sequence[str], currency: str) -> dict[str, CostTally]:
        return await self._tallies(_OF_JOBS, {"job_ids": list(job_ids), "currency": currency})

    async def costs_since(self, since: int, currency: str) -> dict[str, CostTally]:
        return await self._tallies(_SINCE, {"since": since, "currency": currency})

    async def _tallies(self, query: sa.Select[Any], values: dict[str, Any]) -> dict[str, CostTally]:
        found = await self._all(query, values)
        return {row["of"]: CostTally(row["runs"], row["known"], int(row["total"] or 0)) for row in found}


def _facts(row: Row) -> StoredFacts:
    return facts_from({name.removeprefix("file_"): row[name] for name in row if name.startswith("file_")})


class SqlRateWriting(SqlRateReading, SqlChange):
    """The changes of ``RateWriting``."""

    async def add_rate(self, rate: Rate) -> None:
        await self._insert(tables.rate, rate_row(rate))
