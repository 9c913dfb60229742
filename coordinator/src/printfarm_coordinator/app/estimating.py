"""What a job would need, without making it."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, replace

from printfarm_files import FileFacts, Kind, Refused
from printfarm_files.comments import EDGE_BYTES
from printfarm_files.gcode import facts_of_text

from ..domain.assignment import plates_owed
from ..domain.costing import CostEstimate
from ..domain.errors import RuleError
from ..domain.job import Job
from ..domain.preparing import Plan, Workshop
from ..domain.print_file import PrintFile
from ..domain.printer import Obstacle, Printer, mismatches
from ..domain.slicing import Slicing
from .content import Content, content_of, known_content
from .costing import able_printers, estimated
from .farm import Caller, Farm, transact
from .file_ports import Artifact
from .ports import AlreadyExists, Reading, Writing
from .prepare import order_slicing
from .safety import refuse_unsafe
from .submit import JobOrder, check_order, check_slicing, job_of, plate_of, stored_file
from .workshop import workshop_for

# Inspected in some seconds; what larger files ask is known when a job has had them looked at.
_LOOKED_AT_BYTES = 16 << 20
# Packed, it is some times larger.
_UNPACKED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """``run_seconds`` and ``run_grams`` of one run by the slicer's word, None where it is unknown.

    ``able``: printers that could take it, whatever they do at the moment; ``reasons``: why each of the others cannot.
    """

    plates: int
    is_preparing: bool
    run_seconds: float | None
    run_grams: float | None
    slicings: list[Slicing]
    able: list[str]
    reasons: dict[str, list[Obstacle]]
    failure: str
    # Of all plates; None if the farm reckons no cost.
    cost: CostEstimate | None = None
    # Parts of one run; 0 while that is not known.
    parts_per_plate: int = 0


async def estimate_job(farm: Farm, caller: Caller, order: JobOrder) -> Estimate:
    """Of a model: orders the one slicing that says so, if that is not there yet. Raises as ``submit`` does."""
    check_order(order)
    async with farm.store.read() as look:
        artifact = await stored_file(look, order.artifact_sha256)
        await check_slicing(look, order, artifact)
    content = await _content(farm, artifact, plate_of(order, artifact))
    async with farm.store.read() as look:
        refuse_unsafe(farm, content.found if content else None)
        job = job_of(order, artifact, "", caller.name, look.now, farm.safety, content)
        workshop, plan, printers = await _looked(look, job)
    if plan.order:
        await _ordered(farm, caller, plan, order.priority)
        async with farm.store.read() as look:
            workshop, plan, printers = await _looked(look, job)
    return await _estimate(farm, job, artifact, workshop, plan, printers)


async def _content(farm: Farm, artifact: Artifact, plate: int) -> Content | None:
    """What would be printed, unpacked and looked at for this where that takes no longer than a moment; None of models, and of
    what will be known when a job has had it looked at. Raises UNSUPPORTED_MEDIA where it cannot be unpacked."""
    kind = Kind(artifact.kind)
    if kind.is_model or farm.safety is None:
        return None
    if artifact.size_bytes > (_UNPACKED_BYTES if kind.is_packed else _LOOKED_AT_BYTES):
        async with farm.store.read() as look:
            return await known_content(look, artifact, plate)
    try:
        return await content_of(farm, artifact, plate)
    except Refused as error:
        raise RuleError("UNSUPPORTED_MEDIA", f"its G-code cannot be unpacked: {error.reason}", field="file") from None


async def _looked(look: Reading, job: Job) -> tuple[Workshop, Plan, list[Printer]]:
    """What is known of slicing, and what one plate of the job would still need."""
    workshop = await workshop_for(look, [job])
    candidates = await look.candidates()
    # Of as many as fit, one plate is what one printer takes of the whole.
    one_plate = job if job.fit_plate else replace(job, quantity=job.parts_per_plate)
    plan = workshop.plan(one_plate, candidates, look.now) if job.needs_slicing else Plan()
    plan = replace(plan, order=plan.order[:1])
    return workshop, plan, [candidate.printer for candidate in candidates]


async def _ordered(farm: Farm, caller: Caller, plan: Plan, priority: int) -> None:
    ids = [farm.ids.new() for _ in plan.order]

    async def work(tx: Writing) -> None:
        for slicing_id, (key, setup) in zip(ids, plan.order, strict=True):
            await order_slicing(tx, slicing_id, key, setup, priority)

    # Another order of the same slicing may be first: then it is on its way.
    with suppress(AlreadyExists):
        await transact(farm, "estimate", work, caller.request_id)
    farm.hints.slicing_changed()


async def _estimate(
    farm: Farm, job: Job, artifact: Artifact, workshop: Workshop, plan: Plan, printers: list[Printer]
) -> Estimate:
    able, reasons = _able(job, workshop, printers)
    tasks = workshop.tasks_of(job, printers)
    facts = None if job.needs_slicing else await _facts(farm, job, artifact)
    if plan.ready is not None:
        seconds, grams = plan.ready.estimated_seconds, plan.ready.filament_grams
    elif job.needs_slicing:
        seconds, grams = None, None
    else:
        seconds, grams = job.estimated_seconds, (facts and facts.weight_g) or None
    if job.fit_plate and plan.ready is not None:
        job = replace(job, parts_per_plate=plan.ready.plate_parts)
    parts = 0 if job.fit_plate and plan.ready is None else job.parts_per_plate
    is_preparing = plan.ready is None and any(task.is_pending for task in tasks)
    cost = await _cost(farm, job, workshop, printers, facts)
    return Estimate(plates_owed(job), is_preparing, seconds, grams, tasks, able, reasons, plan.failure, cost, parts)


async def _cost(
    farm: Farm, job: Job, workshop: Workshop, printers: list[Printer], facts: FileFacts | None
) -> CostEstimate | None:
    """By what was read from each file; of a file that was not read yet, by what its ends say."""
    if not farm.currency:
        return None
    able = able_printers(job, workshop, printers)
    async with farm.store.read() as look:
        found = await look.file_facts(sorted({file.facts_sha256 for _, file in able}))
        known = {sha256: stored.facts for sha256, stored in found.items() if stored.facts is not None}
        if facts is not None:
            known.setdefault(job.artifact_sha256, facts)
            known.setdefault(job.gcode_sha256, facts)
        return await estimated(farm, look, able, plates_owed(job), known)


def _able(job: Job, workshop: Workshop, printers: list[Printer]) -> tuple[list[str], dict[str, list[Obstacle]]]:
    able: list[str] = []
    reasons: dict[str, list[Obstacle]] = {}
    for printer in printers:
        found = mismatches(printer, job.requirements)
        file = workshop.file_for(job, printer)
        # What is not sliced for it yet can be.
        if not found and not isinstance(file, PrintFile) and file.code != "not_sliced":
            found = [file]
        if found:
            reasons[printer.printer_id] = found
        else:
            able.append(printer.printer_id)
    return able, reasons


async def _facts(farm: Farm, job: Job, artifact: Artifact) -> FileFacts | None:
    """What the slicer of a G-code file says at its ends; of a packed one, what was read from it."""
    if job.packed_kind:
        async with farm.store.read() as look:
            told = await look.file_facts([job.artifact_sha256, job.gcode_sha256])
        # A file of several plates tells nothing of one of them: the text does.
        order = (job.artifact_sha256, job.gcode_sha256)
        read = [found.facts for sha256 in order if (found := told.get(sha256)) and found.facts is not None]
        return next((facts for facts in read if facts.weight_g), None)
    size = artifact.size_bytes
    try:
        head = await farm.blobs.read(artifact.sha256, 0, EDGE_BYTES)
        tail = await farm.blobs.read(artifact.sha256, max(0, size - EDGE_BYTES), EDGE_BYTES)
    except FileNotFoundError:
        return None
    # Many milliseconds for some files: the event loop does not wait for it.
    return await asyncio.to_thread(facts_of_text, head, tail, size)
