"""Looks at the database."""

from collections.abc import Collection, Sequence
from typing import Any

import sqlalchemy as sa

from ...app.ports import (
    Agent,
    ApiKey,
    JobFilter,
    RunFilter,
    StoredAudit,
    StoredEvent,
    Upload,
    User,
)
from ...domain.assignment import Candidate
from ...domain.job import Job, JobBacklog
from ...domain.printer import Printer, PrinterState
from ...domain.refusals import REFUSED_FILE
from ...domain.run import ACTIVE, Run, RunState
from . import rows, tables
from .files import SqlFileReading
from .rates import SqlRateReading
from .safety import SqlSafetyReading
from .slicing import SqlSlicingReading
from .statements import by_key

# The cursor that says up to which position events are no longer kept.
FORGOTTEN = "forgotten"
# So many rows are read without going to another thread.
_FEW = 500
_ACTIVE = [state.value for state in ACTIVE]
_AGENT = tables.agent.c
_CANDIDATES = sa.select(
    tables.printer,
    _AGENT.reachable,
    _AGENT.draining,
    _AGENT.wants_drain,
    _AGENT.revoked,
    _AGENT.locked.label("agent_locked"),
    (_AGENT.last_applied_sequence >= _AGENT.journal_max_sequence).label("caught_up"),
).join(tables.agent, _AGENT.agent_id == tables.printer.c.agent_id)


_JOB, _RUN, _PRINTER, _AGENT_ROW = map(by_key, (tables.job, tables.run, tables.printer, tables.agent))


_OWES = (
    tables.job.c.ended_at.is_(None),
    ~tables.job.c.held,
    ~tables.job.c.cancel_requested,
    tables.job.c.prepared,
    tables.job.c.failed_runs <= tables.job.c.max_retries,
    tables.job.c.good_parts + tables.job.c.pending_parts < tables.job.c.quantity,
)
_ANY_WAITING = sa.select(tables.job.c.job_id).where(*_OWES).limit(1)


def _waiting(*, picky: bool) -> sa.Select[Any]:
    """Jobs that owe parts (``domain.job.parts_owed``) and their places, the most urgent of a kind first."""
    job = tables.job.c
    urgency = (job.priority.desc(), job.due_at.is_(None), job.due_at, job.created_at, job.job_id)
    # As ``domain.assignment.kind_of``: what fits is looked at once for each kind.
    kinds: list[tuple[Any, Any]] = [(job.needs_slicing, job.artifact_sha256 + job.profile)]
    if picky:
        those: sa.BindParameter[Any] = sa.bindparam("picky", expanding=True)
        own = job.artifact_sha256 + "/" + sa.cast(job.plate, sa.Text)
        kinds.append((job.artifact_sha256.in_(those) | job.gcode_sha256.in_(those), own))
    model = sa.case(*kinds, else_="")
    owed = sa.case((job.fit_plate, job.quantity - job.good_parts - job.pending_parts), else_=0)
    plates = job.parts_per_plate * sa.cast(job.needs_slicing, sa.Integer)
    kind = (sa.cast(job.requirements, sa.Text), model, plates, owed)
    place = sa.func.row_number().over(partition_by=kind, order_by=urgency)
    ranked = sa.select(tables.job, place.label("place")).where(*_OWES).subquery()
    return sa.select(ranked).where(ranked.c.place <= sa.bindparam("each"))


_WAITING, _WAITING_AND_PICKY = _waiting(picky=False), _waiting(picky=True)


def _backlog() -> sa.Select[Any]:
    """As ``domain.job.job_backlog`` counts."""
    job = tables.job.c
    left = job.quantity - job.good_parts - job.pending_parts
    may_start = ~job.held & ~job.cancel_requested & (job.failed_runs <= job.max_retries)
    owes = may_start & (left > 0)
    plates = (left + job.parts_per_plate - 1) // job.parts_per_plate
    counted = (
        sa.func.sum(sa.case((job.active_runs == 0, 1), else_=0)).label("idle_jobs"),
        sa.func.sum(sa.case((job.due_at < sa.bindparam("now", type_=sa.BigInteger), 1), else_=0)).label("overdue"),
        sa.func.sum(sa.case((owes, left), else_=0)).label("parts_owed"),
        sa.func.min(sa.case((owes, job.created_at))).label("waiting_since"),
        sa.func.sum(sa.case((owes, plates * sa.func.coalesce(job.estimated_seconds, 0.0)), else_=0.0)).label("seconds"),
    )
    return sa.select(*counted).where(job.ended_at.is_(None))


