"""The catalogue of errors: one code, its gRPC status, its HTTP status, and the words that may leave the process.

A code travels as ``google.rpc.ErrorInfo.reason`` in the status details; fields as ``google.rpc.BadRequest``.
"""

import uuid
from dataclasses import dataclass
from enum import Enum

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "printfarm"
_LOG = structlog.get_logger(__name__)
# An error travels as metadata, of which METADATA_BYTES are let through: the message twice, once with three bytes for each
# that is not ASCII, and the rest as base64. Together these stay below it.
_MESSAGE_BYTES = 1000
_MOST_FIELDS = 10
_FIELD_BYTES = 300
_ALL_FIELDS_BYTES = 2400


@dataclass(frozen=True, slots=True)
class _Face:
    status: grpc.StatusCode
    http: int
    title: str


_S = grpc.StatusCode


class Code(Enum):
    """Every error that a program of the farm answers with."""

    INVALID_ARGUMENT = _Face(_S.INVALID_ARGUMENT, 422, "A field is not valid")
    MALFORMED = _Face(_S.INVALID_ARGUMENT, 400, "The request cannot be read")
    UNAUTHENTICATED = _Face(_S.UNAUTHENTICATED, 401, "Who you are is not known")
    PERMISSION_DENIED = _Face(_S.PERMISSION_DENIED, 403, "Your role does not allow this")
    NOT_FOUND = _Face(_S.NOT_FOUND, 404, "There is no such thing")
    ARTIFACT_NOT_FOUND = _Face(_S.NOT_FOUND, 422, "There is no artifact of that SHA-256")
    ALREADY_EXISTS = _Face(_S.ALREADY_EXISTS, 409, "It exists already")
    IDEMPOTENCY_MISMATCH = _Face(_S.INVALID_ARGUMENT, 422, "The idempotency key was used for another request")
    IDEMPOTENCY_IN_PROGRESS = _Face(_S.ABORTED, 409, "A request of that idempotency key is under way")
    VERSION_CONFLICT = _Face(_S.ABORTED, 409, "It was changed since you read it")
    ILLEGAL_STATE = _Face(_S.FAILED_PRECONDITION, 409, "Its state does not allow this")
    PRINTER_NOT_ELIGIBLE = _Face(_S.FAILED_PRECONDITION, 409, "The printer cannot take the job now")
    CAPABILITY_MISSING = _Face(_S.FAILED_PRECONDITION, 409, "The printer cannot do this")
    STALE_EPOCH = _Face(_S.FAILED_PRECONDITION, 409, "The epoch is over")
    STALE_CONNECTION = _Face(_S.ABORTED, 409, "A newer connection of the same agent took over")
    NOT_YET = _Face(_S.FAILED_PRECONDITION, 409, "Not yet; ask again")
    CANCEL_REQUESTED = _Face(_S.FAILED_PRECONDITION, 409, "The run is being cancelled")
    BED_NOT_CLEAR = _Face(_S.FAILED_PRECONDITION, 409, "The bed is not clear")
    FENCED = _Face(_S.FAILED_PRECONDITION, 409, "The run can start no more")
    CHECKSUM_MISMATCH = _Face(_S.INVALID_ARGUMENT, 422, "The bytes do not have the SHA-256 that was said")
    OFFSET_MISMATCH = _Face(_S.FAILED_PRECONDITION, 409, "The offset is not the stored length")
    UPLOAD_BUSY = _Face(_S.ABORTED, 409, "Somebody else is writing to this upload")
    TOO_LARGE = _Face(_S.OUT_OF_RANGE, 413, "It is too large")
    QUOTA_EXCEEDED = _Face(_S.RESOURCE_EXHAUSTED, 413, "Your quota is used up")
    UNSUPPORTED_MEDIA = _Face(_S.INVALID_ARGUMENT, 422, "The file is not of a kind that is taken")
    NO_PICTURE = _Face(_S.NOT_FOUND, 404, "No picture can be made of it")
    NO_CURRENCY = _Face(_S.FAILED_PRECONDITION, 409, "The farm has no currency")
    FILE_NEEDED = _Face(_S.FAILED_PRECONDITION, 409, "The file is needed")
    UNSAFE_FILE = _Face(_S.INVALID_ARGUMENT, 422, "The file asks what no printer may be asked")
    CLAIM_LOST = _Face(_S.FAILED_PRECONDITION, 409, "Another worker has this slicing, or it is over")
    STORAGE_FULL = _Face(_S.RESOURCE_EXHAUSTED, 507, "The storage is full")
    RATE_LIMITED = _Face(_S.RESOURCE_EXHAUSTED, 429, "Too many requests")
    UNAVAILABLE = _Face(_S.UNAVAILABLE, 503, "The farm cannot answer now; try again")
    DRAINING = _Face(_S.UNAVAILABLE, 503, "The server is being stopped; connect again")
    POSITION_EXPIRED = _Face(_S.OUT_OF_RANGE, 410, "Events that old are not kept")
    HELLO_REQUIRED = _Face(_S.FAILED_PRECONDITION, 400, "The first message must be Hello")
    HELLO_REPEATED = _Face(_S.FAILED_PRECONDITION, 400, "Hello was said already")
    EVENT_GAP = _Face(_S.FAILED_PRECONDITION, 400, "The events have a gap")
    WRONG_AGENT = _Face(_S.PERMISSION_DENIED, 403, "That belongs to another agent")
    AGENT_REVOKED = _Face(_S.PERMISSION_DENIED, 403, "The agent was revoked; enrol it anew")
    AGENT_LOCKED = _Face(_S.PERMISSION_DENIED, 403, "Two hosts used this agent's identity; enrol it anew")
    AGENT_TOO_OLD = _Face(_S.FAILED_PRECONDITION, 400, "The agent's version is too old")
    CERTIFICATE_SUPERSEDED = _Face(_S.PERMISSION_DENIED, 403, "A newer certificate of this agent exists")
    CERTIFICATE_EXPIRED = _Face(_S.UNAUTHENTICATED, 401, "The certificate has expired")
    TOKEN_INVALID = _Face(_S.UNAUTHENTICATED, 401, "The token is unknown, used or expired")
    EPOCH_FROM_FUTURE = _Face(_S.FAILED_PRECONDITION, 400, "That epoch was never given")
    COMMANDS_OVERFLOW = _Face(_S.RESOURCE_EXHAUSTED, 429, "The agent does not read its commands; connect again")
    INTERNAL = _Face(_S.INTERNAL, 500, "The farm made an error; its log has the incident")

    @property
    def grpc_status(self) -> grpc.StatusCode:
        """The gRPC status it travels under."""
        return self.value.status

    @property
    def http_status(self) -> int:
        """The HTTP status of its problem document."""
        return self.value.http

    @property
    def title(self) -> str:
        """The same for every occurrence."""
        return self.value.title


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """Which field is wrong, and what would be right."""

    field: str
    description: str


