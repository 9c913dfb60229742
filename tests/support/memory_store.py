"""The ``Store`` port in memory, for simulations: nothing in it ever waits for the world, so a use case that is alone runs to
its end without an event loop.

It keeps the port's whole contract, but for keys to rows of other tables. ``crash_at`` makes the process die before or after
the commit of a named transaction.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from types import TracebackType
from typing import Any, TypeVar

from printfarm_coordinator.adapters.sql.reading import FORGOTTEN
from printfarm_coordinator.app.file_ports import Artifact, UnpackedFile
from printfarm_coordinator.app.ports import (
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
from printfarm_coordinator.app.slicing_ports import SlicerWorker
from printfarm_coordinator.domain.events import AuditEntry, DomainEvent
from printfarm_coordinator.domain.file_facts import StoredFacts
from printfarm_coordinator.domain.job import Job
from printfarm_coordinator.domain.printer import Printer
from printfarm_coordinator.domain.profile import Profile
from printfarm_coordinator.domain.rate import Rate
from printfarm_coordinator.domain.run import Run
from printfarm_coordinator.domain.safety_policy import Override
from printfarm_coordinator.domain.slice import Slice
from printfarm_coordinator.domain.slicing import Slicing, SlicingKey
from printfarm_files.safety import Inspection

from .memory_tables import MemoryReading, Tables

T = TypeVar("T")


class Crash(BaseException):
    """The process died here."""


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Runs what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waited")


@dataclass
class MemoryStore:
    """One database. ``now`` is set by whoever turns time."""

    tables: Tables = field(default_factory=Tables)
    now: int = 1_000_000
    crash_at: str = ""
    crashes: int = 0
    commits: int = 0
    # Sequence of an agent's event -> how often its effect was committed.
    applied: Counter[int] = field(default_factory=Counter)
    # One writes at a time, as on SQLite.
    writer: asyncio.Lock = field(default_factory=asyncio.Lock)

    def read(self) -> AbstractAsyncContextManager[MemoryReading]:
        return _Look(self)

    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager["MemoryWriting"]:
        return _Transaction(self, name, request_id)

    async def ping(self) -> None:
        return

    async def take_presence(self) -> bool:
        # The one process before is gone, or this would not be asked.
        return True

    async def let_presence_go(self) -> None:
        return

    def die(self, where: str) -> None:
        if self.crash_at == where:
            self.crash_at = ""
            self.crashes += 1
            raise Crash(where)


class _Look(AbstractAsyncContextManager[MemoryReading]):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def __aenter__(self) -> MemoryReading:
        # Committed tables are never changed, only replaced.
        return MemoryReading(self._store.tables, self._store.now)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class _Transaction(AbstractAsyncContextManager["MemoryWriting"]):
    def __init__(self, store: MemoryStore, name: str, request_id: str) -> None:
        self._store = store
        self._name = name
        self._request_id = request_id

    async def __aenter__(self) -> "MemoryWriting":
        await self._store.writer.acquire()
        self._tables = self._store.tables.copy()
        self._writing = MemoryWriting(self._tables, self._store.now, self._request_id)
        return self._writing

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._store.die(f"before_commit.{self._name}")
                self._store.tables = self._tables
                self._store.applied.update(self._writing.applied)
                self._store.commits += 1
        finally:
            self._store.writer.release()
        if kind is None:
            self._store.die(f"after_commit.{self._name}")


class MemoryWriting(MemoryReading):
    """The ``Writing`` port. The transaction is the only writer, so a lock is a look."""

    def __init__(self, tables: Tables, now: int, request_id: str) -> None:
        super().__init__(tables, now)
        self._request_id = request_id
        self.applied: list[int] = []

    lock_job = MemoryReading.job
    lock_printer = MemoryReading.printer
    lock_agent = MemoryReading.agent
    lock_user = MemoryReading.user

    async def lock_slice(self, run_id: str) -> Slice | None:
        run = self._t.runs.get(run_id)
        return Slice(self._t.jobs[run.job_id], run, self._t.printers[run.printer_id]) if run else None

    async def add_jobs(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self._add(self._t.jobs, job.job_id, job)

    async def add_offer(self, before: Job, printer: Printer, after: Slice) -> None:
        self._add(self._t.runs, after.run.run_id, after.run)
        self._refuse_taken(after.run)
        self.refuse_used_token(after.run)
        await self.save_job(before, after.job)
        await self.save_printer(printer, after.printer)
        await self.append_events(after.events)
        await self.append_audit(after.audit)

    async def save_job(self, before: Job, after: Job) -> None:
        if after != before:
            self._save(self._t.jobs, after.job_id, before, after)

    async def save_printer(self, before: Printer, after: Printer) -> None:
        if after != before:
            self._save(self._t.printers, after.printer_id, before, after)

    async def save_slice(self, before: Slice, after: Slice) -> None:
        await self.save_job(before.job, after.job)
        if after.run != before.run:
            self._save(self._t.runs, after.run.run_id, before.run, after.run)
            if after.run.state.is_active > before.run.state.is_active:
                self._refuse_taken(after.run)
            if after.run.bed_token != before.run.bed_token:
                self.refuse_used_token(after.run)
        await self.save_printer(before.printer, after.printer)
        await self.append_events(after.events)
        await self.append_audit(after.audit)

    def _refuse_taken(self, run: Run) -> None:
        """The backstop of I2, and an epoch's only run."""
        for other in self._t.runs.values():
            if other.run_id == run.run_id or other.printer_id != run.printer_id:
                continue
            if other.epoch == run.epoch or (other.state.is_active and run.state.is_active):
                raise AlreadyExists(f"run {other.run_id} has the printer, or had the epoch")

    def refuse_used_token(self, run: Run) -> None:
        """The backstop of I11."""
        used = [o for o in self._t.runs.values() if o.bed_token == run.bed_token and o.run_id != run.run_id]
        if run.bed_token is not None and used:
            raise AlreadyExists(f"run {used[0].run_id} used the bed token")

    def _save(self, table: dict[str, Any], key: str, before: Any, after: Any) -> None:
        if key not in table or table[key].version != before.version:
            raise StaleWrite(key)
        table[key] = replace(after, version=before.version + 1)

    def _add(self, table: dict[Any, Any], key: object, row: object) -> None:
        if key in table:
            raise AlreadyExists(str(key))
        table[key] = row

    async def add_printer(self, printer: Printer) -> None:
        self._add(self._t.printers, printer.printer_id, printer)

    async def put_agent(self, agent: Agent) -> None:
        self._t.agents[agent.agent_id] = agent

    async def advance_agent(self, agent_id: str, last_applied_sequence: int) -> None:
        agent = self._t.agents[agent_id]
        self._t.agents[agent_id] = replace(agent, last_applied_sequence=last_applied_sequence)

    async def extend_leases(self, leases: dict[str, int], until: int) -> None:
        for agent_id, epoch in leases.items():
            agent = self._t.agents.get(agent_id)
            if agent is not None and agent.connection_epoch == epoch and agent.reachable:
                self._t.agents[agent_id] = replace(agent, lease_expires_at=until, last_heartbeat_at=self.now)

    async def append_events(self, events: Iterable[DomainEvent]) -> None:
        for event in events:
            subject = (event.subject_kind, event.subject_id)
            number = self._t.sequences.get(subject, 0) + 1
            self._t.sequences[subject] = number
            self._t.waiting += (StoredEvent(0, event, number, self.now),)

    async def append_audit(self, entries: Iterable[AuditEntry]) -> None:
        self._t.audit += tuple((entry, self._request_id, self.now) for entry in entries)

    async def position_events(self, limit: int) -> list[StoredEvent]:
        fresh, self._t.waiting = self._t.waiting[:limit], self._t.waiting[limit:]
        last = await self.last_position()
        placed = [replace(event, position=position) for position, event in enumerate(fresh, start=last + 1)]
        self._t.placed += tuple(placed)
        return placed

    async def forget_events(self, before: int, up_to: int | None, limit: int) -> int:
        last, after = await self.last_position(), await self.forgotten_position()
        may = [event for event in await self.events(after, limit) if up_to is None or event.position <= up_to]
        old = list(takewhile(lambda event: event.created_at < before, may))
        if not old:
            return 0
        self._t.placed = tuple(e for e in self._t.placed if e not in old or e.position == last or self._is_newest(e))
        await self.save_cursor(FORGOTTEN, old[-1].position)
        return len(old)

    def _is_newest(self, event: StoredEvent) -> bool:
        subject = (event.event.subject_kind, event.event.subject_id)
        return self._t.sequences[subject] == event.subject_sequence

    async def cursor(self, name: str) -> int:
        return self._t.cursors.get(name, 0)

    async def save_cursor(self, name: str, position: int) -> None:
        self._t.cursors[name] = position

    async def save_progress(self, progress: dict[str, float]) -> None:
        for run_id, reached in progress.items():
            run = self._t.runs.get(run_id)
            if run is not None and run.ended_at is None:
                self._t.runs[run_id] = replace(run, progress=reached)

    async def forget_before(self, before: int) -> int:
        old_answers = [key for key, (_, at) in self._t.remembered.items() if at < before]
        old_tokens = [key for key, token in self._t.tokens.items() if token.expires_at < before]
        old_uploads = [key for key, upload in self._t.uploads.items() if upload.expires_at < self.now]
        for key in old_answers:
            del self._t.remembered[key]
        for name in old_tokens:
            del self._t.tokens[name]
        for name in old_uploads:
            del self._t.uploads[name]
        return len(old_answers) + len(old_tokens) + len(old_uploads)

    async def remember(self, client: str, key: str, answer: Remembered) -> None:
        self._add(self._t.remembered, (client, key), (answer, self.now))

    async def remember_all(self, answers: Mapping[tuple[str, str], Remembered]) -> None:
        for (client, key), answer in answers.items():
            await self.remember(client, key, answer)

    async def all_remembered(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Remembered]:
        return {key: self._t.remembered[key][0] for key in keys if key in self._t.remembered}

    async def remembered(self, client: str, key: str) -> Remembered | None:
        found = self._t.remembered.get((client, key))
        return found[0] if found else None

    async def save_inspection(self, sha256: str, found: Inspection) -> None:
        self._t.artifacts[sha256] = replace(self._t.artifacts[sha256], inspection=found)

    async def put_override(self, override: Override) -> None:
        self._t.overrides[override.override_id] = override

    async def put_artifact(self, artifact: Artifact) -> None:
        self._t.artifacts.setdefault(artifact.sha256, artifact)

    async def put_unpacked(self, found: UnpackedFile) -> None:
        self._t.unpacked[found.packed_sha256, found.plate] = found

    hold_artifact = MemoryReading.artifact

    async def lock_artifact(self, sha256: str) -> Artifact | None:
        return self._t.artifacts.get(sha256)

    async def delete_artifact(self, sha256: str) -> None:
        self._t.artifacts[sha256] = replace(self._t.artifacts[sha256], deleted_at=self.now)
        self._t.erased.pop(sha256, None)

    async def revive_artifact(self, artifact: Artifact) -> None:
        self._t.artifacts[artifact.sha256] = replace(artifact, deleted_at=None)

    async def note_erased(self, sha256: str) -> None:
        self._t.erased[sha256] = self.now

    async def put_file_facts(self, found: StoredFacts) -> None:
        known = self._t.facts.get(found.sha256)
        if found.sha256 in self._t.artifacts and (known is None or known.reader_version <= found.reader_version):
            self._t.facts[found.sha256] = found

    async def put_upload(self, upload: Upload) -> None:
        self._t.uploads[upload.upload_id] = upload

    async def delete_upload(self, upload_id: str) -> None:
        self._t.uploads.pop(upload_id, None)

    async def lock_api_key(self, key_id: str) -> ApiKey | None:
        return self._t.api_keys.get(key_id)

    async def put_api_key(self, key: ApiKey) -> None:
        self._t.api_keys[key.key_id] = key

    async def note_key_uses(self, key_ids: Iterable[str]) -> None:
        for key_id in key_ids:
            if key_id in self._t.api_keys:
                self._t.api_keys[key_id] = replace(self._t.api_keys[key_id], last_used_at=self.now)

    async def add_user(self, user: User) -> None:
        self._add(self._t.users, user.name, user)

    async def put_user(self, user: User) -> None:
        self._t.users[user.name] = user

    async def put_token(self, token: EnrollmentToken) -> None:
        self._t.tokens[token.token_sha256] = token

    async def token(self, token_sha256: str) -> EnrollmentToken | None:
        return self._t.tokens.get(token_sha256)

    async def take_term(self, holder: str, lasting: int, *, inherit: bool = False) -> int | None:
        term, known, ends = self._t.term
        is_over = ends <= self.now or (inherit and known != holder)
        if known != holder and not is_over:
            return None
        term += is_over
        self._t.term = (term, holder, self.now + lasting)
        return term

    async def holds_term(self, holder: str, term: int) -> bool:
        return self._t.term[:2] == (term, holder) and self._t.term[2] > self.now

    async def add_rate(self, rate: Rate) -> None:
        self._add(self._t.rates, rate.rate_id, rate)

    async def add_profile(self, profile: Profile) -> None:
        self._add(self._t.profiles, (profile.name, profile.version), profile)

    async def retire_profile(self, name: str, at: int | None) -> None:
        for key, profile in self._t.profiles.items():
            if profile.name == name:
                self._t.profiles[key] = replace(profile, retired_at=at)

    lock_slicing = MemoryReading.slicing

    async def lock_slicing_of(self, key: SlicingKey) -> Slicing | None:
        return next((task for task in self._t.slicings.values() if task.key == key), None)

    async def add_slicing(self, task: Slicing) -> None:
        if await self.lock_slicing_of(task.key):
            raise AlreadyExists(str(task.key))
        self._add(self._t.slicings, task.slicing_id, task)

    async def save_slicing(self, before: Slicing, after: Slicing) -> None:
        if after != before:
            self._save(self._t.slicings, after.slicing_id, before, after)

    async def put_slicer_worker(self, worker: SlicerWorker) -> None:
        self._t.workers[worker.name] = worker
