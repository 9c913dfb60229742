"""The body of a request as it comes in: so much, not slower than this, before any parser sees it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope

from printfarm_rpc.errors import Code

from .problems import Problem

MIB = 1 << 20
JSON_BYTES = MIB
MULTIPART_BYTES = 32 * MIB
PIECE_BYTES = 64 * MIB
# What is left of a body this small is read and forgotten; for a larger one the connection is closed.
_LEFT_BYTES = 64 * 1024
# So long is read, and forgotten, what still comes behind an answer. Closed at once, the connection would be reset, and with
# it would go the answer from whoever sends before it reads.
_LEFT_SECONDS, _LEFT_PAUSE_SECONDS = 5.0, 1.0
# On the average once the grace is over; and no pause is longer than the grace.
_SLOWEST_BYTES_PER_SECOND = 512.0


class Body:
    """Counts what comes against what this kind of request may have.

    Raises Problem 413 when it is checked or read, 408 when it is read."""

    def __init__(self, scope: Scope, receive: Receive, grace_seconds: float) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._grace = grace_seconds
        self._most = _largest(scope, headers)
        self._came = 0
        self._is_whole = False
        self._began = time.monotonic()
        declared = headers.get("content-length", "")
        self._declared = int(declared) if declared.isdecimal() else None
        self._is_chunked = "transfer-encoding" in headers

    def check(self) -> None:
        """What the head says of its length."""
        if self._declared is not None and self._declared > self._most:
            raise _too_large(self._most)

    @property
    def leaves_much(self) -> bool:
        """Whether more than a little may still be on its way."""
        if self._is_whole:
            return False
        return self._is_chunked or (self._declared or 0) - self._came > _LEFT_BYTES

    async def receive(self) -> Message:
        """ASGI's ``receive``."""
        if self._is_whole:
            # The application waits for the other side to leave, for as long as it likes.
            return await self._receive()
        try:
            async with asyncio.timeout(self._grace):
                message = await self._receive()
        except TimeoutError as error:
            raise _too_slow() from error
        if message["type"] == "http.request":
            self._count(message)
        return message

    async def forget(self) -> None:
        """Reads on behind the answer: to the body's end, to its cap, or until the other side pauses or leaves."""
        end = time.monotonic() + _LEFT_SECONDS
        with suppress(TimeoutError):
            while not self._is_whole and self._came <= self._most and (left := end - time.monotonic()) > 0:
                async with asyncio.timeout(min(left, _LEFT_PAUSE_SECONDS)):
                    message = await self._receive()
                if message["type"] != "http.request":
                    return
                self._came += len(message.get("body", b""))
                self._is_whole = not message.get("more_body")

    def _count(self, message: Message) -> None:
        self._came += len(message.get("body", b""))
        if self._came > self._most:
            raise _too_large(self._most)
        if not message.get("more_body"):
            self._is_whole = True
            return
        took = time.monotonic() - self._began
        if took > self._grace and self._came < took * _SLOWEST_BYTES_PER_SECOND:
            raise _too_slow()


async def in_pieces(stream: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of ``size``; the last is what is left. When the stream fails, what came is passed on first."""
    kept = bytearray()
    try:
        async for chunk in stream:
            kept += chunk
            while len(kept) >= size:
                piece = bytes(kept[:size])
                del kept[:size]
                yield piece
    except Exception:
        if kept:
            yield bytes(kept)
        raise
    if kept:
        yield bytes(kept)


def _largest(scope: Scope, headers: Headers) -> int:
    kind = headers.get("content-type", "").strip().lower()
    if scope["path"] == "/api/v1/jobs/receive" and kind.startswith("multipart/"):
        return MULTIPART_BYTES
    if scope["method"] == "PATCH" and scope["path"].startswith("/api/v1/uploads/"):
        return PIECE_BYTES
    return JSON_BYTES


def _too_large(most: int) -> Problem:
    why = f"at most {most} bytes are taken here; send a large file by a resumable upload"
    return Problem(Code.TOO_LARGE, why, headers={"Connection": "close"})


def _too_slow() -> Problem:
    return Problem(Code.MALFORMED, "the body came too slowly", status=408, headers={"Connection": "close"})
