"""A reverse proxy for HTTP in front of a real server, which a test can make worse: what the way, or somebody on it, may do.

``FaultProxy`` knows bytes; this one knows requests, so that it can lose one answer, or answer in the server's place.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from .ports import free_port

_CHUNK = 16 * 1024
_HOP = frozenset({"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"})
# Method and path with query of a request -> whether it is meant.
Meant = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Instead:
    """An answer in the server's place. ``endless`` repeats the body until the client goes."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    location: str = ""
    endless: bool = False


@dataclass(slots=True)
class Way:
    """How it is at the moment."""

    # Requests are taken and never answered.
    silent: bool = False
    delay: float = 0.0
    upload_bytes_per_second: float = 0.0
    # The body of the next upload arrives with one bit changed.
    corrupt_next: bool = False
    # The answer to the next request that is meant is lost, after it was carried out.
    lose: Meant | None = None
    # Answers by the front itself.
    instead: tuple[Meant, Instead] | None = None
    # Changes the body of an answer.
    rewrite: Callable[[str, bytes], bytes] | None = None


class HttpFront:
    """Runs in a thread of its own. Big bodies are passed on as they come."""

    def __init__(self, target: str) -> None:
        self._target = target
        self.port = free_port()
        self.way = Way()
        # Of requests that somebody was led to by a redirect.
        self.trapped = 0
        self._trap_port = free_port()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._site: web.TCPSite | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def trap(self) -> str:
        """Where nobody should come."""
        return f"http://127.0.0.1:{self._trap_port}/trap"

    def heal(self) -> None:
        """As if there were no front."""
        self.way = Way()
        self._do(self._plug_in())

    def unplug(self) -> None:
        """Open connections break, and nobody listens."""
        self._do(self._unplug())

    def __enter__(self) -> "HttpFront":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._open())
        self._ready.set()
        self._loop.run_forever()
        self._loop.close()

    async def _open(self) -> None:
        self._client = aiohttp.ClientSession(auto_decompress=False, connector=aiohttp.TCPConnector(force_close=True))
        self._trap = await _served(self._trapped)
        await web.TCPSite(self._trap, "127.0.0.1", self._trap_port).start()
        await self._plug_in()

    async def _plug_in(self) -> None:
        if self._site is None:
            self._runner = await _served(self._serve)
            self._site = web.TCPSite(self._runner, "127.0.0.1", self.port)
            await self._site.start()

    async def _unplug(self) -> None:
        if self._site is not None:
            self._site = None
            await self._runner.cleanup()

    async def _close(self) -> None:
        await self._unplug()
        await self._trap.cleanup()
        await self._client.close()

    async def _trapped(self, _request: web.BaseRequest) -> web.StreamResponse:
        self.trapped += 1
        return web.json_response({})

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        way, path = self.way, request.path_qs
        if way.silent:
            await asyncio.Event().wait()
        await asyncio.sleep(way.delay)
        if way.instead and way.instead[0](request.method, path):
            return await _answered(request, way.instead[1])
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        body = None
        if request.content_length:
            headers["Content-Length"] = str(request.content_length)
            body = self._passed_on(request)
        async with self._client.request(
            request.method, self._target + path, headers=headers, data=body, allow_redirects=False
        ) as answer:
            content = await answer.read()
            if way.rewrite:
                content = way.rewrite(path, content)
        if way.lose and way.lose(request.method, path):
            way.lose = None
            if request.transport is not None:
                request.transport.abort()
            await asyncio.Event().wait()
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
        return web.Response(status=answer.status, body=content, headers=kept)

    async def _passed_on(self, request: web.BaseRequest) -> AsyncIterator[bytes]:
        way, passed, length = self.way, 0, request.content_length or 0
        is_upload = "multipart" in request.headers.get("Content-Type", "")
        async for data in request.content.iter_chunked(_CHUNK):
            if is_upload and way.upload_bytes_per_second:
                await asyncio.sleep(len(data) / way.upload_bytes_per_second)
            middle = length // 2 - passed
            passed += len(data)
            if is_upload and way.corrupt_next and 0 <= middle < len(data):
                way.corrupt_next = False
                data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
            yield data


async def _served(handler: Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]) -> web.ServerRunner:
    # Handlers are cancelled when the client goes: an upload that is given up is given up behind the front too.
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0.1)
    await runner.setup()
    return runner


async def _answered(request: web.BaseRequest, instead: Instead) -> web.StreamResponse:
    headers = {"Content-Type": instead.content_type}
    if instead.location:
        headers["Location"] = instead.location
    if not instead.endless:
        return web.Response(status=instead.status, body=instead.body, headers=headers)
    response = web.StreamResponse(status=instead.status, headers=headers)
    await response.prepare(request)
    while True:
        await response.write(instead.body * 64)
