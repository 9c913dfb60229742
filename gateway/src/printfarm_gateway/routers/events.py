"""The farm's committed facts: in pages, or live."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from printfarm.control.v1 import event_service_pb2 as pb
from printfarm_rpc.errors import FarmError

from .. import schemas, views
from ..auth import Authenticator
from ..control_client import Principal
from ..deps import Control, Limit, Who, answer, header_of, problems
from ..problems import Problem, wrong_field
from ..routes import FarmRoute
from ..streams import Streams, first_of

router = APIRouter(prefix="/api/v1/events", tags=["events"], route_class=FarmRoute)
Types = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=64)]] | None,
    Query(max_length=50, description="event types, or their beginnings such as `run.`"),
]
_PING_SECONDS = 15
# Whoever does not take an event for so long is no longer there.
_SEND_SECONDS = 30
_RETRY_MILLISECONDS = 2_000


@router.get(
    "", response_model=schemas.Page[schemas.Event], responses=problems(410), summary="List events, oldest first"
)
async def list_events(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Annotated[str, Query(max_length=500, description="a position: `next` of the page before")] = "",
    type: Types = None,
    subject_id: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """`next` is the position to go on after; it is null once the newest is reached."""
    after = _position("cursor", cursor) if cursor else 0
    request = pb.ListEventsRequest(after_position=after, page_size=limit, types=type or [], subject_id=subject_id)
    try:
        found = await control.call(control.events.ListEvents, request, who)
    except FarmError as error:
        raise _of_position("cursor", error) from error
    following = str(found.next_position) if found.more else None
    return answer({"items": [views.event(event) for event in found.events], "next": following})


@router.get(
    "/stream",
    response_class=EventSourceResponse,
    responses={
        200: {
            "description": "`id` is the event's position, `event` its type, `data` the event as JSON.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems(410),
    },
    openapi_extra={
        "parameters": [header_of("Last-Event-ID", "the position of the last event that came; before `after`")]
    },
    summary="Live events as server-sent events",
)
async def stream_events(
    request: Request,
    control: Control,
    who: Who,
    after: Annotated[str, Query(max_length=500, description="a position; left out: from now on")] = "",
    type: Types = None,
    subject_id: Annotated[str, Query(max_length=64)] = "",
) -> Response:
    """Goes on after `Last-Event-ID`, if it is sent. Every event at least once, in order; a comment at least every 15 s."""
    last = request.headers.get("last-event-id", after)
    asked = pb.WatchRequest(
        after_position=_position("Last-Event-ID", last) if last else -1, types=type or [], subject_id=subject_id
    )
    streams: Streams = request.app.state.streams
    streams.check_room(who.name)
    source = control.stream(control.events.Watch, asked, who)
    try:
        first = await first_of(source)
    except FarmError as error:
        raise _of_position("Last-Event-ID", error) from error

    async def may_go_on() -> bool:
        return await _is_still(request, who)

    return EventSourceResponse(
        _events(streams.follow(who.name, first, source, may_go_on), request.app.state.recent.forget),
        ping=_PING_SECONDS,
        send_timeout=_SEND_SECONDS,
        headers={"Cache-Control": "no-store"},
    )


async def _is_still(request: Request, who: Principal) -> bool:
    """Whether the key or token still holds. While the coordinator cannot say, it does: then no event comes either."""
    authenticator: Authenticator = request.app.state.authenticator
    try:
        return await authenticator.principal(request) == who
    except Problem:
        return False
    except FarmError:
        return True


async def _events(
    found: AsyncIterator[pb.WatchResponse], changed: Callable[[], None]
) -> AsyncIterator[ServerSentEvent]:
    """Ends when the coordinator goes; the client comes back with the last id it saw."""
    try:
        async for each in found:
            position = str(each.position)
            if each.HasField("event"):
                changed()
                body = orjson.dumps(views.event(each.event)).decode()
                yield ServerSentEvent(body, event=each.event.type, id=position)
            else:
                yield ServerSentEvent(comment="here", id=position, retry=_RETRY_MILLISECONDS)
    except FarmError as error:
        yield ServerSentEvent(error.code.name, event="error")


def _position(name: str, given: str) -> int:
    """Raises Problem 400."""
    if not (given.isdecimal() and given.isascii() and len(given) <= 18):
        raise wrong_field(name, "must be a position that this farm gave out", 400)
    return int(given)


def _of_position(name: str, error: FarmError) -> Exception:
    """A position that was never given is the client's mistake in the query."""
    if any(field.field == "after_position" for field in error.fields):
        return wrong_field(name, "is a position that was never given", 400)
    return error
