"""What slicer workers do: claim, renew, complete, fail. Each conditional on the claim's token: late writers lose."""

import asyncio
import secrets
import time
from dataclasses import dataclass

from printfarm_files import Kind

from ..domain import slicing as rules
from ..domain.errors import Invalid, RuleError
from ..domain.safety_policy import refusal
from ..domain.slicing import FAILURES, Slicing, SlicingResult
from .farm import Farm, transact
from .file_ports import Artifact
from .jobs import missing
from .ports import Writing
from .safety import inspected
from .slicing_ports import SlicerWorker
from .workshop import WORKER_ALIVE_US

CLAIM_US = 45_000_000
LONGEST_WAIT_SECONDS = 25.0
LOOK_AGAIN_SECONDS = 3.0
CANDIDATES = 5


@dataclass(frozen=True, slots=True)
class Claim:
    """A slicing under this worker's claim, and the model to slice."""

    task: Slicing
    model: Artifact
    lasting_us: int = CLAIM_US


async def claim_slicing(farm: Farm, worker: str, engines: dict[str, str], wait_seconds: float) -> Claim | None:
    """The most urgent slicing that one of the worker's engines can do, or None after the wait.

    ``engines``: engine -> version. Told to the farm even if there is nothing to do: that is how it knows its workers.
    """
    if not engines or len(engines) > 8 or not all(1 <= len(w) <= 100 for pair in engines.items() for w in pair):
        raise Invalid("engines", "must be 1 to 8 engines, each with its version")
    deadline = time.monotonic() + min(max(0.0, wait_seconds), LONGEST_WAIT_SECONDS)
    woken = asyncio.Event()
    forget = farm.hints.watch_slicing(woken)
    try:
        while True:
            woken.clear()
            if found := await _claim_now(farm, worker, engines):
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            await _woken(woken, min(left, LOOK_AGAIN_SECONDS))
    finally:
        forget()


