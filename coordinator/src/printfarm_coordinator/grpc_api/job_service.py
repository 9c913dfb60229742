"""JobService: thin, over the use cases."""

import hashlib
from collections.abc import Mapping, Sequence

from printfarm.control.v1 import job_service_pb2 as pb
from printfarm.control.v1 import job_service_pb2_grpc as rpc
from printfarm.model.v1 import job_pb2
from printfarm_rpc.errors import invalid
from printfarm_rpc.serving import Context

from ..app import jobs as cases
from ..app.artifacts import check_sha256
from ..app.estimating import estimate_job
from ..app.farm import Farm
from ..app.ports import JobFilter
from ..app.submit import DEFAULT_RETRIES, JobOrder, submit
from ..domain.printer import Obstacle
from . import convert, cost_convert, views
from .agent_convert import duration
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token

_SERVICE = "/printfarm.control.v1.JobService/"
_DIGEST_BYTES = 32
MOST_RUNS = 500


class JobServicer(rpc.JobServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def CreateJob(self, request: pb.CreateJobRequest, context: Context) -> pb.CreateJobResponse:
        caller = caller_of(_SERVICE + "CreateJob", context, request)
        check_sha256("artifact_sha256", request.artifact_sha256)
        receipt = await submit(self._farm, caller, _order(request))
        made = await (
            views.fresh_job(self._farm, receipt.job.job_id)
            if receipt.repeated
            else views.new_job(self._farm, receipt.job, receipt.artifact)
        )
        return pb.CreateJobResponse(job=made, repeated_request=receipt.repeated)

    async def GetJob(self, request: pb.GetJobRequest, context: Context) -> pb.GetJobResponse:
        caller_of(_SERVICE + "GetJob", context, request)
        async with self._farm.store.read() as look:
            found = await look.job(request.job_id)
            if found is None:
                raise cases.missing("job", request.job_id)
            made, runs, cost = await views.job_with_cost(self._farm, look, found)
        # The newest; ListRuns tells them all.
        newest = runs[::-1][:MOST_RUNS]
        told = newest[: as_many_as_fit(newest)][::-1]
        return pb.GetJobResponse(job=made, runs=told, cost=cost, run_count=len(runs))

    async def ListJobs(self, request: pb.ListJobsRequest, context: Context) -> pb.ListJobsResponse:
        caller_of(_SERVICE + "ListJobs", context, request)
        size = page_size(request.page_size)
        after = place("jobs", request.page_token)
        states = tuple(convert.from_number(convert.JOB_STATES, n, "states") for n in request.states)
        wanted = JobFilter(
            size + 1,
            (int(after[0]), str(after[1])) if after else None,
            states,
            request.client[:200],
            request.name_contains[:200],
        )
        async with self._farm.store.read() as look:
            found = await look.jobs(wanted)
            made = await views.jobs(self._farm, look, found[:size], await look.active_runs() if found else ())
        page = made[: as_many_as_fit(made)]
        last = found[len(page) - 1] if len(page) < len(found) else None
        following = token("jobs", last.created_at, last.job_id) if last else ""
        return pb.ListJobsResponse(jobs=page, next_page_token=following)

    async def UpdateJob(self, request: pb.UpdateJobRequest, context: Context) -> pb.UpdateJobResponse:
        caller = caller_of(_SERVICE + "UpdateJob", context, request)
        change = cases.JobChange(
            version=request.version,
            name=request.name if request.HasField("name") else None,
            priority=request.priority if request.HasField("priority") else None,
            due_at=convert.microseconds(request.due_time, "due_time") if request.HasField("due_time") else None,
            clear_due=request.clear_due_time,
            quantity=request.quantity if request.HasField("quantity") else None,
            max_retries=request.max_retries if request.HasField("max_retries") else None,
            requirements=convert.requirements_from(request.requirements) if request.HasField("requirements") else None,
        )
        await cases.update_job(self._farm, caller, request.job_id, change)
        return pb.UpdateJobResponse(job=await views.fresh_job(self._farm, request.job_id))

    async def CancelJob(self, request: pb.CancelJobRequest, context: Context) -> pb.CancelJobResponse:
        caller = caller_of(_SERVICE + "CancelJob", context, request)
        await cases.cancel_job(self._farm, caller, request.job_id, request.reason[:500])
        return pb.CancelJobResponse(job=await views.fresh_job(self._farm, request.job_id))

    async def HoldJob(self, request: pb.HoldJobRequest, context: Context) -> pb.HoldJobResponse:
        caller = caller_of(_SERVICE + "HoldJob", context, request)
        await cases.hold_job(self._farm, caller, request.job_id, request.reason[:500])
        return pb.HoldJobResponse(job=await views.fresh_job(self._farm, request.job_id))

    async def ReleaseJob(self, request: pb.ReleaseJobRequest, context: Context) -> pb.ReleaseJobResponse:
        caller = caller_of(_SERVICE + "ReleaseJob", context, request)
        await cases.release_job(self._farm, caller, request.job_id)
        return pb.ReleaseJobResponse(job=await views.fresh_job(self._farm, request.job_id))

    async def AssignJob(self, request: pb.AssignJobRequest, context: Context) -> pb.AssignJobResponse:
        caller = caller_of(_SERVICE + "AssignJob", context, request)
        run = await cases.assign_job(
            self._farm, caller, request.job_id, request.printer_id, request.idempotency_key[:255]
        )
        return pb.AssignJobResponse(run=views.run(self._farm, run))

    async def EstimateJob(self, request: pb.EstimateJobRequest, context: Context) -> pb.EstimateJobResponse:
        caller = caller_of(_SERVICE + "EstimateJob", context, request)
        check_sha256("artifact_sha256", request.artifact_sha256)
        found = await estimate_job(self._farm, caller, _asked(request))
        made = pb.EstimateJobResponse(
            plates=found.plates,
            preparing=found.is_preparing,
            run_duration=duration(found.run_seconds) if found.run_seconds is not None else None,
            run_filament_grams=found.run_grams,
            slicings=map(convert.slicing, found.slicings),
            able_printer_ids=found.able,
            reasons=_reasons(found.reasons),
            failure=found.failure,
            cost=cost_convert.cost_estimate(found.cost) if found.cost else None,
            parts_per_plate=found.parts_per_plate,
        )
        return made

    async def ExplainJob(self, request: pb.ExplainJobRequest, context: Context) -> pb.ExplainJobResponse:
        caller_of(_SERVICE + "ExplainJob", context, request)
        found = await cases.explain_job(self._farm, request.job_id)
        return pb.ExplainJobResponse(
            reasons=_reasons(found.reasons),
            eligible_printer_ids=found.eligible,
            waiting_for=duration(found.waiting_us / 1e6),
            summary=found.summary,
        )


def _reasons(found: Mapping[str, Sequence[Obstacle]]) -> list[job_pb2.WaitingReason]:
    return [
        job_pb2.WaitingReason(printer_id=printer_id, code=obstacle.code, explanation=obstacle.explanation)
        for printer_id, obstacles in found.items()
        for obstacle in obstacles
    ]


def _parts(request: pb.CreateJobRequest | pb.EstimateJobRequest) -> int:
    """One of them may be said: a number, or as many as fit."""
    if request.fit_plate and request.parts_per_plate:
        raise invalid("parts_per_plate", "must be left out where as many as fit are asked for")
    return 1 if request.fit_plate else request.parts_per_plate


def _asked(request: pb.EstimateJobRequest) -> JobOrder:
    return JobOrder(
        name="estimate",
        artifact_sha256=request.artifact_sha256,
        quantity=request.quantity,
        parts_per_plate=_parts(request),
        fit_plate=request.fit_plate,
        priority=0,
        due_at=None,
        requirements=convert.requirements_from(request.requirements),
        max_retries=DEFAULT_RETRIES,
        idempotency_key="",
        digest="",
        profile=request.profile,
        plate=request.plate,
    )


def _order(request: pb.CreateJobRequest) -> JobOrder:
    return JobOrder(
        name=request.name,
        artifact_sha256=request.artifact_sha256,
        quantity=request.quantity,
        parts_per_plate=_parts(request),
        fit_plate=request.fit_plate,
        priority=request.priority,
        due_at=convert.microseconds(request.due_time, "due_time") if request.HasField("due_time") else None,
        requirements=convert.requirements_from(request.requirements),
        max_retries=request.max_retries if request.HasField("max_retries") else DEFAULT_RETRIES,
        idempotency_key=request.idempotency_key,
        digest=_digest(request).hex(),
        profile=request.profile,
        plate=request.plate,
    )


def _digest(request: pb.CreateJobRequest) -> bytes:
    """Of what was asked, without the key: one key for two requests is noticed. A gateway knows better what it was asked."""
    if request.request_digest:
        if len(request.request_digest) != _DIGEST_BYTES:
            raise invalid("request_digest", f"must be {_DIGEST_BYTES} bytes")
        return request.request_digest
    asked = pb.CreateJobRequest()
    asked.CopyFrom(request)
    asked.ClearField("idempotency_key")
    return hashlib.sha256(asked.SerializeToString(deterministic=True)).digest()
