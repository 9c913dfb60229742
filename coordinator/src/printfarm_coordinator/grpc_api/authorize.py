"""Who may call what: first by certificate, then by the principal that a gateway speaks for."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.identity import PeerRole
from printfarm_rpc.serving import PEER, REQUEST_ID, Context

from ..app.farm import Caller
from ..app.ports import Role
from .validate import check_text

_AGENT = frozenset({PeerRole.AGENT})
_GATEWAY = frozenset({PeerRole.GATEWAY})
_PEOPLE = frozenset({PeerRole.GATEWAY, PeerRole.OPERATOR})
_SLICER = frozenset({PeerRole.SLICER})
_ANY = frozenset(PeerRole)

_AGENT_METHODS = (
    "Connect",
    "AuthoriseStart",
    "StreamTelemetry",
    "UploadFrames",
    "DownloadArtifact",
    "RenewCertificate",
)
_SLICING_METHODS = ("ClaimWork", "RenewClaim", "ReadModel", "StoreResult", "CompleteWork", "FailWork")
# The least role of a principal, by service and method. None: the gateway itself asks, before it knows a principal.
_CONTROL: dict[str, dict[str, Role | None]] = {
    "JobService": {
        "CreateJob": Role.OPERATOR,
        "GetJob": Role.VIEWER,
        "ListJobs": Role.VIEWER,
        "UpdateJob": Role.OPERATOR,
        "CancelJob": Role.OPERATOR,
        "HoldJob": Role.OPERATOR,
        "ReleaseJob": Role.OPERATOR,
        "AssignJob": Role.OPERATOR,
        # It may order a slicing.
        "EstimateJob": Role.OPERATOR,
        "ExplainJob": Role.VIEWER,
    },
    "RunService": {
        "GetRun": Role.VIEWER,
        "ListRuns": Role.VIEWER,
        "PauseRun": Role.OPERATOR,
        "ResumeRun": Role.OPERATOR,
        "CancelRun": Role.OPERATOR,
        "GiveVerdict": Role.OPERATOR,
        "ResolveRun": Role.OPERATOR,
    },
    "PrinterService": {
        "GetPrinter": Role.VIEWER,
        "ListPrinters": Role.VIEWER,
        "UpdatePrinter": Role.OPERATOR,
        "ClearBed": Role.OPERATOR,
        "HoldPrinter": Role.OPERATOR,
        "ReleasePrinter": Role.OPERATOR,
        "EmergencyStop": Role.OPERATOR,
    },
    "ArtifactService": {
        "CreateUpload": Role.OPERATOR,
        "GetUpload": Role.OPERATOR,
        "AppendUpload": Role.OPERATOR,
        "FinishUpload": Role.OPERATOR,
        "DeleteUpload": Role.OPERATOR,
        "StoreArtifact": Role.OPERATOR,
        "GetArtifact": Role.VIEWER,
        "ListArtifacts": Role.VIEWER,
        "ReadArtifact": Role.VIEWER,
        "GetThumbnail": Role.VIEWER,
        "DeleteArtifact": Role.OPERATOR,
    },
    "ProfileService": {
        "PutProfile": Role.OPERATOR,
        "GetProfile": Role.VIEWER,
        "ListProfiles": Role.VIEWER,
        "RetireProfile": Role.OPERATOR,
    },
    "RateService": {"PutRate": Role.ADMIN, "ListRates": Role.VIEWER, "RetireRate": Role.ADMIN},
    "SafetyService": {
        "GetJobSafety": Role.VIEWER,
        "AllowFindings": Role.OPERATOR,
        "RevokeOverride": Role.OPERATOR,
    },
    "EventService": {"Watch": Role.VIEWER, "ListEvents": Role.VIEWER},
    "FarmService": {
        "GetHealth": None,
        "GetStats": Role.VIEWER,
        "GetUtilization": Role.VIEWER,
        "ListAuditEntries": Role.ADMIN,
    },
    "AgentAdminService": {
        "GetAgent": Role.VIEWER,
        "ListAgents": Role.VIEWER,
        "CreateEnrollmentToken": Role.ADMIN,
        "RevokeAgent": Role.ADMIN,
        "DrainAgent": Role.OPERATOR,
    },
    "AccessService": {
        "AuthenticateKey": None,
        "AuthenticatePassword": None,
        "CheckUser": None,
        "CreateApiKey": Role.ADMIN,
        "ListApiKeys": Role.ADMIN,
        "RevokeApiKey": Role.ADMIN,
        "CreateUser": Role.ADMIN,
        "ListUsers": Role.ADMIN,
        "UpdateUser": Role.ADMIN,
        # Of oneself; the servicer sees to it.
        "LogOut": Role.VIEWER,
    },
}
_RANK = {role: rank for rank, role in enumerate(Role)}


def _table(prefix: str, services: Mapping[str, Mapping[str, object]], roles: frozenset[PeerRole]) -> dict[str, Any]:
    return {f"/{prefix}.{service}/{method}": roles for service, methods in services.items() for method in methods}


AGENT_TABLE: dict[str, frozenset[PeerRole] | None] = _table(
    "printfarm.agent.v1", {"AgentService": dict.fromkeys(_AGENT_METHODS)}, _AGENT
) | {"/grpc.health.v1.Health/Check": _ANY, "/grpc.health.v1.Health/List": _ANY, "/grpc.health.v1.Health/Watch": _ANY}
ENROLLMENT_TABLE: dict[str, frozenset[PeerRole] | None] = {"/printfarm.agent.v1.EnrollmentService/Enroll": None}
CONTROL_TABLE: dict[str, frozenset[PeerRole] | None] = {
    **_table("printfarm.control.v1", _CONTROL, _PEOPLE),
    # Only a gateway meets people's secrets.
    **{
        f"/printfarm.control.v1.AccessService/{method}": _GATEWAY
        for method in ("AuthenticateKey", "AuthenticatePassword", "CheckUser")
    },
    **_table("printfarm.slicer.v1", {"SlicingService": dict.fromkeys(_SLICING_METHODS)}, _SLICER),
    "/grpc.health.v1.Health/Check": _PEOPLE,
    "/grpc.health.v1.Health/List": _PEOPLE,
    "/grpc.health.v1.Health/Watch": _PEOPLE,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _PEOPLE,
}
LEAST_ROLE: dict[str, Role | None] = {
    f"/printfarm.control.v1.{service}/{method}": role
    for service, methods in _CONTROL.items()
    for method, role in methods.items()
}


def caller_of(method: str, context: Context, request: Message | None = None) -> Caller:
    """On whose behalf the call runs. Raises PERMISSION_DENIED where the role does not reach, INVALID_ARGUMENT for bad text.

    Actor and role of the metadata are believed from a gateway's certificate alone; an operator's certificate is an
    administrator.
    """
    caller = _caller(method, context)
    if request is not None:
        check_text(request)
    return caller


def _caller(method: str, context: Context) -> Caller:
    peer = PEER.get()
    if peer is None:
        raise FarmError(Code.UNAUTHENTICATED)
    if peer.role is PeerRole.OPERATOR:
        return Caller(f"operator/{peer.name}", Role.ADMIN, REQUEST_ID.get())
    metadata = dict(context.invocation_metadata() or ())
    name, said = str(metadata.get("x-printfarm-actor", "")), str(metadata.get("x-printfarm-role", ""))
    least = LEAST_ROLE[method]
    if least is None:
        return Caller(f"gateway/{peer.name}", Role.VIEWER, REQUEST_ID.get())
    if not 0 < len(name) <= 128 or said not in set(Role):
        raise FarmError(Code.UNAUTHENTICATED, "a gateway must say for whom it asks")
    role = Role(said)
    if _RANK[role] < _RANK[least]:
        raise FarmError(Code.PERMISSION_DENIED, f"this needs the role {least}; yours is {role}")
    return Caller(name, role, REQUEST_ID.get())
