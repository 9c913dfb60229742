"""PrinterService: thin, over the use cases."""

from printfarm.control.v1 import printer_service_pb2 as pb
from printfarm.control.v1 import printer_service_pb2_grpc as rpc
from printfarm_rpc.serving import Context

from ..app import printers as cases
from ..app.farm import Farm
from ..app.jobs import missing
from . import convert, views
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token

_SERVICE = "/printfarm.control.v1.PrinterService/"


class PrinterServicer(rpc.PrinterServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def GetPrinter(self, request: pb.GetPrinterRequest, context: Context) -> pb.GetPrinterResponse:
        caller_of(_SERVICE + "GetPrinter", context, request)
        async with self._farm.store.read() as look:
            found = await look.printer(request.printer_id)
            if found is None:
                raise missing("printer", request.printer_id)
            [made] = await views.printers(self._farm, look, [found])
        return pb.GetPrinterResponse(printer=made)

    async def ListPrinters(self, request: pb.ListPrintersRequest, context: Context) -> pb.ListPrintersResponse:
        caller_of(_SERVICE + "ListPrinters", context, request)
        size = page_size(request.page_size)
        after = place("printers", request.page_token)
        states = {convert.from_number(convert.PRINTER_STATES, n, "states") for n in request.states}
        async with self._farm.store.read() as look:
            found = [
                p
                for p in await look.printers(request.agent_id)
                if (not states or p.observed_state in states) and (after is None or p.printer_id > str(after[0]))
            ]
            made = await views.printers(self._farm, look, found[:size])
        page = made[: as_many_as_fit(made)]
        following = token("printers", page[-1].printer_id) if len(page) < len(found) else ""
        return pb.ListPrintersResponse(printers=page, next_page_token=following)

    async def UpdatePrinter(self, request: pb.UpdatePrinterRequest, context: Context) -> pb.UpdatePrinterResponse:
        caller = caller_of(_SERVICE + "UpdatePrinter", context, request)
        volume = request.build_volume
        edit = cases.PrinterEdit(
            version=request.version,
            name=request.name if request.HasField("name") else None,
            material=request.material if request.HasField("material") else None,
            colour=request.colour if request.HasField("colour") else None,
            nozzle_diameter_mm=request.nozzle_diameter_mm if request.HasField("nozzle_diameter_mm") else None,
            volume_mm=(volume.x_mm, volume.y_mm, volume.z_mm) if request.HasField("build_volume") else None,
            tags=tuple(request.tags) if request.set_tags else None,
        )
        await cases.update_printer(self._farm, caller, request.printer_id, edit)
        return pb.UpdatePrinterResponse(printer=await views.fresh_printer(self._farm, request.printer_id))

    async def ClearBed(self, request: pb.ClearBedRequest, context: Context) -> pb.ClearBedResponse:
        caller = caller_of(_SERVICE + "ClearBed", context, request)
        good_parts = request.good_parts if request.HasField("good_parts") else None
        await cases.clear_bed(self._farm, caller, request.printer_id, request.run_id, good_parts, request.reason[:500])
        return pb.ClearBedResponse(printer=await views.fresh_printer(self._farm, request.printer_id))

    async def HoldPrinter(self, request: pb.HoldPrinterRequest, context: Context) -> pb.HoldPrinterResponse:
        caller = caller_of(_SERVICE + "HoldPrinter", context, request)
        await cases.hold_printer(self._farm, caller, request.printer_id, request.reason[:500])
        return pb.HoldPrinterResponse(printer=await views.fresh_printer(self._farm, request.printer_id))

    async def ReleasePrinter(self, request: pb.ReleasePrinterRequest, context: Context) -> pb.ReleasePrinterResponse:
        caller = caller_of(_SERVICE + "ReleasePrinter", context, request)
        await cases.release_printer(self._farm, caller, request.printer_id, request.reason[:500])
        return pb.ReleasePrinterResponse(printer=await views.fresh_printer(self._farm, request.printer_id))

    async def EmergencyStop(self, request: pb.EmergencyStopRequest, context: Context) -> pb.EmergencyStopResponse:
        caller = caller_of(_SERVICE + "EmergencyStop", context, request)
        await cases.emergency_stop(self._farm, caller, request.printer_id, request.reason[:500])
        return pb.EmergencyStopResponse(printer=await views.fresh_printer(self._farm, request.printer_id))
