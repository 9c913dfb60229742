"""What clients do with jobs that are there."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain import wishes
from ..domain.assignment import COORDINATOR, obstacles, offer
from ..domain.errors import IllegalState, Invalid, RuleError
from ..domain.job import MAX_QUANTITY, MAX_RETRIES, PRIORITY_RANGE, Job, JobState, Requirements, parts_owed, settled
from ..domain.printer import Obstacle
from ..domain.run import Run
from ..domain.slice import job_event
from ..domain.wishes import Wish
from .farm import Caller, Farm, transact
from .ports import AlreadyExists, Reading, Remembered, StaleWrite, Writing
from .submit import check_requirements
from .workshop import refusals, workshop_for


@dataclass(frozen=True, slots=True)
class JobChange:
    """What to change of a job; None leaves it. ``version`` 0 takes whatever is there."""

    version: int = 0
    name: str | None = None
    priority: int | None = None
    due_at: int | None = None
    clear_due: bool = False
    quantity: int | None = None
    max_retries: int | None = None
    requirements: Requirements | None = None


def missing(what: str, key: str) -> RuleError:
    """The error of a thing that is not there."""
    return RuleError("NOT_FOUND", f"there is no {what} {key}")


async def update_job(farm: Farm, caller: Caller, job_id: str, change: JobChange) -> Job:
    """The job changed. Raises NOT_FOUND, VERSION_CONFLICT, ILLEGAL_STATE, INVALID_ARGUMENT."""
    _check_change(change)

    def changed(job: Job, now: int) -> Job:
        if change.version and change.version != job.version:
            raise RuleError("VERSION_CONFLICT", f"the job is at version {job.version}")
        if job.state.is_final:
            raise IllegalState(f"the job is {job.state}")
        due = None if change.clear_due else change.due_at if change.due_at is not None else job.due_at
        return replace(
            job,
            name=change.name or job.name,
            priority=job.priority if change.priority is None else change.priority,
            due_at=due,
            quantity=change.quantity or job.quantity,
            max_retries=job.max_retries if change.max_retries is None else change.max_retries,
            requirements=_required(job, change),
        )

    return await _change_job(farm, caller, job_id, changed, "updated")


def _required(job: Job, change: JobChange) -> Requirements:
    """The client's new word; the file's own stays."""
    wanted = change.requirements or job.requirements
    return replace(wanted, file=job.requirements.file)


def _check_change(change: JobChange) -> None:
    if change.quantity is not None and not 1 <= change.quantity <= MAX_QUANTITY:
        raise Invalid("quantity", f"must be 1 to {MAX_QUANTITY}")
    if change.priority is not None and change.priority not in PRIORITY_RANGE:
        raise Invalid("priority", "must be -100 to 100")
    if change.max_retries is not None and not 0 <= change.max_retries <= MAX_RETRIES:
        raise Invalid("max_retries", f"must be 0 to {MAX_RETRIES}")
    if change.name is not None and not (0 < len(change.name) <= 255 and change.name.isprintable()):
        raise Invalid("name", "must be 1 to 255 printable characters")
    if change.requirements:
        check_requirements(change.requirements)


async def hold_job(farm: Farm, caller: Caller, job_id: str, reason: str) -> Job:
    """Nothing more of the job starts; runs under way go on."""
    return await _change_job(farm, caller, job_id, lambda job, now: wishes.hold_job(job, reason, now), "held")


async def release_job(farm: Farm, caller: Caller, job_id: str) -> Job:
    """The job may start again."""
    return await _change_job(farm, caller, job_id, wishes.release_job, "released")


async def _change_job(farm: Farm, caller: Caller, job_id: str, change: Callable[[Job, int], Job], what: str) -> Job:
    async def work(tx: Writing) -> Job:
        job = await tx.lock_job(job_id)
        if job is None:
            raise missing("job", job_id)
        after = settled(change(job, tx.now), tx.now)
        await tx.save_job(job, after)
        events = [job_event(after, caller.name, what)]
        if after.state is not job.state:
            events.append(job_event(after, caller.name))
        await tx.append_events(events)
        return after

    job = await transact(farm, "change_job", work, caller.request_id)
    farm.hints.job_changed()
    return job


async def cancel_job(farm: Farm, caller: Caller, job_id: str, reason: str) -> Job:
    """The job and its active runs wanted cancelled. Raises NOT_FOUND, ILLEGAL_STATE if it completed or failed."""
    wish = Wish(caller.name, reason)
    touched: list[tuple[str, str]] = []

    async def work(tx: Writing) -> Job:
        touched.clear()
        job = await tx.lock_job(job_id)
        if job is None:
            raise missing("job", job_id)
        after = wishes.request_job_cancel(job, wish, tx.now)
        if after == job:
            return job
        await tx.save_job(job, after)
        await tx.append_events(
            [job_event(after, caller.name, "cancel_requested" if not after.state.is_final else None)]
        )
        for run in await tx.runs_of_jobs([job_id]):
            if run.state.is_active and (held := await tx.lock_slice(run.run_id)):
                await tx.save_slice(held, wishes.request_cancel(held, wish, tx.now))
                touched.append((run.agent_id, run.printer_id))
        return await tx.job(job_id) or after

    job = await transact(farm, "cancel_job", work, caller.request_id)
    for agent_id, printer_id in touched:
        farm.hints.printer_changed(agent_id, printer_id)
    farm.hints.job_changed()
    return job


async def assign_job(farm: Farm, caller: Caller, job_id: str, printer_id: str, key: str) -> Run:
    """A run of the job offered to that printer now, by a person's word. Raises PRINTER_NOT_ELIGIBLE with the reasons."""
    run_id = farm.ids.new()
    scope = f"assign:{caller.name}"

    async def work(tx: Writing) -> Run:
        digest = f"{job_id}/{printer_id}"
        if key and (known := await tx.remembered(scope, key)):
            if known.body_sha256 != digest:
                raise RuleError("IDEMPOTENCY_MISMATCH", "the key was used for another request", field="idempotency_key")
            run = await tx.run(known.subject_id)
            if run is None:
                raise missing("run", known.subject_id)
            return run
        run = await place(farm, tx, job_id, printer_id, run_id, caller.name)
        if key:
            await tx.remember(scope, key, Remembered(digest, run_id))
        return run

    try:
        run = await transact(farm, "assign_job", work, caller.request_id)
    except AlreadyExists:
        run = await transact(farm, "assign_job", work, caller.request_id)
    farm.hints.printer_changed(run.agent_id, run.printer_id)
    return run


