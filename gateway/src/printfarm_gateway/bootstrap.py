"""The composition root: joins the parts and serves."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
import uvicorn

from .app import make_app
from .control_client import ControlClient
from .follower import Follower
from .metrics import Metrics
from .protocol import protocol
from .ratelimits import RateLimits
from .recent import Recent
from .settings import GatewaySettings
from .streams import Streams

_LOG = structlog.get_logger(__name__)
_BACKLOG = 1_024
_STOP_SECONDS = 5


class AddressTaken(Exception):
    """The port cannot be listened on. The text names it and the variable."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """Where it serves: ``host:port``."""

    address: str


class _Server(uvicorn.Server):
    """Tells when it has begun. Signals are the program's business, not the server's."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As the library's, and then says so."""
        await super().startup(sockets)
        self.begun.set()


@asynccontextmanager
async def open_gateway(settings: GatewaySettings) -> AsyncGenerator[RunningGateway]:
    """Serves while the context is open. Raises AddressTaken, CredentialsError."""
    async with AsyncExitStack() as stack:
        listening = _listen(stack, settings)
        control = ControlClient(settings)
        stack.push_async_callback(control.close)
        recent = Recent[bytes]()
        limits, metrics, follower = RateLimits(settings), Metrics(), Follower(control, recent.forget)
        stack.push_async_callback(limits.close)
        streams = Streams(settings.streams_per_principal)
        _, guarded = make_app(settings, control, limits, metrics, follower, streams, recent)
        for work in (follower.follow_for_ever(metrics), control.reload_for_ever()):
            stack.push_async_callback(_cancelled, asyncio.create_task(work))
        config = uvicorn.Config(
            guarded,
            log_config=None,
            access_log=False,
            lifespan="off",
            http=protocol(settings.head_seconds),
            ws="none",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_STOP_SECONDS,
        )
        server = _Server(config)
        serving = asyncio.create_task(server._serve([listening]))
        stack.push_async_callback(_stop, server, serving, streams)
        await server.begun.wait()
        host, port = listening.getsockname()[:2]
        _LOG.info("gateway serves", address=f"{host}:{port}")
        yield RunningGateway(f"{host}:{port}")


def _listen(stack: AsyncExitStack, settings: GatewaySettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    stack.callback(listening.close)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise AddressTaken(
            f"{where} cannot be listened on ({error.strerror}): choose another PRINTFARM_PORT"
        ) from error
    listening.setblocking(False)
    return listening


async def _stop(server: uvicorn.Server, serving: "asyncio.Task[None]", streams: Streams) -> None:
    streams.stop()
    server.should_exit = True
    await asyncio.gather(serving, return_exceptions=True)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
