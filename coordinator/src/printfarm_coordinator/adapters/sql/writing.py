"""Changes of the database, inside one transaction."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import takewhile
from typing import Any

import sqlalchemy as sa

from ...app.ports import (
    Agent,
    AlreadyExists,
    ApiKey,
    EnrollmentToken,
    Remembered,
    StaleWrite,
    StoredEvent,
    Upload,
    User,
)
from ...domain.events import AuditEntry, DomainEvent
from ...domain.job import Job
from ...domain.printer import Printer
from ...domain.run import Run
from ...domain.slice import Slice
from . import rows, tables
from .files import SqlFileWriting
from .rates import SqlRateWriting
from .reading import FORGOTTEN, SqlReading
from .safety import SqlSafetyWriting
from .slicing import SqlSlicingWriting
from .statements import by_key

# Keys of the advisory locks that serialise, on PostgreSQL, what must be counted without gaps.
_AUDIT_LOCK, _POSITION_LOCK = 7_301, 7_302


def _appended() -> sa.Insert:
    """An event with the next number of its subject."""
    table = tables.event
    mine = (table.c.subject_kind == sa.bindparam("of_kind")) & (table.c.subject_id == sa.bindparam("of_id"))
    number = sa.select(sa.func.coalesce(sa.func.max(table.c.subject_sequence), 0) + 1).where(mine)
    return sa.insert(table).values(subject_sequence=number.scalar_subquery())


# Statements that every run needs are made once: to build one costs more than to run it.
_LOCK_JOB, _LOCK_RUN, _LOCK_PRINTER, _LOCK_AGENT = (
    by_key(table).with_for_update() for table in (tables.job, tables.run, tables.printer, tables.agent)
)
_ADVANCE = sa.update(tables.agent).where(tables.agent.c.agent_id == sa.bindparam("key"))
_APPEND_EVENT = _appended()
_LAST_AUDIT = sa.select(tables.audit.c.sequence, tables.audit.c.hash).order_by(tables.audit.c.sequence.desc()).limit(1)
_UNPOSITIONED = (
    sa.select(tables.event)
    .where(tables.event.c.position.is_(None))
    .order_by(tables.event.c.event_id)
    .limit(sa.bindparam("most"))
)
_POSITION = sa.update(tables.event).where(tables.event.c.event_id == sa.bindparam("id"))
_SERIALISE = sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("lock", type_=sa.BigInteger)).label("locked"))
_CURSOR = sa.select(tables.cursor.c.position).where(tables.cursor.c.name == sa.bindparam("name")).with_for_update()
_REMEMBERED = sa.select(tables.idempotency.c.body_sha256, tables.idempotency.c.subject_id).where(
    tables.idempotency.c.client == sa.bindparam("client"), tables.idempotency.c.key == sa.bindparam("key")
)
_TERM = (
    sa.select(tables.leadership.c.term)
    .where(
        tables.leadership.c.id == 1,
        tables.leadership.c.holder == sa.bindparam("holder"),
        tables.leadership.c.term == sa.bindparam("term"),
        tables.leadership.c.expires_at > sa.bindparam("now"),
    )
    .with_for_update(read=True)
)


class SqlWriting(SqlReading, SqlFileWriting, SqlRateWriting, SqlSafetyWriting, SqlSlicingWriting):
    """The ``Writing`` port. On SQLite the transaction is the only writer; on PostgreSQL rows are locked one by one."""

    request_id = ""

    async def lock_job(self, job_id: str) -> Job | None:
        row = await self._hot_one(_LOCK_JOB, {"key": job_id})
        return rows.job_from(row) if row else None

    async def lock_printer(self, printer_id: str) -> Printer | None:
        row = await self._hot_one(_LOCK_PRINTER, {"key": printer_id})
        return rows.printer_from(row) if row else None

    async def lock_slice(self, run_id: str) -> Slice | None:
        seen = await self.run(run_id)
        if seen is None:
            return None
        job = await self.lock_job(seen.job_id)
        run = await self._locked_run(seen)
        printer = await self.lock_printer(seen.printer_id)
        if job is None or run is None or printer is None:
            return None
        return Slice(job, run, printer)

    async def _locked_run(self, seen: Run) -> Run | None:
        if self._connection.dialect.name != "postgresql":
            # No other transaction writes: what was seen in this one is so.
            return seen
        row = await self._hot_one(_LOCK_RUN, {"key": seen.run_id})
        return rows.run_from(row) if row else None

    async def lock_agent(self, agent_id: str) -> Agent | None:
        row = await self._hot_one(_LOCK_AGENT, {"key": agent_id})
        return rows.agent_from(row) if row else None

    async def add_jobs(self, jobs: Sequence[Job]) -> None:
        await self._insert_all(tables.job, [rows.job_row(job) for job in jobs])

    async def add_offer(self, before: Job, printer: Printer, after: Slice) -> None:
        await self._insert(tables.run, rows.run_row(after.run))
        await self.save_job(before, after.job)
        await self.save_printer(printer, after.printer)
        await self.append_events(after.events)
        await self.append_audit(after.audit)

    async def save_job(self, before: Job, after: Job) -> None:
        if after != before:
            await self._save(tables.job, after.job_id, rows.job_row(after), before.version)

    async def save_printer(self, before: Printer, after: Printer) -> None:
        if after != before:
            await self._save(tables.printer, after.printer_id, rows.printer_row(after), before.version)

    async def save_slice(self, before: Slice, after: Slice) -> None:
        await self.save_job(before.job, after.job)
        await self._save_run(before.run, after.run)
        await self.save_printer(before.printer, after.printer)
        await self.append_events(after.events)
        await self.append_audit(after.audit)

    async def _save_run(self, before: Run, after: Run) -> None:
        if after != before:
            await self._save(tables.run, after.run_id, rows.run_row(after), before.version, epoch=before.epoch)

    async def add_printer(self, printer: Printer) -> None:
        await self._insert(tables.printer, rows.printer_row(printer))

    async def put_agent(self, agent: Agent) -> None:
        await self._put(tables.agent, asdict(agent))

    async def advance_agent(self, agent_id: str, last_applied_sequence: int) -> None:
        await self._hot_change(_ADVANCE, {"last_applied_sequence": last_applied_sequence}, {"key": agent_id})

    async def extend_leases(self, leases: dict[str, int], until: int) -> None:
        table = tables.agent
        parameters = [{"id": agent_id, "connection": epoch} for agent_id, epoch in leases.items()]
        if not parameters:
            return
        mine = (table.c.agent_id == sa.bindparam("id")) & (table.c.connection_epoch == sa.bindparam("connection"))
        extended = (
            sa.update(table).where(mine & table.c.reachable).values(lease_expires_at=until, last_heartbeat_at=self.now)
        )
        await self._connection.execute(extended, parameters)

    async def append_events(self, events: Iterable[DomainEvent]) -> None:
        told: list[dict[str, Any]] = []
        subjects = []
        for event in events:
            told.append(
                {
                    "type": event.type,
                    "subject_kind": event.subject_kind,
                    "subject_id": event.subject_id,
                    "actor": event.actor,
                    "data": dict(event.data),
                    "created_at": self.now,
                }
            )
            subjects.append({"of_kind": event.subject_kind, "of_id": event.subject_id})
        try:
            await self._hot_change_all(_APPEND_EVENT, told, subjects)
        except AlreadyExists as error:
            # Not every event's subject is locked by who tells of it: an alarm's is not.
            raise StaleWrite(f"another event of the same subject came first: {error}") from error

    async def append_audit(self, entries: Iterable[AuditEntry]) -> None:
        todo = list(entries)
        if not todo:
            return
        await self._serialise(_AUDIT_LOCK)
        last = await self._hot_one(_LAST_AUDIT, {})
        sequence, chain = (last["sequence"], last["hash"]) if last else (0, "")
        made = []
        for entry in todo:
            sequence += 1
            values = asdict(entry) | {"sequence": sequence, "created_at": self.now, "request_id": self.request_id}
            chain = audit_hash(chain, values)
            made.append(values | {"hash": chain})
        await self._insert_all(tables.audit, made)

    async def position_events(self, limit: int) -> list[StoredEvent]:
        await self._serialise(_POSITION_LOCK)
        fresh = await self._hot_all(_UNPOSITIONED, {"most": limit})
        if not fresh:
            return []
        last = await self.last_position()
        numbered = [(row["event_id"], last + offset) for offset, row in enumerate(fresh, start=1)]
        await self._hot_change_all(
            _POSITION, [{"position": place} for _, place in numbered], [{"id": event_id} for event_id, _ in numbered]
        )
        placed = zip(numbered, fresh, strict=True)
        return [replace(rows.event_from(row), position=position) for (_, position), row in placed]

    async def forget_events(self, before: int, up_to: int | None, limit: int) -> int:
        table, newer = tables.event, tables.event.alias()
        query = (
            sa.select(table.c.event_id, table.c.position, table.c.created_at).order_by(table.c.position).limit(limit)
        )
        query = query.where(table.c.position > await self.forgotten_position())
        if up_to is not None:
            query = query.where(table.c.position <= up_to)
        oldest = await self._all(query)
        old = list(takewhile(lambda row: bool(row["created_at"] < before), oldest))
        if not old:
            return 0
        is_followed = sa.exists().where(
            newer.c.subject_kind == table.c.subject_kind,
            newer.c.subject_id == table.c.subject_id,
            newer.c.subject_sequence > table.c.subject_sequence,
        )
        ids = [row["event_id"] for row in old]
        # Never the farm's last event: positions count on from it.
        spare = table.c.position < await self.last_position()
        await self._connection.execute(sa.delete(table).where(table.c.event_id.in_(ids), is_followed, spare))
        await self.save_cursor(FORGOTTEN, old[-1]["position"])
        return len(old)

    async def _serialise(self, lock: int) -> None:
        if self._connection.dialect.name == "postgresql":
            await self._hot_all(_SERIALISE, {"lock": lock})

    async def cursor(self, name: str) -> int:
        row = await self._hot_one(_CURSOR, {"name": name})
        return int(row["position"]) if row else 0

    async def save_cursor(self, name: str, position: int) -> None:
        await self._put(tables.cursor, {"name": name, "position": position})

    async def save_progress(self, progress: dict[str, float]) -> None:
        if not progress:
            return
        table = tables.run
        reached = sa.update(table).where(table.c.run_id == sa.bindparam("id"), table.c.ended_at.is_(None))
        # A fixed order, so that two such writers never wait for each other in a ring.
        parameters = [{"id": run_id, "reached": progress[run_id]} for run_id in sorted(progress)]
        await self._connection.execute(reached.values(progress=sa.bindparam("reached")), parameters)

    async def forget_before(self, before: int) -> int:
        old = (
            sa.delete(tables.idempotency).where(tables.idempotency.c.created_at < before),
            sa.delete(tables.enrollment_token).where(tables.enrollment_token.c.expires_at < before),
            sa.delete(tables.upload).where(tables.upload.c.expires_at < self.now),
        )
        return sum([(await self._connection.execute(statement)).rowcount for statement in old])

    async def remember(self, client: str, key: str, answer: Remembered) -> None:
        await self.remember_all({(client, key): answer})

    async def remember_all(self, answers: Mapping[tuple[str, str], Remembered]) -> None:
        made = [
            asdict(answer) | {"client": client, "key": key, "created_at": self.now}
            for (client, key), answer in answers.items()
        ]
        await self._insert_all(tables.idempotency, made)

    async def remembered(self, client: str, key: str) -> Remembered | None:
        row = await self._hot_one(_REMEMBERED, {"client": client, "key": key})
        return Remembered(**row) if row else None

    async def all_remembered(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Remembered]:
        if len(keys) <= 1:
            found = {key: await self.remembered(*key) for key in keys}
            return {key: answer for key, answer in found.items() if answer}
        table = tables.idempotency.c
        answered = sa.select(tables.idempotency).where(sa.tuple_(table.client, table.key).in_(keys))
        return {
            (row["client"], row["key"]): Remembered(row["body_sha256"], row["subject_id"])
            for row in await self._all(answered)
        }

    async def put_upload(self, upload: Upload) -> None:
        await self._put(tables.upload, asdict(upload))

    async def delete_upload(self, upload_id: str) -> None:
        await self._connection.execute(sa.delete(tables.upload).where(tables.upload.c.upload_id == upload_id))

    async def lock_api_key(self, key_id: str) -> ApiKey | None:
        row = await self._one(sa.select(tables.api_key).where(tables.api_key.c.key_id == key_id).with_for_update())
        return rows.api_key_from(row) if row else None

    async def put_api_key(self, key: ApiKey) -> None:
        await self._put(tables.api_key, asdict(key) | {"role": key.role.value})

    async def note_key_uses(self, key_ids: Iterable[str]) -> None:
        mine = tables.api_key.c.key_id.in_(sorted(key_ids))
        await self._connection.execute(sa.update(tables.api_key).where(mine).values(last_used_at=self.now))

    async def add_user(self, user: User) -> None:
        await self._insert(tables.user_account, asdict(user) | {"role": user.role.value})

    async def lock_user(self, name: str) -> User | None:
        table = tables.user_account
        row = await self._one(sa.select(table).where(table.c.name == name).with_for_update())
        return rows.user_from(row) if row else None

    async def put_user(self, user: User) -> None:
        await self._put(tables.user_account, asdict(user) | {"role": user.role.value})

    async def put_token(self, token: EnrollmentToken) -> None:
        await self._put(tables.enrollment_token, asdict(token))

    async def token(self, token_sha256: str) -> EnrollmentToken | None:
        table = tables.enrollment_token
        row = await self._one(sa.select(table).where(table.c.token_sha256 == token_sha256).with_for_update())
        return EnrollmentToken(**row) if row else None

    async def take_term(self, holder: str, lasting: int, *, inherit: bool = False) -> int | None:
        row = await self._lock_term()
        is_over = bool(row["expires_at"] <= self.now) or (inherit and row["holder"] != holder)
        if row["holder"] != holder and not is_over:
            return None
        term = int(row["term"]) + is_over
        await self._put(tables.leadership, {"id": 1, "term": term, "holder": holder, "expires_at": self.now + lasting})
        return term

    async def _lock_term(self) -> rows.Row:
        """The term's row, locked. Where there is none yet, nobody held it; of two that find none, the second waits."""
        table = tables.leadership
        locked = sa.select(table).where(table.c.id == 1).with_for_update()
        row = await self._one(locked)
        while row is None:
            free = self._dialect.insert(table).values(id=1, term=0, holder="", expires_at=0)
            await self._connection.execute(free.on_conflict_do_nothing())
            row = await self._one(locked)
        return row

    async def holds_term(self, holder: str, term: int) -> bool:
        return await self._hot_one(_TERM, {"holder": holder, "term": term, "now": self.now}) is not None


def audit_hash(previous: str, values: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, over the hash before and the row as canonical JSON."""
    row = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{row}".encode()).hexdigest()
