"""Errors as problem documents (RFC 9457). Nothing of the inside is told but the number of the incident."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from printfarm_rpc.errors import Code, FarmError, FieldViolation, unexpected
from printfarm_rpc.serving import REQUEST_ID

MEDIA_TYPE = "application/problem+json"
_BY_STATUS = {400: Code.MALFORMED, 404: Code.NOT_FOUND, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED}


class Problem(HTTPException):
    """A problem with a code of the catalogue, raised anywhere in the gateway."""

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        status: int | None = None,
        fields: Sequence[FieldViolation] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status or code.http_status, detail or code.title, dict(headers) if headers else None)
        self.code = code
        self.fields = tuple(fields)


def wrong_field(field: str, fix: str, status: int | None = None) -> Problem:
    """One wrong field, with what would be right."""
    return Problem(Code.INVALID_ARGUMENT, f"{field}: {fix}", status=status, fields=(FieldViolation(field, fix),))


def document(problem: Problem, instance: str, request_id: str) -> dict[str, Any]:
    """The body."""
    body: dict[str, Any] = {
        "type": f"/problems/{problem.code.name.lower().replace('_', '-')}",
        "title": problem.code.title,
        "status": problem.status_code,
        "detail": problem.detail,
        "instance": instance,
        "code": problem.code.name,
        "request_id": request_id,
    }
    if problem.fields:
        body["errors"] = [{"field": field.field, "fix": field.description} for field in problem.fields]
    return body


def response(problem: Problem, instance: str) -> Response:
    """The answer."""
    headers = {"Cache-Control": "no-store", **(problem.headers or {})}
    if problem.status_code == 401:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="printfarm", ApiKey realm="printfarm"')
    content = orjson.dumps(document(problem, instance, REQUEST_ID.get()))
    return Response(content, problem.status_code, headers, MEDIA_TYPE)


def from_farm_error(error: FarmError) -> Problem:
    """The coordinator's error as clients see it."""
    headers = {}
    if error.code.http_status in (429, 503):
        headers["Retry-After"] = error.facts.get("retry_after", "2")
    if "offset" in error.facts:
        headers["Upload-Offset"] = error.facts["offset"]
    detail = "the coordinator does not answer; try again" if error.code is Code.UNAVAILABLE else error.detail
    return Problem(error.code, detail, fields=error.fields, headers=headers)


def from_validation(error: RequestValidationError) -> Problem:
    """A body or a parameter that is not as its schema says."""
    fields = [FieldViolation(_path(wrong["loc"]), _fix(wrong)) for wrong in error.errors()[:20]]
    first = fields[0] if fields else FieldViolation("body", "is not valid")
    return Problem(Code.INVALID_ARGUMENT, f"{first.field}: {first.description}", fields=fields)


def _path(loc: Sequence[int | str]) -> str:
    parts = list(loc[1:]) if loc and loc[0] in ("body", "query", "path", "header") and len(loc) > 1 else list(loc)
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text[:200] or "body"


def _fix(wrong: Mapping[str, Any]) -> str:
    words = str(wrong.get("msg", "is not valid")).removeprefix("Value error, ")
    if wrong.get("type") == "extra_forbidden":
        words = "is not a known field: leave it out"
    return words[:300]


def from_http(error: HTTPException) -> Problem:
    """The framework's own errors."""
    if isinstance(error, Problem):
        return error
    code = _BY_STATUS.get(error.status_code, Code.MALFORMED if error.status_code < 500 else Code.INTERNAL)
    return Problem(code, str(error.detail), status=error.status_code, headers=error.headers)


def install(app: FastAPI) -> None:
    """Every way an endpoint can fail ends here."""

    async def farm_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, FarmError)
        return response(from_farm_error(error), request.url.path)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return response(from_http(error), request.url.path)

    async def validation_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return response(from_validation(error), request.url.path)

    async def gone(request: Request, error: Exception) -> Response:
        # Nobody reads it; the log has the number.
        return Response(status_code=499)

    async def other_error(request: Request, error: Exception) -> Response:
        known = unexpected(error)
        return response(Problem(known.code, known.detail), request.url.path)

    app.add_exception_handler(FarmError, farm_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, validation_error)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, other_error)
