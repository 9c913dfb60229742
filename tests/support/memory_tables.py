"""The rows of the store in memory, and looks at them."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from printfarm_coordinator.adapters.sql.reading import FORGOTTEN
from printfarm_coordinator.adapters.sql.writing import audit_hash
from printfarm_coordinator.app.file_ports import Artifact, FileFilter, FileNeed, UnpackedFile
from printfarm_coordinator.app.ports import (
    Agent,
    ApiKey,
    EnrollmentToken,
    JobFilter,
    Remembered,
    RunFilter,
    StoredAudit,
    StoredEvent,
    Upload,
    User,
)
from printfarm_coordinator.app.slicing_ports import UNASKED_US, Backlog, Engine, SlicerWorker
from printfarm_coordinator.domain.assignment import Candidate, urgency
from printfarm_coordinator.domain.costing import CostTally
from printfarm_coordinator.domain.events import AuditEntry
from printfarm_coordinator.domain.file_facts import StoredFacts, materials
from printfarm_coordinator.domain.job import Job, JobBacklog, job_backlog, parts_owed
from printfarm_coordinator.domain.printer import Printer, PrinterState
from printfarm_coordinator.domain.profile import Profile
from printfarm_coordinator.domain.rate import Rate
from printfarm_coordinator.domain.refusals import REFUSED_FILE
from printfarm_coordinator.domain.run import Run, RunState
from printfarm_coordinator.domain.safety_policy import Override
from printfarm_coordinator.domain.slicing import Slicing, SlicingState, may_claim, not_needed


@dataclass
class Tables:
    """The rows. Values are frozen, so a shallow copy is a snapshot."""

    jobs: dict[str, Job] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    printers: dict[str, Printer] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    unpacked: dict[tuple[str, int], UnpackedFile] = field(default_factory=dict)
    overrides: dict[str, Override] = field(default_factory=dict)
    facts: dict[str, StoredFacts] = field(default_factory=dict)
    # Deleted files whose bytes are gone.
    erased: dict[str, int] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    api_keys: dict[str, ApiKey] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, EnrollmentToken] = field(default_factory=dict)
    cursors: dict[str, int] = field(default_factory=dict)
    profiles: dict[tuple[str, int], Profile] = field(default_factory=dict)
    rates: dict[str, Rate] = field(default_factory=dict)
    slicings: dict[str, Slicing] = field(default_factory=dict)
    workers: dict[str, SlicerWorker] = field(default_factory=dict)
    # With the time at which it was given.
    remembered: dict[tuple[str, str], tuple[Remembered, int]] = field(default_factory=dict)
    # How many events each kind and id of subject has had.
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)
    # Events with their places, and those that wait for one.
    placed: tuple[StoredEvent, ...] = ()
    waiting: tuple[StoredEvent, ...] = ()
    audit: tuple[tuple[AuditEntry, str, int], ...] = ()
    # Number, holder, end.
    term: tuple[int, str, int] = (0, "", 0)

    def copy(self) -> "Tables":
        """For one transaction."""
        own: dict[str, Any] = {name: dict(rows) for name, rows in vars(self).items() if isinstance(rows, dict)}
        return replace(self, **own)


def _page(rows: Iterable[Any], key: str, limit: int, after: tuple[int, str] | None) -> list[Any]:
    """Newest first."""
    placed = [((row.created_at, getattr(row, key)), row) for row in rows]
    placed.sort(key=lambda found: found[0], reverse=True)
    return [row for place, row in placed if after is None or place < after][:limit]


class MemoryReading:
    """The ``Reading`` port."""

    def __init__(self, tables: Tables, now: int) -> None:
        self._t = tables
        self.now = now

    async def job(self, job_id: str) -> Job | None:
        return self._t.jobs.get(job_id)

    async def jobs(self, wanted: JobFilter) -> list[Job]:
        name = wanted.name_contains.lower()
        found = [
            job
            for job in self._t.jobs.values()
            if (not wanted.states or job.state in wanted.states)
            and wanted.client in ("", job.client)
            and name in job.name.lower()
        ]
        return _page(found, "job_id", wanted.limit, wanted.after)

    async def open_jobs(self) -> list[Job]:
        return [job for job in self._t.jobs.values() if job.ended_at is None]

    async def job_backlog(self) -> JobBacklog:
        return job_backlog(await self.open_jobs(), self.now)

    async def waiting_jobs(self, each: int, picky: Collection[str] = ()) -> list[Job]:
        by_kind: dict[object, list[Job]] = {}
        for job in sorted(await self.open_jobs(), key=urgency):
            if parts_owed(job) and job.prepared:
                is_picky = any(sha256 in picky for sha256 in job.printable_sha256s)
                own = f"{job.artifact_sha256}/{job.plate}" if job.needs_slicing or is_picky else ""
                owed = parts_owed(job) if job.fit_plate else 0
                by_kind.setdefault((job.requirements, own, owed), []).append(job)
        return [job for jobs in by_kind.values() for job in jobs[:each]]

    async def is_any_job_waiting(self) -> bool:
        return bool(await self.waiting_jobs(1))

    async def refused_files(self, since: int) -> dict[tuple[str, str], str]:
        found = [
            run
            for run in self._t.runs.values()
            if run.state is RunState.FENCED and run.reason_code == REFUSED_FILE and (run.ended_at or 0) > since
        ]
        return {
            (run.artifact_sha256 or self._t.jobs[run.job_id].artifact_sha256, run.printer_id): run.reason
            for run in sorted(found, key=lambda run: run.ended_at or 0)
        }

    async def jobs_to_judge(
        self, rules: str, limit: int, *, new_only: bool = False, but: Collection[str] = ()
    ) -> list[Job]:
        printable = [j for j in await self.open_jobs() if not j.needs_slicing and j.artifact_sha256 not in but]
        found = [j for j in printable if (not j.prepared if new_only else j.requirements.file.rules != rules)]
        return sorted(found, key=lambda j: (-j.priority, j.created_at, j.job_id))[:limit]

    async def overrides_of(self, job_id: str) -> list[Override]:
        found = [override for override in self._t.overrides.values() if override.job_id == job_id]
        return sorted(found, key=lambda override: (override.created_at, override.override_id))

    async def open_model_jobs(self) -> list[Job]:
        return [job for job in self._t.jobs.values() if job.ended_at is None and job.needs_slicing]

    async def run(self, run_id: str) -> Run | None:
        return self._t.runs.get(run_id)

    async def runs(self, wanted: RunFilter) -> list[Run]:
        found = [
            run
            for run in self._t.runs.values()
            if (not wanted.states or run.state in wanted.states)
            and wanted.job_id in ("", run.job_id)
            and wanted.printer_id in ("", run.printer_id)
        ]
        return _page(found, "run_id", wanted.limit, wanted.after)

    async def runs_of_jobs(self, job_ids: Sequence[str]) -> list[Run]:
        found = [run for run in self._t.runs.values() if run.job_id in job_ids]
        return sorted(found, key=lambda run: (run.created_at, run.run_id))

    async def runs_between(self, start: int, end: int) -> list[Run]:
        return [
            run
            for run in self._t.runs.values()
            if run.started_at is not None and run.started_at < end and (run.ended_at is None or run.ended_at > start)
        ]

    async def active_runs(self, agent_id: str = "") -> list[Run]:
        return [r for r in self._t.runs.values() if r.state.is_active and agent_id in ("", r.agent_id)]

    async def printer(self, printer_id: str) -> Printer | None:
        return self._t.printers.get(printer_id)

    async def printers(self, agent_id: str = "") -> list[Printer]:
        return [p for _, p in sorted(self._t.printers.items()) if agent_id in ("", p.agent_id)]

    async def candidates(self) -> list[Candidate]:
        return [self._candidate(printer) for _, printer in sorted(self._t.printers.items())]

    async def free_candidates(self) -> list[Candidate]:
        return [
            each
            for each in await self.candidates()
            if self._t.agents[each.printer.agent_id].reachable
            and each.printer.active_run_id is None
            and each.printer.observed_state is PrinterState.IDLE
        ]

    async def candidate(self, printer_id: str) -> Candidate | None:
        printer = self._t.printers.get(printer_id)
        return self._candidate(printer) if printer else None

    def _candidate(self, printer: Printer) -> Candidate:
        agent = self._t.agents[printer.agent_id]
        caught_up = agent.last_applied_sequence >= agent.journal_max_sequence
        trusted = caught_up and not (agent.revoked or agent.locked)
        return Candidate(printer, agent.reachable and trusted, agent.draining or agent.wants_drain)

    async def agent(self, agent_id: str) -> Agent | None:
        return self._t.agents.get(agent_id)

    async def agents(self) -> list[Agent]:
        return [agent for _, agent in sorted(self._t.agents.items())]

    async def events(self, after: int, limit: int) -> list[StoredEvent]:
        return [event for event in self._t.placed if event.position > after][:limit]

    async def last_position(self) -> int:
        return self._t.placed[-1].position if self._t.placed else 0

    async def forgotten_position(self) -> int:
        return self._t.cursors.get(FORGOTTEN, 0)

    async def audit(self, limit: int, before: int | None, subject_id: str) -> list[StoredAudit]:
        rows: list[StoredAudit] = []
        chain = ""
        for sequence, (entry, request_id, created_at) in enumerate(self._t.audit, start=1):
            values = asdict(entry) | {"sequence": sequence, "created_at": created_at, "request_id": request_id}
            chain = audit_hash(chain, values)
            if (before is None or sequence < before) and subject_id in ("", entry.subject_id):
                rows.append(StoredAudit(sequence, entry, request_id, created_at, chain))
        return rows[::-1][:limit]

    async def artifact(self, sha256: str) -> Artifact | None:
        found = self._t.artifacts.get(sha256)
        return found if found and found.deleted_at is None else None

    async def unpacked(self, packed_sha256: str, plate: int) -> UnpackedFile | None:
        found = self._t.unpacked.get((packed_sha256, plate))
        return found if found and await self.artifact(found.gcode_sha256) else None

    async def artifacts_named(self, sha256s: Sequence[str]) -> list[Artifact]:
        return [artifact for sha256, artifact in self._t.artifacts.items() if sha256 in sha256s]

    async def artifacts(self, wanted: FileFilter) -> list[Artifact]:
        found = [a for a in self._kept() if self._is_wanted(a, wanted)]
        return _page(found, "sha256", wanted.limit, wanted.after)

    def _is_wanted(self, artifact: Artifact, wanted: FileFilter) -> bool:
        stored = self._t.facts.get(artifact.sha256)
        facts = stored.facts if stored else None
        kinds = {kind.lower() for kind in materials(facts)} if facts else set()
        return (
            wanted.name_contains.lower() in artifact.display_name.lower()
            and wanted.kind in ("", artifact.kind)
            and wanted.slicer.lower() in ((facts and facts.slicer) or "").lower()
            and wanted.printer_model.lower() in ((facts and facts.printer_model) or "").lower()
            and (not wanted.material or wanted.material.lower() in kinds)
        )

    async def needs_of_file(self, sha256: str) -> list[FileNeed]:
        sliced = {task.key.model_sha256 for task in self._t.slicings.values() if task.result_sha256 == sha256}
        jobs = {
            job.job_id
            for job in await self.open_jobs()
            if sha256 in job.printable_sha256s or (job.needs_slicing and job.artifact_sha256 in sliced)
        }
        runs = {
            run.run_id
            for run in await self.active_runs()
            if (run.artifact_sha256 or self._t.jobs[run.job_id].artifact_sha256) == sha256
        }
        tasks = {t.slicing_id for t in self._t.slicings.values() if t.is_pending and t.key.model_sha256 == sha256}
        found = (("job", jobs), ("run", runs), ("slicing", tasks))
        return [FileNeed(what, key) for what, keys in found for key in sorted(keys)]

    async def files_to_erase(self, limit: int) -> list[str]:
        gone = [a for a in self._t.artifacts.values() if a.deleted_at is not None and a.sha256 not in self._t.erased]
        return [a.sha256 for a in sorted(gone, key=lambda a: a.deleted_at or 0)][:limit]

    async def slicings_to(self, result_sha256: str) -> list[Slicing]:
        return [task for _, task in sorted(self._t.slicings.items()) if task.result_sha256 == result_sha256]

    def _kept(self) -> list[Artifact]:
        return [artifact for artifact in self._t.artifacts.values() if artifact.deleted_at is None]

    async def file_facts(self, sha256s: Sequence[str]) -> dict[str, StoredFacts]:
        return {sha256: found for sha256, found in self._t.facts.items() if sha256 in sha256s}

    async def unread_files(self, reader_version: int, limit: int, but: Collection[str] = ()) -> list[Artifact]:
        versions = {sha256: found.reader_version for sha256, found in self._t.facts.items()}
        unread = [a for a in self._kept() if versions.get(a.sha256, 0) < reader_version and a.sha256 not in but]
        return sorted(unread, key=lambda artifact: -artifact.created_at)[:limit]

    async def upload(self, upload_id: str) -> Upload | None:
        return self._t.uploads.get(upload_id)

    async def open_uploads(self) -> list[Upload]:
        return [u for u in self._t.uploads.values() if u.artifact_sha256 is None and u.expires_at > self.now]

    async def api_keys(self) -> list[ApiKey]:
        return sorted(self._t.api_keys.values(), key=lambda key: (key.created_at, key.key_id))

    async def api_key_by_secret(self, secret_sha256: str) -> ApiKey | None:
        return next((key for key in self._t.api_keys.values() if key.secret_sha256 == secret_sha256), None)

    async def users(self) -> list[User]:
        return [user for _, user in sorted(self._t.users.items())]

    async def user(self, name: str) -> User | None:
        return self._t.users.get(name)

    async def count_by_state(self) -> dict[str, dict[str, int]]:
        jobs = Counter(job.state.value for job in self._t.jobs.values())
        return {"job": dict(jobs), "run": dict(Counter(run.state.value for run in self._t.runs.values()))}

    async def count_ended_runs(self, since: int) -> dict[str, int]:
        ended = [run for run in self._t.runs.values() if run.ended_at is not None and run.ended_at >= since]
        return dict(Counter(run.state.value for run in ended))

    async def runs_without_verdict(self) -> int:
        return sum(run.state is RunState.FINISHED and run.verdict is None for run in self._t.runs.values())

    async def costs_of_jobs(self, job_ids: Sequence[str], currency: str) -> dict[str, CostTally]:
        return self._tallies(currency, [run for run in self._t.runs.values() if run.job_id in job_ids], "job_id")

    async def costs_since(self, since: int, currency: str) -> dict[str, CostTally]:
        return self._tallies(currency, [run for run in self._t.runs.values() if (run.ended_at or 0) >= since], "state")

    def _tallies(self, currency: str, runs: Sequence[Run], by: str) -> dict[str, CostTally]:
        found: dict[str, list[Run]] = {}
        for run in runs:
            if run.ended_at is not None and (run.started_at is not None or run.state is RunState.FINISHED):
                found.setdefault(str(getattr(run, by)), []).append(run)
        costs = {key: [run.cost for run in mine] for key, mine in found.items()}
        totals = {
            key: [cost.total for cost in mine if cost and cost.currency == currency and cost.total is not None]
            for key, mine in costs.items()
        }
        return {key: CostTally(len(costs[key]), len(known), sum(known)) for key, known in totals.items()}

    async def rates(self) -> list[Rate]:
        return sorted(self._t.rates.values(), key=lambda rate: (rate.valid_from, rate.created_at, rate.rate_id))

    async def rates_and_facts(self, at: int, sha256: str) -> tuple[list[Rate], StoredFacts | None]:
        found = [rate for rate in self._t.rates.values() if rate.valid_from <= at]
        return found, self._t.facts.get(sha256) if found else None

    async def profiles(self) -> list[Profile]:
        return [profile for _, profile in sorted(self._t.profiles.items())]

    async def slicing(self, slicing_id: str) -> Slicing | None:
        return self._t.slicings.get(slicing_id)

    async def slicings_of(self, model_sha256s: Sequence[str]) -> list[Slicing]:
        found = [task for task in self._t.slicings.values() if task.key.model_sha256 in model_sha256s]
        return sorted(found, key=lambda task: (task.created_at, task.slicing_id))

    async def claimable_slicings(self, engines: dict[str, str], limit: int) -> list[Slicing]:
        free = [task for task in self._t.slicings.values() if may_claim(task, self.now)]
        mine = [task for task in free if engines.get(task.key.engine) == task.key.engine_version]
        return sorted(mine, key=lambda task: (-task.priority, task.created_at, task.slicing_id))[:limit]

    async def running_slicings(self) -> list[Slicing]:
        return [task for task in self._t.slicings.values() if task.state is SlicingState.RUNNING]

    async def unwanted_slicings(self, engines: Collection[Engine], closed: Collection[str], limit: int) -> list[str]:
        wanted = {job.artifact_sha256 for job in await self.open_model_jobs()}
        names = {name for name, _ in engines}

        def is_unwanted(task: Slicing) -> bool:
            key = task.key
            left = key.model_sha256 in closed or task.updated_at <= self.now - UNASKED_US
            gone = key.engine in names and (key.engine, key.engine_version) not in engines
            return gone or (left and key.model_sha256 not in wanted)

        found = [task for task in self._t.slicings.values() if not_needed(task, self.now) != task and is_unwanted(task)]
        return sorted(task.slicing_id for task in found)[:limit]

    async def slicing_backlog(self) -> Backlog:
        pending = [task for task in self._t.slicings.values() if task.is_pending]
        running = sum(task.state is SlicingState.RUNNING and task.claim_expires_at > self.now for task in pending)
        return Backlog(len(pending) - running, running)

    async def slicer_workers(self, since: int) -> list[SlicerWorker]:
        return [worker for _, worker in sorted(self._t.workers.items()) if worker.seen_at >= since]