_BACKLOG = _backlog()


def _refused_files() -> sa.Select[Any]:
    run, job = tables.run.c, tables.job.c
    file = sa.func.coalesce(sa.func.nullif(run.artifact_sha256, ""), job.artifact_sha256).label("file")
    query = sa.select(file, run.printer_id, run.reason).join(tables.job, job.job_id == run.job_id)
    # The literal, as the index has it.
    refused = sa.literal_column("run.reason_code") == sa.literal_column(f"'{REFUSED_FILE}'")
    is_late = run.ended_at > sa.bindparam("since", type_=sa.BigInteger)
    return query.where(refused, run.state == RunState.FENCED.value, is_late).order_by(run.ended_at)


_RUN_TABLE = tables.run.c
_REFUSED_FILES = _refused_files()
_RUNS_OF_JOB = (
    sa.select(tables.run)
    .where(_RUN_TABLE.job_id == sa.bindparam("job"))
    .order_by(_RUN_TABLE.created_at, _RUN_TABLE.run_id)
)
_EVERY_CANDIDATE = _CANDIDATES.order_by(tables.printer.c.printer_id)
_FREE_CANDIDATES = _EVERY_CANDIDATE.where(
    _AGENT.reachable,
    tables.printer.c.active_run_id.is_(None),
    tables.printer.c.observed_state == sa.literal_column(f"'{PrinterState.IDLE.value}'"),
)
_CANDIDATE = _CANDIDATES.where(tables.printer.c.printer_id == sa.bindparam("key"))
_PRINTERS_OF = (
    sa.select(tables.printer)
    .where(tables.printer.c.agent_id == sa.bindparam("agent"))
    .order_by(tables.printer.c.printer_id)
)
_OPEN_MODEL_JOBS = sa.select(tables.job).where(tables.job.c.ended_at.is_(None), tables.job.c.needs_slicing)
_EVENTS_AFTER = (
    sa.select(tables.event)
    .where(tables.event.c.position > sa.bindparam("after"))
    .order_by(tables.event.c.position)
    .limit(sa.bindparam("most"))
)
_LAST_POSITION = sa.select(sa.func.coalesce(sa.func.max(tables.event.c.position), 0).label("last"))


