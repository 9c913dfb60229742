"""What an HTTP printer may answer (bad input 92), against a server that speaks the bytes of the test's choice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from printfarm_agent.driver import BadReply, ConnectionLost, OutcomeUnknown
from printfarm_agent.drivers.http_peer import HttpPeer, Upload
from tests.support.ports import free_port

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    serving: set[asyncio.Task[None]] = set()

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await reader.readuntil(b"\r\n\r\n")
                await serve(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    listener = await asyncio.start_server(one, "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        listener.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


@asynccontextmanager
async def peer(url: str, seconds: float = 5.0) -> AsyncIterator[HttpPeer]:
    made = HttpPeer(url, connect_seconds=2.0, seconds=seconds)
    try:
        yield made
    finally:
        await made.close()


def answers(raw: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return serve


async def test_an_answer_is_whole() -> None:
    raw = b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\nX-Kind: a\r\n\r\n{}"
    async with server(answers(raw)) as url, peer(url) as asked:
        answer = await asked.ask("GET", "/x", query={"a b": "c&d"})
    assert (answer.status, answer.headers["x-kind"]) == (409, "a")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", BadReply),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (2 << 20), BadReply),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", OutcomeUnknown),
        (b"\x00\xff\x17 noise\r\n\r\n", OutcomeUnknown),
        (b"", OutcomeUnknown),
    ],
)
async def test_what_is_no_answer(raw: bytes, expected: type[Exception]) -> None:
    async with server(answers(raw)) as url, peer(url) as asked:
        with pytest.raises(expected):
            await asked.ask("POST", "/start")


async def test_html_where_json_was_due() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in</html>"
    async with server(answers(raw)) as url, peer(url) as asked:
        with pytest.raises(BadReply):
            (await asked.ask("GET", "/x")).json()


async def test_a_slow_drip_has_an_end() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with server(drip) as url, peer(url, seconds=0.5) as asked:
        with pytest.raises(OutcomeUnknown):
            await asked.ask("GET", "/x")


async def test_nobody_there_means_that_nothing_was_sent() -> None:
    async with peer(f"http://127.0.0.1:{free_port()}") as asked:
        with pytest.raises(ConnectionLost):
            await asked.ask("POST", "/start")


async def test_a_file_goes_with_its_length_and_its_progress(tmp_path: Path) -> None:
    got = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while len(got) < 300_000:
            got.extend(await reader.read(65536))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    path = tmp_path / "a"
    path.write_bytes(bytes(range(250)) * 1200)
    told: list[int] = []
    async with server(take) as url, peer(url) as asked:
        answer = await asked.ask("PUT", "/f", body=Upload(path, 300_000, told.append))
    assert answer.status == 201
    assert bytes(got) == path.read_bytes()
    assert told[-1] == 300_000 and told == sorted(told)


async def test_a_transfer_that_stalls_is_given_up(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    path = tmp_path / "a"
    path.write_bytes(b"x" * (32 << 20))
    async with server(never) as url, peer(url) as asked:
        with pytest.raises(OutcomeUnknown):
            await asked.ask("PUT", "/f", body=Upload(path, 32 << 20, print, stall_seconds=0.5))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "POST"])
async def test_nothing_is_sent_a_second_time(method: str) -> None:
    """The library would repeat what HTTP calls idempotent; a start may be a GET."""
    asked = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1

    async with server(count) as url, peer(url) as asking:
        with pytest.raises(OutcomeUnknown):
            await asking.ask(method, "/start")
    assert asked == 1
