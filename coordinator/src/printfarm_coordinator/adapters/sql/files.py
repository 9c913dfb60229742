"""Stored files and what was read from them, as rows."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from printfarm_files.facts import from_json, to_json

from ...app.file_ports import Artifact
from ...domain.file_facts import StoredFacts, materials
from . import tables
from .rows import Row
from .statements import SqlChange, SqlLook

_COLUMNS = [tables.artifact.c[field.name] for field in fields(Artifact)]
_ARTIFACT = sa.select(*_COLUMNS)
_HERE = tables.artifact.c.deleted_at.is_(None)
_ONE = _ARTIFACT.where(tables.artifact.c.sha256 == sa.bindparam("key"), _HERE)
_BETWEEN = "|"


def artifact_from(row: Row) -> Artifact:
    """An artifact from its columns."""
    return Artifact(**row)


def facts_row(found: StoredFacts) -> dict[str, Any]:
    """What was read, as columns."""
    facts = found.facts
    kinds = [kind.lower() for kind in materials(facts)] if facts else []
    return {
        "sha256": found.sha256,
        "reader_version": found.reader_version,
        "read_at": found.read_at,
        "reason": found.reason,
        "facts": to_json(facts) if facts else None,
        "slicer": (facts and facts.slicer) or "",
        "printer_model": (facts and facts.printer_model) or "",
        "materials": _BETWEEN.join(["", *kinds, ""]) if kinds else "",
    }


def facts_from(row: Row) -> StoredFacts:
    """What was read, from its columns."""
    facts = row["facts"] and from_json(row["facts"])
    return StoredFacts(row["sha256"], row["reader_version"], row["read_at"], facts, row["reason"])


class SqlFileReading(SqlLook):
    """The looks of ``FileReading``."""

    async def artifact(self, sha256: str) -> Artifact | None:
        row = await self._one(_ONE, {"key": sha256})
        return artifact_from(row) if row else None

    async def artifacts_named(self, sha256s: Sequence[str]) -> list[Artifact]:
        return [artifact_from(row) for row in await self._all(_ARTIFACT.where(tables.artifact.c.sha256.in_(sha256s)))]

    async def artifacts(
        self, limit: int, after: tuple[int, str] | None, *, name_contains: str = "", kind: str = ""
    ) -> list[Artifact]:
        table = tables.artifact.c
        query = _ARTIFACT.where(_HERE).order_by(table.created_at.desc(), table.sha256.desc()).limit(limit)
        if after:
            query = query.where(sa.tuple_(table.created_at, table.sha256) < sa.tuple_(*after))
        if name_contains:
            query = query.where(table.display_name.icontains(name_contains, autoescape=True))
        if kind:
            query = query.where(table.kind == kind)
        return [artifact_from(row) for row in await self._all(query)]

    async def file_facts(self, sha256s: Sequence[str]) -> dict[str, StoredFacts]:
        mine = tables.file_facts.c.sha256.in_(sha256s)
        return {row["sha256"]: facts_from(row) for row in await self._all(sa.select(tables.file_facts).where(mine))}

    async def unread_files(self, reader_version: int, limit: int, but: Collection[str] = ()) -> list[Artifact]:
        table = tables.artifact.c
        query = _ARTIFACT.where(_HERE, table.facts_version < reader_version, table.sha256.not_in(sorted(but)))
        return [artifact_from(row) for row in await self._all(query.order_by(table.created_at.desc()).limit(limit))]


class SqlFileWriting(SqlFileReading, SqlChange):
    """The changes of ``FileWriting``."""

    async def put_artifact(self, artifact: Artifact) -> None:
        insert = self._dialect.insert(tables.artifact).values(asdict(artifact))
        await self._connection.execute(insert.on_conflict_do_nothing())

    async def put_file_facts(self, found: StoredFacts) -> None:
        artifact, table = tables.artifact, tables.file_facts
        # First the file's own row: of two that read it at once, the second waits here.
        newer = (artifact.c.sha256 == found.sha256) & (artifact.c.facts_version <= found.reader_version)
        raised = sa.update(artifact).where(newer).values(facts_version=found.reader_version)
        if (await self._connection.execute(raised)).rowcount:
            await self._put(table, facts_row(found))
