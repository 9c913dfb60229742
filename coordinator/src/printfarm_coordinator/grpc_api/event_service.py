"""EventService: the committed facts, live or in pages."""

from collections.abc import AsyncIterator

from printfarm.control.v1 import event_service_pb2 as pb
from printfarm.control.v1 import event_service_pb2_grpc as rpc
from printfarm_rpc.errors import invalid
from printfarm_rpc.serving import Context

from ..app.farm import Farm
from ..app.watch import EventFilter, begin_at, watch
from . import convert
from .authorize import caller_of
from .paging import page_size

_SERVICE = "/printfarm.control.v1.EventService/"
_MOST_TYPES = 50
# A filtered page looks at no more than this many events; the caller goes on from where it stopped.
_LOOKED_AT = 5_000


class EventServicer(rpc.EventServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        caller_of(_SERVICE + "Watch", context, request)
        wanted = _filter(request)
        async for progress in watch(self._farm, request.after_position, wanted):
            found = convert.event(progress.event) if progress.event else None
            yield pb.WatchResponse(event=found, position=progress.position)

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:
        caller_of(_SERVICE + "ListEvents", context, request)
        size = page_size(request.page_size)
        wanted = _filter(request)
        position = await begin_at(self._farm, request.after_position)
        async with self._farm.store.read() as look:
            looked_at = await look.events(position, _LOOKED_AT if wanted != EventFilter() else size)
            last = await look.last_position()
        page = [stored for stored in looked_at if wanted.takes(stored)][:size]
        following = page[-1].position if len(page) == size else looked_at[-1].position if looked_at else position
        return pb.ListEventsResponse(events=map(convert.event, page), next_position=following, more=following < last)


def _filter(request: pb.WatchRequest | pb.ListEventsRequest) -> EventFilter:
    if len(request.types) > _MOST_TYPES or any(not text for text in request.types):
        raise invalid("types", f"must be at most {_MOST_TYPES}, none of them empty")
    return EventFilter(tuple(request.types), request.subject_id)
