"""The farm's own look at print files: what no printer may be asked is refused, what a person must allow is asked for.

Small files are looked at while they come in, so that the answer says it. Large ones are looked at when a job needs them, in a
process of its own: the job is ``preparing`` meanwhile, and fails with the lines' numbers if the file is refused.
"""

import asyncio
from dataclasses import replace

import structlog

from printfarm_files import Kind
from printfarm_files.inspecting import SMALL_BYTES, inspect_bytes
from printfarm_files.safety import RULES, Inspection

from ..domain.assignment import COORDINATOR
from ..domain.errors import UnsafeFile
from ..domain.job import Job, unprintable, with_asks, with_print_file
from ..domain.safety_policy import judged, refusal
from ..domain.slice import job_event
from .farm import Farm, transact
from .file_ports import Artifact
from .leading import Leadership
from .ports import DatabaseUnavailable, NotRead, Received, Writing

_LOG = structlog.get_logger(__name__)
TICK_SECONDS = 5.0
_AT_ONCE = 100
# A file that could not be looked at for no fault of its own is looked at again then.
_AGAIN_SECONDS = 2.0


def is_current(found: Inspection | None) -> bool:
    """It was inspected, by the rules of this release."""
    return found is not None and found.rules == RULES


def refuse_unsafe(farm: Farm, found: Inspection | None) -> None:
    """Raises UnsafeFile for a file that no printer may print."""
    if farm.safety is None or found is None or found.rules != RULES:
        return
    if why := refusal(found, farm.safety):
        raise UnsafeFile(why, tuple(str(each) for each in found.refused) or (why,))


async def inspect_received(received: Received, kind: Kind) -> Inspection | None:
    """Of a small file of G-code text, whose first bytes are all of it; None of any other."""
    if kind is not Kind.GCODE or received.size_bytes > min(SMALL_BYTES, len(received.head)):
        return None
    # Some milliseconds: the event loop does not wait for it.
    return await asyncio.to_thread(inspect_bytes, received.head)


async def inspected(farm: Farm, artifact: Artifact) -> Inspection:
    """What is in the file, looked at now unless the rules have seen it. Raises NotRead, FileNotFoundError."""
    if artifact.inspection is not None and is_current(artifact.inspection):
        return artifact.inspection
    found = await farm.blobs.inspect(artifact.sha256, Kind(artifact.kind))

    async def work(tx: Writing) -> None:
        await tx.save_inspection(artifact.sha256, found)

    await transact(farm, "inspection", work)
    return found


async def judge_once(farm: Farm, leadership: Leadership, *, new_only: bool = False) -> int:
    """Looks at the files that jobs wait for, the most urgent first; returns how many jobs were changed.

    Nothing where another leads. A file that cannot be read at the moment waits: its jobs do, too."""
    policy = farm.safety
    if policy is None:
        return 0
    async with farm.store.read() as look:
        jobs = await look.jobs_to_judge(policy.version, _AT_ONCE, new_only=new_only)
        files = {file.sha256: file for file in await look.artifacts_named(sorted({j.artifact_sha256 for j in jobs}))}
    changed = 0
    for sha256 in dict.fromkeys(job.artifact_sha256 for job in jobs):
        try:
            found = await inspected(farm, files[sha256])
        except (NotRead, OSError) as error:
            _LOG.warning("a file was not inspected", sha256=sha256, why=type(error).__name__)
            continue
        for job in jobs:
            if job.artifact_sha256 == sha256:
                changed += await _judge(farm, leadership, job, files[sha256], found)
    if changed:
        farm.hints.job_changed()
    return changed


async def _judge(farm: Farm, leadership: Leadership, seen: Job, file: Artifact, found: Inspection) -> bool:
    async def work(tx: Writing) -> bool:
        if not await leadership.confirm(tx):
            return False
        job = await tx.lock_job(seen.job_id)
        if job is None or job.state.is_final:
            return False
        await keep_judgement(farm, tx, job, file, found, COORDINATOR)
        return True

    return await transact(farm, "judge", work)


async def keep_judgement(farm: Farm, tx: Writing, job: Job, file: Artifact, found: Inspection, actor: str) -> Job:
    """The locked job under what its file asks now, and under what people allowed."""
    assert farm.safety is not None
    known = [o for o in await tx.overrides_of(job.job_id) if o.sha256 == file.sha256]
    after = with_asks(job, judged(found, farm.safety, known))
    if why := refusal(found, farm.safety):
        after = unprintable(after, why[:500], tx.now)
    elif not job.prepared:
        after = with_print_file(after, file.estimated_seconds, tx.now)
    if after.state is job.state:
        after = replace(after, updated_at=tx.now)
    await tx.save_job(job, after)
    events = [job_event(after, actor)] if after.state is not job.state else []
    if after.requirements.file.waits_for and not job.requirements.file.waits_for:
        events.append(job_event(after, actor, "needs_override"))
    await tx.append_events(events)
    return after


async def judge_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Looks whenever a job came in, until cancelled. Jobs that other rules have judged are looked for once in each term."""
    term: int | None = None
    while True:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await farm.hints.judge.wait()
        except TimeoutError:
            pass
        farm.hints.judge.clear()
        try:
            while leadership.leads and await judge_once(farm, leadership, new_only=term == leadership.term):
                pass
            term = leadership.term
        except DatabaseUnavailable as error:
            _LOG.warning("no file judged: the database does not answer", why=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)
