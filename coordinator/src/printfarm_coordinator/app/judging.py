"""Jobs judged by what the safety check finds in their files: the most urgent first, one file after another."""

import asyncio
import time
from dataclasses import replace

import structlog

from printfarm_files import Refused

from ..domain.assignment import COORDINATOR
from ..domain.job import Job, unprintable, with_asks, with_print_file
from ..domain.safety_policy import judged, refusal
from ..domain.slice import job_event
from .content import Content, content_of
from .farm import Farm, transact
from .file_ports import Artifact
from .leading import Leadership
from .ports import DatabaseUnavailable, NotRead, StorageFull, Writing

_LOG = structlog.get_logger(__name__)
TICK_SECONDS = 5.0
_AT_ONCE = 100
_AGAIN_SECONDS = 2.0
# A file that could not be looked at has another try then; of so many at once, the storage is to blame.
PASSED_OVER_SECONDS = 15.0
MOST_PASSED_OVER = 1_000


class Judge:
    """Keeps nothing but which files could not be looked at, for no fault of their own or of a job, and until when."""

    def __init__(self, farm: Farm, leadership: Leadership) -> None:
        self._farm = farm
        self._leadership = leadership
        self._not_before: dict[str, float] = {}

    @property
    def is_behind(self) -> bool:
        """Files were passed over: their jobs are still to be judged."""
        return bool(self._not_before)

    async def once(self, *, new_only: bool = False) -> int:
        """Looks at the files that jobs wait for, the most urgent first; returns how many jobs changed or were passed over.

        Nothing where another leads. A file that cannot be read at the moment waits, and its jobs do; those behind it do not."""
        policy, now = self._farm.safety, time.monotonic()
        self._not_before = {sha256: at for sha256, at in self._not_before.items() if at > now}
        if policy is None or len(self._not_before) >= MOST_PASSED_OVER:
            return 0
        async with self._farm.store.read() as look:
            jobs = await look.jobs_to_judge(policy.version, _AT_ONCE, new_only=new_only, but=self._not_before.keys())
            names = sorted({job.artifact_sha256 for job in jobs})
            files = {file.sha256: file for file in await look.artifacts_named(names)}
        changed = passed_over = 0
        for sha256, plate in dict.fromkeys((job.artifact_sha256, job.plate) for job in jobs):
            mine = [job for job in jobs if (job.artifact_sha256, job.plate) == (sha256, plate)]
            try:
                content = await self._content(files[sha256], plate)
                for job in mine:
                    changed += await _judge(self._farm, self._leadership, job, content)
            except DatabaseUnavailable:
                raise
            except (NotRead, StorageFull, OSError) as error:
                _LOG.warning("a file was not inspected", sha256=sha256, why=type(error).__name__)
            except Exception:
                # Whatever is wrong with one file: those behind it do not wait for it.
                _LOG.exception("a file was not inspected", sha256=sha256)
            else:
                continue
            self._not_before[sha256] = time.monotonic() + PASSED_OVER_SECONDS
            passed_over += len(mine)
        if changed:
            self._farm.hints.job_changed()
        return changed + passed_over

    async def _content(self, file: Artifact, plate: int) -> Content | str:
        """What is printed of the file, or why nothing of it can be."""
        try:
            return await content_of(self._farm, file, plate)
        except Refused as error:
            return f"its G-code cannot be unpacked: {error.reason}"


async def _judge(farm: Farm, leadership: Leadership, seen: Job, content: Content | str) -> bool:
    """By what is printed of its file, or why nothing of it can be."""

    async def work(tx: Writing) -> bool:
        if not await leadership.confirm(tx):
            return False
        job = await tx.lock_job(seen.job_id)
        if job is None or job.state.is_final:
            return False
        if isinstance(content, str):
            return await _fail(tx, job, content)
        if await tx.hold_artifact(content.text.sha256) is None:
            # It was deleted a moment ago, and is unpacked again.
            raise NotRead("its text is not there any more")
        await keep_judgement(farm, tx, job, content, COORDINATOR)
        return True

    return await transact(farm, "judge", work)


async def _fail(tx: Writing, job: Job, why: str) -> bool:
    after = unprintable(job, why[:500], tx.now)
    if after == job:
        return False
    await tx.save_job(job, after)
    await tx.append_events([job_event(after, COORDINATOR)])
    return True


async def keep_judgement(farm: Farm, tx: Writing, job: Job, content: Content, actor: str) -> Job:
    """The locked job under what its file asks now, and under what people allowed."""
    assert farm.safety is not None
    known = [o for o in await tx.overrides_of(job.job_id) if o.sha256 == content.text.sha256]
    after = with_asks(job, judged(content.found, farm.safety, known))
    if job.packed_kind:
        after = replace(after, gcode_sha256=content.text.sha256)
    if why := refusal(content.found, farm.safety):
        after = unprintable(after, why[:500], tx.now)
    elif not job.prepared:
        after = with_print_file(after, content.estimated_seconds, tx.now)
    if after.state is job.state:
        after = replace(after, updated_at=tx.now)
    await tx.save_job(job, after)
    events = [job_event(after, actor)] if after.state is not job.state else []
    if after.requirements.file.waits_for and not job.requirements.file.waits_for:
        events.append(job_event(after, actor, "needs_override"))
    await tx.append_events(events)
    return after


async def judge_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Looks whenever a job came in, until cancelled. Jobs that other rules have judged are looked for until none is left,
    in each term."""
    judge = Judge(farm, leadership)
    term: int | None = None
    while True:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await farm.hints.judge.wait()
        except TimeoutError:
            pass
        farm.hints.judge.clear()
        try:
            while leadership.leads and await judge.once(new_only=term == leadership.term):
                pass
            if not judge.is_behind:
                term = leadership.term
        except DatabaseUnavailable as error:
            _LOG.warning("no file judged: the database does not answer", why=str(error))
            await asyncio.sleep(_AGAIN_SECONDS)
