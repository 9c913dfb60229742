"""Whether it works, for load balancers, people and Prometheus."""

import time

import orjson
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST

from printfarm.control.v1 import farm_service_pb2 as pb
from printfarm_rpc.errors import FarmError

from .. import __version__, schemas, views
from ..control_client import ControlClient
from ..deps import Control, answer, problems_of_anybody
from ..ratelimits import RateLimits
from ..recent import Recent

router = APIRouter(tags=["health"])
_SECONDS = 10.0


@router.get("/health", response_model=schemas.Health, responses=problems_of_anybody(), summary="The service is up")
async def health() -> Response:
    """Says nothing of the coordinator: see `/health/detailed`."""
    return answer({"status": "ok", "version": __version__})


@router.get(
    "/health/detailed", response_model=schemas.DetailedHealth, responses=problems_of_anybody(), summary="Each component"
)
async def detailed(request: Request, control: Control) -> Response:
    """Database, message broker, cache, agents, printers, storage. 200 whatever they say: read `status`."""
    recent: Recent[bytes] = request.app.state.recent
    body = await recent.get("health", lambda: _health(control, request.app.state.limits))
    return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})


async def _health(control: ControlClient, limits: RateLimits) -> bytes:
    components = [*await _farm(control), await limits.condition()]
    statuses = {component["status"] for component in components}
    worst = "down" if "down" in statuses else "degraded" if "degraded" in statuses else "ok"
    return orjson.dumps({"status": worst, "components": components})


async def _farm(control: ControlClient) -> list[views.JSON]:
    """What the coordinator says of its parts, and that it says so."""
    began = time.monotonic()
    try:
        found = await control.call(control.farm.GetHealth, pb.GetHealthRequest(), seconds=_SECONDS)
    except FarmError as error:
        return [_component("coordinator", "down", error.code.name.lower(), time.monotonic() - began)]
    parts = [_component(c.component, c.status, c.detail, views.seconds(c.latency)) for c in found.components]
    return [_component("coordinator", "ok", "", time.monotonic() - began), *parts]


def _component(component: str, status: str, detail: str, seconds: float) -> views.JSON:
    return {"component": component, "status": status, "detail": detail, "latency_seconds": round(seconds, 6)}


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems_of_anybody()},
    summary="Prometheus",
)
async def metrics(request: Request) -> Response:
    """The gateway's own requests and the farm's figures."""
    text = await request.app.state.metrics.exposition(request.app.state.follower.refresh)
    return Response(text, media_type=CONTENT_TYPE_LATEST)
