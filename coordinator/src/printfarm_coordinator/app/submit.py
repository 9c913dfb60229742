"""Accepting a job: durable, and exactly once per idempotency key (I7, I8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from printfarm_files import Kind

from ..domain.errors import Invalid, RuleError
from ..domain.events import DomainEvent
from ..domain.file_asks import FileAsks
from ..domain.job import MAX_PARTS_PER_PLATE, MAX_QUANTITY, MAX_RETRIES, PRIORITY_RANGE, Job, JobState, Requirements
from ..domain.safety_policy import Policy, judged
from ..domain.setup import Catalogue
from ..domain.slice import job_event
from ..domain.slicing import MOST_PARTS
from .content import Content, known_content
from .farm import Caller, Farm, transact
from .file_ports import Artifact
from .ports import AlreadyExists, Reading, Remembered, Writing
from .safety import refuse_unsafe
from .workshop import WORKER_KNOWN_US

DEFAULT_RETRIES = 3
LONGEST_WORD = 100
MOST_PLATE = 9_999
_MOST_TOLD = 20
MODEL_KINDS = frozenset({"stl", "3mf"})


@dataclass(frozen=True, slots=True)
class JobOrder:
    """What a client asks for. ``digest`` is the SHA-256, hexadecimal, of the request as the client sent it."""

    name: str
    artifact_sha256: str
    quantity: int
    parts_per_plate: int
    priority: int
    due_at: int | None
    requirements: Requirements
    max_retries: int
    idempotency_key: str
    digest: str
    # The quality profile that a model is sliced with; empty for the default one.
    profile: str = ""
    # Of a sliced 3MF; 0 stands for its only one.
    plate: int = 0
    # Of a model: as many parts on each plate as fit; ``parts_per_plate`` is then 1.
    fit_plate: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The job with its file, and whether it was there before because the request was a repetition."""

    job: Job
    artifact: Artifact | None
    repeated: bool


def check_order(order: JobOrder) -> None:
    """Raises Invalid naming the first field that can never be right."""
    checks = (
        ("name", 0 < len(order.name) <= 255 and order.name.isprintable(), "must be 1 to 255 printable characters"),
        ("quantity", 1 <= order.quantity <= MAX_QUANTITY, f"must be 1 to {MAX_QUANTITY}"),
        ("parts_per_plate", 1 <= order.parts_per_plate <= MAX_PARTS_PER_PLATE, f"must be 1 to {MAX_PARTS_PER_PLATE}"),
        ("priority", order.priority in PRIORITY_RANGE, "must be -100 to 100"),
        ("plate", 0 <= order.plate <= MOST_PLATE, f"must be 1 to {MOST_PLATE}"),
        ("max_retries", 0 <= order.max_retries <= MAX_RETRIES, f"must be 0 to {MAX_RETRIES}"),
        ("idempotency_key", len(order.idempotency_key) <= 255, "must be at most 255 characters"),
    )
    for name, right, wanted in checks:
        if not right:
            raise Invalid(name, wanted)
    check_requirements(order.requirements)


def check_requirements(wanted: Requirements) -> None:
    """Raises Invalid naming the field."""
    if wanted.nozzle_diameter_mm is not None and not 0.05 <= wanted.nozzle_diameter_mm <= 5:
        raise Invalid("requirements.nozzle_diameter_mm", "must be 0.05 to 5")
    for name in ("min_x_mm", "min_y_mm", "min_z_mm"):
        if not 0 <= getattr(wanted, name) <= 10_000:
            raise Invalid(f"requirements.min_build_volume.{name[4]}_mm", "must be 0 to 10000")
    if len(wanted.tags) > 64 or len(wanted.printer_ids) > 1_000:
        raise Invalid("requirements", "must name at most 64 tags and 1000 printers")
    for name in ("material", "colour", "printer_model"):
        word = getattr(wanted, name)
        if word is not None and not 1 <= len(word) <= LONGEST_WORD:
            raise Invalid(f"requirements.{name}", f"must be 1 to {LONGEST_WORD} characters")
    if not all(1 <= len(word) <= LONGEST_WORD for word in (*wanted.tags, *wanted.printer_ids)):
        raise Invalid("requirements", f"each tag and printer must be 1 to {LONGEST_WORD} characters")


