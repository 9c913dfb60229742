"""What the use cases need of the world, with the contracts that every adapter keeps.

One suite, ``tests/contract``, runs over every implementation.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from printfarm_files import FileFacts, Kind

from ..domain.assignment import Candidate
from ..domain.events import AuditEntry, DomainEvent, Scalar
from ..domain.job import Job, JobBacklog, JobState
from ..domain.printer import Printer
from ..domain.run import Run, RunState
from ..domain.slice import Slice
from .file_ports import FileReading, FileWriting
from .rate_ports import RateReading, RateWriting
from .safety_ports import Inspecting, SafetyReading, SafetyWriting
from .slicing_ports import SlicingReading, SlicingWriting


class StaleWrite(Exception):
    """A row was changed by somebody else since it was read: the late writer loses and the whole transaction is undone."""


class DatabaseUnavailable(Exception):
    """The database does not answer. Nothing is known to be committed; ask again later."""


class AlreadyExists(Exception):
    """A row of that key is there. The whole transaction is undone."""


@dataclass(frozen=True, slots=True)
class Agent:
    """One row of the agent table. Times in microseconds, by the database's clock."""

    agent_id: str
    created_at: int
    connection_epoch: int = 0
    boot_id: str = ""
    journal_id: str = ""
    last_applied_sequence: int = 0
    # The end of its journal when it said Hello: until that is applied, nothing new is offered.
    journal_max_sequence: int = 0
    lease_expires_at: int = 0
    last_heartbeat_at: int | None = None
    # It said Hello, and its lease has not been found run out since.
    reachable: bool = False
    version: str = ""
    hostname: str = ""
    # A person drains it; and it asks for that itself.
    draining: bool = False
    wants_drain: bool = False
    revoked: bool = False
    locked: bool = False
    certificate_generation: int = 0
    certificate_serial: str = ""
    previous_serial: str = ""
    certificate_expires_at: int = 0
    # Of the newest certificate: the one before may ask again for the same key only.
    certificate_key_sha256: str = ""
    # When the first certificate of this enrolment ends: what ends earlier is of an enrolment before.
    enrollment_expires_at: int = 0


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event with its place in the farm's order."""

    position: int
    event: DomainEvent
    subject_sequence: int
    created_at: int


@dataclass(frozen=True, slots=True)
class StoredAudit:
    """An audit row; ``hash`` is SHA-256 over the hash before and this row."""

    sequence: int
    entry: AuditEntry
    request_id: str
    created_at: int
    hash: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload under way; ``artifact_sha256`` once it is finished."""

    upload_id: str
    size_bytes: int
    sha256: str
    display_name: str
    created_at: int
    expires_at: int
    artifact_sha256: str | None = None
    # The principal that began it.
    client: str = ""


class Role(StrEnum):
    """What a principal may do; each includes the ones before it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A service's key. ``secret_sha256`` is all that is kept of the secret."""

    key_id: str
    name: str
    role: Role
    prefix: str
    secret_sha256: str
    created_at: int
    expires_at: int | None
    last_used_at: int | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """A person. Tokens of an older ``generation`` are void."""

    name: str
    role: Role
    password_hash: str
    created_at: int
    disabled: bool = False
    generation: int = 1


