"""The worker and what must stop a machine: beside a start, a full disk, a hot heater and a driver that hangs."""

import asyncio
import hashlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from printfarm_agent.driver import (
    Capabilities,
    Driver,
    Ending,
    Handle,
    Heater,
    MachineIdentity,
    NothingToStop,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
)
from printfarm_agent.execution import Book, Desire, Event, Granted, LocalRun, Stage, Wanted, WantedRun
from printfarm_agent.files import Files
from printfarm_agent.journal import Journal
from printfarm_agent.limits import HeatRules
from printfarm_agent.settings import AgentSettings, PrinterSettings
from printfarm_agent.telemetry import Telemetry
from printfarm_agent.worker import PrinterWorker

CONTENT = b"G28\nM104 S0\n"
SHA = hashlib.sha256(CONTENT).hexdigest()
RUN = LocalRun("r1", "j1", 1, SHA, len(CONTENT), Stage.PRINTING, handle=Handle(1, {"job_id": 7}))
WANT = WantedRun("r1", "j1", 1, Desire.PRINT, SHA, len(CONTENT), "token")


@dataclass
class Machine:
    """A printer that is driven without trouble."""

    seen: Observation = field(default_factory=lambda: Observation(ObservedState.IDLE))
    looks: int = 0
    stops: int = 0
    starts: int = 0

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        return MachineIdentity(), Capabilities(can_pause=True, prints_autonomously=True)

    async def observe(self) -> Observation:
        self.looks += 1
        return self.seen

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        return self.seen

    async def put_file(self, path: Path, name: str, sent: Callable[[int], None]) -> None:
        return

    async def remove_file(self, name: str) -> None:
        return

    async def start(self, path: Path, name: str) -> Handle:
        self.starts += 1
        self.seen = Observation(ObservedState.PRINTING, name)
        return Handle(1, {})

    async def cancel(self) -> None:
        return

    async def emergency_stop(self) -> None:
        self.stops += 1
        if self.seen.state is ObservedState.IDLE:
            raise NothingToStop("nothing prints")
        self.seen = Observation(ObservedState.IDLE, self.seen.file_name, Ending.CANCELLED)


@dataclass
class Farm:
    """What a worker asks of the link: the file, and the authority."""

    async def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        yield CONTENT[offset:]

    async def authorise(self, printer_id: str, run: LocalRun) -> Granted:
        return Granted(run.nonce, 25.0)

    def events_wait(self) -> None:
        return


class Disk(Journal):
    """A journal whose disk can be full, or answer nothing any more."""

    is_full_up = False
    hangs = False

    async def commit(self, printer_id: str, book: Book, events: Sequence[Event]) -> None:
        if self.is_full_up:
            raise OSError(28, "No space left on device")
        while self.hangs:  # noqa: ASYNC110 - a disk is waited for
            await asyncio.sleep(0.01)
        await super().commit(printer_id, book, events)

    def kinds(self) -> list[str]:
        """The facts that were journalled."""
        return [str(event.WhichOneof("fact")) for event in self.after(0, 999)]


@asynccontextmanager
async def working(
    folder: Path, driver: Any, run: LocalRun | None = None, heat: HeatRules | None = None, longest: float = 900.0
) -> AsyncGenerator[tuple[PrinterWorker, Disk]]:
    settings = PrinterSettings(PrinterConfig("p", {}), "machine", heat=heat or HeatRules())
    agent = AgentSettings("c:1", (settings,), state_dir=folder, observe_seconds=0.01, idle_observe_seconds=0.01)
    with Disk(folder / "journal.db", lambda: 0.0) as journal:
        if run is not None:
            await journal.commit("p", Book(1, run), ())
    with Disk(folder / "journal.db", lambda: 0.0) as journal:
        files = Files(folder / "files")
        worker = PrinterWorker(
            settings, agent, cast(Driver, driver), journal, files, Telemetry(), "boot", longest_call_seconds=longest
        )
        worker.coordinator = Farm()
        task = asyncio.create_task(worker.run())
        try:
            yield worker, journal
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - a machine is looked at
            await asyncio.sleep(0.01)


# -- beside a start


