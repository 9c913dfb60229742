"""The coordinator, as the gateway calls it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc
import structlog

from printfarm.control.v1 import (
    access_service_pb2_grpc,
    agent_admin_service_pb2_grpc,
    artifact_service_pb2_grpc,
    event_service_pb2_grpc,
    farm_service_pb2_grpc,
    job_service_pb2_grpc,
    printer_service_pb2_grpc,
    profile_service_pb2_grpc,
    rate_service_pb2_grpc,
    run_service_pb2_grpc,
    safety_service_pb2_grpc,
)
from printfarm_rpc import refusing
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import CONTROL_CHANNEL, UNARY_DEADLINE_SECONDS
from printfarm_rpc.serving import REQUEST_ID
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check, client_credentials

from .settings import GatewaySettings

_LOG = structlog.get_logger(__name__)
UPLOAD_SECONDS = 3_600.0
RELOAD_SECONDS = 30.0
# So long may what runs on a replaced channel still take; streams begin anew on the next.
OLD_CHANNEL_SECONDS = 120.0
_ABRUPT = (grpc.aio.AioRpcError, asyncio.CancelledError)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a request acts for. ``role`` is viewer, operator or admin."""

    name: str
    role: str


class ControlClient:
    """One channel for the whole process, and another when key or certificate change. Every call carries who asks, and the
    request's id."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._target, self._server_name = settings.control_target, settings.control_server_name
        self._files = CredentialFiles.in_folder(settings.credentials)
        self._closing: set[asyncio.Task[None]] = set()
        self._open()

    def _open(self) -> None:
        self._stamp = _stamp(self._files)
        credentials = client_credentials(self._files)
        self._channel = channel = open_channel(self._target, credentials, CONTROL_CHANNEL, self._server_name)
        self.jobs = job_service_pb2_grpc.JobServiceStub(channel)
        self.runs = run_service_pb2_grpc.RunServiceStub(channel)
        self.printers = printer_service_pb2_grpc.PrinterServiceStub(channel)
        self.profiles = profile_service_pb2_grpc.ProfileServiceStub(channel)
        self.rates = rate_service_pb2_grpc.RateServiceStub(channel)
        self.safety = safety_service_pb2_grpc.SafetyServiceStub(channel)
        self.artifacts = artifact_service_pb2_grpc.ArtifactServiceStub(channel)
        self.events = event_service_pb2_grpc.EventServiceStub(channel)
        self.farm = farm_service_pb2_grpc.FarmServiceStub(channel)
        self.agents = agent_admin_service_pb2_grpc.AgentAdminServiceStub(channel)
        self.access = access_service_pb2_grpc.AccessServiceStub(channel)

    async def call(
        self,
        method: Callable[..., Any],
        request: Any,
        principal: Principal | None = None,
        seconds: float = UNARY_DEADLINE_SECONDS,
    ) -> Any:
        """One answer. Raises FarmError."""
        try:
            return await method(request, timeout=seconds, metadata=metadata(principal))
        except _ABRUPT as error:
            raise _meant(error) from error

    async def stream(
        self, method: Callable[..., Any], request: Any, principal: Principal | None = None
    ) -> AsyncGenerator[Any]:
        """Answers until the other side, or the reader, ends it. Raises FarmError."""
        call = method(request, metadata=metadata(principal))
        try:
            async for answer in call:
                yield answer
        except _ABRUPT as error:
            raise _meant(error) from error
        finally:
            call.cancel()

    async def send(
        self, method: Callable[..., Any], requests: AsyncIterator[Any], principal: Principal | None = None
    ) -> Any:
        """A stream of requests, one answer. Raises FarmError, or what the iterator raised."""
        failure: list[Exception] = []

        async def guarded() -> AsyncIterator[Any]:
            try:
                async for request in requests:
                    yield request
            except Exception as error:
                # A cancellation is none: gRPC ends the sending so when the answer has come before its end.
                failure.append(error)
                raise

        try:
            return await refusing.send(method, guarded(), timeout=UPLOAD_SECONDS, metadata=metadata(principal))
        except _ABRUPT as error:
            if failure:
                # The sender broke off: what the coordinator says to that is beside the point.
                raise failure[0] from error
            raise _meant(error) from error

    async def reload_for_ever(self) -> None:
        """Looks for a new key or certificate now and then, until cancelled."""
        while True:
            await asyncio.sleep(RELOAD_SECONDS)
            self.reload()

    def reload(self, old_seconds: float = OLD_CHANNEL_SECONDS) -> bool:
        """True if key or certificate had changed and are used from now on. What cannot be used is left alone, with a line in
        the log."""
        if _stamp(self._files) == self._stamp:
            return False
        try:
            check(self._files, time.time())
        except (CredentialsError, ValueError) as error:
            _LOG.warning("the new certificate is not used", why=str(error))
            return False
        old = self._channel
        self._open()
        closing = asyncio.ensure_future(old.close(old_seconds))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        _LOG.info("key and certificate were read anew")
        return True

    async def close(self) -> None:
        """Ends every channel."""
        for closing in self._closing:
            closing.cancel()
        await self._channel.close()


def _stamp(files: CredentialFiles) -> tuple[float, ...]:
    """Changes with the files; empty while one is missing."""
    try:
        return tuple(path.stat().st_mtime_ns for path in (files.key, files.chain, files.roots))
    except OSError:
        return ()


def _meant(error: BaseException) -> BaseException:
    """What the other side meant, or that its channel is gone; a cancellation of our own stays one."""
    if isinstance(error, grpc.aio.AioRpcError):
        return from_rpc_error(error)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        return error
    return FarmError(Code.UNAVAILABLE)


def metadata(principal: Principal | None) -> tuple[tuple[str, str], ...]:
    """What goes along with each call."""
    pairs = [("x-request-id", REQUEST_ID.get())]
    if principal is not None:
        pairs += [("x-printfarm-actor", principal.name), ("x-printfarm-role", principal.role)]
    return tuple(pairs)
