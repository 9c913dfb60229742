"""Changes of the database, inside one transaction."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from itertools import takewhile
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...app.ports import (
    Agent,
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


class SqlWriting(SqlReading, SqlFileWriting, SqlRateWriting, SqlSafetyWriting, SqlSlicingWriting):
    """The ``Writing`` port. On SQLite the transaction is the only writer; on PostgreSQL rows are locked one by one."""

    request_id = ""

    async def lock_job(self, job_id: str) -> Job | None:
        row = await self._one(_LOCK_JOB, {"key": job_id})
        return rows.job_from(row) if row else None

    async def lock_printer(self, printer_id: str) -> Printer | None:
        row = await self._one(_LOCK_PRINTER, {"key": printer_id})
        return rows.printer_from(row) if row else None

    async def lock_slice(self, run_id: str) -> Slice | None:
        seen = await self.run(run_id)
        if seen is None:
            return None
        job = await self.lock_job(seen.job_id)
        row = await self._one(_LOCK_RUN, {"key": run_id})
        printer = await self.lock_printer(seen.printer_id)
        if job is None or row is None or printer is None:
            return None
        return Slice(job, rows.run_from(row), printer)

    async def lock_agent(self, agent_id: str) -> Agent | None:
        row = await self._one(_LOCK_AGENT, {"key": agent_id})
        return rows.agent_from(row) if row else None

    async def add_job(self, job: Job) -> None:
        await self._insert(tables.job, rows.job_row(job))

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
        await self._connection.execute(_ADVANCE, {"key": agent_id, "last_applied_sequence": last_applied_sequence})

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
        for event in events:
            values = {
                "type": event.type,
                "subject_kind": event.subject_kind,
                "subject_id": event.subject_id,
                "actor": event.actor,
                "data": dict(event.data),
                "created_at": self.now,
            }
            of_subject = {"of_kind": event.subject_kind, "of_id": event.subject_id}
            try:
                await self._connection.execute(_APPEND_EVENT, values | of_subject)
            except IntegrityError as error:
                # Not every event's subject is locked by who tells of it: an alarm's is not.
                raise StaleWrite(f"another event of {event.subject_kind} {event.subject_id} came first") from error

    async def append_audit(self, entries: Iterable[AuditEntry]) -> None:
        todo = list(entries)
        if not todo:
            return
        await self._serialise(_AUDIT_LOCK)
        table = tables.audit
        last = await self._one(sa.select(table.c.sequence, table.c.hash).order_by(table.c.sequence.desc()).limit(1))
        sequence, chain = (last["sequence"], last["hash"]) if last else (0, "")
        for entry in todo:
            sequence += 1
            values = asdict(entry) | {"sequence": sequence, "created_at": self.now, "request_id": self.request_id}
            chain = audit_hash(chain, values)
            await self._insert(table, values | {"hash": chain})

    async def position_events(self, limit: int) -> list[StoredEvent]:
        await self._serialise(_POSITION_LOCK)
        table = tables.event
        fresh = await self._all(
            sa.select(table).where(table.c.position.is_(None)).order_by(table.c.event_id).limit(limit)
        )
        if not fresh:
            return []
        last = await self.last_position()
        numbered = [(row["event_id"], last + offset) for offset, row in enumerate(fresh, start=1)]
        await self._connection.execute(
            sa.update(table).where(table.c.event_id == sa.bindparam("id")).values(position=sa.bindparam("place")),
            [{"id": event_id, "place": position} for event_id, position in numbered],
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
            await self._connection.execute(sa.select(sa.func.pg_advisory_xact_lock(lock)))

    async def cursor(self, name: str) -> int:
        row = await self._one(sa.select(tables.cursor.c.position).where(tables.cursor.c.name == name).with_for_update())
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
        await self._insert(tables.idempotency, asdict(answer) | {"client": client, "key": key, "created_at": self.now})

    async def remembered(self, client: str, key: str) -> Remembered | None:
        table = tables.idempotency
        mine = (table.c.client == client) & (table.c.key == key)
        row = await self._one(sa.select(table.c.body_sha256, table.c.subject_id).where(mine))
        return Remembered(**row) if row else None

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
        table = tables.leadership
        mine = (table.c.id == 1) & (table.c.holder == holder) & (table.c.term == term) & (table.c.expires_at > self.now)
        return await self._one(sa.select(table.c.term).where(mine).with_for_update(read=True)) is not None


def audit_hash(previous: str, values: dict[str, Any]) -> str:
    """SHA-256, hexadecimal, over the hash before and the row as canonical JSON."""
    row = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{row}".encode()).hexdigest()
