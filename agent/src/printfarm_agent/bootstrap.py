"""The composition root: the only place that loads drivers and joins the parts."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import structlog
from cryptography import x509
from prometheus_client import start_http_server

from printfarm_rpc.identity import from_certificate
from printfarm_rpc.watchdog import watch_loop

from .driver import OpenDriver
from .files import Files
from .journal import Journal, JournalCorrupt
from .link.link import Link
from .metrics import AgentCollector, registry_of
from .settings import AgentSettings, PrinterSettings, WrongSettings
from .telemetry import Telemetry
from .worker import PrinterWorker

_LOG = structlog.get_logger(__name__)
_DRIVERS = "printfarm.drivers"
# Printers that answer at once are described in the first Hello; the others follow.
_FIRST_LOOK_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class RunningAgent:
    """An agent at work."""

    agent_id: str
    metrics_address: str
    link: Link
    workers: dict[str, PrinterWorker]


def driver_named(printer: PrinterSettings) -> OpenDriver:
    """The driver's entry point, loaded. Raises WrongSettings, naming those that are installed."""
    found = {point.name: point for point in entry_points(group=_DRIVERS)}
    if printer.driver not in found:
        known = ", ".join(sorted(found)) or "none"
        raise WrongSettings(
            f"printer {printer.printer_id}: no driver {printer.driver} is installed; there are: {known}"
        )
    try:
        loaded: OpenDriver = found[printer.driver].load()
    except ModuleNotFoundError as error:
        # A driver's libraries are an optional extra of the same name.
        raise WrongSettings(
            f"printer {printer.printer_id}: the driver {printer.driver} needs {error.name}: "
            f'pip install "printfarm-agent[{printer.driver}]"'
        ) from error
    return loaded


def agent_id_of(settings: AgentSettings) -> str:
    """By the certificate; "unenrolled" without one."""
    try:
        pem = (settings.credentials / "certificate.pem").read_bytes()
        return from_certificate(x509.load_pem_x509_certificate(pem)).name
    except (OSError, ValueError):
        return "unenrolled"


@asynccontextmanager
async def open_agent(settings: AgentSettings) -> AsyncGenerator[RunningAgent]:
    """Everything an agent is. Closing it leaves prints running. Raises WrongSettings."""
    boot_id, host_boot = uuid.uuid4().hex, await asyncio.to_thread(_host_boot)
    async with AsyncExitStack() as stack:
        journal = _open_journal(stack, settings)
        telemetry = Telemetry()
        files = Files(settings.state_dir / "files")
        workers = {}
        for printer in settings.printers:
            try:
                driver = await stack.enter_async_context(driver_named(printer)(printer.config))
            except ValueError as error:
                raise WrongSettings(str(error)) from error
            workers[printer.printer_id] = PrinterWorker(
                printer, settings, driver, journal, files, telemetry, boot_id, host_boot
            )
        link = Link(settings, workers, journal, telemetry, boot_id)
        tasks = [asyncio.create_task(watch_loop(link.loop_lag.note))]
        stack.push_async_callback(_end, tasks)
        for worker in workers.values():
            worker.coordinator = link
            tasks.append(asyncio.create_task(worker.run()))
        await _first_looks(workers)
        tasks.append(asyncio.create_task(link.run()))
        address = _serve_metrics(stack, settings.metrics_address, AgentCollector(workers, link, telemetry, journal))
        agent_id = agent_id_of(settings)
        _LOG.info("agent works", agent_id=agent_id, printers=len(workers), metrics=address)
        yield RunningAgent(agent_id, address, link, workers)


def _host_boot() -> str:
    """Until this changes, the monotonic clock of all processes is one; empty where the host does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _open_journal(stack: AsyncExitStack, settings: AgentSettings) -> Journal | None:
    """Without a journal that can be trusted nothing is started; the printers are still looked at."""
    try:
        return stack.enter_context(Journal(settings.state_dir / "journal.db", time.monotonic))
    except JournalCorrupt as error:
        _LOG.error("the journal is corrupt: nothing will be printed until a person has looked", why=str(error))
        return None


async def _first_looks(workers: dict[str, PrinterWorker]) -> None:
    waits = [asyncio.create_task(worker.connected.wait()) for worker in workers.values()]
    if waits:
        _, pending = await asyncio.wait(waits, timeout=_FIRST_LOOK_SECONDS)
        for task in pending:
            task.cancel()


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """The link first, so that it can say goodbye while everything else still works."""
    for task in reversed(tasks):
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _serve_metrics(stack: AsyncExitStack, address: str, collector: AgentCollector) -> str:
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host, registry_of(collector))
    except OSError as error:
        raise WrongSettings(f"agent.metrics_address {address} cannot be listened on: {error.strerror}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    stack.callback(stop)
    return f"{host}:{server.server_port}"
