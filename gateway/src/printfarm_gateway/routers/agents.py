"""Agents and their enrolment."""

from fastapi import APIRouter, Response

from printfarm.control.v1 import agent_admin_service_pb2 as pb
from printfarm_rpc.errors import FarmError

from .. import schemas, views
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, page, problems
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1/agents", tags=["agents"], route_class=FarmRoute)


@router.get("", response_model=schemas.Page[schemas.Agent], responses=problems(), summary="List agents")
async def list_agents(control: Control, who: Who, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """By id."""
    try:
        found = await control.call(
            control.agents.ListAgents, pb.ListAgentsRequest(page_size=limit, page_token=cursor), who
        )
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.agent(agent) for agent in found.agents], found.next_page_token)


@router.get("/{agent_id}", response_model=schemas.Agent, responses=problems(404), summary="Show an agent")
async def show_agent(agent_id: str, control: Control, who: Who) -> Response:
    """Its session, certificate and printers."""
    found = await control.call(control.agents.GetAgent, pb.GetAgentRequest(agent_id=agent_id), who)
    return answer(views.agent(found.agent))


@router.post(
    "/{agent_id}/enrollment-token",
    status_code=201,
    response_model=schemas.EnrollmentToken,
    responses=problems(),
    summary="Make a one-time token for a new agent",
)
async def enrollment_token(agent_id: str, control: Control, who: Who) -> Response:
    """Good for 10 minutes, shown once. Enrol with `printfarm-agent enroll --token ... --ca-sha256 ...`."""
    request = pb.CreateEnrollmentTokenRequest(agent_id=agent_id)
    found = await control.call(control.agents.CreateEnrollmentToken, request, who)
    made = {"token": found.token, "expires_at": views.moment(found, "expire_time"), "ca_sha256": found.ca_sha256}
    return answer(made, 201, {"Cache-Control": "no-store"})


@router.post("/{agent_id}/revoke", response_model=schemas.Agent, responses=problems(404), summary="Turn an agent away")
async def revoke(agent_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """At once, until it is enrolled anew. Prints under way go on."""
    request = pb.RevokeAgentRequest(agent_id=agent_id, reason=because.reason)
    return answer(views.agent((await control.call(control.agents.RevokeAgent, request, who)).agent))


@router.post("/{agent_id}/drain", response_model=schemas.Agent, responses=problems(404), summary="Drain an agent")
async def drain(agent_id: str, control: Control, who: Who, order: schemas.DrainOrder = schemas.DRAIN) -> Response:
    """Nothing new is offered to it, or again something."""
    request = pb.DrainAgentRequest(agent_id=agent_id, drain=order.drain, reason=order.reason)
    return answer(views.agent((await control.call(control.agents.DrainAgent, request, who)).agent))
