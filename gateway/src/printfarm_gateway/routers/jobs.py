"""Jobs: what clients ask for."""

import hashlib
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import ValidationError

from printfarm.control.v1 import job_service_pb2 as pb
from printfarm.model.v1 import job_pb2
from printfarm_rpc.errors import Code, FarmError

from .. import schemas, views
from ..control_client import ControlClient, Principal
from ..deps import IDEMPOTENCY_KEY, Control, Cursor, Limit, Who, answer, bad_cursor, idempotency_key, page, problems
from ..multipart import receive_form
from ..problems import Problem, wrong_field
from ..recent import Recent
from ..routes import FarmRoute, plain
from ..strict import loads

router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"], route_class=FarmRoute)
_WAITS = {"received", "preparing", "queued", "active"}
_STATES: dict[str, Any] = {word: number for number, word in views.JOB_STATES.items() if word != "unspecified"}
_RECEIVE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "job"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {
                            "type": "string",
                            "format": "binary",
                            "description": "G-code (plain, .bgcode, .gcode.3mf), STL or 3MF, at most 32 MiB",
                        },
                        "job": {"$ref": "#/components/schemas/JobFields"},
                    },
                },
                "encoding": {"job": {"contentType": "application/json"}},
                "example": {
                    "file": "G28\nG1 X10 Y10 F3000\nM84\n",
                    "job": {"name": "bracket", "quantity": 10, "parts_per_plate": 4},
                },
            },
            "application/json": {"schema": {"$ref": "#/components/schemas/JobOrder"}},
        },
    },
    "parameters": [IDEMPOTENCY_KEY],
}
_CREATE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobOrder"}}},
    },
    "parameters": [IDEMPOTENCY_KEY],
}


# First of its router: the route that is asked for most is found first.
@router.get(
    "/{job_id}/status",
    response_model=schemas.JobStatus,
    responses=problems(404),
    summary="State, progress, runs, estimate, due time, at-risk, why it waits",
)
@plain
async def job_status(request: Request, job_id: str) -> Response:
    """Everything that a client follows a job by. Up to half a second old, but never older than what this gateway told."""
    recent: Recent[bytes] = request.app.state.recent
    control, who = request.app.state.control, request.state.principal
    body = await recent.get(f"job/{job_id}", lambda: _status(control, who, job_id))
    return Response(body, media_type="application/json")


@router.post(
    "/receive",
    status_code=202,
    response_model=schemas.JobReceipt,
    responses=problems(408, 409, 413, 507),
    openapi_extra=_RECEIVE,
    summary="Accept a new print job: its facts and its file",
)
@plain
async def receive_job(request: Request) -> Response:
    """Multipart with the parts `file` and `job` (JSON), or JSON with `artifact_sha256` of a file uploaded before.

    Packed G-code (.bgcode, .gcode.3mf) goes as it is to printers that take it, and unpacked to others; `plate` says which plate
    of a sliced 3MF is printed. A model (STL, 3MF) is sliced for the printers that take the job, with the quality `profile` it
    names or the default one.
    When it answers 202, the job is durable. Follow it at `Location`.
    """
    control, who = request.app.state.control, request.state.principal
    key = idempotency_key(request)
    # Exactly so: a spelling that one reader takes and another does not is how checks are walked around.
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "multipart/form-data":
        fields, sha256 = await receive_form(request, control, who)
    elif kind == "application/json":
        fields = order = _order(loads(await request.body()))
        sha256 = order.artifact_sha256
    else:
        raise Problem(Code.MALFORMED, "Content-Type must be multipart/form-data or application/json", status=400)
    return await _create(control, who, fields, sha256, key)


@router.post(
    "",
    status_code=202,
    response_model=schemas.JobReceipt,
    responses=problems(409),
    openapi_extra=_CREATE,
    summary="Create a job of a file that was uploaded before",
)
@plain
async def create_job(request: Request) -> Response:
    """As `receive` with JSON."""
    key = idempotency_key(request)
    if not _says_json(request):
        raise wrong_field("body", "must be JSON, with Content-Type: application/json")
    order = _order(loads(await request.body()))
    return await _create(request.app.state.control, request.state.principal, order, order.artifact_sha256, key)


@router.post("/estimate", response_model=schemas.Estimate, responses=problems(), summary="What a job would need")
async def estimate_job(order: schemas.EstimateOrder, control: Control, who: Who) -> Response:
    """A dry run: no job is made. It says time and filament of a run and of all, which printers could take it, and why the
    others cannot. A model is sliced for it once: ask again while `preparing`."""
    request = pb.EstimateJobRequest(
        artifact_sha256=order.artifact_sha256,
        quantity=order.quantity,
        parts_per_plate=_parts(order.parts_per_plate),
        fit_plate=order.parts_per_plate == "fit",
        requirements=requirements(order.requirements),
        profile=order.profile or "",
        plate=order.plate or 0,
    )
    return answer(views.estimate(await control.call(control.jobs.EstimateJob, request, who)))


def _says_json(request: Request) -> bool:
    """As the framework asks of every other body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def _order(given: Any) -> schemas.JobOrder:
    """The framework's own errors for a body that the endpoint read itself."""
    try:
        return schemas.JobOrder.model_validate(given)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


