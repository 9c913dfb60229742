"""Profiles, slicings and workers, as rows."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from typing import Any

import sqlalchemy as sa

from ...app.slicing_ports import UNASKED_US, Backlog, Engine, SlicerWorker
from ...domain.profile import Profile, ProfileKind
from ...domain.slicing import MOST_ATTEMPTS, Slicing, SlicingKey, SlicingState
from . import rows, tables
from .statements import SqlChange, SqlLook

_KEY = tuple(f.name for f in fields(SlicingKey))
_RUNNING = sa.select(tables.slicing).where(
    tables.slicing.c.ended_at.is_(None), tables.slicing.c.state == SlicingState.RUNNING.value
)


def profile_row(profile: Profile) -> dict[str, Any]:
    """A profile as columns."""
    return asdict(profile) | {"kind": profile.kind.value, "printer_models": list(profile.printer_models)}


def profile_from(row: rows.Row) -> Profile:
    """A profile from its columns."""
    values = {f.name: row[f.name] for f in fields(Profile)}
    return Profile(**values | {"kind": ProfileKind(row["kind"]), "printer_models": tuple(row["printer_models"])})


def slicing_row(task: Slicing) -> dict[str, Any]:
    """A slicing as columns."""
    values = {f.name: getattr(task, f.name) for f in fields(Slicing) if f.name != "key"}
    lists = {"labels": list(task.labels), "settings": dict(task.settings), "state": task.state.value}
    return values | asdict(task.key) | lists


def slicing_from(row: rows.Row) -> Slicing:
    """A slicing from its columns."""
    values = {f.name: row[f.name] for f in fields(Slicing) if f.name != "key"}
    key = SlicingKey(**{name: row[name] for name in _KEY})
    return Slicing(**values | {"key": key, "labels": tuple(row["labels"]), "state": SlicingState(row["state"])})


class SqlSlicingReading(SqlLook):
    """The looks of ``SlicingReading``."""

    async def profiles(self) -> list[Profile]:
        query = sa.select(tables.profile).order_by(tables.profile.c.name, tables.profile.c.version)
        return [profile_from(row) for row in await self._all(query)]

    async def slicing(self, slicing_id: str) -> Slicing | None:
        found = await self._slicings(sa.select(tables.slicing).where(tables.slicing.c.slicing_id == slicing_id))
        return found[0] if found else None

    async def slicings_of(self, model_sha256s: Sequence[str]) -> list[Slicing]:
        table = tables.slicing.c
        mine = table.model_sha256.in_(sorted(set(model_sha256s)))
        return await self._slicings(sa.select(tables.slicing).where(mine).order_by(table.created_at, table.slicing_id))

    async def slicings_to(self, result_sha256: str) -> list[Slicing]:
        mine = tables.slicing.c.result_sha256 == result_sha256
        return await self._slicings(sa.select(tables.slicing).where(mine).order_by(tables.slicing.c.slicing_id))

    async def claimable_slicings(self, engines: dict[str, str], limit: int) -> list[Slicing]:
        table = tables.slicing.c
        lapsed = (table.state == SlicingState.RUNNING.value) & (table.claim_expires_at <= self.now)
        free = (table.state == SlicingState.QUEUED.value) | (lapsed & (table.attempts < MOST_ATTEMPTS))
        served = [(table.engine == name) & (table.engine_version == version) for name, version in engines.items()]
        query = sa.select(tables.slicing).where(table.ended_at.is_(None), free, sa.or_(sa.false(), *served))
        return await self._slicings(
            query.order_by(table.priority.desc(), table.created_at, table.slicing_id).limit(limit)
        )

    async def running_slicings(self) -> list[Slicing]:
        return [slicing_from(row) for row in await self._hot_all(_RUNNING)]

    async def unwanted_slicings(self, engines: Collection[Engine], closed: Collection[str], limit: int) -> list[str]:
        table, job = tables.slicing.c, tables.job.c
        is_open = table.ended_at.is_(None), table.state.in_([SlicingState.QUEUED.value, SlicingState.RUNNING.value])
        held = (table.state == SlicingState.RUNNING.value) & (table.claim_expires_at > self.now)
        wanted = sa.select(job.artifact_sha256).where(job.ended_at.is_(None), job.needs_slicing)
        left = table.model_sha256.in_(sorted(closed)) | (table.updated_at <= self.now - UNASKED_US)
        served = sa.or_(sa.false(), *((table.engine == name) & (table.engine_version == v) for name, v in engines))
        gone = table.engine.in_(sorted({name for name, _ in engines})) & ~served
        query = sa.select(table.slicing_id).where(*is_open, ~held, (table.model_sha256.not_in(wanted) & left) | gone)
        return list((await self._connection.execute(query.order_by(table.slicing_id).limit(limit))).scalars())

    async def slicing_backlog(self) -> Backlog:
        table = tables.slicing.c
        held = (table.state == SlicingState.RUNNING.value) & (table.claim_expires_at > self.now)
        running = sa.func.coalesce(sa.func.sum(sa.case((held, 1), else_=0)), 0)
        # The state is told once more, for the index.
        is_open = table.ended_at.is_(None), table.state.in_([SlicingState.QUEUED.value, SlicingState.RUNNING.value])
        [row] = await self._all(sa.select(sa.func.count().label("total"), running.label("running")).where(*is_open))
        return Backlog(row["total"] - row["running"], row["running"])

    async def slicer_workers(self, since: int) -> list[SlicerWorker]:
        table = tables.slicer_worker.c
        query = sa.select(tables.slicer_worker).where(table.seen_at >= since).order_by(table.name)
        return [SlicerWorker(**row) for row in await self._all(query)]

    async def _slicings(self, query: sa.Select[Any]) -> list[Slicing]:
        return [slicing_from(row) for row in await self._all(query)]


class SqlSlicingWriting(SqlSlicingReading, SqlChange):
    """The changes of ``SlicingWriting``."""

    async def add_profile(self, profile: Profile) -> None:
        await self._insert(tables.profile, profile_row(profile))

    async def retire_profile(self, name: str, at: int | None) -> None:
        table = tables.profile
        await self._connection.execute(sa.update(table).where(table.c.name == name).values(retired_at=at))

    async def lock_slicing(self, slicing_id: str) -> Slicing | None:
        mine = tables.slicing.c.slicing_id == slicing_id
        found = await self._slicings(sa.select(tables.slicing).where(mine).with_for_update())
        return found[0] if found else None

    async def lock_slicing_of(self, key: SlicingKey) -> Slicing | None:
        mine = [tables.slicing.c[name] == value for name, value in asdict(key).items()]
        found = await self._slicings(sa.select(tables.slicing).where(*mine).with_for_update())
        return found[0] if found else None

    async def add_slicing(self, task: Slicing) -> None:
        await self._insert(tables.slicing, slicing_row(task))

    async def save_slicing(self, before: Slicing, after: Slicing) -> None:
        if after != before:
            await self._save(tables.slicing, after.slicing_id, slicing_row(after), before.version)

    async def put_slicer_worker(self, worker: SlicerWorker) -> None:
        await self._put(tables.slicer_worker, asdict(worker))
