"""What the safety check found in a job's file, and people's word on it."""

from fastapi import APIRouter, Response

from printfarm.control.v1 import safety_service_pb2 as pb

from .. import schemas
from ..deps import Control, Who, answer, problems
from ..routes import FarmRoute
from ..safety_views import safety

router = APIRouter(prefix="/api/v1/jobs/{job_id}/overrides", tags=["jobs"], route_class=FarmRoute)


@router.get("", response_model=schemas.JobSafety, responses=problems(404), summary="What was found in a job's file")
async def job_safety(job_id: str, control: Control, who: Who) -> Response:
    """What the safety check found, what the farm's policy says to it, and who has allowed it."""
    found = await control.call(control.safety.GetJobSafety, pb.GetJobSafetyRequest(job_id=job_id), who)
    return answer(safety(found.safety))


@router.post("", response_model=schemas.JobSafety, responses=problems(404, 409), summary="Allow what was found")
async def allow_findings(job_id: str, order: schemas.OverrideOrder, control: Control, who: Who) -> Response:
    """Your word for this job and file, as far as your role reaches, on record. Printers get the file when two different people
    have given theirs. The same word again changes nothing."""
    request = pb.AllowFindingsRequest(job_id=job_id, reason=order.reason)
    found = await control.call(control.safety.AllowFindings, request, who)
    return answer(safety(found.safety))


@router.delete(
    "/{override_id}", response_model=schemas.JobSafety, responses=problems(404, 409), summary="Take an override back"
)
async def revoke_override(job_id: str, override_id: str, control: Control, who: Who) -> Response:
    """Your own word, or anybody's for an administrator. Runs that may not have started are cancelled; others go on."""
    request = pb.RevokeOverrideRequest(job_id=job_id, override_id=override_id)
    found = await control.call(control.safety.RevokeOverride, request, who)
    return answer(safety(found.safety))