@dataclass(frozen=True, slots=True)
class EnrollmentToken:
    """A one-time token, bound to one agent; only its hash is kept."""

    token_sha256: str
    agent_id: str
    expires_at: int
    # SHA-256 of the public key that used it: the same key may repeat the call, another may not.
    used_by_key_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer given to an idempotency key."""

    body_sha256: str
    subject_id: str


@dataclass(frozen=True, slots=True)
class JobFilter:
    """``after`` is the (created_at, job_id) of the last job of the page before. Newest first."""

    limit: int
    after: tuple[int, str] | None = None
    states: tuple[JobState, ...] = ()
    client: str = ""
    name_contains: str = ""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """``after`` as in JobFilter. Newest first."""

    limit: int
    after: tuple[int, str] | None = None
    job_id: str = ""
    printer_id: str = ""
    states: tuple[RunState, ...] = ()


class Reading(FileReading, RateReading, SafetyReading, SlicingReading, Protocol):
    """A consistent look at the database. ``now`` is its clock at the beginning, in microseconds."""

    now: int

    async def job(self, job_id: str) -> Job | None: ...
    async def jobs(self, wanted: JobFilter) -> list[Job]: ...
    async def open_jobs(self) -> list[Job]:
        """Every job that is not final."""
        ...

    async def job_backlog(self) -> JobBacklog:
        """``domain.job.job_backlog`` of them, counted where they lie."""
        ...

    async def waiting_jobs(self, each: int, picky: Collection[str] = ()) -> list[Job]:
        """The most urgent jobs that owe parts, at most ``each`` of those that require the same.

        ``picky``: files that not every printer takes; their jobs are a kind of their own.
        """
        ...

    async def is_any_job_waiting(self) -> bool:
        """Whether ``waiting_jobs`` would find one."""
        ...

    async def refused_files(self, since: int) -> dict[tuple[str, str], str]:
        """(SHA-256, printer id) -> why, of files that agents refused since."""
        ...

    async def open_model_jobs(self) -> list[Job]:
        """Every job of a model that is not final."""
        ...

    async def run(self, run_id: str) -> Run | None: ...
    async def runs(self, wanted: RunFilter) -> list[Run]: ...
    async def runs_of_jobs(self, job_ids: Sequence[str]) -> list[Run]:
        """Oldest first."""
        ...

    async def runs_between(self, start: int, end: int) -> list[Run]:
        """Runs that were started and whose print touches the range."""
        ...

    async def active_runs(self, agent_id: str = "") -> list[Run]: ...
    async def printer(self, printer_id: str) -> Printer | None: ...
    async def printers(self, agent_id: str = "") -> list[Printer]:
        """By printer id."""
        ...

    async def candidates(self) -> list[Candidate]:
        """Every printer, by printer id."""
        ...

    async def free_candidates(self) -> list[Candidate]:
        """Of ``candidates`` those that are idle, without a run, and whose agent is in reach: no other can be open.

        A decision reads no row of a printer that is busy or dead."""
        ...

    async def candidate(self, printer_id: str) -> Candidate | None: ...
    async def agent(self, agent_id: str) -> Agent | None: ...
    async def agents(self) -> list[Agent]: ...
    async def events(self, after: int, limit: int) -> list[StoredEvent]:
        """Positioned events, in order, without gaps."""
        ...

    async def last_position(self) -> int: ...
    async def forgotten_position(self) -> int:
        """Events up to here are no longer kept; 0 while all are."""
        ...

    async def audit(self, limit: int, before: int | None, subject_id: str) -> list[StoredAudit]:
        """Newest first."""
        ...

    async def upload(self, upload_id: str) -> Upload | None: ...
    async def open_uploads(self) -> list[Upload]:
        """Neither finished nor expired."""
        ...

    async def api_keys(self) -> list[ApiKey]: ...
    async def api_key_by_secret(self, secret_sha256: str) -> ApiKey | None: ...
    async def users(self) -> list[User]: ...
    async def user(self, name: str) -> User | None: ...
    async def count_by_state(self) -> dict[str, dict[str, int]]:
        """``{"job": {state: n}, "run": {state: n}}``."""
        ...

    async def count_ended_runs(self, since: int) -> dict[str, int]:
        """Runs by final state, ended since."""
        ...

    async def runs_without_verdict(self) -> int: ...


class Writing(Reading, FileWriting, RateWriting, SafetyWriting, SlicingWriting, Protocol):
    """A writing transaction: all or nothing. Every ``lock_*`` keeps other writers off those rows until it ends.

    A ``save_*`` writes only if the row still has the version that was read, and raises StaleWrite else. Rows are locked in the
    order job, run, printer, so that two transactions never wait for each other in a ring.
    """

    async def lock_job(self, job_id: str) -> Job | None: ...
    async def lock_printer(self, printer_id: str) -> Printer | None: ...
    async def lock_slice(self, run_id: str) -> Slice | None: ...
    async def lock_agent(self, agent_id: str) -> Agent | None: ...

    async def add_jobs(self, jobs: Sequence[Job]) -> None: ...
    async def add_offer(self, before: Job, printer: Printer, after: Slice) -> None:
        """The new run with its changed job and printer. Raises AlreadyExists if the printer has an active run (I2)."""
        ...

    async def save_job(self, before: Job, after: Job) -> None: ...
    async def save_printer(self, before: Printer, after: Printer) -> None: ...
    async def save_slice(self, before: Slice, after: Slice) -> None:
        """The changed rows of the slice, its events and its audit rows."""
        ...

    async def add_printer(self, printer: Printer) -> None: ...
    async def put_agent(self, agent: Agent) -> None:
        """Inserts, or replaces a locked row."""
        ...

    async def advance_agent(self, agent_id: str, last_applied_sequence: int) -> None:
        """The locked agent's inbox, up to here."""
        ...

    async def extend_leases(self, leases: dict[str, int], until: int) -> None:
        """Agent id -> connection epoch; an agent with a newer connection is left alone."""
        ...

    async def append_events(self, events: Iterable[DomainEvent]) -> None: ...
    async def append_audit(self, entries: Iterable[AuditEntry]) -> None: ...
    async def position_events(self, limit: int) -> list[StoredEvent]:
        """Gives committed events their positions, per subject in order, and returns them."""
        ...

    async def forget_events(self, before: int, up_to: int | None, limit: int) -> int:
        """Forgets the oldest events: made before a time, positioned no later than ``up_to``. Returns how many.

        The newest event of each subject stays, so that its count goes on; it is no longer told.
        """
        ...

    async def cursor(self, name: str) -> int:
        """Up to which position a reader of the events has come; 0 at first."""
        ...

    async def save_cursor(self, name: str, position: int) -> None: ...
    async def save_progress(self, progress: dict[str, float]) -> None:
        """Run id -> 0..1, for display after a restart. Leaves versions alone: no decision rests on it."""
        ...

    async def forget_before(self, before: int) -> int:
        """Idempotency keys, inbox rows, tokens and uploads older than a time. Returns how many."""
        ...

    async def remember(self, client: str, key: str, answer: Remembered) -> None:
        """Raises AlreadyExists if the key is taken."""
        ...

    async def remember_all(self, answers: Mapping[tuple[str, str], Remembered]) -> None:
        """As ``remember``; (client, key) -> the answer."""

    async def remembered(self, client: str, key: str) -> Remembered | None: ...
    async def all_remembered(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Remembered]:
        """Of these (client, key), those that were answered."""

    async def put_upload(self, upload: Upload) -> None: ...
    async def delete_upload(self, upload_id: str) -> None: ...
    async def lock_api_key(self, key_id: str) -> ApiKey | None: ...
    async def put_api_key(self, key: ApiKey) -> None:
        """Inserts, or replaces a locked row."""
        ...

    async def note_key_uses(self, key_ids: Iterable[str]) -> None:
        """They were used now. Touches nothing else of their rows."""
        ...

    async def add_user(self, user: User) -> None:
        """Raises AlreadyExists if the name is taken."""
        ...

    async def lock_user(self, name: str) -> User | None: ...
    async def put_user(self, user: User) -> None:
        """Replaces a locked row."""
        ...

    async def put_token(self, token: EnrollmentToken) -> None: ...
    async def token(self, token_sha256: str) -> EnrollmentToken | None: ...

    async def take_term(self, holder: str, lasting: int, *, inherit: bool = False) -> int | None:
        """The leadership term, taken if free or lapsed, prolonged if ours; None while somebody else leads (I20).

        ``inherit``: the leader is known to be gone; its term is not waited for."""
        ...

    async def holds_term(self, holder: str, term: int) -> bool:
        """Locks the term's row: still ours until this transaction ends."""
        ...


