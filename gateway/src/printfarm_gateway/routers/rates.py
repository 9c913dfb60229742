"""Rates: what printing costs."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from printfarm.control.v1 import rate_service_pb2 as pb

from .. import cost_views, schemas
from ..deps import Control, Who, answer, problems
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1/rates", tags=["rates"], route_class=FarmRoute)
_KINDS = {word: number for number, word in cost_views.RATE_KINDS.items()}


@router.get("", response_model=schemas.Rates, responses=problems(), summary="List rates")
async def list_rates(
    control: Control, who: Who, history: Annotated[bool, Query(description="also those that no longer hold")] = False
) -> Response:
    """Those in force and those to come."""
    found = await control.call(control.rates.ListRates, pb.ListRatesRequest(history=history), who)
    rates = [cost_views.rate(rate) for rate in found.rates]
    return answer({"currency": found.currency or None, "items": rates, "next": None})


@router.put("", response_model=schemas.Rate, responses=problems(404, 409, 413), summary="Set a rate")
async def put_rate(order: schemas.RateOrder, control: Control, who: Who) -> Response:
    """From now, or from a later time. Runs that started before keep the rates of their time; the same again makes no rate."""
    request = pb.PutRateRequest(
        kind=_KINDS[order.kind],
        material=order.material or "",
        colour=order.colour or "",
        printer_id=order.printer_id or "",
        price=order.price,
        density_g_cm3=order.density_g_cm3,
        diameter_mm=order.diameter_mm,
    )
    if order.valid_from is not None:
        request.valid_from_time.FromDatetime(order.valid_from)
    return answer(cost_views.rate((await control.call(control.rates.PutRate, request, who)).rate))


@router.delete("/{rate_id}", status_code=204, responses=problems(404), summary="Retire a rate")
async def retire_rate(
    rate_id: Annotated[str, Path(min_length=1, max_length=64)], control: Control, who: Who
) -> Response:
    """What it is of has no price from now on, nor one to come. May be repeated."""
    await control.call(control.rates.RetireRate, pb.RetireRateRequest(rate_id=rate_id), who)
    return Response(None, 204)
