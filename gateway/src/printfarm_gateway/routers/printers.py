"""Printers and their gates."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from printfarm.control.v1 import job_service_pb2
from printfarm.control.v1 import printer_service_pb2 as pb
from printfarm.model.v1 import printer_pb2
from printfarm_rpc.errors import FarmError

from .. import schemas, views
from ..deps import IDEMPOTENCY_KEY, Control, Cursor, Limit, Who, answer, bad_cursor, idempotency_key, page, problems
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1/printers", tags=["printers"], route_class=FarmRoute)
_STATES: dict[str, Any] = {word: number for number, word in views.PRINTER_STATES.items() if word != "unspecified"}


@router.get("", response_model=schemas.Page[schemas.Printer], responses=problems(), summary="List printers")
async def list_printers(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Cursor = "",
    agent_id: Annotated[str, Query(max_length=64)] = "",
    state: Annotated[list[schemas.PrinterState] | None, Query(max_length=9)] = None,
) -> Response:
    """By id; filtered by agent and state."""
    states = [_STATES[word] for word in state or []]
    request = pb.ListPrintersRequest(page_size=limit, page_token=cursor, agent_id=agent_id, states=states)
    try:
        found = await control.call(control.printers.ListPrinters, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.printer(printer) for printer in found.printers], found.next_page_token)


@router.get("/{printer_id}", response_model=schemas.Printer, responses=problems(404), summary="Show a printer")
async def show_printer(printer_id: str, control: Control, who: Who) -> Response:
    """With its newest telemetry."""
    request = pb.GetPrinterRequest(printer_id=printer_id)
    return answer(views.printer((await control.call(control.printers.GetPrinter, request, who)).printer))


@router.patch("/{printer_id}", response_model=schemas.Printer, responses=problems(404, 409), summary="Change a printer")
async def change_printer(printer_id: str, change: schemas.PrinterChange, control: Control, who: Who) -> Response:
    """What is said here wins over the machine's word: the loaded material, a name, tags."""
    volume = change.build_volume
    request = pb.UpdatePrinterRequest(
        printer_id=printer_id,
        version=change.version or 0,
        name=change.name,
        material=change.material,
        colour=change.colour,
        nozzle_diameter_mm=change.nozzle_diameter_mm,
        build_volume=printer_pb2.BuildVolume(x_mm=volume.x_mm, y_mm=volume.y_mm, z_mm=volume.z_mm) if volume else None,
        tags=change.tags or [],
        set_tags=change.tags is not None,
    )
    return answer(views.printer((await control.call(control.printers.UpdatePrinter, request, who)).printer))


@router.post(
    "/{printer_id}/assign",
    status_code=202,
    response_model=schemas.Run,
    responses=problems(404, 409),
    openapi_extra={"parameters": [IDEMPOTENCY_KEY]},
    summary="Put a given job on a given printer",
)
async def assign(request: Request, printer_id: str, order: schemas.AssignOrder, control: Control, who: Who) -> Response:
    """Now; 409 with the reasons if the printer cannot take it."""
    asked = job_service_pb2.AssignJobRequest(
        job_id=order.job_id, printer_id=printer_id, idempotency_key=idempotency_key(request)
    )
    return answer(views.run((await control.call(control.jobs.AssignJob, asked, who)).run), 202)


@router.post(
    "/{printer_id}/bed/clear", response_model=schemas.Printer, responses=problems(404, 409), summary="The part is off"
)
async def clear_bed(
    printer_id: str, control: Control, who: Who, order: schemas.BedClear = schemas.BED_CLEAR
) -> Response:
    """A person's word that the plate is clear; with `good_parts` also the verdict on the run that lay there."""
    request = pb.ClearBedRequest(
        printer_id=printer_id, run_id=order.run_id or "", good_parts=order.good_parts, reason=order.reason
    )
    return answer(views.printer((await control.call(control.printers.ClearBed, request, who)).printer))


@router.post(
    "/{printer_id}/hold", response_model=schemas.Printer, responses=problems(404, 409), summary="Hold a printer"
)
async def hold(printer_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON) -> Response:
    """No new run; one under way goes on."""
    request = pb.HoldPrinterRequest(printer_id=printer_id, reason=because.reason)
    return answer(views.printer((await control.call(control.printers.HoldPrinter, request, who)).printer))


@router.post(
    "/{printer_id}/release", response_model=schemas.Printer, responses=problems(404, 409), summary="Release a printer"
)
async def release(
    printer_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON
) -> Response:
    """Ends a hold, a lock and a latched emergency stop."""
    request = pb.ReleasePrinterRequest(printer_id=printer_id, reason=because.reason)
    return answer(views.printer((await control.call(control.printers.ReleasePrinter, request, who)).printer))


@router.post(
    "/{printer_id}/emergency-stop",
    status_code=202,
    response_model=schemas.Printer,
    responses=problems(404, 409),
    summary="Stop the machine now",
)
async def emergency_stop(
    printer_id: str, control: Control, who: Who, because: schemas.Because = schemas.NO_REASON
) -> Response:
    """Latched: only a person releases it. The event `printer.emergency_stopped` says when it was written to the machine."""
    request = pb.EmergencyStopRequest(printer_id=printer_id, reason=because.reason)
    return answer(views.printer((await control.call(control.printers.EmergencyStop, request, who)).printer), 202)
