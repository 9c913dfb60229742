"""Jobs: what clients ask for."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    Field,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from .base import (
    EXAMPLE_ID,
    EXAMPLE_SHA256,
    SHA256,
    Millimetres,
    Moment,
    Nozzle,
    ProfileName,
    Slug,
    Strict,
    Tag,
    Word,
    example,
)
from .costs import ESTIMATE_EXAMPLE, JOB_COST_EXAMPLE, SO_FAR_EXAMPLE, CostEstimate, CostSoFar, JobCost
from .runs import RUN_EXAMPLE, Run

JobState = Literal["received", "preparing", "queued", "active", "cancelling", "completed", "failed", "cancelled"]
SlicingState = Literal["queued", "running", "done", "failed"]
_MOST_PARTS = 10_000


def _in_one_word(given: object, check: ValidatorFunctionWrapHandler) -> object:
    """One complaint about the field, not one for each kind of answer it might have been."""
    try:
        return check(given)
    except ValidationError:
        words = f'Input should be a whole number from 1 to {_MOST_PARTS}, or "fit"'
        raise PydanticCustomError("parts_per_plate", words) from None


# "fit", for a model: as many on each plate as the printer's bed takes and the job still owes.
PartsPerPlate = Annotated[
    Annotated[StrictInt, Field(ge=1, le=_MOST_PARTS)] | Literal["fit"], WrapValidator(_in_one_word)
]
Plate = Annotated[StrictInt, Field(ge=1, le=9_999)]
_JOB_EXAMPLE: JsonDict = {
    "name": "bracket",
    "quantity": 10,
    "parts_per_plate": 4,
    "priority": 5,
    "due_at": "2026-12-01T08:00:00Z",
    "requirements": {"material": "PLA", "min_build_volume": {"x_mm": 200, "y_mm": 200, "z_mm": 50}},
    "max_retries": 3,
}


_SEEN_EXAMPLE: JsonDict = {
    **_JOB_EXAMPLE,
    "job_id": EXAMPLE_ID,
    "state": "active",
    "held": False,
    "hold_reason": "",
    "artifact_sha256": EXAMPLE_SHA256,
    "file_name": "bracket.gcode",
    "file_deleted_at": None,
    "thumbnail_url": f"/api/v1/files/{EXAMPLE_SHA256}/thumbnail",
    "fit_plate": False,
    "good_parts": 4,
    "pending_parts": 4,
    "requirements": {
        "min_build_volume": {"x_mm": 200, "y_mm": 200, "z_mm": 50},
        "nozzle_diameter_mm": None,
        "material": "PLA",
        "colour": None,
        "tags": [],
        "printer_ids": [],
        "printer_model": None,
    },
    "failed_runs": 0,
    "estimated_run_seconds": 5400.0,
    "progress": 0.57,
    "at_risk": False,
    "expected_end_at": "2026-11-24T17:20:00Z",
    "failure_reason": "",
    "client": "key/shop",
    "created_at": "2026-11-24T08:00:00Z",
    "updated_at": "2026-11-24T11:00:00Z",
    "ended_at": None,
    "version": 5,
    "profile": None,
    "slicings": [],
    "cost": SO_FAR_EXAMPLE,
    "plate": None,
    "gcode_sha256": None,
}


class MinVolume(Strict):
    """At least so much room, in millimetres."""

    x_mm: Millimetres = 0.0
    y_mm: Millimetres = 0.0
    z_mm: Millimetres = 0.0


class Requirements(Strict):
    """What a printer must be or hold; what is left out asks nothing.

    Where nozzle, material or model are left out, what a G-code file says of itself counts against what each printer states."""

    min_build_volume: MinVolume | None = None
    nozzle_diameter_mm: Nozzle | None = None
    material: Word | None = None
    colour: Word | None = None
    tags: Annotated[list[Tag], Field(default_factory=list, max_length=64)]
    printer_ids: Annotated[list[Slug], Field(default_factory=list, max_length=1_000)]
    printer_model: Word | None = None


class JobFields(Strict):
    """What a client asks for, beside the file."""

    model_config = example(_JOB_EXAMPLE)

    name: Annotated[StrictStr, Field(min_length=1, max_length=255)]
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1
    parts_per_plate: PartsPerPlate = 1
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] = 0
    due_at: Moment | None = None
    requirements: Annotated[Requirements, Field(default_factory=Requirements)]
    max_retries: Annotated[StrictInt, Field(ge=0, le=1_000)] = 3
    # For a model: the quality profile to slice it with; left out, the default one.
    profile: ProfileName | None = None
    # For a sliced 3MF (.gcode.3mf): the plate to print, from 1. May be left out where it has but one.
    plate: Plate | None = None


class JobOrder(JobFields):
    """A job of a file that was uploaded before."""

    model_config = example(
        {**_JOB_EXAMPLE, "artifact_sha256": EXAMPLE_SHA256},
        {"name": "bracket", "quantity": 50, "parts_per_plate": "fit", "artifact_sha256": EXAMPLE_SHA256},
        {"name": "lids", "quantity": 6, "plate": 2, "artifact_sha256": EXAMPLE_SHA256},
    )

    artifact_sha256: SHA256


class EstimateOrder(Strict):
    """What a job would ask for."""

    model_config = example(
        {"artifact_sha256": EXAMPLE_SHA256, "quantity": 10, "parts_per_plate": 4, "requirements": {"material": "PLA"}},
        {"artifact_sha256": EXAMPLE_SHA256, "quantity": 50, "parts_per_plate": "fit"},
        {"artifact_sha256": EXAMPLE_SHA256, "quantity": 6, "plate": 2},
    )

    artifact_sha256: SHA256
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000)] = 1
    parts_per_plate: PartsPerPlate = 1
    requirements: Annotated[Requirements, Field(default_factory=Requirements)]
    profile: ProfileName | None = None
    plate: Plate | None = None


class JobChange(Strict):
    """What is given is changed. ``version`` as it was read loses against newer changes. ``due_at`` null clears it."""

    model_config = example({"version": 3, "priority": 50, "due_at": "2026-12-01T08:00:00Z"})

    version: Annotated[StrictInt, Field(ge=1, le=1 << 62)] | None = None
    name: Annotated[StrictStr, Field(min_length=1, max_length=255)] | None = None
    priority: Annotated[StrictInt, Field(ge=-100, le=100)] | None = None
    due_at: Moment | None = None
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000)] | None = None
    max_retries: Annotated[StrictInt, Field(ge=0, le=1_000)] | None = None
    requirements: Requirements | None = None


class AssignOrder(Strict):
    """Which job."""

    model_config = example({"job_id": EXAMPLE_ID})

    job_id: Annotated[StrictStr, Field(min_length=1, max_length=64)]


class Slicing(BaseModel):
    """What a job's model is sliced to, for one setup of the printers that take it."""

    slicing_id: str
    state: SlicingState
    progress: float
    profiles: list[str]
    engine: str
    engine_version: str
    result_sha256: str | None
    # Copies on the plate. Null while it is open how many fit.
    parts: int | None
    estimated_run_seconds: float | None
    filament_grams: float | None
    error_code: str
    error: str
    created_at: datetime | None
    ended_at: datetime | None


