"""Drives one printer: carries out what ``execution`` decides, in its order, and tells it what came of it."""

import asyncio
import math
import secrets
import sqlite3
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import structlog

from printfarm.model.v1 import printer_pb2
from printfarm_rpc.errors import FarmError
from printfarm_rpc.failpoints import failpoint
from printfarm_rpc.limits import START_MARGIN_SECONDS, START_TTL_SECONDS

from . import said, wire
from .driver import (
    Capabilities,
    ConnectionLost,
    Driver,
    DriverError,
    Handle,
    NothingToStop,
    Observation,
    ObservedState,
    PlateDriver,
    Refused,
)
from .execution import (
    ON_PRINTER,
    TRANSFERS,
    Abandon,
    Book,
    Commit,
    Denied,
    Described,
    Do,
    Done,
    EmergencyStop,
    Failed,
    Granted,
    Input,
    LocalRun,
    NoAnswer,
    Operation,
    Overheated,
    Rules,
    Seen,
    Stage,
    State,
    StopFailed,
    Stopped,
    Tick,
    Unseen,
    Wanted,
    is_stop_owed,
    reopened,
    step,
    why_not_start,
)
from .files import Files, WrongBytes
from .heat import HeatWatch
from .journal import Journal
from .limits import check_file, dialect_of
from .settings import AgentSettings, PrinterSettings
from .telemetry import Telemetry

_LOG = structlog.get_logger(__name__)
_STOP_RETRY_SECONDS = 0.5
_LONGEST_STOP_SECONDS = 60.0
_LONGEST_STOP_PAUSE_SECONDS = 2.0
_COMMIT_RETRY_SECONDS = 1.0
# What does not wait longer for a look that is under way.
_COMMANDS = frozenset({Operation.PAUSE, Operation.RESUME, Operation.CANCEL})
_LOOK_ROOM_SECONDS = 1.0
# A file that is streamed from this host's disk is checked again before its start if it waited for longer.
_FILE_CHECK_SECONDS = 60.0
# A driver keeps its own deadlines; this one is for a driver that breaks that promise.
LONGEST_CALL_SECONDS = 900.0


class Coordinator(Protocol):
    """What a worker asks of the link."""

    async def authorise(self, printer_id: str, run: LocalRun) -> Granted | Denied | NoAnswer: ...
    def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]: ...
    def events_wait(self) -> None:
        """The journal has new events."""
        ...


@dataclass(slots=True)
class Counts:
    """For the metrics."""

    driver_errors: int = 0
    starts: int = 0
    emergency_stops: int = 0
    events: int = 0
    # Of the file on its way to the printer, or the last one.
    sent_bytes: int = 0


