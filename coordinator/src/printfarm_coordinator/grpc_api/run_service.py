"""RunService: thin, over the use cases."""

from printfarm.control.v1 import run_service_pb2 as pb
from printfarm.control.v1 import run_service_pb2_grpc as rpc
from printfarm_rpc.errors import invalid
from printfarm_rpc.serving import Context

from ..app import runs as cases
from ..app.farm import Farm
from ..app.jobs import missing
from ..app.ports import RunFilter
from . import convert, views
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token

_SERVICE = "/printfarm.control.v1.RunService/"


class RunServicer(rpc.RunServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.GetRunResponse:
        caller_of(_SERVICE + "GetRun", context, request)
        async with self._farm.store.read() as look:
            found = await look.run(request.run_id)
        if found is None:
            raise missing("run", request.run_id)
        return pb.GetRunResponse(run=views.run(self._farm, found))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        caller_of(_SERVICE + "ListRuns", context, request)
        size = page_size(request.page_size)
        after = place("runs", request.page_token)
        wanted = RunFilter(
            size + 1,
            (int(after[0]), str(after[1])) if after else None,
            request.job_id,
            request.printer_id,
            tuple(convert.from_number(convert.RUN_STATES, n, "states") for n in request.states),
        )
        async with self._farm.store.read() as look:
            found = await look.runs(wanted)
        made = [views.run(self._farm, run) for run in found[:size]]
        page = made[: as_many_as_fit(made)]
        last = found[len(page) - 1] if len(page) < len(found) else None
        following = token("runs", last.created_at, last.run_id) if last else ""
        return pb.ListRunsResponse(runs=page, next_page_token=following)

    async def PauseRun(self, request: pb.PauseRunRequest, context: Context) -> pb.PauseRunResponse:
        caller = caller_of(_SERVICE + "PauseRun", context, request)
        await cases.pause_run(self._farm, caller, request.run_id, request.reason[:500], pause=True)
        return pb.PauseRunResponse(run=await views.fresh_run(self._farm, request.run_id))

    async def ResumeRun(self, request: pb.ResumeRunRequest, context: Context) -> pb.ResumeRunResponse:
        caller = caller_of(_SERVICE + "ResumeRun", context, request)
        await cases.pause_run(self._farm, caller, request.run_id, request.reason[:500], pause=False)
        return pb.ResumeRunResponse(run=await views.fresh_run(self._farm, request.run_id))

    async def CancelRun(self, request: pb.CancelRunRequest, context: Context) -> pb.CancelRunResponse:
        caller = caller_of(_SERVICE + "CancelRun", context, request)
        await cases.cancel_run(self._farm, caller, request.run_id, request.reason[:500])
        return pb.CancelRunResponse(run=await views.fresh_run(self._farm, request.run_id))

    async def GiveVerdict(self, request: pb.GiveVerdictRequest, context: Context) -> pb.GiveVerdictResponse:
        caller = caller_of(_SERVICE + "GiveVerdict", context, request)
        await cases.give_verdict(
            self._farm,
            caller,
            request.run_id,
            request.good_parts,
            request.reason[:500],
            clear_bed=not request.keep_bed_occupied,
        )
        return pb.GiveVerdictResponse(run=await views.fresh_run(self._farm, request.run_id))

    async def ResolveRun(self, request: pb.ResolveRunRequest, context: Context) -> pb.ResolveRunResponse:
        caller = caller_of(_SERVICE + "ResolveRun", context, request)
        outcome = convert.OUTCOMES.get(request.outcome)
        if outcome is None:
            raise invalid("outcome", f"must be one of {', '.join(convert.OUTCOMES.values())}")
        await cases.resolve_run(self._farm, caller, request.run_id, outcome, request.reason[:500])
        return pb.ResolveRunResponse(run=await views.fresh_run(self._farm, request.run_id))
