"""The composition root: the only place that loads drivers and joins the parts."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import structlog

from printfarm_rpc.own import CredentialsError, read_own
from printfarm_rpc.watchdog import watch_loop

from .alone import alone_in
from .driver import OpenDriver
from .files import Files
from .journal import Journal, JournalCorrupt
from .link.link import Link
from .metrics import AgentFigures, MetricsServer
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
    parts: tuple[asyncio.Task[None], ...]

    async def broken(self) -> None:
        """Returns, and has said so in the log, once a part has ended that never should. A printer that nobody looks at, or a
        link that nobody serves, is no agent: it has to be started again."""
        ended, _ = await asyncio.wait(self.parts, return_when=asyncio.FIRST_COMPLETED)
        for part in ended:
            error = None if part.cancelled() else part.exception()
            _LOG.error("a part of the agent ended unasked: it ends", part=part.get_name(), exc_info=error)


def driver_named(printer: PrinterSettings) -> OpenDriver:
    """The driver, loaded: ours, or another's by its entry point. Raises WrongSettings, naming those that are installed."""
    try:
        loaded = _own_driver(printer.driver) or _installed_driver(printer)
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
        return read_own(settings.credentials / "certificate.pem").identity().name
    except (CredentialsError, ValueError):
        return "unenrolled"


def _own_driver(name: str) -> OpenDriver | None:
    """Without the library that looks entry points up, and the mail parser that it reads them with: 3 MB of each agent."""
    place = f"{__package__}.drivers.{name}"
    if not name.isidentifier() or find_spec(place) is None or find_spec(f"{place}.driver") is None:
        return None
    found: OpenDriver = import_module(f"{place}.driver").open_driver
    return found


def _installed_driver(printer: PrinterSettings) -> OpenDriver:
    from importlib.metadata import entry_points

    found = {point.name: point for point in entry_points(group=_DRIVERS)}
    if printer.driver not in found:
        known = ", ".join(sorted(found)) or "none"
        raise WrongSettings(
            f"printer {printer.printer_id}: no driver {printer.driver} is installed; there are: {known}"
        )
    loaded: OpenDriver = found[printer.driver].load()
    return loaded


@asynccontextmanager
async def open_agent(settings: AgentSettings) -> AsyncGenerator[RunningAgent]:
    """Everything an agent is. Closing it leaves prints running. Raises WrongSettings, JournalUnavailable."""
    boot_id, host_boot = uuid.uuid4().hex, await asyncio.to_thread(_host_boot)
    async with AsyncExitStack() as stack:
        stack.enter_context(alone_in(settings.state_dir))
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
        tasks = [asyncio.create_task(watch_loop(link.loop_lag.note), name="watch over the loop")]
        stack.push_async_callback(_end, tasks)
        for worker in workers.values():
            worker.coordinator = link
            tasks.append(asyncio.create_task(worker.run(), name=f"worker of {worker.printer_id}"))
        await _first_looks(workers)
        tasks.append(asyncio.create_task(link.run(), name="link"))
        figures = AgentFigures(workers, link, telemetry, journal)
        address = await _serve_metrics(stack, settings.metrics_address, figures)
        agent_id = agent_id_of(settings)
        _LOG.info("agent works", agent_id=agent_id, printers=len(workers), metrics=address)
        yield RunningAgent(agent_id, address, link, workers, tuple(tasks))


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


async def _serve_metrics(stack: AsyncExitStack, address: str, figures: AgentFigures) -> str:
    host, _, port = address.rpartition(":")
    server = MetricsServer(figures)
    stack.push_async_callback(server.close)
    try:
        return f"{host}:{await server.start(host.strip('[]') or '0.0.0.0', int(port))}"
    except OSError as error:
        raise WrongSettings(f"agent.metrics_address {address} cannot be listened on: {error.strerror}") from error
