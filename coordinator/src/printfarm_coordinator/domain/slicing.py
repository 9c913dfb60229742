"""One model sliced with one setup: claimed by a worker, under a token; late writers lose."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .errors import RuleError
from .setup import Setup

MOST_ATTEMPTS = 3
# Copies that a slicer is asked to put on one plate; and, in place of a number, as many of them as the bed takes.
MOST_PARTS = 100
FITTED = 0
LONGEST_REASON = 300
# Not the model's fault: another job may try again.
TRANSIENT = frozenset({"slicer_lost", "worker_fault"})
# Its result was deleted since: nobody's fault, and no reason not to make it again.
RESULT_DELETED = "result_deleted"
# Nobody waits for it: whoever does later has it made then.
NOT_NEEDED = "not_needed"
FAILURES = TRANSIENT | {"slicer_refused", "slicer_crashed", "slicer_limit", "model_refused", "result_refused"}


class SlicingState(StrEnum):
    """Where it stands; spelled as in the API."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SlicingKey:
    """What makes two slicings the same: the part is sliced once. ``parts`` may be FITTED."""

    model_sha256: str
    settings_hash: str
    parts: int
    engine: str
    engine_version: str


@dataclass(frozen=True, slots=True)
class Slicing:
    """One row. Times in microseconds by the database's clock. ``claim_token`` and ``claimed_at`` are of the newest claim, also
    when it is over.

    ``filament_grams`` and ``estimated_seconds`` are the slicer's word on the result; None if it gave none.
    """

    slicing_id: str
    key: SlicingKey
    labels: tuple[str, ...]
    settings: Mapping[str, str] = field(hash=False)
    created_at: int
    updated_at: int
    priority: int = 0
    state: SlicingState = SlicingState.QUEUED
    attempts: int = 0
    claim_token: str = ""
    claimed_by: str = ""
    claimed_at: int | None = None
    claim_expires_at: int = 0
    progress: float = 0.0
    result_sha256: str | None = None
    estimated_seconds: float | None = None
    filament_grams: float | None = None
    # Copies on the plate, where the slicer was to find out how many fit.
    result_parts: int | None = None
    error_code: str = ""
    error: str = ""
    ended_at: int | None = None
    version: int = 1

    @property
    def plate_parts(self) -> int:
        """Copies on the plate; 0 while it is open how many fit."""
        return self.key.parts or self.result_parts or 0

    @property
    def is_pending(self) -> bool:
        """It will have a result, or a reason why not."""
        return self.state in (SlicingState.QUEUED, SlicingState.RUNNING)


@dataclass(frozen=True, slots=True)
class SlicingResult:
    """What a worker made, checked and stored."""

    sha256: str
    estimated_seconds: float | None
    filament_grams: float | None
    # Copies on the plate, where as many as fit were asked for.
    parts: int | None = None


def new_slicing(slicing_id: str, key: SlicingKey, setup: Setup, priority: int, now: int) -> Slicing:
    """Waits for a worker."""
    return Slicing(slicing_id, key, setup.labels, dict(setup.settings), now, now, priority)


def may_claim(task: Slicing, now: int) -> bool:
    """Nobody works at it, or whoever did fell silent."""
    lapsed = task.state is SlicingState.RUNNING and task.claim_expires_at <= now
    return task.state is SlicingState.QUEUED or (lapsed and task.attempts < MOST_ATTEMPTS)


def claimed(task: Slicing, worker: str, token: str, now: int, lasting: int) -> Slicing:
    """The task under a new claim; any claim before is void."""
    return replace(
        task,
        state=SlicingState.RUNNING,
        attempts=task.attempts + 1,
        claim_token=token,
        claimed_by=worker,
        claimed_at=now,
        claim_expires_at=now + lasting,
        progress=0.0,
        updated_at=now,
    )


def renewed(task: Slicing, token: str, progress: float, now: int, lasting: int) -> Slicing:
    """The claim prolonged. Raises CLAIM_LOST if another took it."""
    _check_claim(task, token)
    further = max(task.progress, min(1.0, progress))
    return replace(task, claim_expires_at=now + lasting, progress=further, updated_at=now)


