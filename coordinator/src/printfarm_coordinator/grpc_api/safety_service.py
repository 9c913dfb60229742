"""SafetyService: thin, over the use cases."""

from printfarm.control.v1 import safety_service_pb2 as pb
from printfarm.control.v1 import safety_service_pb2_grpc as rpc
from printfarm_rpc.serving import Context

from ..app import overrides as cases
from ..app.farm import Farm
from ..domain.safety_policy import Answer, Override
from .authorize import caller_of
from .convert import timestamp

_SERVICE = "/printfarm.control.v1.SafetyService/"
ANSWERS: dict[Answer, pb.SafetyAnswer.ValueType] = {
    Answer.ALLOW: pb.SAFETY_ANSWER_ALLOW,
    Answer.OPERATOR: pb.SAFETY_ANSWER_OPERATOR,
    Answer.ADMIN: pb.SAFETY_ANSWER_ADMIN,
    Answer.REFUSE: pb.SAFETY_ANSWER_REFUSE,
}


class SafetyServicer(rpc.SafetyServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def GetJobSafety(self, request: pb.GetJobSafetyRequest, context: Context) -> pb.GetJobSafetyResponse:
        caller_of(_SERVICE + "GetJobSafety", context, request)
        return pb.GetJobSafetyResponse(safety=_safety(await cases.job_safety(self._farm, request.job_id)))

    async def AllowFindings(self, request: pb.AllowFindingsRequest, context: Context) -> pb.AllowFindingsResponse:
        caller = caller_of(_SERVICE + "AllowFindings", context, request)
        seen = await cases.allow_findings(self._farm, caller, request.job_id, request.reason)
        return pb.AllowFindingsResponse(safety=_safety(seen))

    async def RevokeOverride(self, request: pb.RevokeOverrideRequest, context: Context) -> pb.RevokeOverrideResponse:
        caller = caller_of(_SERVICE + "RevokeOverride", context, request)
        seen = await cases.revoke_override(
            self._farm, caller, request.job_id, request.override_id, request.reason[: cases.LONGEST_REASON]
        )
        return pb.RevokeOverrideResponse(safety=_safety(seen))


def _safety(seen: cases.JobSafety) -> pb.JobSafety:
    found = seen.found
    made = pb.JobSafety(
        job_id=seen.job.job_id,
        artifact_sha256=seen.job.artifact_sha256,
        checked=found is not None,
        rules=found.rules if found else 0,
        waiting_firmwares=seen.job.requirements.file.waits_for,
        refused_firmwares=seen.job.requirements.file.refused_by,
        overrides=map(_override, seen.overrides),
    )
    for finding in found.refused if found else ():
        by = found.refused_by if found else ()
        made.findings.add(
            line=finding.line,
            command=finding.command,
            rule=finding.rule,
            text=finding.text,
            answer=pb.SAFETY_ANSWER_REFUSE,
            firmwares=by,
        )
    for asked in seen.asked:
        question = asked.question
        made.findings.add(
            line=question.line,
            command=question.command,
            rule=question.rule,
            text=question.text,
            answer=ANSWERS[asked.answer],
            firmwares=question.dialects,
            allowed_by=asked.allowed_by,
        )
    return made


def _override(given: Override) -> pb.Override:
    return pb.Override(
        override_id=given.override_id,
        artifact_sha256=given.sha256,
        rules=given.rules,
        actor=given.actor,
        role=given.role,
        reason=given.reason,
        covers=given.covers,
        create_time=timestamp(given.created_at),
        revoke_time=timestamp(given.revoked_at),
        revoked_by=given.revoked_by,
    )
