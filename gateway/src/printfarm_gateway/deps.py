"""What endpoints are given."""

from typing import Annotated, Any

import orjson
from fastapi import Depends, Query, Request, Response

from printfarm_rpc.errors import Code

from .control_client import ControlClient, Principal
from .problems import Problem, wrong_field

MOST_PER_PAGE = 500
LONGEST_KEY = 255


async def control_of(request: Request) -> ControlClient:
    """The coordinator."""
    client: ControlClient = request.app.state.control
    return client


async def principal_of(request: Request) -> Principal:
    """Who asks, as the route has settled it."""
    principal: Principal = request.state.principal
    return principal


Control = Annotated[ControlClient, Depends(control_of)]
Who = Annotated[Principal, Depends(principal_of)]
Limit = Annotated[int, Query(ge=1, le=MOST_PER_PAGE, description="how many at most")]
Cursor = Annotated[str, Query(max_length=500, description="`next` of the page before")]


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON, as it is: what ``views`` makes is what the schema says, and a test compares them."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def page(items: list[Any], following: str) -> Response:
    """A page."""
    return answer({"items": items, "next": following or None})


def header_of(name: str, description: str, **schema: Any) -> dict[str, Any]:
    """A request's header, as the document has it."""
    asked = {"type": "string", **schema}
    return {"name": name, "in": "header", "required": False, "schema": asked, "description": description}


IDEMPOTENCY_KEY = header_of(
    "Idempotency-Key",
    "The same key with the same request has the first answer again, for 7 days.",
    minLength=1,
    maxLength=LONGEST_KEY,
    pattern="^[ -~]+$",
)


def idempotency_key(request: Request) -> str:
    """The header, or nothing. Raises Problem 400."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return ""
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise wrong_field(
            "Idempotency-Key", f"must be one header of 1 to {LONGEST_KEY} printable ASCII characters", 400
        )
    return key


def bad_cursor(error: Exception) -> Problem:
    """A forged or foreign cursor is the client's mistake in the query."""
    return wrong_field("cursor", "is not one that this farm gave out: begin without one", 400)


_TEXTS = {
    400: "The request cannot be read.",
    401: "No valid key or token.",
    403: "The role does not reach.",
    404: "There is no such thing.",
    408: "The body came too slowly.",
    409: "The state does not allow it, or something changed meanwhile.",
    410: "It is over.",
    413: "Too large.",
    416: "The range cannot be satisfied.",
    422: "A field is wrong; `errors` names it and the fix.",
    429: "Too many requests; see Retry-After.",
    431: "The headers are too large.",
    500: "The farm made an error.",
    503: "The coordinator does not answer; see Retry-After.",
    507: "The storage is full.",
}


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """The problem documents that a route may answer with."""
    return _problems({400, 401, 403, 422, 429, 431, 500, 503, *more})


def problems_of_anybody() -> dict[int | str, dict[str, Any]]:
    """Those of a route that takes nothing and asks for no key."""
    return _problems({400, 429, 431, 500})


def _problems(statuses: set[int]) -> dict[int | str, dict[str, Any]]:
    return {
        status: {
            "description": _TEXTS[status],
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
        }
        for status in sorted(statuses)
    }


def not_found(what: str) -> Problem:
    """404."""
    return Problem(Code.NOT_FOUND, f"there is no such {what}")
