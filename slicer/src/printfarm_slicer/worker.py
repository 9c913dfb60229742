"""Claims one slicing after the other, and says how each ended. It keeps nothing: whatever it dropped is claimed by another."""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from printfarm.slicer.v1 import slicing_service_pb2 as pb
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.failpoints import failpoint

from .check import Checked
from .client import FarmClient
from .engine import SlicerEngine, SlicingFailed
from .filling import fill_plate
from .sandbox import Sandbox, SlicerLimits
from .slicing import Work, slice_model

_LOG = structlog.get_logger(__name__)
RENEW_SECONDS = 3.0
_AGAIN_SECONDS = (1.0, 15.0)
# The claim lapses at the coordinator; a worker that cannot reach it stops in good time before.
_LOST = {Code.CLAIM_LOST, Code.NOT_FOUND}
# What was sliced is not thrown away because the coordinator is busy, or begins anew.
_TELL_FOR_SECONDS = 1_800.0


class Worker:
    """One slicing at a time. More of them are more processes, on this host or others."""

    def __init__(
        self,
        client: FarmClient,
        engines: Mapping[str, SlicerEngine],
        sandbox: Sandbox,
        limits: SlicerLimits,
        folder: Path,
    ) -> None:
        self._client = client
        self._engines = engines
        self._sandbox = sandbox
        self._limits = limits
        self._folder = folder

    async def work_for_ever(self) -> None:
        """Until cancelled; a slicing under way is then given up, and lapses."""
        versions = {name: engine.version for name, engine in self._engines.items()}
        failures = 0
        while True:
            try:
                task = await self._client.claim(versions)
                failures = 0
            except FarmError as error:
                failures += 1
                _LOG.warning("no work could be asked for", code=error.code.name, why=error.detail)
                await asyncio.sleep(_pause(failures))
                continue
            if task is not None:
                await self.do(task)

    async def do(self, task: pb.Task) -> None:
        """One slicing, told in the end. Never raises but for a cancellation."""
        began = time.monotonic()
        log = _LOG.bind(slicing_id=task.slicing_id, engine=task.engine.name, parts=task.parts)
        log.info("slicing")
        try:
            async with self._job_folder() as folder:
                await self._slice(task, folder)
            log.info("sliced", seconds=round(time.monotonic() - began, 1))
        except SlicingFailed as failure:
            log.info("not sliced", code=failure.code, why=failure.reason)
            await self._tell(task, failure)
        except FarmError as error:
            log.warning("slicing given up", code=error.code.name, why=error.detail)
            if error.code not in _LOST:
                await self._tell(task, SlicingFailed("worker_fault", f"the worker could not go on: {error.code.title}"))
        except Exception:
            log.exception("slicing given up")
            await self._tell(task, SlicingFailed("worker_fault", "the worker made an error; its log has it"))

    async def _tell(self, task: pb.Task, failure: SlicingFailed) -> None:
        try:
            await self._client.fail(task, failure)
        except FarmError as error:
            # Nobody heard it: the claim lapses, and another worker finds the same.
            _LOG.warning("the failure was not told", code=error.code.name, why=error.detail)

    async def _slice(self, task: pb.Task, folder: Path) -> None:
        progress = _Progress()
        slicing = asyncio.ensure_future(self._made(task, folder, progress))
        renewing = asyncio.ensure_future(self._renew_for_ever(task, progress))
        try:
            await asyncio.wait({slicing, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if slicing.done():
                slicing.result()
            else:
                renewing.result()
        finally:
            for each in (slicing, renewing):
                each.cancel()
            await asyncio.gather(slicing, renewing, return_exceptions=True)

    async def _made(self, task: pb.Task, folder: Path, progress: "_Progress") -> None:
        engine = self._engines.get(task.engine.name)
        if engine is None or engine.version != task.engine.version:
            raise SlicingFailed("worker_fault", "this worker has no such slicer")
        source = folder / "source"
        await self._client.read_model(task, source)
        failpoint("slicer_before_slicing")
        inside = folder / "job"
        inside.mkdir()
        work = Work(source, task.model_kind, dict(task.settings), task.parts or task.most_parts)
        tools = (engine, self._sandbox, self._limits, work, inside, progress.reached)
        if task.parts:
            result, checked = await slice_model(*tools)
            parts = task.parts
        else:
            result, checked, parts = await fill_plate(*tools)
        failpoint("slicer_before_storing")
        sha256 = await self._client.store(task, result)
        await self._complete(task, sha256, checked, parts)

    async def _complete(self, task: pb.Task, sha256: str, checked: Checked, parts: int) -> None:
        """Told until it is heard; the claim is prolonged meanwhile. Raises FarmError."""
        ends, failures = time.monotonic() + _TELL_FOR_SECONDS, 0
        while True:
            try:
                return await self._client.complete(task, sha256, checked, parts)
            except FarmError as error:
                if error.code is not Code.UNAVAILABLE or time.monotonic() >= ends:
                    raise
                _LOG.info("the result was not taken yet", slicing_id=task.slicing_id, why=error.detail)
            failures += 1
            await asyncio.sleep(_pause(failures))

    async def _renew_for_ever(self, task: pb.Task, progress: "_Progress") -> None:
        """Raises FarmError once the claim is lost, or nobody could be reached for as long as it lasts."""
        lasts = time.monotonic() + task.claim_lifetime.ToNanoseconds() / 1e9
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                lasts = time.monotonic() + await self._client.renew(task, progress.part)
            except FarmError as error:
                if error.code in _LOST or time.monotonic() >= lasts:
                    raise

    @asynccontextmanager
    async def _job_folder(self) -> AsyncGenerator[Path]:
        """New, and gone afterwards."""
        made = await asyncio.to_thread(_new_folder, self._folder)
        try:
            yield made
        finally:
            await asyncio.to_thread(shutil.rmtree, made, ignore_errors=True)


def _pause(failures: int) -> float:
    """Seconds, more after each failure."""
    least, most = _AGAIN_SECONDS
    return min(most, least * (1 << min(failures, 5))) * random.uniform(0.5, 1.0)


def _new_folder(within: Path) -> Path:
    made = Path(tempfile.mkdtemp(prefix="job-", dir=within))
    # A slicer that runs as nobody passes through to its own folder in it.
    made.chmod(0o711)
    return made


class _Progress:
    """The farthest that was told."""

    def __init__(self) -> None:
        self.part = 0.0

    def reached(self, part: float) -> None:
        self.part = max(self.part, part)
