"""One agent's control stream: what came in is applied, what is wanted goes out. Nothing is queued across streams."""

import asyncio
from collections.abc import AsyncIterator

import structlog

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm_rpc.errors import Code, FarmError, invalid
from printfarm_rpc.identity import Identity
from printfarm_rpc.limits import EVENTS_PER_BATCH

from ..app.farm import Farm
from ..app.heartbeats import Heartbeats
from ..app.ports import DatabaseUnavailable
from ..app.report import apply_events
from ..app.sessions import Welcome, note_driver, say_goodbye, set_drain_wish, wanted
from .agent_convert import agent_event, assignment, duration, seconds

_LOG = structlog.get_logger(__name__)
_RETRY_SECONDS = 0.5


class AgentSession:
    """The open stream of one agent. Memory is bounded: changes of one printer, and acknowledgements, replace each other."""

    def __init__(
        self,
        farm: Farm,
        heartbeats: Heartbeats,
        identity: Identity,
        welcome: Welcome,
        printer_ids: frozenset[str],
        lease_seconds: float,
    ) -> None:
        self.identity = identity
        self.connection_epoch = welcome.connection_epoch
        self.printer_ids = printer_ids
        self._farm = farm
        self._heartbeats = heartbeats
        self._lease_seconds = lease_seconds
        self._wake = asyncio.Event()
        self._dirty: set[str] = set()
        self._whole = True
        self._number = 0
        self._sent: dict[str, pb.Assignment] = {}
        self._applied = welcome.last_applied_sequence
        self._acknowledged = self._applied
        self._beat = self._answered = 0
        self._stuck: set[str] = set()
        self._drain_after: float | None = None
        self._end: FarmError | None = None
        self._over = False
        self._cause: Exception | None = None

    @property
    def last_applied_sequence(self) -> int:
        """Of the agent's journal."""
        return self._applied

    # -- touched by use cases, never waiting

    def look_at(self, printer_id: str) -> None:
        """Something wanted of the printer may have changed."""
        self._dirty.add(printer_id)
        self._wake.set()

    def end(self, code: str, why: str) -> None:
        """Ends the stream."""
        self._end = self._end or FarmError(Code[code], why)
        self._wake.set()

    def drain(self, reconnect_after: float) -> None:
        """Tells the agent that the stream ends soon."""
        self._drain_after = reconnect_after
        self._wake.set()

    # -- incoming

    async def read(self, requests: AsyncIterator[pb.ConnectRequest]) -> None:
        """Applies what the agent says, one message after the other, until the stream ends."""
        try:
            async for request in requests:
                if await self._take(request):
                    break
        except asyncio.CancelledError:
            raise
        except FarmError as error:
            self._end = self._end or error
        except Exception as error:
            # The writing side raises it, so that one place translates.
            self._cause = self._cause or error
        finally:
            self._over = True
            self._wake.set()

    async def _take(self, request: pb.ConnectRequest) -> bool:
        """True after Goodbye."""
        kind = request.WhichOneof("message")
        if kind == "heartbeat":
            await self._heartbeat(request.heartbeat)
        elif kind == "events":
            await self._events(request.events)
        elif kind == "resync":
            self._whole = True
            self._wake.set()
        elif kind == "drain_wish":
            drain = request.drain_wish.drain
            await set_drain_wish(self._farm, self.identity.name, self.connection_epoch, drain=drain)
        elif kind == "goodbye":
            await say_goodbye(self._farm, self.identity.name, self.connection_epoch)
            return True
        elif kind == "hello":
            raise FarmError(Code.HELLO_REPEATED)
        else:
            raise invalid("message", "is none that this coordinator knows")
        return False

    async def _heartbeat(self, beat: pb.Heartbeat) -> None:
        sequence = beat.sequence

        def prolonged() -> None:
            self._beat = max(self._beat, sequence)
            self._wake.set()

        self._heartbeats.note(self.identity.name, self.connection_epoch, prolonged)
        for age in beat.driver_ages:
            await self._driver_age(age.printer_id, seconds(age.last_progress_age))

    async def _driver_age(self, printer_id: str, age: float) -> None:
        is_stuck = age > self._lease_seconds
        if printer_id not in self.printer_ids or is_stuck == (printer_id in self._stuck):
            return
        (self._stuck.add if is_stuck else self._stuck.discard)(printer_id)
        _LOG.warning("driver", agent_id=self.identity.name, printer_id=printer_id, stuck=is_stuck, age=age)
        await note_driver(self._farm, self.identity.name, self.connection_epoch, printer_id, stuck=is_stuck)

    async def _events(self, batch: pb.EventBatch) -> None:
        if len(batch.events) > EVENTS_PER_BATCH:
            raise invalid("events", f"must be at most {EVENTS_PER_BATCH}")
        events = [agent_event(said, f"events[{i}]") for i, said in enumerate(batch.events)]
        while True:
            try:
                self._applied = await apply_events(self._farm, self.identity.name, self.connection_epoch, events)
                break
            except DatabaseUnavailable as error:
                # The stream stays; the agent sends no further than it is acknowledged.
                _LOG.warning("events wait for the database", agent_id=self.identity.name, why=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
        self._wake.set()

    # -- outgoing

    async def messages(self) -> AsyncIterator[pb.ConnectResponse]:
        """What goes to the agent, the most urgent first, until the stream ends. Raises what ended it."""
        while True:
            # First what needs no look at the database: an agent that reported waits for it.
            if self._applied > self._acknowledged:
                self._acknowledged = self._applied
                yield pb.ConnectResponse(event_ack=pb.EventAck(sequence=self._acknowledged))
            async for message in self._assignments():
                yield message
            if self._beat > self._answered:
                self._answered = self._beat
                yield pb.ConnectResponse(heartbeat_ack=pb.HeartbeatAck(sequence=self._answered))
            if self._drain_after is not None:
                after, self._drain_after = self._drain_after, None
                yield pb.ConnectResponse(drain=pb.Drain(reconnect_after=duration(after)))
            if self._cause is not None:
                raise self._cause
            if self._end is not None:
                raise self._end
            if self._over:
                return
            await self._wake.wait()
            self._wake.clear()

    async def _assignments(self) -> AsyncIterator[pb.ConnectResponse]:
        whole, dirty = self._whole, self._dirty
        if not (whole or dirty):
            return
        self._whole, self._dirty = False, set()
        try:
            found = await self._wanted(None if whole else dirty)
        except DatabaseUnavailable:
            self._whole, self._dirty = self._whole or whole, self._dirty | dirty
            await asyncio.sleep(_RETRY_SECONDS)
            self._wake.set()
            return
        if whole:
            self._sent = {a.printer_id: a for a in found}
            self._number += 1
            yield pb.ConnectResponse(assignments=pb.AssignmentSet(number=self._number, assignments=found))
            return
        for changed in found:
            if self._sent.get(changed.printer_id) == changed:
                continue
            self._sent[changed.printer_id] = changed
            self._number += 1
            yield pb.ConnectResponse(change=pb.AssignmentChange(number=self._number, assignment=changed))

    async def _wanted(self, printer_ids: set[str] | None) -> list[pb.Assignment]:
        """Emergency stops first."""
        async with self._farm.store.read() as look:
            named = None if printer_ids is None else sorted(printer_ids)
            found = await wanted(look, self.identity.name, named)
        waits = [w.printer.emergency_generation == w.printer.emergency_done_generation for w in found]
        return [assignment(w) for _, w in sorted(zip(waits, found, strict=True), key=lambda pair: pair[0])]
