"""What the agent tells Prometheus, read when it is asked for, in its text format 0.0.4.

Written here, without Prometheus' library: with the web server that comes along it would be a tenth of the agent's memory.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from .journal import Journal
from .link.link import Link
from .telemetry import Telemetry
from .worker import PrinterWorker

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# RFC 9110, 5.6.7.
_DATE = "%a, %d %b %Y %H:%M:%S GMT"
_PREFIX = "printfarm_agent_"
_HEAD_BYTES = 16 * 1024
_SECONDS = 10.0


class AgentFigures:
    """One agent."""

    def __init__(
        self, workers: Mapping[str, PrinterWorker], link: Link, telemetry: Telemetry, journal: Journal | None
    ) -> None:
        self._workers = workers
        self._link = link
        self._telemetry = telemetry
        self._journal = journal

    def text(self) -> str:
        """Cheap: numbers that are there anyway."""
        return "".join(line + "\n" for line in self._lines())

    def _lines(self) -> Iterable[str]:
        figures = self._link.figures
        yield from _gauge("connected", "1 while a session with the coordinator is open.", figures.connected)
        yield from _counter("connects", "Sessions begun.", figures.connects)
        yield from _counter("connect_failures", "Sessions that ended with an error.", figures.failures)
        waiting = self._journal.waiting if self._journal else 0
        yield from _gauge("events_waiting", "Facts not yet acknowledged.", waiting)
        yield from _gauge("journal_usable", "1 if the journal can be trusted.", self._journal is not None)
        yield from _counter("telemetry_samples_sent", "Readings sent.", self._telemetry.sent)
        yield from _gauge("loop_lag_seconds", "How late the event loop came at last.", self._link.loop_lag.latest)
        yield from self._per_printer("driver_errors", "Failed driver calls.")
        yield from self._per_printer("starts", "Start commands given.")
        yield from self._per_printer("emergency_stops", "Emergency stops tried.")
        yield from _head("driver_progress_age_seconds", "gauge", "Since the driver last came back.")
        for printer_id, worker in self._workers.items():
            yield _of_printer("driver_progress_age_seconds", printer_id, worker.progress_age)

    def _per_printer(self, name: str, text: str) -> Iterable[str]:
        yield from _head(f"{name}_total", "counter", text)
        for printer_id, worker in self._workers.items():
            yield _of_printer(f"{name}_total", printer_id, getattr(worker.counts, name))


def _head(name: str, kind: str, text: str) -> Iterable[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} {kind}"


def _gauge(name: str, text: str, value: float) -> Iterable[str]:
    yield from _head(name, "gauge", text)
    yield f"{_PREFIX}{name} {float(value)}"


def _counter(name: str, text: str, value: float) -> Iterable[str]:
    yield from _head(f"{name}_total", "counter", text)
    yield f"{_PREFIX}{name}_total {float(value)}"


def _of_printer(name: str, printer_id: str, value: float) -> str:
    # An id is lower case letters, digits and dashes: nothing in it needs escaping.
    return f'{_PREFIX}{name}{{printer="{printer_id}"}} {float(value)}'


class MetricsServer:
    """Answers GET /metrics, one request a connection; everything else with 404 or 405."""

    def __init__(self, figures: AgentFigures) -> None:
        self._figures = figures
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """The port that it listens on. Raises OSError."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=_HEAD_BYTES)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listens no more, and ends what is open."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(_SECONDS):
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(self._answer(head.split(b"\r\n", 1)[0]))
                    await writer.drain()
        finally:
            self._open.discard(task)
            writer.close()

    def _answer(self, line: bytes) -> bytes:
        method, _, rest = line.decode("latin-1").partition(" ")
        path = rest.partition(" ")[0].partition("?")[0]
        if method not in ("GET", "HEAD"):
            status, body = "405 Method Not Allowed", b""
        elif path != "/metrics":
            status, body = "404 Not Found", b"the figures are at /metrics\n"
        else:
            status, body = "200 OK", self._figures.text().encode()
        head = (
            f"HTTP/1.1 {status}\r\nDate: {time.strftime(_DATE, time.gmtime())}\r\nContent-Type: {_CONTENT_TYPE}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == "HEAD" else body)