@dataclass(frozen=True, slots=True)
class Submission:
    """An order of a client, with the id that its job gets."""

    job_id: str
    client: str
    order: JobOrder

    @property
    def key(self) -> tuple[str, str]:
        """Keys are each client's own."""
        return self.client, self.order.idempotency_key


async def submit(farm: Farm, caller: Caller, order: JobOrder) -> Receipt:
    """The job, durable. The same key with the same digest answers the first job again.

    Orders that come while others are being committed share the next transaction.
    Raises Invalid, or RuleError ARTIFACT_NOT_FOUND, IDEMPOTENCY_MISMATCH, UNSAFE_FILE.
    """
    check_order(order)

    async def serve(group: Sequence[Submission]) -> list[Receipt | Exception]:
        async def work(tx: Writing) -> list[Receipt | Exception]:
            return await _accept(farm, tx, group)

        try:
            return await transact(farm, "submit", work)
        except AlreadyExists:
            # Another coordinator committed one of the keys between our look and our write.
            return await transact(farm, "submit", work)

    receipt: Receipt = await farm.submissions.ask(Submission(farm.ids.new(), caller.name, order), serve)
    farm.hints.job_changed()
    if not receipt.job.prepared:
        farm.hints.judge.set()
    return receipt


async def _no_artifact(look: Reading, sha256: str) -> NoReturn:
    deleted = any(found.deleted_at is not None for found in await look.artifacts_named([sha256]))
    why = f"the file {sha256} was deleted: upload it again" if deleted else f"no artifact {sha256}"
    raise RuleError("ARTIFACT_NOT_FOUND", why, field="artifact_sha256")


async def stored_file(look: Reading, sha256: str) -> Artifact:
    """Raises RuleError ARTIFACT_NOT_FOUND."""
    return await look.artifact(sha256) or await _no_artifact(look, sha256)


async def _accept(farm: Farm, tx: Writing, group: Sequence[Submission]) -> list[Receipt | Exception]:
    """For each in order its receipt, or what is wrong with it. Nothing is written for what is wrong."""
    known = await tx.all_remembered([each.key for each in group if each.order.idempotency_key])
    # In one order, as every group's, so that two transactions never wait for each other in a ring.
    files = {
        sha256: await tx.hold_artifact(sha256) for sha256 in sorted({each.order.artifact_sha256 for each in group})
    }
    answers: list[Receipt | Exception] = []
    made: dict[str, Job] = {}
    for each in group:
        try:
            answers.append(await _answer(farm, tx, each, files, known, made))
        except RuleError as error:
            answers.append(error)
    await tx.add_jobs(list(made.values()))
    await tx.remember_all({key: known[key] for key in known if known[key].subject_id in made})
    await tx.append_events([event for job in made.values() for event in _news(job)])
    return answers


def _news(job: Job) -> list[DomainEvent]:
    received = job_event(job, job.client, "received")
    waits = job.requirements.file.waits_for
    return [received, job_event(job, job.client, "needs_override")] if waits else [received]


async def _answer(
    farm: Farm,
    tx: Writing,
    asked: Submission,
    files: Mapping[str, Artifact | None],
    known: dict[tuple[str, str], Remembered],
    made: dict[str, Job],
) -> Receipt:
    """Adds a new job to ``made``, and its key to what is ``known``."""
    order = asked.order
    if order.idempotency_key and (before := known.get(asked.key)):
        return await _repeat(tx, order, before, made)
    artifact = files[order.artifact_sha256] or await _no_artifact(tx, order.artifact_sha256)
    await check_slicing(tx, order, artifact)
    plate = plate_of(order, artifact)
    content = None if artifact.kind in MODEL_KINDS else await _held_content(tx, artifact, plate)
    refuse_unsafe(farm, content.found if content else None)
    job = made[asked.job_id] = job_of(order, artifact, asked.job_id, asked.client, tx.now, farm.safety, content)
    if order.idempotency_key:
        known[asked.key] = Remembered(order.digest, asked.job_id)
    return Receipt(job, artifact, repeated=False)