@dataclass
class Slow(Machine):
    """Its start takes its time before it reaches the machine."""

    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self, path: Path, name: str) -> Handle:
        self.is_asked.set()
        await self.goes_on.wait()
        return await super().start(path, name)


async def test_a_stop_that_came_before_the_start_reached_the_machine_is_written_behind_it(tmp_path: Path) -> None:
    """What had nothing to stop yet is no stop, however soon the start ends after it."""
    driver = Slow()
    async with working(tmp_path, driver) as (worker, journal):
        worker.want(Wanted(1, WANT))
        await driver.is_asked.wait()
        worker.want(Wanted(1, WANT, stop_generation=1))
        await until(lambda: driver.stops > 0)
        driver.goes_on.set()
        await until(lambda: "emergency_stopped" in journal.kinds())
        assert (driver.starts, driver.seen.state) == (1, ObservedState.IDLE)
        assert "failed" in journal.kinds()


async def test_a_stop_that_waits_behind_a_full_disk_calls_the_start_off(tmp_path: Path) -> None:
    driver = Machine()
    async with working(tmp_path, driver) as (worker, journal):

        class Filling(Farm):
            async def authorise(self, printer_id: str, run: LocalRun) -> Granted:
                journal.is_full_up = True
                return Granted(run.nonce, 25.0)

        worker.coordinator = Filling()
        worker.want(Wanted(1, WANT))
        await until(lambda: journal.is_full_up)
        worker.want(Wanted(2, WANT, stop_generation=1))
        await until(lambda: driver.stops > 0)
        journal.is_full_up = False
        await until(lambda: "emergency_stopped" in journal.kinds())
        assert driver.starts == 0


# -- beside a full disk

_HOT = (Heater("hotend", 300.0, 200.0),)
_AT_ONCE = HeatRules(deviation_seconds=0.0)


def prints(heaters: tuple[Heater, ...] = ()) -> Observation:
    return Observation(ObservedState.PRINTING, RUN.file_name, heaters=heaters)


class Unstoppable(Machine):
    """Whatever is written to it, it goes on."""

    async def emergency_stop(self) -> None:
        self.stops += 1


@pytest.mark.parametrize("fault", ["is_full_up", "hangs"])
async def test_a_heater_that_runs_away_is_stopped_while_the_disk_refuses(tmp_path: Path, fault: str) -> None:
    driver = Unstoppable(prints((Heater("hotend", 200.0, 200.0),)))
    async with working(tmp_path, driver, RUN, _AT_ONCE) as (worker, journal):
        await until(lambda: driver.looks > 3)
        setattr(journal, fault, True)
        driver.seen = replace(prints(), state=ObservedState.PAUSED)
        looks = driver.looks
        await until(lambda: driver.looks > looks + 3)
        driver.seen = prints(_HOT)
        await until(lambda: driver.stops > 0)
        looks = driver.looks
        await until(lambda: driver.looks > looks + 200)
        assert driver.stops <= 2, "once, and not again with each try of the disk"
        assert len(worker.waiting) < 10, "the looks of all that time"
        setattr(journal, fault, False)
        await until(lambda: "failed" in journal.kinds())


async def test_one_stop_is_under_way_for_each_wish_however_long_the_disk_refuses(tmp_path: Path) -> None:
    class Deaf(Unstoppable):
        async def emergency_stop(self) -> None:
            self.stops += 1
            await asyncio.Event().wait()

    driver = Deaf(prints())
    async with working(tmp_path, driver, RUN) as (worker, journal):
        await until(lambda: driver.looks > 3)
        journal.is_full_up = True
        driver.seen = replace(prints(), state=ObservedState.PAUSED)
        looks = driver.looks
        await until(lambda: driver.looks > looks + 3)
        worker.want(Wanted(2, stop_generation=1))
        await until(lambda: driver.stops > 0)
        await asyncio.sleep(2.5)
        assert driver.stops == 1


# -- heaters