class Store(Protocol):
    """The database. A transaction that fails to serialise is the caller's to repeat whole: see ``transact``."""

    def read(self) -> AbstractAsyncContextManager[Reading]: ...
    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager[Writing]:
        """``name`` says what for; it names the failpoints ``before_commit.<name>`` and ``after_commit.<name>``.

        ``request_id`` is kept with the audit rows.
        """
        ...

    async def ping(self) -> None:
        """Raises if the database does not answer."""
        ...

    async def take_presence(self) -> bool:
        """True while this process holds the lock of which there is one in a database. It ends with the process, even by
        ``kill -9``: to get it proves that whoever held it is gone. Raises DatabaseUnavailable."""
        ...

    async def let_presence_go(self) -> None: ...


class Bus(Protocol):
    """Tells others that something happened. A lost message costs delay, never truth."""

    async def publish(self, events: Sequence[StoredEvent]) -> None:
        """Raises if the broker has not taken all of them; then all are published again."""
        ...

    async def ping(self) -> None: ...


class StorageFull(Exception):
    """There is no room. Nothing half-written is visible."""


class NotRead(Exception):
    """Nothing is known of the file yet: whoever read it was stopped. Another time it may be read."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came in: its digest, its length, and its first and last bytes for a look at what it is."""

    sha256: str
    size_bytes: int
    head: bytes
    tail: bytes
    # Somewhere in it.
    has_nul: bool