async def place(farm: Farm, tx: Writing, job_id: str, printer_id: str, run_id: str, actor: str) -> Run:
    """A new run, inserted under the locks of its job and its printer."""
    job = await tx.lock_job(job_id)
    if job is None:
        raise missing("job", job_id)
    printer = await tx.lock_printer(printer_id)
    candidate = await tx.candidate(printer_id)
    if printer is None or candidate is None:
        raise missing("printer", printer_id)
    candidate = replace(candidate, printer=printer)
    retry_of = wishes.newest_loss(await tx.runs_of_jobs([job_id]))
    # A person's word is tried again where the agent refused the file before: its limits may have changed.
    refused = await refusals(tx) if actor == COORDINATOR else {}
    fit = (await workshop_for(tx, [job], refused, farm.safety)).file_for
    after = offer(job, candidate, run_id, tx.now, actor=actor, retry_of=retry_of, fit=fit)
    if after.run.artifact_sha256 != job.artifact_sha256 and await tx.hold_artifact(after.run.artifact_sha256) is None:
        # Its print file was deleted between two looks: the next look sees that it is to be sliced again.
        raise StaleWrite(f"the print file {after.run.artifact_sha256} is gone")
    await tx.add_offer(job, printer, after)
    return after.run


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job waits: per printer, and in one sentence."""

    summary: str
    reasons: dict[str, list[Obstacle]]
    eligible: list[str]
    waiting_us: int


async def explain_job(farm: Farm, job_id: str) -> Explanation:
    """Why the job waits. Raises NOT_FOUND."""
    async with farm.store.read() as look:
        job = await look.job(job_id)
        if job is None:
            raise missing("job", job_id)
        return await explain(farm, look, job)


async def explain(farm: Farm, look: Reading, job: Job) -> Explanation:
    """Why the job waits, at this look."""
    fit = (await workshop_for(look, [job], await refusals(look), farm.safety)).file_for
    found = {c.printer.printer_id: obstacles(job, c, look.now, fit) for c in await look.candidates()}
    eligible = [printer_id for printer_id, reasons in found.items() if not reasons]
    return Explanation(_summary(job, found, eligible), found, eligible, look.now - job.created_at)


def _preparing(found: dict[str, list[Obstacle]]) -> str:
    """The most telling of what keeps each printer without a file."""
    reasons = {reason.code: reason for those in found.values() for reason in those}
    if "checking" in reasons:
        return "Its file is being checked: no printer gets it before that."
    for code in ("not_sliced", "no_slicer", "slicing_failed", "no_profile"):
        if code in reasons:
            return f"Its model is being prepared: {reasons[code].explanation}."
    return (
        "Its model is being prepared: no printer meets what it requires."
        if found
        else "No agent has declared a printer."
    )


def _summary(job: Job, found: dict[str, list[Obstacle]], eligible: list[str]) -> str:
    if job.held:
        return f"The job is held: {job.hold_reason or 'no reason was given'}."
    if not parts_owed(job):
        return f"It does not wait: it is {job.state}, and no further run is owed."
    if job.state is JobState.PREPARING:
        return _preparing(found)
    if not found:
        return "It waits for a printer: no agent has declared any."
    if eligible:
        return f"It goes to one of {', '.join(eligible)} unless more urgent jobs come first."
    counts: dict[str, int] = {}
    for reasons in found.values():
        for reason in reasons:
            counts[reason.code] = counts.get(reason.code, 0) + 1
    most = ", ".join(f"{code} on {n}" for code, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return f"None of {len(found)} printers can take it now: {most}."
