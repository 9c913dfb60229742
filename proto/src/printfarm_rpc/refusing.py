"""A stream of requests that is refused while it is being sent.

A sender whose write meets the end of its call is told INTERNAL by grpc.aio itself, and what the server said is lost. So a
server first says, in its initial metadata, that it refuses; then it reads on and forgets what comes. The sender stops at its
next message and ends its side: nothing is being written any more when the call ends with the refusal.

A sender that does not listen is read from for a while, and may then lose the refusal as before.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc

from .limits import READ_ON_BYTES, READ_ON_PAUSE_SECONDS, READ_ON_SECONDS

REFUSED = "x-printfarm-refused"


async def read_on(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """At a server, before it ends the call with its refusal: until the sender has ended its side or paused, or enough came."""
    await context.send_initial_metadata(((REFUSED, "1"),))
    left, end = READ_ON_BYTES, time.monotonic() + READ_ON_SECONDS
    while left > 0 and (seconds := end - time.monotonic()) > 0:
        # A read that is cancelled leaks in grpc.aio: one that takes too long is left to the end of the call.
        reading = _next(requests)
        await asyncio.wait([reading], timeout=min(seconds, READ_ON_PAUSE_SECONDS))
        if not reading.done() or reading.exception() or reading.result() is None:
            return
        left -= _size(reading.result())


async def send(method: Any, requests: AsyncIterator[Any], **options: Any) -> Any:
    """Sends the requests through grpc.aio's ``method`` until the server refuses them; its answer. Raises AioRpcError.

    Nobody waits for a request any more when it returns: grpc.aio by itself would, for ever."""
    enough = asyncio.Event()
    call = method(_until(enough, requests), **options)
    listening = asyncio.create_task(_listen(call, enough))
    try:
        return await call
    finally:
        enough.set()
        listening.cancel()


async def _until(enough: asyncio.Event, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    stop = asyncio.ensure_future(enough.wait())
    coming = _next(requests)
    try:
        while await _came_first(coming, stop):
            yield coming.result()
            coming = _next(requests)
    finally:
        stop.cancel()
        coming.cancel()


async def _came_first(coming: "asyncio.Future[Any]", stop: "asyncio.Future[Any]") -> bool:
    """Whether a request came before it was enough. Raises what the requests raised."""
    await asyncio.wait([coming, stop], return_when=asyncio.FIRST_COMPLETED)
    return not stop.done() and coming.result() is not None


async def _listen(call: Any, enough: asyncio.Event) -> None:
    if REFUSED in await call.initial_metadata():
        enough.set()


def _next(requests: AsyncIterator[Any]) -> "asyncio.Future[Any]":
    """None at the end. What it fails with when nobody waits for it any more is nobody's."""
    coming = asyncio.ensure_future(anext(requests, None))
    coming.add_done_callback(lambda done: done.cancelled() or done.exception())
    return coming


def _size(request: Any) -> int:
    """In bytes. What could not be parsed counts as the largest that may be."""
    size = getattr(request, "ByteSize", None)
    return int(size()) if size else len(request) if isinstance(request, bytes) else READ_ON_BYTES