class PrinterWorker:
    """One printer, one task. Driver calls go one at a time, but for the emergency stop."""

    def __init__(
        self,
        settings: PrinterSettings,
        agent: AgentSettings,
        driver: Driver,
        journal: Journal | None,
        files: Files,
        telemetry: Telemetry,
        boot_id: str,
        host_boot: str = "",
        longest_call_seconds: float = LONGEST_CALL_SECONDS,
    ) -> None:
        self.settings = settings
        self.printer_id = settings.printer_id
        self.counts = Counts()
        self.coordinator: Coordinator | None = None
        self.connected = asyncio.Event()
        self.abilities = printer_pb2.Abilities(tags=settings.tags)
        self._agent = agent
        self._driver = driver
        self._journal = journal
        self._files = files
        self._telemetry = telemetry
        self._can = Capabilities(can_pause=False, prints_autonomously=False)
        self._boot_id, self._host_boot = boot_id, host_boot
        self._limits = settings.limits
        self._heat = HeatWatch(settings.heat)
        self._is_overheated = False
        self._longest_call_seconds = longest_call_seconds
        self._inputs: deque[Input] = deque()
        # The one that is being taken in: it is not in the state before its commit.
        self._taking: Input | None = None
        self._given = asyncio.Event()
        self._driver_lock = asyncio.Lock()
        self._operations: set[asyncio.Task[None]] = set()
        # The generations that a stop is under way for, and whether the driver is in the midst of a start.
        self._stops: set[int] = set()
        self._is_starting = False
        self._transfer: asyncio.Task[None] | None = None
        self.state: State = reopened(journal.book(self.printer_id), host_boot) if journal else State(Book())
        files.keep(self._needed_file)
        self._progressed_at = time.monotonic()
        self._observe_now = asyncio.Event()
        self._look: asyncio.Task[Observation] | None = None

    # -- from outside

    def want(self, wanted: Wanted) -> None:
        """What the coordinator wants from now on; an older wish that still waits is replaced."""
        self._inputs = deque(given for given in self._inputs if not isinstance(given, Wanted))
        self._give(wanted)

    def want_nothing(self) -> None:
        """The coordinator's complete set does not name this printer."""
        known = self.state.wanted
        stop = known.stop_generation if known else 0
        self.want(Wanted(self.state.book.max_epoch, stop_generation=stop))

    @property
    def progress_age(self) -> float:
        """Seconds since the driver last came back from a call."""
        return time.monotonic() - self._progressed_at

    @property
    def waiting(self) -> tuple[Input, ...]:
        """What has come and was not taken in yet: more than a few only while the disk refuses."""
        return tuple(self._inputs)

    @property
    def shown(self) -> str:
        """What is told of the printer's state."""
        return self.state.reported[0] or "offline"

    @property
    def observed_run_id(self) -> str:
        """The run that the printer's own file name carries."""
        run, seen = self.state.book.run, self.state.seen
        return run.run_id if run and seen and seen.file_name == run.file_name else ""

    def _needed_file(self) -> str:
        run = self.state.book.run
        return run.sha256 if run is not None and run.stage is not Stage.DONE else ""

    def _give_look(self, look: Seen | Unseen) -> None:
        """While a commit waits for the disk, looks go on. Of those that wait, the first is kept, which may tell what no later
        one does (``_recover``), and the newest."""
        first = next((given for given in self._inputs if isinstance(given, Seen)), None)
        self._inputs = deque(given for given in self._inputs if given is first or not isinstance(given, Seen | Unseen))
        self._give(look)

    def _give(self, given: Input) -> None:
        self._inputs.append(given)
        self._given.set()

    # -- the loop

    async def run(self) -> None:
        """Until cancelled. A print goes on."""
        observer = asyncio.create_task(self._observe_for_ever())
        try:
            while True:
                try:
                    async with asyncio.timeout(1.0):
                        await self._given.wait()
                except TimeoutError:
                    self._inputs.append(Tick())
                self._given.clear()
                if observer.done():
                    raise RuntimeError("the looks at the printer ended")
                while self._inputs:
                    self._taking = self._inputs.popleft()
                    await self._step(self._taking)
                    self._taking = None
        finally:
            for task in (observer, *self._operations):
                task.cancel()
            await asyncio.gather(observer, *self._operations, return_exceptions=True)

    def _rules(self) -> Rules:
        closed = ""
        if self._journal is None:
            closed = "the agent's journal is corrupt"
        elif self._journal.is_full:
            closed = "the agent's journal is full"
        return Rules(
            self._boot_id,
            can_pause=self._can.can_pause,
            start_ttl=START_TTL_SECONDS - START_MARGIN_SECONDS,
            idle_heat_seconds=self._agent.idle_heat_seconds,
            closed=closed,
            host_boot=self._host_boot,
            file_check_seconds=_FILE_CHECK_SECONDS if self._can.fragile else math.inf,
        )

    async def _step(self, given: Input) -> None:
        state, effects = step(self.state, given, time.monotonic(), self._rules(), secrets.token_hex(16))
        for effect in effects:
            if isinstance(effect, EmergencyStop):
                self._begin_stop(effect.generation)
            elif isinstance(effect, Commit):
                await self._commit(effect)
                self.state = state
            elif isinstance(effect, Abandon):
                self.state = state
                self._spawn(self._abandon(effect, self._transfer))
            else:
                self.state = state
                task = self._spawn(self._perform(effect))
                self._transfer = task if effect.operation in TRANSFERS else None
        self.state = state
        if effects:
            self._observe_now.set()
        if effects and not any(isinstance(effect, Do) for effect in effects):
            # Something was written and nothing is under way: what follows from it need not wait for the next look.
            self._give(Tick())

    async def _commit(self, commit: Commit) -> None:
        """Durable when it returns. While the disk refuses, nothing goes on but the printer itself and its stop."""
        if self._journal is None:
            return
        while True:
            try:
                await self._write(self._journal, commit)
                break
            except (sqlite3.Error, OSError) as error:
                _LOG.error("the journal cannot be written", printer_id=self.printer_id, why=str(error))
                self._stop_while_stuck()
                await asyncio.sleep(_COMMIT_RETRY_SECONDS)
        self.counts.events += len(commit.events)
        for event in commit.events:
            _LOG.info("fact", printer_id=self.printer_id, kind=event.kind, run_id=event.run_id, **dict(event.data))
        if commit.events and self.coordinator:
            self.coordinator.events_wait()

    async def _write(self, journal: Journal, commit: Commit) -> None:
        """A disk may refuse, or take for ever. Raises sqlite3.Error, OSError."""
        writing = asyncio.create_task(journal.commit(self.printer_id, commit.book, commit.events))
        try:
            while not (await asyncio.wait([writing], timeout=_COMMIT_RETRY_SECONDS))[0]:
                self._stop_while_stuck()
        finally:
            writing.cancel()
        await writing

    def _stop_while_stuck(self) -> None:
        carried_out = {given.generation for given in self._inputs if isinstance(given, Stopped)}
        for generation in self._waiting_stops() - carried_out:
            self._begin_stop(generation)

    def _waiting_stops(self) -> set[int]:
        """Those that were asked for and have not been taken in yet; 0 is this agent's own."""
        given = (self._taking, *self._inputs)
        wishes = [each for each in given if isinstance(each, Wanted)]
        own = {0 for each in given if isinstance(each, Overheated)}
        return {wish.stop_generation for wish in wishes if is_stop_owed(self.state.book, wish)} | own

    def _begin_stop(self, generation: int) -> None:
        """At once, unless one for the same is under way: that one goes on until it is written."""
        if generation not in self._stops:
            self._stops.add(generation)
            self._spawn(self._stop(generation))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        return task

    # -- looking

    async def _observe_for_ever(self) -> None:
        while True:
            try:
                if not self.connected.is_set():
                    await self._connect()
                await self._observe()
            except (ConnectionLost, DriverError, TimeoutError) as error:
                self.counts.driver_errors += 1
                self._give_look(Unseen(said.reason(error)))
            except Exception:
                # A driver that breaks its promise must not end the looks, and with them the watch over the heaters.
                self.counts.driver_errors += 1
                _LOG.exception("the driver failed unexpectedly", printer_id=self.printer_id)
                self._give_look(Unseen("the driver failed unexpectedly"))
            self._progressed_at = time.monotonic()
            await self._pause_between_looks()

    @asynccontextmanager
    async def _turn_at_the_driver(self) -> AsyncGenerator[asyncio.Timeout]:
        """One call at a time, and none for ever: the next look, and what people want, wait for it. Raises TimeoutError."""
        async with self._driver_lock, asyncio.timeout(self._longest_call_seconds) as limit:
            yield limit

    async def _connect(self) -> None:
        async with self._turn_at_the_driver():
            machine, can = await self._driver.connect()
        self._can, machine = can, said.fit(machine)
        configured = dict(self.settings.abilities)
        self.abilities = wire.abilities(machine, can, self.settings.tags, configured, self._limits)
        volume = configured.get("volume_mm") or machine.volume_mm
        if self._limits.volume_mm is None and volume:
            self._limits = replace(self._limits, volume_mm=tuple(volume))
        await self._recover()
        self.connected.set()
        self._give(Described(self.abilities.SerializeToString()))

    async def _recover(self) -> None:
        """What an earlier process left on the printer, also where the printer's own state no longer names it."""
        run = self.state.book.run
        if run is None or run.stage not in ON_PRINTER | {Stage.STARTING, Stage.START_UNKNOWN}:
            return
        async with self._turn_at_the_driver():
            seen = await self._driver.recover(run.file_name, run.handle)
        self._give_look(Seen(said.fit(seen)))

    async def _observe(self) -> None:
        async with self._turn_at_the_driver():
            look = self._look = asyncio.create_task(self._driver.observe())
            try:
                await asyncio.wait([look])
            finally:
                self._look = None
                if look.cancel():
                    await asyncio.wait([look])
            if look.cancelled():
                # It made room for a command: the next look follows it.
                return
            seen = said.fit(look.result())
        now = time.monotonic()
        self._give_look(Seen(seen))
        self._watch_heat(seen, now)
        run_id = self.observed_run_id
        before = self.state.seen
        urgent = before is None or before.state is not seen.state
        self._telemetry.put(
            self.printer_id, now, wire.sample(self.printer_id, run_id, _shown(self.state, seen), seen), urgent=urgent
        )

    def _watch_heat(self, seen: Observation, now: float) -> None:
        """Told once, until a look at the heaters finds nothing wrong: they stay hot for a while after the stop."""
        why = self._heat.look(seen.heaters, now)
        if why and not self._is_overheated:
            self._give(Overheated(why))
        if seen.heaters:
            self._is_overheated = bool(why)

    async def _pause_between_looks(self) -> None:
        run = self.state.book.run
        is_busy = run is not None and run.stage is not Stage.DONE
        seconds = self._agent.observe_seconds if is_busy else self._agent.idle_observe_seconds
        try:
            async with asyncio.timeout(seconds):
                await self._observe_now.wait()
                await asyncio.sleep(min(0.05, seconds))
        except TimeoutError:
            pass
        self._observe_now.clear()

    # -- doing

    async def _stop(self, generation: int) -> None:
        """Beside whatever hangs. Told as done only once it was written to the machine; until then it is tried again.

        One that was begun while the driver was in the midst of a start proves nothing: the machine may not have had anything
        to stop yet, and the start may reach it behind the stop. It is written again until the start is over, and once more."""
        self.counts.emergency_stops += 1
        pause, has_failed = _STOP_RETRY_SECONDS, False
        while True:
            is_early = self._is_starting
            try:
                word = await self._written_stop()
            except Exception as error:
                # Whatever it is, a stop that was not written is asked for again.
                self.counts.driver_errors += 1
                why = (said.reason(error) if isinstance(error, DriverError) else "") or type(error).__name__
                _LOG.error("emergency stop not written", printer_id=self.printer_id, why=why)
                if not has_failed:
                    has_failed = True
                    text = f"the emergency stop is not carried out, and tried again: {why}"
                    self._give(StopFailed(generation, text))
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_STOP_PAUSE_SECONDS)
                continue
            if not is_early:
                break
            await asyncio.sleep(_STOP_RETRY_SECONDS)
        if self.state.busy is Operation.START:
            await asyncio.sleep(_STOP_RETRY_SECONDS)
        self._stops.discard(generation)
        self._give(Stopped(generation, word))

    async def _written_stop(self) -> str:
        """Why there was nothing to stop, if so."""
        try:
            async with asyncio.timeout(_LONGEST_STOP_SECONDS):
                await self._driver.emergency_stop()
        except NothingToStop as nothing:
            word = said.reason(nothing)
            _LOG.warning("nothing to stop", printer_id=self.printer_id, why=word)
            return word
        return ""

    async def _abandon(self, abandon: Abandon, transfer: asyncio.Task[None] | None) -> None:
        """Where the transfer ended by itself meanwhile, its own word came first and this one changes nothing: neither what
        was begun since, nor its outcome."""
        if transfer is not None:
            transfer.cancel()
            await asyncio.wait([transfer])
        name, run_id = abandon.operation.value, abandon.run.run_id
        _LOG.info("transfer broken off", printer_id=self.printer_id, operation=name, run_id=run_id)
        why = f"the {name} of run {run_id} was broken off: nobody wants it any more"
        self._give(Failed(abandon.operation, abandon.number, "abandoned", why, certain=False))

    async def _make_room(self) -> None:
        """People wait for a command: a look that takes long, such as one that waits for its turn, is given up for it. But not
        where it has to find the printer again first, which the command could not do without."""
        look = self._look
        if look is not None and self.state.reachable:
            await asyncio.wait([look], timeout=_LOOK_ROOM_SECONDS)
            look.cancel()

    async def _perform(self, do: Do) -> None:
        try:
            if do.operation in _COMMANDS:
                await self._make_room()
            handle = await self._operation(do)
        except Refused as error:
            self._failed(do, "refused", str(error), certain=True)
        except WrongBytes as error:
            self._failed(do, "wrong_bytes", str(error))
        except _Unfit as error:
            self._failed(do, "limits", str(error), certain=True)
        except ConnectionLost as error:
            # Nothing was sent. For a start that is proof; for a fetch or an upload it is no reason to give the job away.
            self._failed(do, "printer_unreachable", str(error), certain=do.operation is Operation.START)
        except FarmError as error:
            self._failed(do, error.code.name.lower(), error.detail)
        except (DriverError, TimeoutError, OSError) as error:
            self.counts.driver_errors += 1
            self._failed(do, "unknown", str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            _LOG.exception("operation failed unexpectedly", printer_id=self.printer_id, operation=do.operation.value)
            self._failed(do, "internal", type(error).__name__)
        else:
            if do.operation is not Operation.ASK:
                self._give(Done(do.operation, do.number, handle))

    def _failed(self, do: Do, code: str, reason: str, *, certain: bool = False) -> None:
        reason = said.encodable(reason)
        run_id = do.run.run_id if do.run else ""
        _LOG.warning(
            "operation failed",
            printer_id=self.printer_id,
            operation=do.operation.value,
            run_id=run_id,
            code=code,
            why=reason,
        )
        self._give(Failed(do.operation, do.number, code, reason, certain=certain))

    async def _operation(self, do: Do) -> Handle | None:
        run = do.run
        if do.operation is Operation.COOL_DOWN:
            async with self._turn_at_the_driver():
                await self._driver.cool_down()
            return None
        if do.operation is Operation.REMOVE:
            for name in do.files:
                async with self._turn_at_the_driver():
                    await self._driver.remove_file(name)
            return None
        if run is None:
            raise ValueError(f"{do.operation} needs a run")
        match do.operation:
            case Operation.FETCH:
                await self._fetch(run)
            case Operation.UPLOAD:
                await self._put(run)
            case Operation.ASK:
                await self._ask(run)
            case Operation.START:
                return await self._start(run, do)
            case _:
                async with self._turn_at_the_driver():
                    await getattr(self._driver, do.operation.value)()
        return None

    def _sent(self, run: LocalRun, limit: asyncio.Timeout, size_bytes: int) -> None:
        """A transfer goes on: the driver is busy, not stuck. People see how far it is, once a second."""
        now = time.monotonic()
        with suppress(RuntimeError):
            # Some drivers tell of the last bytes when their call is over.
            limit.reschedule(asyncio.get_running_loop().time() + self._longest_call_seconds)
        self.counts.sent_bytes = size_bytes
        if int(now) == int(self._progressed_at):
            return
        self._progressed_at = now
        share = min(1.0, size_bytes / run.size_bytes) if run.size_bytes else 1.0
        seen = Observation(ObservedState.PREPARING, message=f"sending the file: {share:.0%}")
        reading = wire.sample(self.printer_id, run.run_id, seen.state.value, seen)
        self._telemetry.put(self.printer_id, now, reading, urgent=False)

    async def _fetch(self, run: LocalRun) -> None:
        if self.coordinator is None:
            raise ConnectionError("no coordinator")
        path = await self._files.fetch(run.sha256, run.size_bytes, self.coordinator.download)
        if run.packed_kind not in ("", *self._can.file_kinds):
            raise _Unfit(f"the printer takes no {run.packed_kind}")
        firmware = dialect_of(self.settings.driver, self.abilities.firmware)
        check = partial(check_file, path, self._limits, firmware, plate=run.plate or None, sha256=run.gcode_sha256)
        if why := await asyncio.to_thread(check):
            raise _Unfit(why)

    def _choose_plate(self, run: LocalRun) -> None:
        if run.plate and isinstance(self._driver, PlateDriver):
            self._driver.choose_plate(run.file_name, run.plate)

    async def _put(self, run: LocalRun) -> None:
        """It may have lain here for hours, and whatever goes to the printer is what was assigned (I17)."""
        if not await self._files.has(run.sha256):
            raise WrongBytes(f"the file {run.sha256[:12]} was damaged on this host's disk, or is gone")
        async with self._turn_at_the_driver() as limit:
            self._choose_plate(run)
            await self._driver.put_file(self._files.path(run.sha256), run.file_name, partial(self._sent, run, limit))

    async def _ask(self, run: LocalRun) -> None:
        answer: Granted | Denied | NoAnswer = NoAnswer(run.nonce)
        if self.coordinator is not None:
            answer = await self.coordinator.authorise(self.printer_id, run)
        self._give(answer)

    async def _start(self, run: LocalRun, do: Do) -> Handle:
        """The one place that starts a print. Called once for each STARTING that was journalled."""
        async with self._turn_at_the_driver():
            if why := why_not_start(self.state, do, time.monotonic()):
                raise Refused(why)
            if self._waiting_stops():
                raise Refused("an emergency stop came")
            failpoint("authority_checked")
            failpoint("before_start_command")
            self._choose_plate(run)
            self.counts.starts += 1
            self._is_starting = True
            try:
                handle = await self._driver.start(self._files.path(run.sha256), run.file_name)
            finally:
                self._is_starting = False
            failpoint("after_start_command")
            return handle


class _Unfit(Exception):
    """The file must not run on this printer."""


def _shown(state: State, seen: Observation) -> str:
    return state.reported[0] if state.seen is seen and state.reported[0] else seen.state.value
