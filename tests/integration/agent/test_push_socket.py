"""What a push socket may say (bad input 92): OctoPrint's, against a server that speaks the bytes of the test's choice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from printfarm_agent.drivers.octoprint.ends import _LONGEST_MESSAGE, Ends
from tests.support.patience import until

_GIGABYTE = 1 << 30
_PIECE = 64 * 1024
_TEXT_OF_64_BIT_LENGTH = b"\x81\x7f"
_CANCELLED = {"event": {"type": "PrintCancelled", "payload": {"path": "ours.gcode", "origin": "local", "user": "me"}}}
Talk = Callable[[web.Request, web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def listening(*talks: Talk) -> AsyncIterator[Ends]:
    """One talk for each time that the socket is opened."""
    waiting = list(talks)

    async def login(_: web.Request) -> web.Response:
        return web.json_response({"name": "farm", "session": "s"})

    async def push(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await waiting.pop(0)(request, socket)
        return socket

    application = web.Application()
    application.add_routes([web.post("/api/login", login), web.get("/sockjs/websocket", push)])
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    ends = Ends(f"http://{host}:{port}", lambda: "key", 5.0)
    task = asyncio.create_task(ends.run())
    try:
        yield ends
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await ends.close()
        await runner.cleanup()


async def tells(_: web.Request, socket: web.WebSocketResponse) -> None:
    await socket.send_json(_CANCELLED)
    async for _message in socket:
        pass


async def test_a_message_that_is_nested_too_deeply_ends_no_more_than_its_socket() -> None:
    async def nests(_: web.Request, socket: web.WebSocketResponse) -> None:
        await socket.send_str("[" * 100_000)
        async for _message in socket:
            pass

    async with listening(nests, tells) as ends:
        await until(lambda: ends.was_cancelled("ours.gcode"))


async def test_a_frame_of_a_gigabyte_is_not_read_and_the_socket_opened_again() -> None:
    taken = asyncio.get_running_loop().create_future()

    async def floods(request: web.Request, _: web.WebSocketResponse) -> None:
        sent, transport = 0, request.transport
        assert transport is not None
        transport.write(_TEXT_OF_64_BIT_LENGTH + _GIGABYTE.to_bytes(8, "big"))
        while not transport.is_closing() and sent < _GIGABYTE:
            if transport.get_write_buffer_size() < _PIECE:
                transport.write(b" " * _PIECE)
                sent += _PIECE
            await asyncio.sleep(0)
        taken.set_result(sent)

    async with listening(floods, tells) as ends:
        await until(lambda: ends.was_cancelled("ours.gcode"))
        assert await taken < 100 * _LONGEST_MESSAGE