class FarmError(Exception):
    """An error with a code of the catalogue. ``detail`` and ``facts`` may be shown to the caller."""

    def __init__(self, code: Code, detail: str = "", *, fields: tuple[FieldViolation, ...] = (), **facts: str) -> None:
        super().__init__(f"{code.name}: {detail or code.title}")
        self.code = code
        self.detail = detail or code.title
        self.fields = fields
        self.facts = facts


def invalid(field: str, description: str) -> FarmError:
    """The error of one wrong field."""
    return FarmError(Code.INVALID_ARGUMENT, f"{field}: {description}", fields=(FieldViolation(field, description),))


def unexpected(error: BaseException) -> FarmError:
    """What the caller may know of an error that nobody expected; the log has the rest under the incident's number."""
    incident = uuid.uuid4().hex[:12]
    _LOG.error("unexpected error", incident=incident, exc_info=error)
    return FarmError(Code.INTERNAL, f"incident {incident}", incident=incident)


def to_status(error: FarmError) -> status_pb2.Status:
    """The error as ``google.rpc.Status``."""
    number: int = error.code.grpc_status.value[0]
    status = status_pb2.Status(code=number, message=_cut(error.detail, _MESSAGE_BYTES))
    info = error_details_pb2.ErrorInfo(reason=error.code.name, domain=DOMAIN, metadata=error.facts)
    status.details.append(_packed(info))
    if error.fields:
        bad = error_details_pb2.BadRequest()
        left = _ALL_FIELDS_BYTES
        for violation in error.fields[:_MOST_FIELDS]:
            name = _cut(violation.field, _FIELD_BYTES)
            description = _cut(violation.description, _FIELD_BYTES)
            left -= len(name.encode()) + len(description.encode())
            if left < 0:
                break
            bad.field_violations.add(field=name, description=description)
        status.details.append(_packed(bad))
    return status


def _cut(text: str, most: int) -> str:
    """At most so many bytes of it, as UTF-8."""
    whole = text.encode(errors="replace")
    return text if len(whole) <= most else whole[: most - 4].decode(errors="ignore") + " ..."


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(message)
    return packed


def to_rpc_status(error: FarmError) -> grpc.Status:
    """The error as gRPC's abort_with_status takes it."""
    return rpc_status.to_status(to_status(error))


_BY_STATUS = {
    _S.UNAVAILABLE: Code.UNAVAILABLE,
    _S.DEADLINE_EXCEEDED: Code.UNAVAILABLE,
    _S.UNAUTHENTICATED: Code.UNAUTHENTICATED,
    _S.PERMISSION_DENIED: Code.PERMISSION_DENIED,
    _S.NOT_FOUND: Code.NOT_FOUND,
    _S.INVALID_ARGUMENT: Code.INVALID_ARGUMENT,
    _S.RESOURCE_EXHAUSTED: Code.TOO_LARGE,
}


def is_answer_lost(error: grpc.aio.AioRpcError) -> bool:
    """Whether a write met the end of its call: grpc.aio then says INTERNAL by itself, and what the other side said is gone.

    Of uploads that are refused while they are sent, one in twelve ends so."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == "Internal error from Core"


def from_rpc_error(error: grpc.aio.AioRpcError) -> FarmError:
    """The error that the other side meant. One without our details becomes the nearest code."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:
        status = None
    if status is None and is_answer_lost(error):
        return FarmError(Code.UNAVAILABLE, "the answer was lost: ask again")
    if status is None:
        code = _BY_STATUS.get(error.code(), Code.INTERNAL)
        return FarmError(code, "" if code is Code.INTERNAL else (error.details() or ""))
    return _from_status(status)


def _from_status(status: status_pb2.Status) -> FarmError:
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        for message in (info, bad):
            if detail.Is(message.DESCRIPTOR):
                detail.Unpack(message)
    known = info.domain == DOMAIN and info.reason in Code.__members__
    code = Code[info.reason] if known else Code.INTERNAL
    fields = tuple(FieldViolation(v.field, v.description) for v in bad.field_violations)
    return FarmError(code, status.message, fields=fields, **dict(info.metadata))