async def _held_content(tx: Writing, artifact: Artifact, plate: int) -> Content | None:
    """What is known of what would be printed; a text that was unpacked before stays for as long as this transaction."""
    content = await known_content(tx, artifact, plate)
    if content is None or content.text.sha256 == artifact.sha256:
        return content
    return content if await tx.hold_artifact(content.text.sha256) is not None else None


def plate_of(order: JobOrder, artifact: Artifact) -> int:
    """Which plate of a sliced 3MF is printed; 0 for other files, and where the plates are not known. Raises Invalid."""
    if artifact.kind != Kind.GCODE_3MF:
        if order.plate:
            raise Invalid("plate", "is for sliced 3MF files (.gcode.3mf): leave it out")
        return 0
    plates = artifact.plates
    if plates is None:
        return order.plate
    told = ", ".join(map(str, plates[:_MOST_TOLD]))
    if not order.plate and len(plates) > 1:
        raise Invalid("plate", f"must say which plate to print: the file has {told}")
    if order.plate and order.plate not in plates:
        raise Invalid("plate", f"the file has no plate {order.plate}; it has {told}")
    return order.plate or plates[0]


def job_of(
    order: JobOrder,
    artifact: Artifact,
    job_id: str,
    client: str,
    now: int,
    policy: Policy | None = None,
    content: Content | None = None,
) -> Job:
    """The job as it is accepted now. One whose file nobody has looked at, or unpacked, yet is preparing until somebody has.

    ``content``: what is known of what would be printed. Raises Invalid for a wrong plate."""
    is_model, is_packed = artifact.kind in MODEL_KINDS, Kind(artifact.kind).is_packed
    is_ready = not is_model and (content is not None or (policy is None and not is_packed))
    asks = judged(content.found, policy) if content and policy else FileAsks()
    return Job(
        job_id=job_id,
        name=order.name,
        client=client,
        artifact_sha256=order.artifact_sha256,
        quantity=order.quantity,
        parts_per_plate=order.parts_per_plate,
        priority=order.priority,
        due_at=order.due_at,
        requirements=replace(order.requirements, file=asks),
        max_retries=order.max_retries,
        estimated_seconds=content.estimated_seconds if content else artifact.estimated_seconds,
        created_at=now,
        updated_at=now,
        state=JobState.QUEUED if is_ready else JobState.PREPARING,
        needs_slicing=is_model,
        profile=order.profile,
        fit_plate=order.fit_plate,
        prepared=is_ready,
        packed_kind=artifact.kind if is_packed else "",
        plate=plate_of(order, artifact),
        gcode_sha256=content.text.sha256 if content and is_packed else "",
    )


async def check_slicing(look: Reading, order: JobOrder, artifact: Artifact) -> None:
    """A model needs a slicer, and its quality profile. Raises Invalid, RuleError UNSUPPORTED_MEDIA."""
    if artifact.kind not in MODEL_KINDS:
        if order.fit_plate:
            raise Invalid("parts_per_plate", "fit is for models: say how many parts this G-code makes")
        if order.profile:
            raise Invalid("profile", "is for models: this file is sliced already, so leave it out")
        return
    if not await look.slicer_workers(look.now - WORKER_KNOWN_US):
        why = "a model needs a slicer, and none was seen within a day: start printfarm-slicer, or send G-code"
        raise RuleError("UNSUPPORTED_MEDIA", why, field="file")
    if order.parts_per_plate > MOST_PARTS:
        raise Invalid("parts_per_plate", f"must be 1 to {MOST_PARTS} for a model, or fit")
    catalogue = Catalogue(await look.profiles())
    if order.profile and catalogue.quality(order.profile, look.now) is None:
        raise Invalid("profile", f"there is no quality profile {order.profile[:80]}: see /api/v1/profiles")


async def _repeat(tx: Writing, order: JobOrder, known: Remembered, made: Mapping[str, Job]) -> Receipt:
    if known.body_sha256 != order.digest:
        raise RuleError("IDEMPOTENCY_MISMATCH", "the key was used for another request", field="idempotency_key")
    job = made.get(known.subject_id) or await tx.job(known.subject_id)
    if job is None:
        raise RuleError("NOT_FOUND", f"job {known.subject_id} is gone")
    return Receipt(job, None, repeated=True)
