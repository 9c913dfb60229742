"""A run: one physical print of a job's plate on one printer. The table below is the document."""

from dataclasses import dataclass
from enum import StrEnum

from .cost import RunCost


class RunState(StrEnum):
    """Where a run stands; spelled as in the API."""

    OFFERED = "offered"
    ACCEPTED = "accepted"
    AUTHORISED = "authorised"
    STARTING = "starting"
    PRINTING = "printing"
    PAUSED = "paused"
    FINISHING = "finishing"
    UNCONFIRMED = "unconfirmed"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    FENCED = "fenced"

    @property
    def is_active(self) -> bool:
        """The run holds its printer: at most one per printer (I2)."""
        return self in ACTIVE

    @property
    def may_have_started(self) -> bool:
        """The agent holds, or held, the authority to start."""
        return self in MAY_HAVE_STARTED


ACTIVE = frozenset(
    {
        RunState.OFFERED,
        RunState.ACCEPTED,
        RunState.AUTHORISED,
        RunState.STARTING,
        RunState.PRINTING,
        RunState.PAUSED,
        RunState.FINISHING,
        RunState.UNCONFIRMED,
    }
)
BEFORE_AUTHORITY = frozenset({RunState.OFFERED, RunState.ACCEPTED})
MAY_HAVE_STARTED = ACTIVE - BEFORE_AUTHORITY
EXECUTING = frozenset({RunState.PRINTING, RunState.PAUSED, RunState.FINISHING})


class Fact(StrEnum):
    """What an agent can prove of a run."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NEVER_STARTED = "never_started"
    STARTING = "starting"
    STARTED = "started"
    PAUSED = "paused"
    RESUMED = "resumed"
    FINISHING = "finishing"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"
    START_UNKNOWN = "start_unknown"
    LATE_START = "late_start"


# Why a run is unconfirmed whose agent's journal is new, or older than what it has told before.
JOURNAL_LOST = "journal_lost"
# Why one is whose agent knows more than these rows: they were restored from an older copy.
DATABASE_BEHIND = "database_behind"

# A printer that prints is believed even where the row was never authorised: a restored database may have lost that.
_NOT_YET_PRINTING = BEFORE_AUTHORITY | {RunState.AUTHORISED, RunState.STARTING, RunState.UNCONFIRMED}

# Which states a fact is believed in, and what it makes of the run. A fact in any other state is a repetition or a
# contradiction: it changes nothing. UNCONFIRMED listens to everything: it waits for evidence.
NEXT: dict[Fact, tuple[frozenset[RunState], RunState]] = {
    Fact.ACCEPTED: (frozenset({RunState.OFFERED, RunState.UNCONFIRMED}), RunState.ACCEPTED),
    Fact.REFUSED: (BEFORE_AUTHORITY | {RunState.UNCONFIRMED}, RunState.FENCED),
    # Also after STARTING: the agent journals its intent first, and then may find the printer refusing or out of reach.
    Fact.NEVER_STARTED: (
        BEFORE_AUTHORITY | {RunState.AUTHORISED, RunState.STARTING, RunState.UNCONFIRMED},
        RunState.FENCED,
    ),
    Fact.STARTING: (_NOT_YET_PRINTING - {RunState.STARTING}, RunState.STARTING),
    Fact.STARTED: (_NOT_YET_PRINTING, RunState.PRINTING),
    Fact.PAUSED: (_NOT_YET_PRINTING | EXECUTING, RunState.PAUSED),
    Fact.RESUMED: (_NOT_YET_PRINTING | EXECUTING, RunState.PRINTING),
    Fact.FINISHING: (_NOT_YET_PRINTING | EXECUTING, RunState.FINISHING),
    Fact.FINISHED: (_NOT_YET_PRINTING | EXECUTING, RunState.FINISHED),
    Fact.FAILED: (ACTIVE, RunState.FAILED),
    Fact.CANCELLED: (ACTIVE, RunState.CANCELLED),
    Fact.START_UNKNOWN: (_NOT_YET_PRINTING, RunState.UNCONFIRMED),
    Fact.LATE_START: (MAY_HAVE_STARTED, RunState.FAILED),
}


def next_state(state: RunState, fact: Fact) -> RunState | None:
    """The state that a fact leads to, or ``None`` where it changes nothing. Total over all pairs."""
    believed_in, target = NEXT[fact]
    return target if state in believed_in else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A word on an ended run: good parts of those on the plate."""

    good_parts: int
    reason: str
    actor: str
    given_at: int


@dataclass(frozen=True, slots=True)
class Run:
    """One row of the run table. ``epoch`` is the printer's fencing token for this run."""

    run_id: str
    job_id: str
    printer_id: str
    agent_id: str
    epoch: int
    parts: int
    created_at: int
    updated_at: int
    state: RunState = RunState.OFFERED
    # The state before the agent was lost, for people and for the evidence that comes back.
    unconfirmed_from: RunState | None = None
    cancel_requested: bool = False
    pause_requested: bool = False
    progress: float = 0.0
    verified: bool | None = None
    reason_code: str = ""
    reason: str = ""
    retry_of: str | None = None
    nonce: str | None = None
    bed_token: str | None = None
    authorised_at: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    verdict: Verdict | None = None
    # The file of this run, and its estimate, where that is not the job's own: a model is sliced for the printer.
    artifact_sha256: str = ""
    estimated_seconds: float | None = None
    # Made when it ended, never changed.
    cost: RunCost | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class EndEvidence:
    """What the agent saw at the end of a print. Seconds by the agent's monotonic clock."""

    end_of_file_reached: bool
    printer_reports_complete: bool
    elapsed_seconds: float


def is_verified_end(evidence: EndEvidence, estimated_seconds: float | None) -> bool:
    """I16: end of file, the printer's own word, and at least 0.7 of the estimated time, where there is an estimate."""
    if not (evidence.end_of_file_reached and evidence.printer_reports_complete):
        return False
    return estimated_seconds is None or evidence.elapsed_seconds >= 0.7 * estimated_seconds
