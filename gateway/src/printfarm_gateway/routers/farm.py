"""Figures over the whole farm, and the audit log."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import AwareDatetime

from printfarm.control.v1 import farm_service_pb2 as pb
from printfarm_rpc.errors import FarmError

from .. import cost_views, schemas, views
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, page, problems
from ..problems import wrong_field
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1", tags=["farm"], route_class=FarmRoute)
_LONGEST = timedelta(days=400)
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC)
_COUNTS = (
    "printers_waiting_for_bed_clear",
    "printers_held",
    "agents_connected",
    "agents_unreachable",
    "runs_unconfirmed",
    "runs_waiting_for_verdict",
    "parts_owed",
    "jobs_at_risk",
    "jobs_overdue",
    "runs_finished_today",
    "runs_failed_today",
)


@router.get("/dashboard/stats", response_model=schemas.Stats, responses=problems(), summary="Live operational figures")
async def dashboard_stats(control: Control, who: Who) -> Response:
    """What needs hands, what is late, what failed."""
    found = await control.call(control.farm.GetStats, pb.GetStatsRequest(), who)
    return answer(
        {
            "jobs_by_state": dict(found.jobs_by_state),
            "runs_by_state": dict(found.runs_by_state),
            "printers_by_state": dict(found.printers_by_state),
            **{name: getattr(found, name) for name in _COUNTS},
            "oldest_waiting_seconds": views.seconds(found.oldest_waiting),
            "estimated_backlog_seconds": views.seconds(found.estimated_backlog),
            "cost_today": cost_views.cost_sum(found.cost_today) if found.HasField("cost_today") else None,
            "as_of": views.moment(found, "as_of"),
        }
    )


@router.get(
    "/analytics/utilization",
    response_model=schemas.Utilization,
    responses=problems(404),
    summary="Printer utilisation over a time range",
)
async def utilization(
    control: Control,
    who: Who,
    start: Annotated[AwareDatetime | None, Query(description="default: 24 h before the end")] = None,
    end: Annotated[AwareDatetime | None, Query(description="default: now")] = None,
    printer_id: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Printing time of the time in which the farm knew the printer, 0..1."""
    last = end or datetime.now(UTC)
    if not _EARLIEST <= last <= _LATEST:
        raise wrong_field("end", "must lie between 1970 and 2199")
    first = start or last - timedelta(hours=24)
    if not _EARLIEST - timedelta(days=1) <= first < last or last - first > _LONGEST:
        raise wrong_field("start", "must be before end, by at most 400 days")
    request = pb.GetUtilizationRequest(start_time=_stamp(first), end_time=_stamp(last), printer_id=printer_id)
    found = await control.call(control.farm.GetUtilization, request, who)
    return answer(
        {
            "start": first.isoformat(),
            "end": last.isoformat(),
            "utilization": found.utilization,
            "printers": [_usage(printer) for printer in found.printers],
        }
    )


def _stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def _usage(found: pb.PrinterUtilization) -> views.JSON:
    return {
        "printer_id": found.printer_id,
        "printing_seconds": views.seconds(found.printing),
        "known_seconds": views.seconds(found.known),
        "utilization": found.utilization,
        "runs_started": found.runs_started,
        "runs_finished": found.runs_finished,
        "runs_failed": found.runs_failed,
    }


@router.get(
    "/audit", response_model=schemas.Page[schemas.AuditEntry], responses=problems(), summary="Who did what, and why"
)
async def list_audit(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Cursor = "",
    subject_id: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Newest first. Each row's hash covers the row before it."""
    request = pb.ListAuditEntriesRequest(page_size=limit, page_token=cursor, subject_id=subject_id)
    try:
        found = await control.call(control.farm.ListAuditEntries, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([_entry(entry) for entry in found.entries], found.next_page_token)


def _entry(found: pb.AuditEntry) -> views.JSON:
    return {
        "sequence": found.sequence,
        "created_at": views.moment(found, "create_time"),
        "actor": found.actor,
        "action": found.action,
        "subject_kind": found.subject_kind,
        "subject_id": found.subject_id,
        "reason": found.reason,
        "epoch": found.epoch,
        "request_id": found.request_id,
        "hash": found.hash,
    }