async def test_a_heater_that_stays_hot_is_told_and_stopped_once(tmp_path: Path) -> None:
    driver = Unstoppable(Observation(ObservedState.IDLE, heaters=(Heater("hotend", 25.0, 0.0),)))
    async with working(tmp_path, driver, None, _AT_ONCE) as (_, journal):
        await until(lambda: driver.looks > 3)
        for times in (1, 2):
            driver.seen = replace(driver.seen, heaters=(Heater("hotend", 300.0, 0.0),))
            await until(lambda times=times: driver.stops == times)  # type: ignore[misc]
            looks = driver.looks
            await until(lambda looks=looks: driver.looks > looks + 50)  # type: ignore[misc]
            assert (driver.stops, journal.kinds().count("alarm")) == (times, times)
            driver.seen = replace(driver.seen, heaters=(Heater("hotend", 25.0, 0.0),))
            looks = driver.looks
            await until(lambda looks=looks: driver.looks > looks + 3)  # type: ignore[misc]


# -- beside a driver that hangs


class Hanging(Machine):
    """Answers looks, and nothing else for ever."""

    asked: str = ""

    async def start(self, path: Path, name: str) -> Handle:
        self.asked = "start"
        await super().start(path, name)
        await asyncio.Event().wait()
        raise OutcomeUnknown

    async def cancel(self) -> None:
        self.asked = "cancel"
        await asyncio.Event().wait()


async def test_a_command_that_hangs_ends_no_looks(tmp_path: Path) -> None:
    driver = Hanging(prints())
    async with working(tmp_path, driver, RUN, longest=0.2) as (worker, _):
        worker.want(Wanted(1, replace(WANT, desire=Desire.CANCEL)))
        await until(lambda: driver.asked == "cancel")
        looks = driver.looks
        await until(lambda: driver.looks > looks + 3)


async def test_a_start_that_hangs_is_looked_for_on_the_printer(tmp_path: Path) -> None:
    driver = Hanging()
    async with working(tmp_path, driver, longest=0.2) as (worker, journal):
        worker.want(Wanted(1, WANT))
        await until(lambda: "started" in journal.kinds())
        assert driver.starts == 1


async def test_a_transfer_may_take_as_long_as_it_goes_on(tmp_path: Path) -> None:
    class Steady(Machine):
        is_mute = False
        begun = 0

        async def put_file(self, path: Path, name: str, sent: Callable[[int], None]) -> None:
            self.begun += 1
            for number in range(10):
                await asyncio.sleep(0.1)
                if not self.is_mute:
                    sent(number)

    driver = Steady()
    async with working(tmp_path, driver, longest=0.5) as (worker, _):
        worker.want(Wanted(1, WANT))
        await until(lambda: driver.starts == 1)
        assert driver.begun == 1
    mute = Steady()
    mute.is_mute = True
    folder = tmp_path / "mute"
    folder.mkdir()
    async with working(folder, mute, longest=0.5) as (worker, _):
        worker.want(Wanted(1, WANT))
        await until(lambda: mute.begun == 2)
        assert mute.starts == 0


# -- what a printer says


async def test_words_and_numbers_that_are_none_end_no_worker(tmp_path: Path) -> None:
    broken = "half a character: \ud83d"
    driver = Machine(replace(prints(), elapsed_seconds=math.inf, message=broken))
    async with working(tmp_path, driver, RUN) as (_, journal):
        await until(lambda: driver.looks > 3)
        driver.seen = replace(
            driver.seen, state=ObservedState.IDLE, ending=Ending.FAILED, failure_code=broken, elapsed_seconds=math.nan
        )
        await until(lambda: "failed" in journal.kinds())
        (told,) = [event.failed for event in journal.after(0, 99) if event.WhichOneof("fact") == "failed"]
        assert told.reason == "half a character: ?"
        looks = driver.looks
        await until(lambda: driver.looks > looks + 3)


async def test_an_endless_number_of_seconds_is_none(tmp_path: Path) -> None:
    driver = Machine(prints())
    async with working(tmp_path, driver, RUN) as (_, journal):
        await until(lambda: driver.looks > 3)
        driver.seen = replace(
            driver.seen, state=ObservedState.IDLE, ending=Ending.COMPLETE, end_of_file=True, elapsed_seconds=1e300
        )
        await until(lambda: "finished" in journal.kinds())