class SqlReading(SqlFileReading, SqlRateReading, SqlSafetyReading, SqlSlicingReading):
    """The ``Reading`` port on one connection inside one transaction."""

    async def job(self, job_id: str) -> Job | None:
        row = await self._hot_one(_JOB, {"key": job_id})
        return rows.job_from(row) if row else None

    async def jobs(self, wanted: JobFilter) -> list[Job]:
        table = tables.job.c
        query = sa.select(tables.job).order_by(table.created_at.desc(), table.job_id.desc()).limit(wanted.limit)
        if wanted.after:
            query = query.where(sa.tuple_(table.created_at, table.job_id) < sa.tuple_(*wanted.after))
        if wanted.states:
            query = query.where(table.state.in_([state.value for state in wanted.states]))
        if wanted.client:
            query = query.where(table.client == wanted.client)
        if wanted.name_contains:
            query = query.where(table.name.icontains(wanted.name_contains, autoescape=True))
        return [rows.job_from(row) for row in await self._all(query)]

    async def open_jobs(self) -> list[Job]:
        query = sa.select(tables.job).where(tables.job.c.ended_at.is_(None))
        return [rows.job_from(row) for row in await self._all(query)]

    async def job_backlog(self) -> JobBacklog:
        [row] = await self._hot_all(_BACKLOG, {"now": self.now}, is_far=True)
        since = row["waiting_since"]
        return JobBacklog(
            int(row["idle_jobs"] or 0),
            int(row["overdue"] or 0),
            int(row["parts_owed"] or 0),
            since if since is None else int(since),
            float(row["seconds"] or 0.0),
        )

    async def waiting_jobs(self, each: int, picky: Collection[str] = ()) -> list[Job]:
        if picky:
            found = await self._all(_WAITING_AND_PICKY, {"each": each, "picky": sorted(picky)})
        else:
            found = await self._hot_all(_WAITING, {"each": each}, is_far=True)
        return [rows.job_from(row) for row in found]

    async def is_any_job_waiting(self) -> bool:
        return await self._hot_one(_ANY_WAITING, {}) is not None

    async def refused_files(self, since: int) -> dict[tuple[str, str], str]:
        return {
            (row["file"], row["printer_id"]): row["reason"]
            for row in await self._hot_all(_REFUSED_FILES, {"since": since})
        }

    async def open_model_jobs(self) -> list[Job]:
        return [rows.job_from(row) for row in await self._hot_all(_OPEN_MODEL_JOBS, is_far=True)]

    async def run(self, run_id: str) -> Run | None:
        row = await self._hot_one(_RUN, {"key": run_id})
        return rows.run_from(row) if row else None

    async def runs(self, wanted: RunFilter) -> list[Run]:
        table = tables.run.c
        query = sa.select(tables.run).order_by(table.created_at.desc(), table.run_id.desc()).limit(wanted.limit)
        if wanted.after:
            query = query.where(sa.tuple_(table.created_at, table.run_id) < sa.tuple_(*wanted.after))
        if wanted.job_id:
            query = query.where(table.job_id == wanted.job_id)
        if wanted.printer_id:
            query = query.where(table.printer_id == wanted.printer_id)
        if wanted.states:
            query = query.where(table.state.in_([state.value for state in wanted.states]))
        return [rows.run_from(row) for row in await self._all(query)]

    async def runs_of_jobs(self, job_ids: Sequence[str]) -> list[Run]:
        if len(job_ids) == 1:
            return [rows.run_from(row) for row in await self._hot_all(_RUNS_OF_JOB, {"job": job_ids[0]})]
        table = tables.run.c
        query = sa.select(tables.run).where(table.job_id.in_(job_ids)).order_by(table.created_at, table.run_id)
        return [rows.run_from(row) for row in await self._all(query)]

    async def runs_between(self, start: int, end: int) -> list[Run]:
        table = tables.run.c
        overlaps = (table.started_at < end) & (table.ended_at.is_(None) | (table.ended_at > start))
        query = sa.select(tables.run).where(overlaps).order_by(table.started_at)
        return [rows.run_from(row) for row in await self._all(query)]

    async def active_runs(self, agent_id: str = "") -> list[Run]:
        query = sa.select(tables.run).where(tables.run.c.state.in_(_ACTIVE))
        if agent_id:
            query = query.where(tables.run.c.agent_id == agent_id)
        return [rows.run_from(row) for row in await self._all(query)]

    async def printer(self, printer_id: str) -> Printer | None:
        row = await self._hot_one(_PRINTER, {"key": printer_id})
        return rows.printer_from(row) if row else None

    async def printers(self, agent_id: str = "") -> list[Printer]:
        if agent_id:
            return [rows.printer_from(row) for row in await self._hot_all(_PRINTERS_OF, {"agent": agent_id})]
        query = sa.select(tables.printer).order_by(tables.printer.c.printer_id)
        return [rows.printer_from(row) for row in await self._all(query)]

    async def candidates(self) -> list[Candidate]:
        return [_candidate(row) for row in await self._hot_all(_EVERY_CANDIDATE)]

    async def free_candidates(self) -> list[Candidate]:
        return [_candidate(row) for row in await self._hot_all(_FREE_CANDIDATES)]

    async def candidate(self, printer_id: str) -> Candidate | None:
        row = await self._hot_one(_CANDIDATE, {"key": printer_id})
        return _candidate(row) if row else None

    async def agent(self, agent_id: str) -> Agent | None:
        row = await self._hot_one(_AGENT_ROW, {"key": agent_id})
        return rows.agent_from(row) if row else None

    async def agents(self) -> list[Agent]:
        return [
            rows.agent_from(row) for row in await self._all(sa.select(tables.agent).order_by(tables.agent.c.agent_id))
        ]

    async def events(self, after: int, limit: int) -> list[StoredEvent]:
        found = await self._hot_all(_EVENTS_AFTER, {"after": after, "most": limit}, is_far=limit > _FEW)
        return [rows.event_from(row) for row in found]

    async def last_position(self) -> int:
        row = await self._hot_one(_LAST_POSITION, {})
        return int(row["last"]) if row else 0

    async def forgotten_position(self) -> int:
        row = await self._one(sa.select(tables.cursor.c.position).where(tables.cursor.c.name == FORGOTTEN))
        return int(row["position"]) if row else 0

    async def audit(self, limit: int, before: int | None, subject_id: str) -> list[StoredAudit]:
        table = tables.audit.c
        query = sa.select(tables.audit).order_by(table.sequence.desc()).limit(limit)
        if before is not None:
            query = query.where(table.sequence < before)
        if subject_id:
            query = query.where(table.subject_id == subject_id)
        return [rows.audit_from(row) for row in await self._all(query)]

    async def upload(self, upload_id: str) -> Upload | None:
        row = await self._one(sa.select(tables.upload).where(tables.upload.c.upload_id == upload_id))
        return rows.upload_from(row) if row else None

    async def open_uploads(self) -> list[Upload]:
        table = tables.upload.c
        query = sa.select(tables.upload).where(table.artifact_sha256.is_(None), table.expires_at > self.now)
        return [rows.upload_from(row) for row in await self._all(query)]

    async def api_keys(self) -> list[ApiKey]:
        query = sa.select(tables.api_key).order_by(tables.api_key.c.created_at, tables.api_key.c.key_id)
        return [rows.api_key_from(row) for row in await self._all(query)]

    async def api_key_by_secret(self, secret_sha256: str) -> ApiKey | None:
        row = await self._one(sa.select(tables.api_key).where(tables.api_key.c.secret_sha256 == secret_sha256))
        return rows.api_key_from(row) if row else None

    async def users(self) -> list[User]:
        query = sa.select(tables.user_account).order_by(tables.user_account.c.name)
        return [rows.user_from(row) for row in await self._all(query)]

    async def user(self, name: str) -> User | None:
        row = await self._one(sa.select(tables.user_account).where(tables.user_account.c.name == name))
        return rows.user_from(row) if row else None

    async def count_by_state(self) -> dict[str, dict[str, int]]:
        return {"job": await self._counts(tables.job), "run": await self._counts(tables.run)}

    async def _counts(self, table: sa.Table) -> dict[str, int]:
        query = sa.select(table.c.state, sa.func.count()).group_by(table.c.state)
        return {state: int(count) for state, count in (await self._connection.execute(query)).all()}

    async def count_ended_runs(self, since: int) -> dict[str, int]:
        table = tables.run.c
        query = sa.select(table.state, sa.func.count()).where(table.ended_at >= since).group_by(table.state)
        return {state: int(count) for state, count in (await self._connection.execute(query)).all()}

    async def runs_without_verdict(self) -> int:
        table = tables.run.c
        waiting = (table.state == RunState.FINISHED.value) & table.verdict_good_parts.is_(None)
        return int((await self._connection.execute(sa.select(sa.func.count()).where(waiting))).scalar_one())


def _candidate(row: rows.Row) -> Candidate:
    trusted = row["caught_up"] and not (row["revoked"] or row["agent_locked"])
    return Candidate(
        rows.printer_from(row), bool(row["reachable"] and trusted), bool(row["draining"] or row["wants_drain"])
    )
