"""One control stream: Hello, then both ways until it ends. Nothing outlives it: the next begins from the journal."""

import asyncio
import itertools
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import grpc
import structlog

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm_rpc.errors import Code, FarmError, from_rpc_error
from printfarm_rpc.limits import EVENTS_PER_BATCH, FIRST_ANSWER_SECONDS

from ..journal import Journal
from ..wire import duration, seconds, wanted
from ..worker import PrinterWorker

_LOG = structlog.get_logger(__name__)
# Sent and not yet acknowledged: enough to keep the way full, little enough to send again.
_EVENTS_IN_FLIGHT = 3 * EVENTS_PER_BATCH
_JOIN_RETRY_SECONDS = 1.0
_URGENT, _BEAT, _FACTS = 0, 1, 2
Call = grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]


class Silent(Exception):
    """No heartbeat was answered within the lease, though the stream is open."""


class Session:
    """One writer task and one reader task; everyone else goes through the queue."""

    def __init__(
        self, call: Call, workers: Mapping[str, PrinterWorker], journal: Journal | None, loop_lag: "LoopLag"
    ) -> None:
        self._call = call
        self._workers = workers
        self._journal = journal
        self._loop_lag = loop_lag
        self._outgoing: asyncio.PriorityQueue[tuple[int, int, pb.ConnectRequest]] = asyncio.PriorityQueue()
        self._order = itertools.count()
        self._facts = asyncio.Event()
        self._number = 0
        self._sent = self._acknowledged = 0
        self._answered_at = time.monotonic()
        self.reconnect_after: float | None = None

    async def greet(self, hello: pb.Hello) -> pb.Welcome:
        """Says Hello; the answer must come soon. Raises FarmError."""
        try:
            async with asyncio.timeout(FIRST_ANSWER_SECONDS):
                # It may have been refused before this is written: then the answer tells why.
                with suppress(asyncio.InvalidStateError):
                    await self._call.write(pb.ConnectRequest(hello=hello))
                first = await self._call.read()
        except TimeoutError as error:
            raise FarmError(Code.UNAVAILABLE, "no Welcome in time") from error
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        if not isinstance(first, pb.ConnectResponse) or first.WhichOneof("message") != "welcome":
            raise FarmError(Code.UNAVAILABLE, "the stream ended before Welcome")
        return first.welcome

    async def run(self, welcome: pb.Welcome) -> None:
        """Until the stream ends; raises what ended it."""
        self._sent = self._acknowledged = welcome.last_applied_sequence
        self._facts.set()
        period, lease = seconds(welcome.heartbeat_period), seconds(welcome.lease)
        works = (self._read(), self._write(), self._beat(period, lease), self._replay(self._sent))
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    def events_wait(self) -> None:
        """The journal has more."""
        self._facts.set()

    def say(self, request: pb.ConnectRequest) -> None:
        """Ahead of heartbeats and facts."""
        self._put(_URGENT, request)

    def _put(self, priority: int, request: pb.ConnectRequest) -> None:
        self._outgoing.put_nowait((priority, next(self._order), request))

    async def _write(self) -> None:
        """The only writer: concurrent writes on one call are not allowed."""
        try:
            while True:
                _, _, request = await self._outgoing.get()
                await self._call.write(request)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
            # The reader tells why.
            await asyncio.Event().wait()

    async def _read(self) -> None:
        try:
            while isinstance(response := await self._call.read(), pb.ConnectResponse):
                self._take(response)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error) from error

    def _take(self, response: pb.ConnectResponse) -> None:
        match response.WhichOneof("message"):
            case "assignments":
                self._take_all(response.assignments)
            case "change":
                self._take_change(response.change)
            case "event_ack":
                self._acknowledged = max(self._acknowledged, response.event_ack.sequence)
                if self._journal is not None:
                    self._journal.acknowledge(response.event_ack.sequence)
                self._facts.set()
            case "heartbeat_ack":
                self._answered_at = time.monotonic()
            case "drain":
                self.reconnect_after = seconds(response.drain.reconnect_after)
            case _:
                _LOG.warning("a message that this agent does not know", kind=response.WhichOneof("message"))

    def _take_all(self, complete: pb.AssignmentSet) -> None:
        self._number = complete.number
        named = {assignment.printer_id for assignment in complete.assignments}
        for assignment in complete.assignments:
            self._want(assignment)
        for printer_id, worker in self._workers.items():
            if printer_id not in named:
                worker.want_nothing()

    def _take_change(self, change: pb.AssignmentChange) -> None:
        if change.number != self._number + 1:
            self.say(pb.ConnectRequest(resync=pb.ResyncRequest()))
            return
        self._number = change.number
        self._want(change.assignment)

    def _want(self, assignment: pb.Assignment) -> None:
        worker = self._workers.get(assignment.printer_id)
        if worker is None:
            return
        try:
            worker.want(wanted(assignment))
        except ValueError as error:
            _LOG.error("an assignment was not taken", printer_id=assignment.printer_id, why=str(error))

    async def _beat(self, period: float, lease: float) -> None:
        for number in itertools.count(1):
            ages = [
                pb.DriverAge(printer_id=printer_id, last_progress_age=duration(worker.progress_age))
                for printer_id, worker in self._workers.items()
            ]
            beat = pb.Heartbeat(sequence=number, driver_ages=ages, loop_lag=duration(self._loop_lag.take()))
            self._put(_BEAT, pb.ConnectRequest(heartbeat=beat))
            await asyncio.sleep(period)
            if time.monotonic() - self._answered_at > lease:
                raise Silent(f"no heartbeat was answered for {lease:g} s")

    async def _replay(self, applied: int) -> None:
        """What the journal holds, in order, until it is acknowledged."""
        journal = self._journal
        if journal is not None:
            await self._join(journal, applied)
        while True:
            await self._facts.wait()
            self._facts.clear()
            while journal is not None and self._sent - self._acknowledged < _EVENTS_IN_FLIGHT:
                events: Sequence[pb.AgentEvent] = journal.after(self._sent, EVENTS_PER_BATCH)
                if not events:
                    break
                self._sent = events[-1].sequence
                self._put(_FACTS, pb.ConnectRequest(events=pb.EventBatch(events=events)))

    async def _join(self, journal: Journal, applied: int) -> None:
        """The journal goes on where the coordinator is. While the disk refuses, wishes are heard and no fact is sent."""
        while True:
            try:
                await journal.welcomed(applied)
                break
            except (sqlite3.Error, OSError) as error:
                _LOG.error("the journal cannot be written: no fact is told", why=str(error))
                await asyncio.sleep(_JOIN_RETRY_SECONDS)
        journal.acknowledge(applied)


class LoopLag:
    """How late this process's loop was at most since it was last asked."""

    def __init__(self) -> None:
        self._worst = 0.0
        self.latest = 0.0

    def note(self, late: float) -> None:
        """From the watchdog."""
        self.latest = late
        self._worst = max(self._worst, late)

    def take(self) -> float:
        """Seconds."""
        worst, self._worst = self._worst, 0.0
        return worst
