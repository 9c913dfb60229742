"""The fault proxy does what it is told: a test that trusts it must be able to fail for its own reasons only."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.ports import free_port
from tests.support.proxy import FaultProxy

SECONDS = 10.0
BLOCK = bytes(range(256)) * 1024


class EchoServer:
    """Echoes, in a thread. ``half_closed`` counts the clients that ended their direction in peace."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.received = 0
        self.half_closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65_536):
                    self.received += len(data)
                    connection.sendall(data)
                self.half_closed.set()
                connection.sendall(b"bye")
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: EchoServer) -> Iterator[FaultProxy]:
    with FaultProxy(echo.address, seed=7) as made:
        yield made


@contextmanager
def connected(proxy: FaultProxy, timeout: float = SECONDS) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout) as connection:
        yield connection


def ask(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return read(connection, len(data))


def read(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (data := connection.recv(count - len(got))):
        got += data
    return got


def is_silent(connection: socket.socket, seconds: float = 0.2) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) != b"" and False
    except TimeoutError:
        return True
    finally:
        connection.settimeout(SECONDS)


def test_fine_weather_changes_nothing(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        assert ask(connection, BLOCK) == BLOCK
        assert (proxy.accepted, proxy.open_connections) == (1, 1)


def test_a_cut_resets_what_is_open_and_lets_new_ones_in(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        assert ask(connection, b"one") == b"one"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            read(connection, 1)
    with connected(proxy) as connection:
        assert ask(connection, b"two") == b"two"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_hold_delivers_everything_once_it_ends(proxy: FaultProxy, echo: EchoServer, direction: str) -> None:
    with connected(proxy) as connection:
        assert ask(connection, b"a") == b"a"
        setattr(proxy.weather, f"hold_{direction}", True)
        connection.sendall(b"bc")
        assert is_silent(connection)
        assert echo.received == (1 if direction == "up" else 3)
        setattr(proxy.weather, f"hold_{direction}", False)
        assert read(connection, 2) == b"bc"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_hole_swallows_and_tells_nobody(proxy: FaultProxy, echo: EchoServer, direction: str) -> None:
    with connected(proxy) as connection:
        setattr(proxy.weather, f"hole_{direction}", True)
        connection.sendall(b"lost")
        assert is_silent(connection)
        assert echo.received == (0 if direction == "up" else 4)
        setattr(proxy.weather, f"hole_{direction}", False)
        assert ask(connection, b"later") == b"later"


def test_a_cut_forgets_what_was_held(proxy: FaultProxy, echo: EchoServer) -> None:
    with connected(proxy) as connection:
        proxy.weather.hold_up = True
        connection.sendall(b"held")
        assert is_silent(connection)
        proxy.cut()
        proxy.weather.hold_up = False
    with connected(proxy) as connection:
        assert ask(connection, b"new") == b"new"
    assert echo.received == 3


def test_a_half_close_ends_one_direction_only(proxy: FaultProxy, echo: EchoServer) -> None:
    with connected(proxy) as connection:
        assert ask(connection, b"a") == b"a"
        proxy.half_close(up=True)
        assert echo.half_closed.wait(SECONDS)
        assert read(connection, 3) == b"bye"


def test_a_half_close_of_the_client_passes_through(proxy: FaultProxy, echo: EchoServer) -> None:
    with connected(proxy) as connection:
        connection.sendall(b"a")
        connection.shutdown(socket.SHUT_WR)
        assert read(connection, 4) == b"abye"
        assert connection.recv(1) == b""


def test_refused_connections_are_reset(proxy: FaultProxy) -> None:
    proxy.weather.refuse = True
    # Whether the handshake or the first read notices is the kernel's affair.
    with pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)
    proxy.weather.refuse = False
    with connected(proxy) as connection:
        assert ask(connection, b"a") == b"a"


def test_without_a_server_clients_are_reset() -> None:
    nowhere = FaultProxy(f"127.0.0.1:{free_port()}")
    with nowhere as proxy, pytest.raises(ConnectionResetError), connected(proxy) as connection:
        connection.recv(1)


def test_damage_is_one_bit_and_the_same_for_a_seed(echo: EchoServer) -> None:
    def damaged(seed: int) -> list[bytes]:
        with FaultProxy(echo.address, seed=seed) as proxy, connected(proxy) as connection:
            proxy.weather.flip_chance = 1.0
            return [ask(connection, b"0" * 64) for _ in range(4)]

    first = damaged(1)
    assert first == damaged(1) != damaged(2)
    for answer in first:
        # Once on the way there, once on the way back; twice at one place undoes it.
        assert sum(byte != ord("0") for byte in answer) in (0, 2)


def test_delay_is_added_on_either_way(proxy: FaultProxy) -> None:
    """Only a lower bound of time is asserted: that cannot fail on a slow machine."""
    proxy.weather.delay = 0.1
    with connected(proxy) as connection:
        began = time.monotonic()
        assert ask(connection, b"a") == b"a"
        assert time.monotonic() - began >= 0.2
        began = time.monotonic()
        assert ask(connection, BLOCK) == BLOCK
        assert time.monotonic() - began >= 0.2


def test_a_rate_is_kept(proxy: FaultProxy) -> None:
    proxy.weather.bytes_per_second = 100_000
    with connected(proxy) as connection:
        began = time.monotonic()
        assert ask(connection, b"x" * 20_000) == b"x" * 20_000
        # There and back, one behind the other but for the last chunk.
        assert time.monotonic() - began >= 0.2


async def test_it_serves_while_the_loop_of_the_test_is_blocked(proxy: FaultProxy) -> None:
    with connected(proxy) as connection:
        assert ask(connection, b"blocked") == b"blocked"
    await asyncio.sleep(0)


def test_it_ends_with_connections_open(echo: EchoServer) -> None:
    with FaultProxy(echo.address) as proxy:
        connection = socket.create_connection(("127.0.0.1", proxy.port), SECONDS)
        assert ask(connection, b"a") == b"a"
    with connection, pytest.raises(ConnectionResetError):
        connection.recv(1)