class Incoming(Protocol):
    """Bytes on their way in: invisible until kept, gone at the end unless kept. Raises StorageFull."""

    async def write(self, chunk: bytes) -> None: ...
    async def received(self) -> Received:
        """After the last write."""
        ...

    async def examine(self, kind: Kind) -> tuple[int, ...] | None:
        """Reads a model whole, or goes through the packing of packed G-code, after the last write.

        Returns the plates of a sliced 3MF, as far as they could be told. Raises printfarm_files.Refused if it is broken."""
        ...

    async def keep(self) -> None:
        """Synced to disk and visible under its digest, in one step. May be repeated, where somebody threw it away meanwhile."""
        ...


class Opened(Protocol):
    """A stored file, held open."""

    async def read(self, offset: int, limit: int) -> bytes: ...


class Blobs(Inspecting, Protocol):
    """Content-addressed bytes, and the parts of uploads under way. Raises StorageFull where there is no room."""

    def incoming(self) -> AbstractAsyncContextManager[Incoming]: ...
    def opened(self, sha256: str) -> AbstractAsyncContextManager[Opened]:
        """To be read piece by piece; goes on to the end even if it is deleted meanwhile. Raises FileNotFoundError."""
        ...

    async def size(self, sha256: str) -> int | None: ...
    async def read(self, sha256: str, offset: int, limit: int) -> bytes: ...
    async def free_bytes(self) -> int: ...

    async def part_length(self, upload_id: str) -> int:
        """Bytes of the upload that are durable: synced before they are told. 0 if none came yet."""
        ...

    async def append_part(self, upload_id: str, offset: int, chunk: bytes) -> None:
        """Written, not yet synced. What lay behind the offset is cut off."""
        ...

    async def sync_part(self, upload_id: str) -> None: ...
    async def receive_part(self, upload_id: str) -> Received:
        """Reads the whole part. Raises FileNotFoundError if there is none."""
        ...

    async def examine_part(self, upload_id: str, kind: Kind) -> tuple[int, ...] | None:
        """As ``Incoming.examine``."""
        ...

    async def receive_kept(self, sha256: str) -> Received | None:
        """Reads a whole artifact again; None if it is not there."""
        ...

    async def read_facts(self, sha256: str, kind: Kind) -> FileFacts:
        """All that is known of an artifact. Raises printfarm_files.Refused where nothing can be; NotRead, FileNotFoundError."""
        ...

    async def picture(self, sha256: str, kind: Kind, size: int) -> bytes:
        """A PNG of an artifact. Raises printfarm_files.Refused where none can be made; NotRead, FileNotFoundError."""
        ...

    async def set_aside(self, sha256: str) -> None:
        """The artifact's bytes are no longer there. Quick: one step, without waiting for the disk. May be repeated."""
        ...

    async def drop_aside(self, sha256: str) -> None:
        """What was set aside is gone, and the pictures of it. May be repeated."""
        ...

    async def keep_part(self, upload_id: str, sha256: str) -> None:
        """The part is the artifact of that digest, too, until it is dropped. May be repeated."""
        ...

    async def drop_part(self, upload_id: str) -> None: ...
    async def drop_stale(self, older_than_seconds: float) -> int:
        """Deletes parts and incoming files that nobody has touched for so long. Returns how many."""
        ...


class Ids(Protocol):
    """New ids. Sorted by time; never secrets."""

    def new(self) -> str: ...


EventData = dict[str, Scalar]