class Job(BaseModel):
    """What a client asked for."""

    model_config = example(_SEEN_EXAMPLE)

    job_id: str
    name: str
    state: JobState
    held: bool
    hold_reason: str
    artifact_sha256: str
    file_name: str
    # Since when its file is no longer there; and no picture of it.
    file_deleted_at: datetime | None
    thumbnail_url: str | None
    quantity: int
    # Where as many as fit were asked for: of the first plate that was sliced, null before that. Each run tells its own `parts`.
    parts_per_plate: int | None
    fit_plate: bool
    good_parts: int
    pending_parts: int
    priority: int
    due_at: datetime | None
    requirements: Requirements
    max_retries: int
    failed_runs: int
    estimated_run_seconds: float | None
    progress: float
    at_risk: bool
    expected_end_at: datetime | None
    failure_reason: str
    client: str
    created_at: datetime | None
    updated_at: datetime | None
    ended_at: datetime | None
    version: int
    profile: str | None
    slicings: list[Slicing]
    # Null if the farm reckons no cost.
    cost: CostSoFar | None
    # Of a sliced 3MF: the plate that is printed.
    plate: int | None
    # Of packed G-code (.bgcode, .gcode.3mf): the G-code within as a file of its own, once it is unpacked. It is what the safety
    # check reads, and what printers get that take no such packing.
    gcode_sha256: str | None


class WaitingReason(BaseModel):
    """Why one printer does not take the job now."""

    printer_id: str
    code: str
    explanation: str


class Estimate(BaseModel):
    """What a job would need. ``run_`` is of one run, by the slicer's word; null where it is unknown.

    ``preparing``: a slicing is under way that will say more; ask again. ``total_`` is of all plates, one after the other.
    """

    model_config = example(
        {
            "plates": 3,
            "parts_per_plate": 4,
            "preparing": False,
            "run_seconds": 5400.0,
            "run_filament_grams": 31.5,
            "total_seconds": 16200.0,
            "total_filament_grams": 94.5,
            "slicings": [],
            "able_printer_ids": ["p1", "p2"],
            "reasons": [{"printer_id": "p3", "code": "material", "explanation": "wanted material PLA, it has PETG"}],
            "failure": "",
            "cost": ESTIMATE_EXAMPLE,
        }
    )

    plates: int
    # Parts of one run. Null while as many as fit were asked for, and it is not known how many those are.
    parts_per_plate: int | None
    preparing: bool
    run_seconds: float | None
    run_filament_grams: float | None
    total_seconds: float | None
    total_filament_grams: float | None
    slicings: list[Slicing]
    able_printer_ids: list[str]
    reasons: list[WaitingReason]
    failure: str
    # Of all plates. Null if the farm reckons no cost.
    cost: CostEstimate | None


class Waiting(BaseModel):
    """Why a job waits."""

    model_config = example(
        {
            "summary": "no printer is free: 2 are printing, 1 has no PLA",
            "waiting_seconds": 42.0,
            "eligible_printer_ids": ["p1", "p2"],
            "reasons": [{"printer_id": "p3", "code": "MATERIAL", "explanation": "PETG is loaded, PLA is asked for"}],
        }
    )

    summary: str
    waiting_seconds: float
    eligible_printer_ids: list[str]
    reasons: list[WaitingReason]


class JobStatus(Job):
    """A job with its runs, and why it waits while it does."""

    model_config = example(
        {**_SEEN_EXAMPLE, "runs": [RUN_EXAMPLE], "run_count": 1, "waiting": None, "cost": JOB_COST_EXAMPLE}
    )

    # Oldest first, the newest 500 at most; ``/api/v1/runs`` lists them all.
    runs: list[Run]
    run_count: int
    waiting: Waiting | None
    # Null if the farm reckons no cost.
    cost: JobCost | None


class JobReceipt(BaseModel):
    """The job is durable."""

    model_config = example(
        {"job_id": EXAMPLE_ID, "state": "queued", "artifact_sha256": EXAMPLE_SHA256, "repeated": False}
    )

    job_id: str
    state: JobState
    artifact_sha256: str
    repeated: bool
