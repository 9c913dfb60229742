"""Keeps a session with the coordinator, for ever: connects, waits, connects again. Prints never depend on it."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import structlog

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.agent.v1 import agent_service_pb2_grpc as rpc
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import (
    AGENT_CONTROL_CHANNEL,
    AGENT_FILES_CHANNEL,
    AGENT_STREAMS_CHANNEL,
    AUTHORISE_DEADLINE_SECONDS,
    PROTOCOL_VERSION,
    START_MARGIN_SECONDS,
    UNARY_DEADLINE_SECONDS,
    Options,
)
from printfarm_rpc.own import CredentialsError, checked_own, read_own
from printfarm_rpc.tls import CredentialFiles, client_credentials

from .. import __version__
from ..credentials import accept_certificate, new_request_elsewhere
from ..execution import Denied, Granted, LocalRun, NoAnswer
from ..journal import Journal
from ..settings import AgentSettings
from ..telemetry import FLUSH_SECONDS, Telemetry
from ..wire import BEDS, PRINTER_STATES, local_run, seconds
from ..worker import PrinterWorker
from .session import LoopLag, Session, Silent

_LOG = structlog.get_logger(__name__)
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.5, 30.0
_SILENT_WAIT_SECONDS = 30.0
_RENEWAL_SECONDS = 60.0
_SETTLED_SECONDS = 30.0
# The identity itself is refused: trying often changes nothing until a person enrols the agent anew.
_HOPELESS = {Code.AGENT_REVOKED, Code.AGENT_LOCKED, Code.CERTIFICATE_SUPERSEDED, Code.CERTIFICATE_EXPIRED}
# The coordinator has said nothing about the run.
_NO_WORD = {Code.UNAVAILABLE, Code.DRAINING, Code.INTERNAL, Code.RATE_LIMITED}


@dataclass(slots=True)
class LinkFigures:
    """For the metrics."""

    connects: int = 0
    failures: int = 0
    connected: bool = False


def _is_cancelled() -> bool:
    """Whoever asks was cancelled. A call ends in CancelledError, too, when its channel is closed with the session."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Link:
    """The agent's only way out."""

    def __init__(
        self,
        settings: AgentSettings,
        workers: Mapping[str, PrinterWorker],
        journal: Journal | None,
        telemetry: Telemetry,
        boot_id: str,
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._journal = journal
        self._telemetry = telemetry
        self._boot_id = boot_id
        self._session: Session | None = None
        self._control: rpc.AgentServiceAsyncStub | None = None
        self._files: rpc.AgentServiceAsyncStub | None = None
        self._renewed = asyncio.Event()
        # A certificate that came and could not be kept: another one is not asked for in its place.
        self._unkept: tuple[bytes, bytes, bytes] | None = None
        self.figures = LinkFigures()
        self.loop_lag = LoopLag()
        self.draining = False

    # -- for the workers

    async def authorise(self, printer_id: str, run: LocalRun) -> Granted | Denied | NoAnswer:
        """Asks once. What is not a clear answer is none."""
        if self._control is None:
            return NoAnswer(run.nonce)
        request = pb.AuthoriseStartRequest(
            run_id=run.run_id,
            printer_id=printer_id,
            epoch=run.epoch,
            nonce=run.nonce,
            bed_token=run.bed_token,
            boot_id=self._boot_id,
        )
        try:
            answer = await self._control.AuthoriseStart(request, timeout=AUTHORISE_DEADLINE_SECONDS)
        except asyncio.CancelledError:
            if _is_cancelled():
                raise
            return NoAnswer(run.nonce)
        except grpc.aio.AioRpcError as error:
            said = from_rpc_error(error)
            return NoAnswer(run.nonce) if said.code in _NO_WORD else Denied(run.nonce, said.code.name, said.detail)
        return Granted(run.nonce, seconds(answer.time_to_live) - START_MARGIN_SECONDS)

    async def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        """The bytes from an offset. Raises FarmError."""
        if self._files is None:
            raise FarmError(Code.UNAVAILABLE, "no coordinator")
        try:
            request = pb.DownloadArtifactRequest(sha256=sha256, offset=offset)
            async for response in self._files.DownloadArtifact(request):
                yield response.chunk
        except asyncio.CancelledError as error:
            if _is_cancelled():
                raise
            raise FarmError(Code.UNAVAILABLE, "the session ended") from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def events_wait(self) -> None:
        """The journal has more."""
        if self._session is not None:
            self._session.events_wait()

    # -- the loop

    async def run(self) -> None:
        """Until cancelled."""
        tries = 0
        while True:
            began = time.monotonic()
            wait = await self._once()
            tries = 0 if time.monotonic() - began > _SETTLED_SECONDS else tries + 1
            if wait is None:
                # Full jitter: a restarted coordinator meets its agents spread in time.
                wait = random.uniform(0.0, min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(tries, 8)))
            await asyncio.sleep(wait)

    async def _once(self) -> float | None:
        """One session, to its end; returns how long to wait if that is clear."""
        try:
            async with self._channels() as (control, streams, files):
                self._control, self._files = control, files
                return await self._converse(control, streams)
        except FarmError as error:
            self.figures.failures += 1
            log = _LOG.error if error.code in _HOPELESS else _LOG.warning
            log("no session with the coordinator", code=error.code.name, why=error.detail)
            return _LONGEST_WAIT_SECONDS if error.code in _HOPELESS else None
        except Silent as error:
            self.figures.failures += 1
            _LOG.warning("the coordinator is silent: connecting anew", why=str(error))
            return random.uniform(0.0, 1.0)
        except CredentialsError as error:
            self.figures.failures += 1
            _LOG.error("the agent's certificate cannot be used", why=str(error))
            return _SILENT_WAIT_SECONDS
        except Exception:
            self.figures.failures += 1
            _LOG.exception("the session failed unexpectedly")
            return _SILENT_WAIT_SECONDS
        finally:
            self._session = self._control = self._files = None
            self.figures.connected = False

    @asynccontextmanager
    async def _channels(
        self,
    ) -> AsyncGenerator[tuple[rpc.AgentServiceAsyncStub, rpc.AgentServiceAsyncStub, rpc.AgentServiceAsyncStub]]:
        files = CredentialFiles.in_folder(self._settings.credentials)
        checked_own(files.key, files.chain, time.time())
        options: tuple[Options, ...] = (AGENT_CONTROL_CHANNEL, AGENT_STREAMS_CHANNEL, AGENT_FILES_CHANNEL)
        channels = [
            open_channel(self._settings.coordinator, client_credentials(files), each, self._settings.server_name)
            for each in options
        ]
        try:
            control, streams, bulk = (rpc.AgentServiceStub(channel) for channel in channels)
            yield control, streams, bulk
        finally:
            for channel in channels:
                await channel.close()

    async def _converse(self, control: rpc.AgentServiceAsyncStub, streams: rpc.AgentServiceAsyncStub) -> float | None:
        call = control.Connect()
        session = Session(call, self._workers, self._journal, self.loop_lag)
        try:
            welcome = await session.greet(self._hello())
            self._session = session
            self._renewed.clear()
            self.figures.connects += 1
            self.figures.connected = True
            _LOG.info("connected to the coordinator", connection_epoch=welcome.connection_epoch)
            works = (session.run(welcome), self._stream(streams), self._renew_for_ever(control), self._renewed.wait())
            tasks = [asyncio.ensure_future(work) for work in works]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                await self._say_goodbye(call, session)
                raise
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            for task in done:
                task.result()
        finally:
            call.cancel()
        return session.reconnect_after

    async def _say_goodbye(self, call: object, session: Session) -> None:
        """An orderly end; what cannot be said in a second is left unsaid."""
        session.say(pb.ConnectRequest(goodbye=pb.Goodbye(reason="stopping")))
        await asyncio.sleep(0.2)

    def _hello(self) -> pb.Hello:
        return pb.Hello(
            agent_version=__version__,
            boot_id=self._boot_id,
            protocol_version=PROTOCOL_VERSION,
            hostname=socket.gethostname()[:64],
            journal_max_sequence=self._journal.told_sequence if self._journal else 0,
            journal_acknowledged_sequence=self._journal.acknowledged if self._journal else 0,
            journal_id=self._journal.journal_id if self._journal else "corrupt",
            printers=[self._report(worker) for worker in self._workers.values()],
            journal_corrupt=self._journal is None,
            draining=self.draining,
        )

    def _report(self, worker: PrinterWorker) -> pb.PrinterReport:
        book = worker.state.book
        return pb.PrinterReport(
            printer_id=worker.printer_id,
            driver=worker.settings.driver,
            name=worker.settings.name,
            abilities=worker.abilities,
            max_epoch=book.max_epoch,
            local_run=local_run(book.run),
            observed_state=PRINTER_STATES[worker.shown],
            observed_run_id=worker.observed_run_id,
            initial_bed=BEDS[worker.settings.initial_bed],
            emergency_stop_generation=book.stop_done,
        )

    # -- beside the control stream

    async def _stream(self, streams: rpc.AgentServiceAsyncStub) -> None:
        """Telemetry on its own connection; when the way breaks, it is opened again while the session lasts."""
        while True:
            call = streams.StreamTelemetry()
            try:
                while True:
                    await self._next_flush()
                    batch = self._telemetry.take(time.monotonic())
                    if batch is not None:
                        await call.write(batch)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
                await asyncio.sleep(1.0)
            finally:
                call.cancel()

    async def _next_flush(self) -> None:
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._telemetry.urgent.wait()
        except TimeoutError:
            pass
        self._telemetry.urgent.clear()

    async def _renew_for_ever(self, control: rpc.AgentServiceAsyncStub) -> None:
        """A new certificate at half life, then a new session with it. Prints notice nothing."""
        while True:
            await self._renew_if_due(control)
            await asyncio.sleep(_RENEWAL_SECONDS)

    async def _renew_if_due(self, control: rpc.AgentServiceAsyncStub) -> None:
        folder = self._settings.credentials
        if not read_own(folder / "certificate.pem").is_due_for_renewal(time.time()):
            return
        self._unkept = self._unkept or await self._new_certificate(control)
        if self._unkept is None:
            return
        try:
            await asyncio.to_thread(accept_certificate, self._settings.state_dir, *self._unkept)
        except OSError as error:
            _LOG.error("the new certificate could not be kept; it is tried again", why=str(error))
            return
        self._unkept = None
        _LOG.info("the certificate was renewed")
        self._renewed.set()

    async def _new_certificate(self, control: rpc.AgentServiceAsyncStub) -> tuple[bytes, bytes, bytes] | None:
        """Key, chain and roots; None if there are none now."""
        try:
            key, request = await new_request_elsewhere(self._settings.state_dir)
        except (OSError, TimeoutError) as error:
            _LOG.warning("no request for a new certificate could be made; it is tried again", why=str(error))
            return None
        try:
            answer = await control.RenewCertificate(
                pb.RenewCertificateRequest(certificate_signing_request=request), timeout=UNARY_DEADLINE_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            _LOG.warning("the certificate was not renewed; it is tried again", why=from_rpc_error(error).detail)
            return None
        return key, answer.certificate_chain, answer.trusted_roots
