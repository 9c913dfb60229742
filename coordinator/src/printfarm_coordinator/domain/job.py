"""A job: what a client asked for, and how much of it is still owed."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from .file_asks import FileAsks

MAX_QUANTITY = 1_000_000
MAX_PARTS_PER_PLATE = 10_000
MAX_RETRIES = 1_000
PRIORITY_RANGE = range(-100, 101)
_UNKNOWN = FileAsks()


class JobState(StrEnum):
    """Where a job stands; spelled as in the API."""

    RECEIVED = "received"
    PREPARING = "preparing"
    QUEUED = "queued"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """No event changes it any more (I15)."""
        return self in FINAL_JOB_STATES


FINAL_JOB_STATES = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a printer must be or hold. ``None`` and empty ask nothing. Lengths in millimetres.

    ``file`` is the print file's own word; what the client asks wins over it."""

    min_x_mm: float = 0.0
    min_y_mm: float = 0.0
    min_z_mm: float = 0.0
    nozzle_diameter_mm: float | None = None
    material: str | None = None
    colour: str | None = None
    tags: tuple[str, ...] = ()
    printer_ids: tuple[str, ...] = ()
    printer_model: str | None = None
    file: FileAsks = _UNKNOWN


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the job table. Times in microseconds since the epoch, by the database's clock."""

    job_id: str
    name: str
    client: str
    artifact_sha256: str
    quantity: int
    parts_per_plate: int
    priority: int
    due_at: int | None
    requirements: Requirements
    max_retries: int
    estimated_seconds: float | None
    created_at: int
    updated_at: int
    state: JobState = JobState.QUEUED
    cancel_requested: bool = False
    good_parts: int = 0
    # Parts on plates that are active or wait for a verdict, and how many runs are active.
    pending_parts: int = 0
    active_runs: int = 0
    failed_runs: int = 0
    # A person, or a cancel at the machine, keeps more runs from starting.
    held: bool = False
    hold_reason: str = ""
    failure_reason: str = ""
    ended_at: int | None = None
    # Its file is a model: it is sliced for each kind of printer that takes it, by the quality profile of that name.
    needs_slicing: bool = False
    profile: str = ""
    # A print file is there: its own, or the first that its model was sliced to.
    prepared: bool = True
    # Each plate of its model holds as many parts as the bed takes and the job owes; ``parts_per_plate`` is then that of the
    # first plate that was sliced.
    fit_plate: bool = False
    # How its G-code is packed, which plate of it is printed, and the digest of that G-code as plain text once it is unpacked.
    # Empty for plain G-code and models.
    packed_kind: str = ""
    plate: int = 0
    gcode_sha256: str = ""
    version: int = 1

    @property
    def checked_sha256(self) -> str:
        """The file that the safety check reads: plain text. Empty while it is being unpacked."""
        return self.gcode_sha256 if self.packed_kind else self.artifact_sha256

    @property
    def printable_sha256s(self) -> tuple[str, ...]:
        """What printers may get for it, if it needs no slicing."""
        return (self.artifact_sha256, self.gcode_sha256) if self.gcode_sha256 else (self.artifact_sha256,)


def parts_owed(job: Job) -> int:
    """Parts for which no run is under way, waits for a verdict, or was good; 0 when nothing more may be printed."""
    if job.state.is_final or job.cancel_requested or job.held or retries_exhausted(job):
        return 0
    return max(0, job.quantity - job.good_parts - job.pending_parts)


def retries_exhausted(job: Job) -> bool:
    """More runs failed or were rejected than the job allows."""
    return job.failed_runs > job.max_retries


@dataclass(frozen=True, slots=True)
class JobBacklog:
    """What all open jobs together still ask for. Times in microseconds; ``seconds`` of printing, where estimated."""

    idle_jobs: int = 0
    overdue: int = 0
    parts_owed: int = 0
    # When the oldest job that owes parts came in.
    waiting_since: int | None = None
    seconds: float = 0.0


def job_backlog(jobs: Iterable[Job], now: int) -> JobBacklog:
    """Of jobs that are not final."""
    found = list(jobs)
    owing = [job for job in found if parts_owed(job)]
    return JobBacklog(
        idle_jobs=sum(job.active_runs == 0 for job in found),
        overdue=sum(job.due_at is not None and job.due_at < now for job in found),
        parts_owed=sum(map(parts_owed, owing)),
        waiting_since=min((job.created_at for job in owing), default=None),
        seconds=sum(-(-parts_owed(job) // job.parts_per_plate) * (job.estimated_seconds or 0.0) for job in owing),
    )


def settled(job: Job, now: int) -> Job:
    """The job with the state that its counts prove. Final states stay (I15)."""
    state = _state_of(job)
    if state is job.state:
        return job if job.updated_at == now else replace(job, updated_at=now)
    ended = now if state.is_final else None
    reason = (
        f"{job.failed_runs} runs failed, {job.max_retries} retries were allowed" if state is JobState.FAILED else ""
    )
    return replace(job, state=state, ended_at=ended, failure_reason=reason, updated_at=now)


def _state_of(job: Job) -> JobState:
    if job.state.is_final:
        return job.state
    if job.good_parts >= job.quantity:
        return JobState.COMPLETED
    if job.cancel_requested:
        return JobState.CANCELLED if job.active_runs == 0 else JobState.ACTIVE
    if job.active_runs or job.pending_parts:
        return JobState.ACTIVE
    if retries_exhausted(job):
        return JobState.FAILED
    return JobState.QUEUED if job.prepared else JobState.PREPARING


def with_asks(job: Job, asks: FileAsks) -> Job:
    """The job under its file's word."""
    return replace(job, requirements=replace(job.requirements, file=asks))


def with_print_file(job: Job, estimated_seconds: float | None, now: int, parts: int = 0) -> Job:
    """The model has its first print file, of so many parts: the job may be assigned."""
    if job.prepared:
        return job
    per_plate = parts if job.fit_plate and parts else job.parts_per_plate
    return settled(replace(job, prepared=True, estimated_seconds=estimated_seconds, parts_per_plate=per_plate), now)


def unprintable(job: Job, reason: str, now: int) -> Job:
    """No slicer makes a print file of it, for any printer that could take it. What is printing or was good stays."""
    if job.state.is_final or job.active_runs or job.pending_parts:
        return job
    return replace(job, state=JobState.FAILED, failure_reason=reason, ended_at=now, updated_at=now)
