"""A printer's HTTP server, held at arm's length: no redirect is followed, every reply has a limit, every exchange an end.

Needs aiohttp, which the extras of the HTTP drivers bring; only those import this file.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from ..driver import BadReply, ConnectionLost, OutcomeUnknown, Sent

LONGEST_REPLY = 1 << 20
_CHUNK_BYTES = 256 * 1024
# Our own name: some front doors turn library names away.
USER_AGENT = "PrintFarm-agent/1"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole. Header names are in lower case; ``body`` is at most as long as was allowed."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body read as JSON; NaN and Infinity become NaN. Raises BadReply."""
        try:
            return json.loads(self.body.decode("utf-8", "replace"), parse_constant=lambda _: math.nan)
        except (ValueError, RecursionError) as error:
            raise BadReply("the printer answered with something that is no JSON") from error

    def text(self) -> str:
        """For people: at most 256 printable characters."""
        return "".join(c for c in self.body[:2048].decode("utf-8", "replace") if c.isprintable())[:256]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file on its way. It is given up after ``stall_seconds`` without a byte taken, or ``whole_seconds`` in all.

    ``before`` and ``after`` go around it, such as the fields of a form. A piece of a file begins at ``offset``."""

    path: Path
    size: int
    sent: Sent
    stall_seconds: float = 60.0
    whole_seconds: float = 600.0
    before: bytes = b""
    after: bytes = b""
    offset: int = 0

    @property
    def length(self) -> int:
        """Of the whole body, in bytes."""
        return len(self.before) + self.size + len(self.after)


def upload_seconds(size: int, slowest_bytes_per_second: float, least: float = 120.0) -> float:
    """The deadline of a transfer, by its size."""
    return least + size / slowest_bytes_per_second


class HttpPeer:
    """One server. Each exchange has a connection of its own: a late answer cannot be taken for the next one's, and what
    could not be sent is told from what was not answered. Used inside of one event loop; to be closed."""

    def __init__(self, base_url: str, *, connect_seconds: float = 5.0, seconds: float = 15.0) -> None:
        self._base_url = base_url
        self._connect_seconds = connect_seconds
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: "bytes | str | Mapping[str, Any] | Upload | aiohttp.FormData | None" = None,
        seconds: float | None = None,
        longest: int = LONGEST_REPLY,
        base_url: str | None = None,
    ) -> Answer:
        """One exchange. A mapping as ``body`` goes as JSON.

        Raises ConnectionLost if nothing was sent, OutcomeUnknown if no whole answer came, BadReply for a redirect or an answer
        that is too long."""
        given: dict[str, Any] = {"headers": dict(headers or {}), "allow_redirects": False}
        if query:
            given["params"] = dict(query)
        whole = seconds or self._seconds
        try:
            async with asyncio.timeout(whole) as deadline:
                if isinstance(body, Upload):
                    deadline.reschedule(asyncio.get_running_loop().time() + body.stall_seconds)
                    given["data"] = _stream(body, deadline)
                    given["headers"]["Content-Length"] = str(body.length)
                elif isinstance(body, Mapping):
                    given["json"] = dict(body)
                elif body is not None:
                    given["data"] = body
                async with self._open().request(method, (base_url or self._base_url) + path, **given) as response:
                    return await _whole(response, longest)
        except TimeoutError as error:
            # aiohttp's own are sub-classes: of these, only the one below says that nothing was sent.
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                raise ConnectionLost("the printer does not answer") from error
            raise OutcomeUnknown("the printer gave no whole answer in time") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise ConnectionLost("the printer's certificate is not trusted here") from error
        except aiohttp.ClientConnectorError as error:
            raise ConnectionLost("the printer cannot be reached") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise OutcomeUnknown(f"the connection broke before a whole answer: {type(error).__name__}") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=4),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
            # Else a GET, PUT or DELETE whose connection breaks is sent a second time, unasked: on a Duet a start is a GET.
            self._session._retry_connection = False
        return self._session

    async def close(self) -> None:
        """May be repeated."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _stream(upload: Upload, deadline: asyncio.Timeout) -> AsyncGenerator[bytes]:
    clock = asyncio.get_running_loop().time
    end, total = clock() + upload.whole_seconds, 0
    if upload.before:
        yield upload.before
    with upload.path.open("rb") as file:
        file.seek(upload.offset)
        while chunk := await asyncio.to_thread(file.read, min(_CHUNK_BYTES, upload.size - total)):
            yield chunk
            total += len(chunk)
            upload.sent(total)
            deadline.reschedule(min(clock() + upload.stall_seconds, end))
    if upload.after:
        yield upload.after


async def _whole(response: aiohttp.ClientResponse, longest: int) -> Answer:
    if 300 <= response.status < 400:
        raise BadReply("the printer redirects elsewhere, which is not followed")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > longest:
            response.close()
            raise BadReply(f"the printer's answer is longer than {longest} bytes")
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status, headers, bytes(body))
