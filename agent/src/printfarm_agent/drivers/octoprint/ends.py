"""OctoPrint's push socket, for the one thing that its records do not tell: whether somebody cancelled a print.

A hint beside the looks, never the truth: what is missed while the socket is away is missed.
"""

import asyncio
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aiohttp

from ...driver import BadReply, DriverError, Refused
from ..http_peer import USER_AGENT, HttpPeer
from . import protocol

_FIRST_WAIT, _LONGEST_WAIT = 1.0, 60.0
_HEARTBEAT_SECONDS = 20.0
_LONGEST_MESSAGE = 256 * 1024


class Ends:
    """Listens for as long as ``run`` does. ``key`` reveals the API key when it is needed."""

    def __init__(self, url: str, key: Callable[[], str], seconds: float) -> None:
        self._url = url
        self._key = key
        self._peer = HttpPeer(url, connect_seconds=min(seconds, 5.0), seconds=seconds)
        self._seconds = seconds
        self._cancelled = ""
        self.is_listening = False

    def was_cancelled(self, path: str) -> bool:
        """Somebody ended the print of this file, and it was the last one to be ended so."""
        return bool(path) and self._cancelled == path

    async def run(self) -> None:
        """Until cancelled. A socket that ends is opened again, later and later while it fails."""
        wait = _FIRST_WAIT
        while True:
            with contextlib.suppress(
                DriverError, aiohttp.ClientError, OSError, ValueError, RecursionError, TimeoutError
            ):
                await self._listen()
                wait = _FIRST_WAIT
            self.is_listening = False
            await asyncio.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    async def close(self) -> None:
        """After ``run`` was cancelled."""
        await self._peer.close()

    async def _listen(self) -> None:
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirect)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._seconds)
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                trace_configs=[trace],
                headers={"User-Agent": USER_AGENT},
                cookie_jar=aiohttp.DummyCookieJar(),
            ) as session,
            session.ws_connect(
                f"{self._url}/sockjs/websocket", heartbeat=_HEARTBEAT_SECONDS, max_msg_size=_LONGEST_MESSAGE
            ) as socket,
        ):
            await socket.send_json(protocol.SUBSCRIPTION)
            await socket.send_json({"auth": await self._login()})
            self.is_listening = True
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                told = message.json()
                if path := protocol.cancelled_path(told):
                    self._cancelled = path
                if protocol.wants_login(told):
                    await socket.send_json({"auth": await self._login()})

    async def _login(self) -> str:
        """A session of the key's user: without one the socket stays silent."""
        answer = await self._peer.ask("POST", "/api/login", headers={"X-Api-Key": self._key()}, body={"passive": True})
        if answer.status != 200:
            raise Refused(f"OctoPrint answered {answer.status} to the login")
        return protocol.socket_login(answer.json())


async def _refuse_redirect(_session: aiohttp.ClientSession, _context: SimpleNamespace, _told: Any) -> None:
    raise BadReply("the printer redirects elsewhere, which is not followed")
