"""What the safety check found, and who allowed it, as rows."""

from collections.abc import Collection
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from printfarm_files.safety import Inspection
from printfarm_files.safety.inspection import to_json

from ...domain.job import Job
from ...domain.safety_policy import Override
from . import rows, tables
from .statements import SqlChange, SqlLook


def override_row(override: Override) -> dict[str, Any]:
    """A person's word as columns."""
    return asdict(override) | {"covers": list(override.covers)}


def override_from(row: rows.Row) -> Override:
    """A person's word from its columns."""
    return Override(**{field.name: row[field.name] for field in fields(Override)} | {"covers": tuple(row["covers"])})


class SqlSafetyReading(SqlLook):
    """The looks of ``SafetyReading``."""

    async def jobs_to_judge(
        self, rules: str, limit: int, *, new_only: bool = False, but: Collection[str] = ()
    ) -> list[Job]:
        table = tables.job.c
        query = sa.select(tables.job).where(table.ended_at.is_(None), ~table.needs_slicing)
        if new_only:
            query = query.where(~table.prepared)
        else:
            query = query.where(sa.func.coalesce(table.requirements[("file", "rules")].as_string(), "") != rules)
        if but:
            query = query.where(table.artifact_sha256.not_in(sorted(but)))
        query = query.order_by(table.priority.desc(), table.created_at, table.job_id).limit(limit)
        return [rows.job_from(row) for row in await self._all(query)]

    async def overrides_of(self, job_id: str) -> list[Override]:
        table = tables.file_override.c
        query = sa.select(tables.file_override).where(table.job_id == job_id)
        return [override_from(row) for row in await self._all(query.order_by(table.created_at, table.override_id))]


class SqlSafetyWriting(SqlSafetyReading, SqlChange):
    """The changes of ``SafetyWriting``."""

    async def save_inspection(self, sha256: str, found: Inspection) -> None:
        mine = tables.artifact.c.sha256 == sha256
        await self._connection.execute(sa.update(tables.artifact).where(mine).values(inspection=to_json(found)))

    async def put_override(self, override: Override) -> None:
        await self._put(tables.file_override, override_row(override))