async def _create(control: ControlClient, who: Principal, fields: schemas.JobFields, sha256: str, key: str) -> Response:
    request = pb.CreateJobRequest(
        idempotency_key=key,
        name=fields.name,
        artifact_sha256=sha256,
        quantity=fields.quantity,
        parts_per_plate=_parts(fields.parts_per_plate),
        fit_plate=fields.parts_per_plate == "fit",
        priority=fields.priority,
        due_time=_timestamp(fields.due_at),
        requirements=requirements(fields.requirements),
        max_retries=fields.max_retries,
        profile=fields.profile or "",
        plate=fields.plate or 0,
    )
    request.request_digest = hashlib.sha256(_without_key(request)).digest()
    made = await control.call(control.jobs.CreateJob, request, who)
    receipt = {
        "job_id": made.job.job_id,
        "state": views.job_state(made.job),
        "artifact_sha256": sha256,
        "repeated": made.repeated_request,
    }
    return answer(receipt, 202, {"Location": f"/api/v1/jobs/{made.job.job_id}/status"})


def _parts(asked: int | str) -> int:
    """0 where as many as fit are asked for."""
    return asked if isinstance(asked, int) else 0


def _without_key(request: pb.CreateJobRequest) -> bytes:
    asked = pb.CreateJobRequest()
    asked.CopyFrom(request)
    asked.ClearField("idempotency_key")
    return asked.SerializeToString(deterministic=True)


def _timestamp(at: Any) -> Timestamp | None:
    if at is None:
        return None
    made = Timestamp()
    made.FromDatetime(at)
    return made


def requirements(wanted: schemas.Requirements) -> job_pb2.Requirements:
    """As the coordinator takes them."""
    made = job_pb2.Requirements(
        nozzle_diameter_mm=wanted.nozzle_diameter_mm,
        material=wanted.material,
        colour=wanted.colour,
        tags=wanted.tags,
        printer_ids=wanted.printer_ids,
        printer_model=wanted.printer_model,
    )
    if wanted.min_build_volume is not None:
        volume = wanted.min_build_volume
        made.min_build_volume.x_mm = volume.x_mm
        made.min_build_volume.y_mm = volume.y_mm
        made.min_build_volume.z_mm = volume.z_mm
    return made


@router.get("", response_model=schemas.Page[schemas.Job], responses=problems(), summary="List jobs, newest first")
async def list_jobs(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Cursor = "",
    state: Annotated[list[schemas.JobState] | None, Query(max_length=8)] = None,
    client: Annotated[str, Query(max_length=200)] = "",
    name: Annotated[str, Query(max_length=200, description="part of the name")] = "",
) -> Response:
    """Filtered by state, client and a part of the name."""
    states = [_STATES.get(word, job_pb2.JOB_STATE_ACTIVE) for word in state or []]
    request = pb.ListJobsRequest(page_size=limit, page_token=cursor, states=states, client=client, name_contains=name)
    try:
        found = await control.call(control.jobs.ListJobs, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.job(job) for job in found.jobs], found.next_page_token)


@router.get("/{job_id}", response_model=schemas.Job, responses=problems(404), summary="Show a job")
async def show_job(job_id: str, control: Control, who: Who) -> Response:
    """What was asked for, and how far it is."""
    found = await control.call(control.jobs.GetJob, pb.GetJobRequest(job_id=job_id), who)
    return answer(views.job(found.job))


async def _status(control: ControlClient, who: Principal, job_id: str) -> bytes:
    found = await control.call(control.jobs.GetJob, pb.GetJobRequest(job_id=job_id), who)
    waiting = None
    if views.job_state(found.job) in _WAITS and found.job.pending_parts + found.job.good_parts < found.job.quantity:
        waiting = await control.call(control.jobs.ExplainJob, pb.ExplainJobRequest(job_id=job_id), who)
    return orjson.dumps(views.status(found, waiting))


@router.patch("/{job_id}", response_model=schemas.Job, responses=problems(404, 409), summary="Change a job")
async def change_job(job_id: str, change: schemas.JobChange, control: Control, who: Who) -> Response:
    """What is given is changed; `due_at: null` clears the due time."""
    request = pb.UpdateJobRequest(
        job_id=job_id,
        version=change.version or 0,
        name=change.name,
        priority=change.priority,
        due_time=_timestamp(change.due_at),
        clear_due_time="due_at" in change.model_fields_set and change.due_at is None,
        quantity=change.quantity,
        max_retries=change.max_retries,
        requirements=requirements(change.requirements) if change.requirements else None,
    )
    found = await control.call(control.jobs.UpdateJob, request, who)
    return answer(views.job(found.job))


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    response_model=schemas.Job,
    responses=problems(404, 409),
    summary="Want a job cancelled",
)
async def cancel_job(job_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """`cancelled` at once where nothing may have started; else `cancelling` until each printer has proven that it stopped."""
    request = pb.CancelJobRequest(job_id=job_id, reason=because.reason)
    found = await control.call(control.jobs.CancelJob, request, who)
    return answer(views.job(found.job), 202)


@router.post("/{job_id}/hold", response_model=schemas.Job, responses=problems(404, 409), summary="Hold a job")
async def hold_job(job_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """Nothing more of it starts; runs under way go on."""
    request = pb.HoldJobRequest(job_id=job_id, reason=because.reason)
    return answer(views.job((await control.call(control.jobs.HoldJob, request, who)).job))


@router.post("/{job_id}/release", response_model=schemas.Job, responses=problems(404, 409), summary="End a hold")
async def release_job(
    job_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON
) -> Response:
    """It may start again."""
    request = pb.ReleaseJobRequest(job_id=job_id, reason=because.reason)
    return answer(views.job((await control.call(control.jobs.ReleaseJob, request, who)).job))
