"""Stored files and what was read from them, as rows."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from functools import cache
from typing import Any

import sqlalchemy as sa

from printfarm_files.facts import from_json, to_json
from printfarm_files.safety.inspection import from_json as inspection_from
from printfarm_files.safety.inspection import to_json as inspection_row

from ...app.file_ports import Artifact, FileFilter, FileNeed, UnpackedFile
from ...domain.file_facts import StoredFacts, materials
from ...domain.run import ACTIVE
from . import tables
from .rows import Row
from .statements import SqlChange, SqlLook

_NAMES = [field.name for field in fields(Artifact)]
_COLUMNS = [tables.artifact.c[name] for name in _NAMES]
_ARTIFACT = sa.select(*_COLUMNS)
_HERE = tables.artifact.c.deleted_at.is_(None)
_ONE = _ARTIFACT.where(tables.artifact.c.sha256 == sa.bindparam("key"), _HERE)
# Whoever adds a row that refers to it takes the same lock.
_HELD = _ONE.with_for_update(read=True, key_share=True)
_LOCKED = _ARTIFACT.where(tables.artifact.c.sha256 == sa.bindparam("key")).with_for_update()
_UNREAD = (
    _ARTIFACT.where(_HERE, tables.artifact.c.facts_version < sa.bindparam("version"))
    .order_by(tables.artifact.c.created_at.desc())
    .limit(sa.bindparam("most"))
)
_UNPACKED = (
    sa.select(tables.unpacked_file)
    .join(tables.artifact, tables.artifact.c.sha256 == tables.unpacked_file.c.gcode_sha256)
    .where(
        tables.unpacked_file.c.packed_sha256 == sa.bindparam("packed"),
        tables.unpacked_file.c.plate == sa.bindparam("plate"),
        _HERE,
    )
)
_ACTIVE_RUN = [state.value for state in ACTIVE]
_BETWEEN = "|"
_MOST_NEEDS = 20


@cache
def _kept(dialect: Any) -> Any:
    """An artifact, unless it is there."""
    return dialect.insert(tables.artifact).on_conflict_do_nothing()


def artifact_from(row: Row) -> Artifact:
    """An artifact from its columns."""
    found, plates = row["inspection"], row["plates"]
    return Artifact(
        **{
            **row,
            "inspection": found and inspection_from(found),
            "plates": None if plates is None else tuple(plates),
        }
    )


def artifact_row(artifact: Artifact) -> dict[str, Any]:
    """An artifact as columns."""
    values = {name: getattr(artifact, name) for name in _NAMES}
    plates = None if artifact.plates is None else list(artifact.plates)
    return values | {"inspection": artifact.inspection and inspection_row(artifact.inspection), "plates": plates}


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
        row = await self._hot_one(_ONE, {"key": sha256})
        return artifact_from(row) if row else None

    async def unpacked(self, packed_sha256: str, plate: int) -> UnpackedFile | None:
        row = await self._hot_one(_UNPACKED, {"packed": packed_sha256, "plate": plate})
        return UnpackedFile(**row) if row else None

    async def artifacts_named(self, sha256s: Sequence[str]) -> list[Artifact]:
        return [artifact_from(row) for row in await self._all(_ARTIFACT.where(tables.artifact.c.sha256.in_(sha256s)))]

    async def artifacts(self, wanted: FileFilter) -> list[Artifact]:
        table, facts = tables.artifact.c, tables.file_facts.c
        query = _ARTIFACT.where(_HERE).order_by(table.created_at.desc(), table.sha256.desc()).limit(wanted.limit)
        if wanted.slicer or wanted.printer_model or wanted.material:
            query = query.join(tables.file_facts)
        if wanted.after:
            query = query.where(sa.tuple_(table.created_at, table.sha256) < sa.tuple_(*wanted.after))
        if wanted.kind:
            query = query.where(table.kind == wanted.kind)
        if wanted.material:
            word = f"{_BETWEEN}{wanted.material.lower()}{_BETWEEN}"
            query = query.where(facts.materials.contains(word, autoescape=True))
        for column, part in (
            (table.display_name, wanted.name_contains),
            (facts.slicer, wanted.slicer),
            (facts.printer_model, wanted.printer_model),
        ):
            if part:
                query = query.where(column.icontains(part, autoescape=True))
        return [artifact_from(row) for row in await self._all(query)]

    async def file_facts(self, sha256s: Sequence[str]) -> dict[str, StoredFacts]:
        mine = tables.file_facts.c.sha256.in_(sha256s)
        return {row["sha256"]: facts_from(row) for row in await self._all(sa.select(tables.file_facts).where(mine))}

    async def unread_files(self, reader_version: int, limit: int, but: Collection[str] = ()) -> list[Artifact]:
        asked = {"version": reader_version, "most": limit}
        if but:
            found = await self._all(_UNREAD.where(tables.artifact.c.sha256.not_in(sorted(but))), asked)
        else:
            found = await self._hot_all(_UNREAD, asked)
        return [artifact_from(row) for row in found]

    async def needs_of_file(self, sha256: str) -> list[FileNeed]:
        job, run, slicing = tables.job.c, tables.run.c, tables.slicing.c
        open_jobs = sa.select(job.job_id).where(job.ended_at.is_(None))
        sliced = sa.select(slicing.model_sha256).where(slicing.result_sha256 == sha256)
        # Runs from before runs named their file have the job's.
        printed = sa.func.coalesce(sa.func.nullif(run.artifact_sha256, ""), job.artifact_sha256)
        asked: dict[str, list[sa.Select[Any]]] = {
            "job": [
                open_jobs.where(job.artifact_sha256 == sha256),
                open_jobs.where(job.gcode_sha256 == sha256),
                open_jobs.where(job.needs_slicing, job.artifact_sha256.in_(sliced)),
            ],
            "run": [
                sa.select(run.run_id)
                .join(tables.job, job.job_id == run.job_id)
                .where(run.state.in_(_ACTIVE_RUN), printed == sha256)
            ],
            "slicing": [
                sa.select(slicing.slicing_id).where(slicing.ended_at.is_(None), slicing.model_sha256 == sha256)
            ],
        }
        found = [
            FileNeed(what, key)
            for what, queries in asked.items()
            for query in queries
            for key in (await self._connection.execute(query.limit(_MOST_NEEDS))).scalars()
        ]
        return sorted(found, key=lambda need: (need.what, need.key))

    async def files_to_erase(self, limit: int) -> list[str]:
        table = tables.artifact.c
        query = sa.select(table.sha256).where(table.deleted_at.is_not(None), table.erased_at.is_(None))
        return list((await self._connection.execute(query.order_by(table.deleted_at).limit(limit))).scalars())


class SqlFileWriting(SqlFileReading, SqlChange):
    """The changes of ``FileWriting``."""

    async def hold_artifact(self, sha256: str) -> Artifact | None:
        row = await self._hot_one(_HELD, {"key": sha256})
        return artifact_from(row) if row else None

    async def lock_artifact(self, sha256: str) -> Artifact | None:
        row = await self._hot_one(_LOCKED, {"key": sha256})
        return artifact_from(row) if row else None

    async def delete_artifact(self, sha256: str) -> None:
        await self._change(sha256, {"deleted_at": self.now, "erased_at": None})

    async def revive_artifact(self, artifact: Artifact) -> None:
        await self._change(artifact.sha256, artifact_row(artifact) | {"deleted_at": None, "erased_at": None})

    async def note_erased(self, sha256: str) -> None:
        await self._change(sha256, {"erased_at": self.now})

    async def _change(self, sha256: str, values: dict[str, Any]) -> None:
        table = tables.artifact
        await self._connection.execute(sa.update(table).where(table.c.sha256 == sha256).values(values))

    async def put_artifact(self, artifact: Artifact) -> None:
        await self._hot_change(_kept(self._dialect), artifact_row(artifact))

    async def put_unpacked(self, found: UnpackedFile) -> None:
        await self._put(tables.unpacked_file, asdict(found))

    async def put_file_facts(self, found: StoredFacts) -> None:
        artifact, table = tables.artifact, tables.file_facts
        # First the file's own row: of two that read it at once, the second waits here.
        newer = (artifact.c.sha256 == found.sha256) & (artifact.c.facts_version <= found.reader_version)
        raised = sa.update(artifact).where(newer).values(facts_version=found.reader_version)
        if (await self._connection.execute(raised)).rowcount:
            await self._put(table, facts_row(found))