def begun_anew(task: Slicing, now: int, lasting: int) -> Slicing:
    """The claim, if one holds, after the clock was set: its worker, if it lives, has as long as after any sign of life."""
    return replace(task, claim_expires_at=now + lasting) if task.state is SlicingState.RUNNING else task


def completed(task: Slicing, token: str, result: SlicingResult, now: int) -> Slicing:
    """Done. Said again by the same claim: unchanged. Raises CLAIM_LOST."""
    if task.state is SlicingState.DONE and task.claim_token == token and task.result_sha256 == result.sha256:
        return task
    _check_claim(task, token)
    return replace(
        task,
        state=SlicingState.DONE,
        progress=1.0,
        result_sha256=result.sha256,
        estimated_seconds=result.estimated_seconds,
        filament_grams=result.filament_grams,
        result_parts=_made(task, result),
        updated_at=now,
        ended_at=now,
    )


def _made(task: Slicing, result: SlicingResult) -> int | None:
    """A worker that tells nothing of it knows nothing of fitting, and puts one part on the plate."""
    return None if task.key.parts != FITTED else max(1, min(MOST_PARTS, result.parts or 1))


def failed(task: Slicing, token: str, code: str, reason: str, now: int) -> Slicing:
    """Over, or tried again where the worker itself was at fault. Said again: unchanged. Raises CLAIM_LOST."""
    if task.state is SlicingState.FAILED and task.claim_token == token:
        return task
    _check_claim(task, token)
    if code == "worker_fault" and task.attempts < MOST_ATTEMPTS:
        return replace(task, state=SlicingState.QUEUED, progress=0.0, claim_expires_at=0, updated_at=now)
    return _over(task, code, reason, now)


def lapsed(task: Slicing, now: int) -> Slicing:
    """A claim that nobody prolonged, tried often enough: over. Else unchanged, and free to be claimed."""
    silent = task.state is SlicingState.RUNNING and task.claim_expires_at <= now
    if not silent or task.attempts < MOST_ATTEMPTS:
        return task
    return _over(task, "slicer_lost", f"{task.attempts} workers fell silent while they sliced it", now)


def claim_ended(before: Slicing, after: Slicing) -> str:
    """How the claim that was there before ended with this change: ``done``, or a failure's code. Empty if it goes on, or none
    was there."""
    if before.state is not SlicingState.RUNNING:
        return ""
    if after.error_code == NOT_NEEDED:
        return "slicer_lost"
    if after.state is SlicingState.RUNNING:
        return "slicer_lost" if after.claim_token != before.claim_token else ""
    return {SlicingState.DONE: "done", SlicingState.QUEUED: "worker_fault"}.get(after.state, after.error_code)


def tried_again(task: Slicing, now: int) -> Slicing:
    """A failure that was not the model's, forgotten for another job."""
    return replace(
        task,
        state=SlicingState.QUEUED,
        attempts=0,
        progress=0.0,
        error_code="",
        error="",
        ended_at=None,
        updated_at=now,
    )


def without_result(task: Slicing, now: int) -> Slicing:
    """Its print file was deleted: whoever needs one has it sliced again."""
    return replace(_over(task, RESULT_DELETED, "its print file was deleted", now), result_sha256=None)


def not_needed(task: Slicing, now: int) -> Slicing:
    """Over, unless somebody works at it, or it is over already."""
    is_held = task.state is SlicingState.RUNNING and task.claim_expires_at > now
    if not task.is_pending or is_held:
        return task
    return _over(task, NOT_NEEDED, "no job needs it any more", now)


def _over(task: Slicing, code: str, reason: str, now: int) -> Slicing:
    return replace(
        task,
        state=SlicingState.FAILED,
        error_code=code,
        error=reason[:LONGEST_REASON],
        updated_at=now,
        ended_at=now,
    )


def _check_claim(task: Slicing, token: str) -> None:
    if task.state is not SlicingState.RUNNING or not token or task.claim_token != token:
        raise RuleError("CLAIM_LOST", "another worker has this slicing, or it is over")
