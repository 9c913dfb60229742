"""A TCP proxy that a test can make worse at run time: cut, hold, swallow, delay, slow down, damage, refuse."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

from .ports import free_port

_CHUNK = 16 * 1024
# So many chunks may be under way in one direction: memory is bounded, and a sender feels a slow way.
_UNDER_WAY = 64
_LOOK_SECONDS = 0.005


@dataclass(slots=True)
class Weather:
    """What the way is like at the moment. ``up`` is from the client to the server.

    A hold is a partition that may heal: bytes wait, as TCP would send them again. A hole swallows them: what comes through
    later is a torn stream, and nobody is told.
    """

    hold_up: bool = False
    hold_down: bool = False
    hole_up: bool = False
    hole_down: bool = False
    delay: float = 0.0
    bytes_per_second: float = 0.0
    flip_chance: float = 0.0
    refuse: bool = False

    def holds(self, *, up: bool) -> bool:
        return self.hold_up if up else self.hold_down

    def swallows(self, *, up: bool) -> bool:
        return self.hole_up if up else self.hole_down


@dataclass(frozen=True, slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter

    def reset(self) -> None:
        _reset(self.client)
        _reset(self.server)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """With RST: an abort alone ends a connection as politely as a close does."""
    connection = writer.get_extra_info("socket")
    if not writer.transport.is_closing() and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultProxy:
    """Runs in a thread of its own, so that it serves processes and blocked loops alike. Damage is drawn from ``seed``."""

    def __init__(self, target: str, seed: int = 0) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._random = random.Random(seed)
        self.port = free_port()
        self.weather = Weather()
        # Accepted so far, the refused ones too.
        self.accepted = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def address(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        """From end to end, at the moment."""
        return len(self._connections)

    def cut(self) -> None:
        """Resets every connection that is open; what was under way is lost."""
        self._each(_Connection.reset)

    def unplug(self) -> None:
        """Nobody listens any more, and every open connection is reset, until ``plug_in``."""
        self._do(self._unplug())

    def plug_in(self) -> None:
        """Listens again, on the same port."""
        self._do(self._plug_in())

    def half_close(self, *, up: bool) -> None:
        """Ends one direction of every open connection, as a peer does that sends no more; the other goes on."""
        self._each(lambda found: (found.server if up else found.client).write_eof())

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _each(self, act: Callable[[_Connection], None]) -> None:
        async def work() -> None:
            for found in list(self._connections):
                act(found)

        self._do(work())

    def _do(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _plug_in(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def _unplug(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for found in list(self._connections):
            found.reset()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._plug_in())
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._unplug())
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.weather.refuse:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        connection = _Connection(writer, far_writer)
        self._connections.add(connection)
        try:
            await asyncio.gather(self._pass(reader, far_writer, up=True), self._pass(far_reader, writer, up=False))
        except (OSError, asyncio.CancelledError):
            connection.reset()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_UNDER_WAY)
        deliver = asyncio.create_task(self._deliver(under_way, writer, up=up))
        try:
            while data := await reader.read(_CHUNK):
                await under_way.put((self._loop.time() + self.weather.delay, data))
            await under_way.put((self._loop.time() + self.weather.delay, b""))
            await deliver
        finally:
            deliver.cancel()

    async def _deliver(
        self, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            while self.weather.holds(up=up):  # noqa: ASYNC110 - another thread's doing: it sets no Event of ours
                await asyncio.sleep(_LOOK_SECONDS)
            if not data:
                break
            if self.weather.swallows(up=up):
                continue
            if self.weather.bytes_per_second:
                await asyncio.sleep(len(data) / self.weather.bytes_per_second)
            writer.write(self._damaged(data))
            await writer.drain()
        if writer.can_write_eof() and not writer.transport.is_closing():
            writer.write_eof()

    def _damaged(self, data: bytes) -> bytes:
        if not self.weather.flip_chance or self._random.random() >= self.weather.flip_chance:
            return data
        at = self._random.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
