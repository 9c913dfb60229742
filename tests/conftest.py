"""Fixtures that many tests use, and two rules: a missing part is never silent, and no test leaves a task behind."""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator

import hypothesis
import pytest
import pytest_asyncio

from printfarm_rpc import prepare_grpc
from printfarm_slicer.sandbox import NoSandbox, Sandbox
from tests.servers import program
from tests.support.klipper import KlipperServer
from tests.support.octoprint import OctoPrintServer
from tests.support.postgres import PostgresServer
from tests.support.prusalink_pi import PrusaLinkPi
from tests.support.rabbitmq import RabbitServer
from tests.support.redis import RedisServer

# As every program does, before gRPC is imported.
prepare_grpc()
# No test fails because the machine was busy.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")
REQUIRED = {name for name in os.environ.get("PRINTFARM_REQUIRE", "").split(",") if name}
_SETTLE_SECONDS = 2.0


def need(name: str) -> None:
    """Skips with the reason, or fails where the part is required."""
    if program(name) is not None:
        return
    if name in REQUIRED:
        pytest.fail(f"{name} is required by PRINTFARM_REQUIRE and not installed")
    pytest.skip(f"{name} is not installed: what needs it is not tested")


def need_sandbox() -> Sandbox:
    """The slicer's, proven on this host; skips with the reason, or fails where bubblewrap is required."""
    need("bubblewrap")
    try:
        return Sandbox.open()
    except NoSandbox as error:
        if "bubblewrap" in REQUIRED:
            pytest.fail(f"bubblewrap is required by PRINTFARM_REQUIRE: {error}")
        pytest.skip(f"what needs a slicer's sandbox is not tested: {error}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A private PostgreSQL for the session."""
    need("postgres")
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitServer]:
    """A private RabbitMQ for the session. A test that kills it starts it again."""
    need("rabbitmq")
    server = RabbitServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A private Redis for the session. A test that kills it starts it again."""
    need("redis")
    server = RedisServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def octoprint_server() -> Iterator[OctoPrintServer]:
    """A private OctoPrint with its virtual printer, for the session."""
    need("octoprint")
    server = OctoPrintServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def klipper_server() -> Iterator[KlipperServer]:
    """A private Moonraker with a real klippy and a simulated board, for the session."""
    need("moonraker")
    need("klippy")
    server = KlipperServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def prusalink_pi() -> Iterator[PrusaLinkPi]:
    """A private PrusaLink for a Raspberry Pi with an emulated MK3S, for the session."""
    need("prusalink")
    server = PrusaLinkPi()
    try:
        server.open()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def mosquitto() -> None:
    """Mosquitto is installed; who needs one starts a private one, with its own certificate."""
    need("mosquitto")


@pytest_asyncio.fixture
async def _nothing_left() -> AsyncGenerator[None]:
    """Set up before, and torn down after, every other fixture of an asynchronous test."""
    yield
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left:
        # What was cancelled a moment ago may still be on its way out.
        _, left = await asyncio.wait(left, timeout=_SETTLE_SECONDS)
    names = sorted(map(repr, left))
    for task in left:
        task.cancel()
    assert not names, f"the test left tasks behind: {names}"


@pytest.fixture(autouse=True)
def no_task_left_behind(request: pytest.FixtureRequest) -> None:
    """For asynchronous tests alone: others need no loop."""
    function = getattr(request.node, "obj", None)
    inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    if asyncio.iscoroutinefunction(inner):
        request.getfixturevalue("_nothing_left")
