"""Sees to it that jobs of models get their print files. Woken by events; a slow tick is only the safety net."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from ..domain.assignment import COORDINATOR, Candidate
from ..domain.errors import RuleError
from ..domain.job import Job, parts_owed, unprintable, with_print_file
from ..domain.preparing import Plan
from ..domain.setup import Setup
from ..domain.slice import job_event
from ..domain.slicing import Slicing, SlicingKey, SlicingState, lapsed, new_slicing, not_needed, tried_again
from .farm import Farm, transact
from .leading import Leadership
from .ports import AlreadyExists, DatabaseUnavailable, Writing
from .slicing_ports import Engine, SlicerWorker
from .workshop import WORKER_ALIVE_US, workshop_for

_LOG = structlog.get_logger(__name__)
TICK_SECONDS = 5.0
# A round gathers hints first: what they tell of is assigned meanwhile, and a farm without models pays for one short look.
_GATHER_SECONDS = 0.05
_AFTER_FAILURE_SECONDS = 1.0
_AT_ONCE = 100
# Of one statement.
_MOST_CLOSED = 1_000


@dataclass(slots=True)
class Models:
    """Of the open jobs, as they were last looked at."""

    open: frozenset[str] = frozenset()
    closed: frozenset[str] = frozenset()

    def seen(self, jobs: Iterable[Job]) -> None:
        """What has no job any more is closed, until what waits for it was ended or another job comes."""
        now = frozenset(job.artifact_sha256 for job in jobs)
        self.closed = (self.closed | self.open) - now
        self.open = now


async def prepare_once(farm: Farm, leadership: Leadership, models: Models | None = None) -> int:
    """One look over all jobs of models; returns how many were changed. Nothing where another leads (I20)."""
    models = models or Models()
    async with farm.store.read() as look:
        running = await look.running_slicings()
        opened = await look.open_model_jobs()
        models.seen(opened)
        engines = _engines(await look.slicer_workers(look.now - WORKER_ALIVE_US))
        closed = frozenset(sorted(models.closed)[:_MOST_CLOSED])
        unwanted = await look.unwanted_slicings(engines, closed, _AT_ONCE)
        now = look.now
    for task in running:
        if lapsed(task, now) != task:
            await _end(farm, leadership, task.slicing_id, lapsed)
    for slicing_id in unwanted:
        await _end(farm, leadership, slicing_id, not_needed)
    if len(unwanted) < _AT_ONCE:
        models.closed -= closed
    jobs = [job for job in opened if parts_owed(job)]
    return await _prepare(farm, leadership, jobs) if jobs else 0


def _engines(workers: Iterable[SlicerWorker]) -> set[Engine]:
    return {engine for worker in workers for engine in worker.engines.items()}


async def _prepare(farm: Farm, leadership: Leadership, jobs: Sequence[Job]) -> int:
    async with farm.store.read() as look:
        workshop = await workshop_for(look, jobs)
        candidates: list[Candidate] = await look.candidates()
        plans = [(job, workshop.plan(job, candidates, look.now)) for job in jobs]
    changed = 0
    for job, plan in plans:
        if plan.order or plan.failure or (plan.ready and not job.prepared):
            changed += await _carry_out(farm, leadership, job, plan)
    if changed:
        farm.hints.slicing_changed()
        farm.hints.job_changed()
    return changed


async def _carry_out(farm: Farm, leadership: Leadership, seen: Job, plan: Plan) -> bool:
    ids = [farm.ids.new() for _ in plan.order]

    async def work(tx: Writing) -> tuple[Job, Job] | None:
        if not await leadership.confirm(tx):
            return None
        job = await tx.lock_job(seen.job_id)
        if job is None or not parts_owed(job):
            return None
        for slicing_id, (key, setup) in zip(ids, plan.order, strict=True):
            await order_slicing(tx, slicing_id, key, setup, job.priority)
        after = job
        if plan.ready is not None:
            after = with_print_file(job, plan.ready.estimated_seconds, tx.now, plan.ready.plate_parts)
        elif plan.failure:
            after = unprintable(job, plan.failure, tx.now)
        if after != job:
            await tx.save_job(job, after)
            await tx.append_events([job_event(after, COORDINATOR)])
        return job, after

    try:
        done = await transact(farm, "prepare", work)
    except AlreadyExists:
        # Another job of the same model was first: the next round sees its slicing.
        return False
    if done is None:
        return False
    before, after = done
    if plan.ready is not None and after.prepared and not before.prepared:
        farm.slicing.prepared(after, plan.ready)
    return after != before or bool(ids)


async def order_slicing(tx: Writing, slicing_id: str, key: SlicingKey, setup: Setup, priority: int) -> None:
    """Makes it wait for a worker, unless it was ordered before. Raises AlreadyExists where another was first,
    ARTIFACT_NOT_FOUND where its model is gone: a job keeps it, an estimate does not."""
    if await tx.hold_artifact(key.model_sha256) is None:
        raise RuleError("ARTIFACT_NOT_FOUND", "the model was deleted: upload it again", field="artifact_sha256")
    known = await tx.lock_slicing_of(key)
    if known is None:
        await tx.add_slicing(new_slicing(slicing_id, key, setup, priority, tx.now))
    elif known.state is SlicingState.FAILED:
        await tx.save_slicing(known, tried_again(known, tx.now))


async def _end(farm: Farm, leadership: Leadership, slicing_id: str, ended: Callable[[Slicing, int], Slicing]) -> None:
    async def work(tx: Writing) -> tuple[Slicing, Slicing] | None:
        if not await leadership.confirm(tx):
            return None
        task = await tx.lock_slicing(slicing_id)
        if task is None:
            return None
        after = ended(task, tx.now)
        await tx.save_slicing(task, after)
        return task, after

    if done := await transact(farm, "slicing_ended", work):
        farm.slicing.saved(*done)


async def prepare_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Looks whenever something changed, until cancelled."""
    models = Models()
    while True:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await farm.hints.prepare.wait()
        except TimeoutError:
            pass
        await asyncio.sleep(_GATHER_SECONDS)
        farm.hints.prepare.clear()
        try:
            if leadership.leads:
                await prepare_once(farm, leadership, models)
        except DatabaseUnavailable as error:
            _LOG.warning("nothing prepared: the database does not answer", why=str(error))
            await asyncio.sleep(_AFTER_FAILURE_SECONDS)
