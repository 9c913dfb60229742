"""HTTP as the server library reads it, with what it leaves open: a head that is too large or too slow, too many connections,
and errors as problem documents.

The parser keeps a header until it is whole, however long: so bytes are counted as they come, before it sees them.
"""

import asyncio
import uuid
from typing import Any, ClassVar

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from printfarm_rpc.errors import Code

from .problems import MEDIA_TYPE, Problem, document

HEAD_BYTES = 64 * 1024
MOST_CONNECTIONS = 2_000


class FarmProtocol(HttpToolsProtocol):
    """One connection."""

    head_seconds: ClassVar[float] = 20.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Its lines would have the query in them, and with it whatever secret somebody puts there.
        self.access_log = False
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuses it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(Problem(Code.UNAVAILABLE, "too many connections", headers={"Retry-After": "2"}))
            return
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the timer."""
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts a head that is not whole."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES:
            self._refuse(Problem(Code.MALFORMED, f"a head has at most {HEAD_BYTES} bytes", status=431))

    def on_message_begin(self) -> None:
        """A head begins; on a connection that was kept, its time begins too."""
        super().on_message_begin()
        if self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._forget_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next head may come."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """In the middle of an answer there is nothing to say any more."""
        is_answering = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if is_answering:
            self.transport.close()
            return
        self._refuse(Problem(Code.MALFORMED, "this is not HTTP as it should be", status=400))

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._too_slow)

    def _forget_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _too_slow(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(Problem(Code.MALFORMED, "the head came too slowly", status=408))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Without the application, which never sees such a request."""
        if self.transport.is_closing():
            return
        request_id = uuid.uuid4().hex
        body = orjson.dumps(document(problem, "", request_id))
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Request-ID": request_id,
            **(problem.headers or {}),
            "Connection": "close",
        }
        head = b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in headers.items())
        self.transport.write(STATUS_LINE[problem.status_code] + head + b"\r\n" + body)
        self.transport.close()


def protocol(head_seconds: float) -> type[FarmProtocol]:
    """The server library makes one per connection, with its own arguments only."""
    return type("FarmProtocolOfThisGateway", (FarmProtocol,), {"head_seconds": head_seconds})
