"""FarmService: figures, condition, audit."""

from printfarm.control.v1 import farm_service_pb2 as pb
from printfarm.control.v1 import farm_service_pb2_grpc as rpc
from printfarm.model.v1 import cost_pb2
from printfarm_rpc.errors import invalid
from printfarm_rpc.serving import Context

from ..app import stats as cases
from ..app.condition import conditions
from ..app.farm import Farm
from ..app.jobs import missing
from ..app.ports import StoredAudit
from ..domain.run import RunState
from . import convert, cost_convert, views
from .agent_convert import duration
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token

_SERVICE = "/printfarm.control.v1.FarmService/"


class FarmServicer(rpc.FarmServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm, *, has_broker: bool) -> None:
        self._farm = farm
        self._has_broker = has_broker

    async def GetHealth(self, request: pb.GetHealthRequest, context: Context) -> pb.GetHealthResponse:
        caller_of(_SERVICE + "GetHealth", context, request)
        found = await conditions(self._farm, has_broker=self._has_broker)
        return pb.GetHealthResponse(
            components=[
                pb.ComponentHealth(component=c.component, status=c.status, detail=c.detail, latency=duration(c.seconds))
                for c in found
            ]
        )

    async def GetStats(self, request: pb.GetStatsRequest, context: Context) -> pb.GetStatsResponse:
        caller_of(_SERVICE + "GetStats", context, request)
        found = await cases.stats(self._farm)
        async with self._farm.store.read() as look:
            outlooks = await views.outlooks(self._farm, look, await look.open_jobs(), await look.active_runs())
        return pb.GetStatsResponse(
            jobs_by_state=found.jobs,
            runs_by_state=found.runs,
            printers_by_state=found.printers,
            printers_waiting_for_bed_clear=found.waiting_for_bed_clear,
            printers_held=found.held,
            agents_connected=found.agents_connected,
            agents_unreachable=found.agents_unreachable,
            runs_unconfirmed=found.runs.get(RunState.UNCONFIRMED.value, 0),
            runs_waiting_for_verdict=found.without_verdict,
            parts_owed=found.parts_owed,
            jobs_at_risk=sum(view.at_risk for view in outlooks),
            jobs_overdue=found.overdue,
            runs_finished_today=found.finished_today,
            runs_failed_today=found.failed_today,
            as_of=convert.timestamp(found.now),
            oldest_waiting=duration(found.oldest_waiting / 1e6),
            estimated_backlog=duration(found.backlog_seconds),
            cost_today=_cost(found, self._farm.currency),
        )

    async def GetUtilization(self, request: pb.GetUtilizationRequest, context: Context) -> pb.GetUtilizationResponse:
        caller_of(_SERVICE + "GetUtilization", context, request)
        start = convert.microseconds(request.start_time, "start_time")
        end = convert.microseconds(request.end_time, "end_time")
        if not 0 < end - start <= cases.LONGEST_RANGE_US:
            raise invalid("end_time", "must be after start_time, by at most 400 days")
        found = await cases.utilization(self._farm, start, end, request.printer_id)
        if request.printer_id and not found:
            raise missing("printer", request.printer_id)
        known, printing = sum(u.known for u in found), sum(u.printing for u in found)
        return pb.GetUtilizationResponse(
            printers=map(_utilization, found), utilization=min(1.0, printing / known) if known else 0.0
        )

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        caller_of(_SERVICE + "ListAuditEntries", context, request)
        size = page_size(request.page_size)
        before = place("audit", request.page_token)
        async with self._farm.store.read() as look:
            found = await look.audit(size + 1, int(before[0]) if before else None, request.subject_id)
        made = list(map(_audit, found[:size]))
        page = made[: as_many_as_fit(made)]
        following = token("audit", found[len(page) - 1].sequence) if len(page) < len(found) else ""
        return pb.ListAuditEntriesResponse(entries=page, next_page_token=following)


def _cost(found: cases.Stats, currency: str) -> cost_pb2.CostSum | None:
    if found.cost_today is None or found.unfinished_today is None:
        return None
    return cost_convert.cost_sum(found.cost_today, found.unfinished_today, currency)


def _utilization(found: cases.Usage) -> pb.PrinterUtilization:
    return pb.PrinterUtilization(
        printer_id=found.printer_id,
        printing=duration(found.printing / 1e6),
        known=duration(found.known / 1e6),
        utilization=found.share,
        runs_started=found.started,
        runs_finished=found.finished,
        runs_failed=found.failed,
    )


def _audit(found: StoredAudit) -> pb.AuditEntry:
    entry = found.entry
    return pb.AuditEntry(
        sequence=found.sequence,
        create_time=convert.timestamp(found.created_at),
        actor=entry.actor,
        action=entry.action,
        subject_kind=entry.subject_kind,
        subject_id=entry.subject_id,
        reason=entry.reason,
        epoch=entry.epoch,
        request_id=found.request_id,
        hash=found.hash,
    )
