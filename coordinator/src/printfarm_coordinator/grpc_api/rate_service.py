"""RateService: thin, over the use cases."""

from printfarm.control.v1 import rate_service_pb2 as pb
from printfarm.control.v1 import rate_service_pb2_grpc as rpc
from printfarm_rpc.serving import Context

from ..app import rates as cases
from ..app.farm import Farm
from ..domain.rate import Rate
from . import convert, cost_convert
from .authorize import caller_of

_SERVICE = "/printfarm.control.v1.RateService/"


class RateServicer(rpc.RateServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def PutRate(self, request: pb.PutRateRequest, context: Context) -> pb.PutRateResponse:
        caller = caller_of(_SERVICE + "PutRate", context, request)
        is_later = request.HasField("valid_from_time")
        order = cases.RateOrder(
            convert.from_number(cost_convert.RATE_KINDS, request.kind, "kind"),
            request.price,
            request.material,
            request.colour,
            request.printer_id,
            request.density_g_cm3 if request.HasField("density_g_cm3") else None,
            request.diameter_mm if request.HasField("diameter_mm") else None,
            convert.microseconds(request.valid_from_time, "valid_from") if is_later else None,
        )
        return pb.PutRateResponse(rate=_rate(await cases.put_rate(self._farm, caller, order)))

    async def ListRates(self, request: pb.ListRatesRequest, context: Context) -> pb.ListRatesResponse:
        caller_of(_SERVICE + "ListRates", context, request)
        found = await cases.list_rates(self._farm, history=request.history)
        return pb.ListRatesResponse(rates=map(_rate, found), currency=self._farm.currency)

    async def RetireRate(self, request: pb.RetireRateRequest, context: Context) -> pb.RetireRateResponse:
        caller = caller_of(_SERVICE + "RetireRate", context, request)
        await cases.retire_rate(self._farm, caller, request.rate_id, request.reason[:500])
        return pb.RetireRateResponse()


def _rate(found: Rate) -> pb.Rate:
    of = found.subject
    return pb.Rate(
        rate_id=found.rate_id,
        kind=cost_convert.RATE_KINDS[of.kind],
        material=of.material,
        colour=of.colour,
        printer_id=of.printer_id,
        price=cost_convert.price(found),
        currency=found.currency,
        density_g_cm3=found.density_g_cm3,
        diameter_mm=found.diameter_mm,
        valid_from_time=convert.timestamp(found.valid_from),
        created_by=found.created_by,
        create_time=convert.timestamp(found.created_at),
    )
