"""An HTTP server on loopback, in the test's own loop, whose every byte the test may choose. Printers' emulators build on it."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_CHUNK = 64 * 1024
_ENDLESS = 32 << 20


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. ``raw`` goes as it is; ``lost``: the connection is closed without a word."""

    status: int = 200
    body: bytes | str | dict[str, Any] | list[Any] = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    lost: bool = False
    reason: str = "X"


@dataclass(slots=True)
class Request:
    """A request, its body still on the way."""

    method: str
    target: str
    headers: dict[str, str]
    reader: asyncio.StreamReader
    version: str
    head_bytes: int
    peer: str
    fresh: bool = True

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def raw_path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def length(self) -> int | None:
        said = self.headers.get("content-length")
        return int(said) if said is not None and said.isdecimal() else None

    async def body(self, bytes_per_second: float = 0.0) -> bytes:
        """Raises IncompleteReadError if the client gave it up."""
        got, length = bytearray(), self.length or 0
        while len(got) < length:
            chunk = await self.reader.read(min(_CHUNK, length - len(got)))
            if not chunk:
                raise asyncio.IncompleteReadError(bytes(got), length)
            got += chunk
            if bytes_per_second:
                await asyncio.sleep(len(chunk) / bytes_per_second)
        return bytes(got)

    async def json(self) -> Any:
        return json.loads(await self.body() or b"null")


class HttpEmulator:
    """Base of the HTTP printers. One request for each connection, as the small servers in printers do."""

    version = "1.1"

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[Request] = []
        # Faults of the way.
        self.silent = False
        self.late_seconds = 0.0
        self.hostile = ""
        self.upload_bytes_per_second = 0.0
        self.trap_hits = 0
        self._listener: asyncio.Server | None = None
        self._trap: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def plug_in(self) -> None:
        """Listens; on the same port again after ``unplug``."""
        if self._listener is None:
            self._stopped = asyncio.Event()
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def unplug(self) -> None:
        """Open connections break, and nobody listens."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        self._stopped.set()
        for task in list(self._serving):
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def close(self) -> None:
        await self.unplug()
        if self._trap is not None:
            self._trap.close()

    async def heal(self) -> None:
        """No fault of the way stands any more."""
        self.silent, self.late_seconds, self.hostile, self.upload_bytes_per_second = False, 0.0, "", 0.0
        await self.plug_in()

    async def handle(self, request: Request) -> Reply:
        """The printer's own answer."""
        raise NotImplementedError

    # -- the wire

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._exchange(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        peer = str(writer.get_extra_info("peername")[0])
        request = Request(method, target, headers, reader, version, len(head), peer)
        self.requests.append(request)
        if self.silent:
            await self._stopped.wait()
            return
        if self.late_seconds:
            await asyncio.sleep(self.late_seconds)
        if self.hostile in _HOSTILE:
            await getattr(self, f"_be_{self.hostile}")(writer)
            return
        reply = await self.handle(request)
        if not reply.lost:
            writer.write(self._encode(reply))
            await writer.drain()

    def _encode(self, reply: Reply) -> bytes:
        if reply.raw is not None:
            return reply.raw
        body, kind = reply.body, "text/plain"
        if isinstance(body, dict | list):
            body, kind = json.dumps(body), "application/json"
        raw = body.encode() if isinstance(body, str) else body
        headers = {"Content-Type": kind, "Content-Length": str(len(raw)), "Connection": "close", **reply.headers}
        if reply.status == 204:
            raw = b""
            del headers["Content-Length"], headers["Content-Type"]
        head = f"HTTP/{self.version} {reply.status} {reply.reason}\r\n"
        return (head + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode() + raw

    async def _be_noise(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x00\xff\x16\x03 what \r\n\r\n" * 50)
        await writer.drain()

    async def _be_endless(self, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/{self.version} 200 OK\r\nContent-Type: application/json\r\n\r\n{{".encode())
        for _ in range(_ENDLESS // _CHUNK):
            writer.write(b'"a":1,' * (_CHUNK // 6))
            await writer.drain()

    async def _be_login_page(self, writer: asyncio.StreamWriter) -> None:
        page = Reply(200, "<html><form action=/login></form></html>", {"Content-Type": "text/html"})
        writer.write(self._encode(page))
        await writer.drain()

    async def _be_redirect(self, writer: asyncio.StreamWriter) -> None:
        if self._trap is None:
            self._trap = await asyncio.start_server(self._trapped, "127.0.0.1", 0)
        port = self._trap.sockets[0].getsockname()[1]
        writer.write(self._encode(Reply(302, b"", {"Location": f"http://127.0.0.1:{port}/"})))
        await writer.drain()

    async def _trapped(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.trap_hits += 1
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async def _be_wrong_shape(self, writer: asyncio.StreamWriter) -> None:
        wrong = {"printer": [1], "state": {"a": 1}, "result": "yes", "status": 7, "data": 3, "err": "x", "key": []}
        writer.write(self._encode(Reply(200, wrong)))
        await writer.drain()


_HOSTILE = {"noise", "endless", "login_page", "redirect", "wrong_shape"}
