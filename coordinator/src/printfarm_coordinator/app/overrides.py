"""What people must allow in a job's print file, and their word: two of them, each once, on record (docs/decisions/0013)."""

from dataclasses import dataclass, replace

from printfarm_files.safety import Inspection, Question

from ..domain import wishes
from ..domain.errors import IllegalState, Invalid, RuleError
from ..domain.events import AuditEntry
from ..domain.job import Job
from ..domain.run import BEFORE_AUTHORITY
from ..domain.safety_policy import Answer, Override, Policy, key_of, may_allow, people_for
from ..domain.slice import job_event
from ..domain.wishes import Wish
from .content import Content
from .farm import Caller, Farm, transact
from .file_ports import Artifact
from .jobs import missing
from .judging import keep_judgement
from .ports import Reading, Writing
from .safety import is_current

LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A finding, what the farm's policy says to it, and who has allowed it so far."""

    question: Question
    answer: Answer
    allowed_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JobSafety:
    """What the check found in a job's own file; ``found`` is None while it is being checked, and of models."""

    job: Job
    file: Artifact | None
    found: Inspection | None
    asked: tuple[Asked, ...]
    overrides: tuple[Override, ...]


async def job_safety(farm: Farm, job_id: str) -> JobSafety:
    """Raises NOT_FOUND."""
    async with farm.store.read() as look:
        job = await look.job(job_id)
        if job is None:
            raise missing("job", job_id)
        return await _view(farm, look, job)


async def _view(farm: Farm, look: Reading, job: Job) -> JobSafety:
    file = await look.artifact(job.checked_sha256)
    overrides = tuple(await look.overrides_of(job.job_id))
    found = file.inspection if file and not job.needs_slicing and is_current(file.inspection) else None
    if found is None or farm.safety is None:
        return JobSafety(job, file, None, (), overrides)
    counted = [override for override in overrides if override.sha256 == job.checked_sha256]
    asked = tuple(_asked(farm.safety, question, counted, found) for question in found.questions)
    return JobSafety(job, file, found, asked, overrides)


def _asked(policy: Policy, question: Question, overrides: list[Override], found: Inspection) -> Asked:
    answer = policy.answer(question)
    if answer in (Answer.ALLOW, Answer.REFUSE):
        return Asked(question, answer, ())
    return Asked(question, answer, tuple(sorted(people_for(question, answer, overrides, found))))


async def allow_findings(farm: Farm, caller: Caller, job_id: str, reason: str) -> JobSafety:
    """The caller's word for what the check found, as far as the caller's role reaches. The same word again changes nothing.

    Raises NOT_FOUND, ILLEGAL_STATE, PERMISSION_DENIED, INVALID_ARGUMENT."""
    _check_reason(reason)
    override_id = farm.ids.new()

    async def work(tx: Writing) -> JobSafety:
        job, file, found = await _locked(farm, tx, job_id)
        assert farm.safety is not None
        asked = list(farm.safety.asked(found))
        if not asked:
            raise IllegalState("the safety check found nothing in its file that anybody would have to allow")
        mine = [question for question, answer in asked if may_allow(caller.role, answer)]
        if not mine:
            raise RuleError("PERMISSION_DENIED", "what was found in its file is for people of the role admin to allow")
        covers = tuple(sorted(key_of(question) for question in mine))
        given = Override(
            override_id, job_id, file.sha256, found.rules, caller.name, caller.role.value, reason, covers, tx.now
        )
        if not any(_same(given, before) for before in await tx.overrides_of(job_id)):
            await tx.put_override(given)
            await tx.append_audit([_audit(given, "job.override", caller, reason, mine)])
            after = await keep_judgement(farm, tx, job, Content(file, found, job.estimated_seconds), caller.name)
            await tx.append_events([job_event(after, caller.name, "override_given")])
            job = after
        return await _view(farm, tx, job)

    seen = await transact(farm, "override", work, caller.request_id)
    farm.hints.job_changed()
    return seen


async def revoke_override(farm: Farm, caller: Caller, job_id: str, override_id: str, reason: str) -> JobSafety:
    """One's own word taken back, or anybody's by an administrator. Runs that have no authority yet are cancelled; others go on.

    The same again changes nothing. Raises NOT_FOUND, ILLEGAL_STATE, PERMISSION_DENIED."""
    touched: list[tuple[str, str]] = []

    async def work(tx: Writing) -> JobSafety:
        touched.clear()
        job, file, found = await _locked(farm, tx, job_id)
        given = next((o for o in await tx.overrides_of(job_id) if o.override_id == override_id), None)
        if given is None:
            raise missing("override", override_id)
        if given.actor != caller.name and caller.role.value != Answer.ADMIN:
            raise RuleError("PERMISSION_DENIED", f"this is the word of {given.actor}: they, or an admin, take it back")
        if given.revoked_at is None:
            await tx.put_override(replace(given, revoked_at=tx.now, revoked_by=caller.name))
            await tx.append_audit([_audit(given, "job.override_revoked", caller, reason, [])])
            after = await keep_judgement(farm, tx, job, Content(file, found, job.estimated_seconds), caller.name)
            await tx.append_events([job_event(after, caller.name, "override_revoked")])
            if after.requirements.file.waits_for:
                touched.extend(await _take_back(tx, job_id, Wish(caller.name, "an override was taken back")))
        return await _view(farm, tx, await tx.job(job_id) or job)

    seen = await transact(farm, "override_revoked", work, caller.request_id)
    for agent_id, printer_id in touched:
        farm.hints.printer_changed(agent_id, printer_id)
    farm.hints.job_changed()
    return seen


async def _take_back(tx: Writing, job_id: str, wish: Wish) -> list[tuple[str, str]]:
    touched = []
    for run in await tx.runs_of_jobs([job_id]):
        # One that is out of reach may come back without an authority.
        before = run.unconfirmed_from or run.state
        if run.state.is_active and before in BEFORE_AUTHORITY and (held := await tx.lock_slice(run.run_id)):
            await tx.save_slice(held, wishes.request_cancel(held, wish, tx.now))
            touched.append((run.agent_id, run.printer_id))
    return touched


async def _locked(farm: Farm, tx: Writing, job_id: str) -> tuple[Job, Artifact, Inspection]:
    job = await tx.lock_job(job_id)
    if job is None:
        raise missing("job", job_id)
    if job.state.is_final:
        raise IllegalState(f"the job is {job.state}")
    if job.needs_slicing or farm.safety is None:
        raise IllegalState("its model is sliced for each printer: there is nothing to allow")
    file = await tx.artifact(job.checked_sha256)
    if file is None or file.inspection is None or not is_current(file.inspection):
        raise IllegalState("its file is being checked: ask again when it was")
    return job, file, file.inspection


def _same(one: Override, other: Override) -> bool:
    is_own = other.actor == one.actor and other.revoked_at is None
    return is_own and (other.sha256, other.rules, other.covers, other.role) == (
        one.sha256, one.rules, one.covers, one.role,
    )  # fmt: skip


def _audit(given: Override, action: str, caller: Caller, reason: str, allowed: list[Question]) -> AuditEntry:
    lines = "; ".join(f"line {q.line} {q.rule} {q.command}".strip() for q in allowed[:20]) or ", ".join(given.covers)
    told = f"{reason} [file {given.sha256}, rules {given.rules}: {lines}]"
    return AuditEntry(action, "job", given.job_id, caller.name, told[:2_000], 0)


def _check_reason(reason: str) -> None:
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise Invalid("reason", f"must be 1 to {LONGEST_REASON} characters: it is kept on record")