async def _woken(event: asyncio.Event, seconds: float) -> None:
    """A hint, or the time after which another coordinator's doing is looked for."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


async def _claim_now(farm: Farm, worker: str, engines: dict[str, str]) -> Claim | None:
    await _note_worker(farm, worker, engines)
    async with farm.store.read() as look:
        candidates = await look.claimable_slicings(engines, CANDIDATES)
    for task in candidates:
        if claim := await _claim(farm, worker, task.slicing_id):
            return claim
    return None


async def _note_worker(farm: Farm, worker: str, engines: dict[str, str]) -> None:
    async with farm.store.read() as look:
        known = {found.name: found for found in await look.slicer_workers(look.now - WORKER_ALIVE_US // 4)}
    if worker in known and known[worker].engines == engines:
        return

    async def work(tx: Writing) -> None:
        await tx.put_slicer_worker(SlicerWorker(worker, engines, tx.now))

    await transact(farm, "slicer_worker", work)
    farm.hints.prepare.set()


async def _claim(farm: Farm, worker: str, slicing_id: str) -> Claim | None:
    token = secrets.token_urlsafe(24)

    async def work(tx: Writing) -> tuple[Slicing, Claim] | None:
        task = await tx.lock_slicing(slicing_id)
        if task is None or not rules.may_claim(task, tx.now):
            return None
        model = await tx.artifact(task.key.model_sha256)
        if model is None:
            return None
        after = rules.claimed(task, worker, token, tx.now, CLAIM_US)
        await tx.save_slicing(task, after)
        return task, Claim(after, model)

    found = await transact(farm, "claim_slicing", work)
    if found is None:
        return None
    before, claim = found
    farm.slicing.saved(before, claim.task)
    return claim


async def renew_claim(farm: Farm, worker: str, slicing_id: str, token: str, progress: float) -> int:
    """How long the claim lasts from now, in microseconds. Raises NOT_FOUND, CLAIM_LOST."""
    if not 0.0 <= progress <= 1.0:
        raise Invalid("progress", "must be 0 to 1")

    async def work(tx: Writing) -> None:
        task = await _locked(tx, slicing_id)
        await tx.save_slicing(task, rules.renewed(task, token, progress, tx.now, CLAIM_US))
        known = {found.name: found for found in await tx.slicer_workers(0)}
        if mine := known.get(worker):
            await tx.put_slicer_worker(SlicerWorker(worker, mine.engines, tx.now))

    await transact(farm, "renew_claim", work)
    return CLAIM_US


async def complete_slicing(farm: Farm, slicing_id: str, token: str, result: SlicingResult) -> None:
    """The result counts from now on, once it was looked at. Raises NOT_FOUND, CLAIM_LOST, ARTIFACT_NOT_FOUND, NotRead. May be
    repeated."""
    for name in ("estimated_seconds", "filament_grams"):
        value = getattr(result, name)
        if value is not None and not 0 < value < 1e9:
            raise Invalid(name, "must be more than 0, or left out where it is unknown")

    if result.parts is not None and not 1 <= result.parts <= rules.MOST_PARTS:
        raise Invalid("parts", f"must be 1 to {rules.MOST_PARTS}, or left out")
    unsafe = await _unsafe(farm, result.sha256)

    def changed(task: Slicing, file: Artifact | None, now: int) -> Slicing:
        if unsafe:
            # What a slicer made is looked at like what a client sends: a profile may ask for anything.
            return rules.failed(task, token, "result_refused", unsafe, now)
        if file is None or file.kind != "gcode":
            raise RuleError("ARTIFACT_NOT_FOUND", f"no G-code file {result.sha256[:64]}", field="result_sha256")
        return rules.completed(task, token, result, now)

    async def work(tx: Writing) -> tuple[Slicing, Slicing]:
        # The file before its slicing, as whoever deletes it.
        file = await tx.hold_artifact(result.sha256)
        task = await _locked(tx, slicing_id)
        return await _saved(tx, task, changed(task, file, tx.now))

    farm.slicing.saved(*await transact(farm, "complete_slicing", work))
    farm.hints.prepare.set()
    if unsafe:
        farm.hints.slicing_changed()


async def _unsafe(farm: Farm, sha256: str) -> str:
    """Why no printer may print the file; empty if one may, or it is not there. Raises NotRead."""
    async with farm.store.read() as look:
        file = await look.artifact(sha256)
    if farm.safety is None or file is None or Kind(file.kind).is_model:
        return ""
    return refusal(await inspected(farm, file, is_result=True), farm.safety)


async def fail_slicing(farm: Farm, slicing_id: str, token: str, code: str, reason: str) -> None:
    """It is over, or tried again where the worker was at fault. Raises NOT_FOUND, CLAIM_LOST. May be repeated."""
    if code not in FAILURES:
        raise Invalid("code", f"must be one of {', '.join(sorted(FAILURES))}")

    async def work(tx: Writing) -> tuple[Slicing, Slicing]:
        task = await _locked(tx, slicing_id)
        return await _saved(tx, task, rules.failed(task, token, code, reason, tx.now))

    farm.slicing.saved(*await transact(farm, "fail_slicing", work))
    farm.hints.prepare.set()
    farm.hints.slicing_changed()


async def check_claim(farm: Farm, slicing_id: str, token: str) -> Slicing:
    """The slicing, if the claim still holds. Raises NOT_FOUND, CLAIM_LOST."""
    async with farm.store.read() as look:
        task = await look.slicing(slicing_id)
    if task is None:
        raise missing("slicing", slicing_id)
    if task.claim_token != token or not token or not task.is_pending:
        raise RuleError("CLAIM_LOST", "another worker has this slicing, or it is over")
    return task


async def _locked(tx: Writing, slicing_id: str) -> Slicing:
    task = await tx.lock_slicing(slicing_id)
    if task is None:
        raise missing("slicing", slicing_id)
    return task


async def _saved(tx: Writing, before: Slicing, after: Slicing) -> tuple[Slicing, Slicing]:
    await tx.save_slicing(before, after)
    return before, after
