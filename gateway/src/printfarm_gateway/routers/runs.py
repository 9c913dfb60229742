"""Runs: single physical prints."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from printfarm.control.v1 import run_service_pb2 as pb
from printfarm.model.v1 import run_pb2
from printfarm_rpc.errors import FarmError

from .. import schemas, views
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, page, problems
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1/runs", tags=["runs"], route_class=FarmRoute)
_STATES: dict[str, Any] = {word: number for number, word in views.RUN_STATES.items() if word != "unspecified"}
_OUTCOMES = {
    "finished": pb.RESOLUTION_FINISHED,
    "failed": pb.RESOLUTION_FAILED,
    "never_started": pb.RESOLUTION_NEVER_STARTED,
}


@router.get("", response_model=schemas.Page[schemas.Run], responses=problems(), summary="List runs, newest first")
async def list_runs(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Cursor = "",
    job_id: Annotated[str, Query(max_length=64)] = "",
    printer_id: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[list[schemas.RunState] | None, Query(max_length=13)] = None,
) -> Response:
    """Filtered by job, printer and state."""
    states = [_STATES.get(word, run_pb2.RUN_STATE_PRINTING) for word in state or []]
    request = pb.ListRunsRequest(
        page_size=limit, page_token=cursor, job_id=job_id, printer_id=printer_id, states=states
    )
    try:
        found = await control.call(control.runs.ListRuns, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.run(run) for run in found.runs], found.next_page_token)


@router.get("/{run_id}", response_model=schemas.Run, responses=problems(404), summary="Show a run")
async def show_run(run_id: str, control: Control, who: Who) -> Response:
    """One attempt."""
    return answer(views.run((await control.call(control.runs.GetRun, pb.GetRunRequest(run_id=run_id), who)).run))


@router.post(
    "/{run_id}/pause", status_code=202, response_model=schemas.Run, responses=problems(404, 409), summary="Pause a run"
)
async def pause_run(run_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """A wish; its result is seen in the state."""
    request = pb.PauseRunRequest(run_id=run_id, reason=because.reason)
    return answer(views.run((await control.call(control.runs.PauseRun, request, who)).run), 202)


@router.post(
    "/{run_id}/resume",
    status_code=202,
    response_model=schemas.Run,
    responses=problems(404, 409),
    summary="Resume a run",
)
async def resume_run(run_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """A wish; its result is seen in the state."""
    request = pb.ResumeRunRequest(run_id=run_id, reason=because.reason)
    return answer(views.run((await control.call(control.runs.ResumeRun, request, who)).run), 202)


@router.post(
    "/{run_id}/cancel",
    status_code=202,
    response_model=schemas.Run,
    responses=problems(404, 409),
    summary="Cancel a run",
)
async def cancel_run(run_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """Its parts are owed again once the printer has proven that it stopped; cancel the job to print none."""
    request = pb.CancelRunRequest(run_id=run_id, reason=because.reason)
    return answer(views.run((await control.call(control.runs.CancelRun, request, who)).run), 202)


@router.post(
    "/{run_id}/verdict", response_model=schemas.Run, responses=problems(404, 409), summary="Say how many parts are good"
)
async def give_verdict(run_id: str, verdict: schemas.VerdictOrder, control: Control, who: Who) -> Response:
    """The sign-off of a finished run. Clears the bed unless told not to; what is not good is printed again."""
    request = pb.GiveVerdictRequest(
        run_id=run_id,
        good_parts=verdict.good_parts,
        reason=verdict.reason,
        keep_bed_occupied=not verdict.clear_bed,
    )
    return answer(views.run((await control.call(control.runs.GiveVerdict, request, who)).run))


@router.post(
    "/{run_id}/resolve", response_model=schemas.Run, responses=problems(404, 409), summary="End an unconfirmed run"
)
async def resolve_run(run_id: str, order: schemas.ResolveOrder, control: Control, who: Who) -> Response:
    """By a person's word, audited. Whatever its agent says later changes nothing."""
    request = pb.ResolveRunRequest(run_id=run_id, outcome=_OUTCOMES[order.outcome], reason=order.reason)
    return answer(views.run((await control.call(control.runs.ResolveRun, request, who)).run))
