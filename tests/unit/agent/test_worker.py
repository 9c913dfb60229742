"""The worker: what it asks a driver of, and when."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from printfarm_agent.driver import (
    Capabilities,
    ConnectionLost,
    Driver,
    Ending,
    Handle,
    MachineIdentity,
    Observation,
    ObservedState,
    PrinterConfig,
    Refused,
)
from printfarm_agent.execution import Book, Desire, LocalRun, NoAnswer, Stage, Wanted, WantedRun
from printfarm_agent.files import Files
from printfarm_agent.journal import Journal
from printfarm_agent.settings import AgentSettings, PrinterSettings
from printfarm_agent.telemetry import Telemetry
from printfarm_agent.worker import PrinterWorker

RUN = LocalRun("r1", "j1", 1, "a" * 64, 1, Stage.PRINTING, handle=Handle(1, {"job_id": 7}))


@dataclass
class Forgetful:
    """A machine that names its last print only to one who asks for it by name."""

    recovered: list[tuple[str, Handle | None]] = field(default_factory=list)

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        return MachineIdentity(), Capabilities(can_pause=True, prints_autonomously=True)

    async def observe(self) -> Observation:
        return Observation(ObservedState.IDLE)

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        self.recovered.append((name, handle))
        return Observation(ObservedState.IDLE, name, Ending.COMPLETE, end_of_file=True, elapsed_seconds=9.0)

    async def remove_file(self, name: str) -> None:
        return


async def events_of(tmp_path: Path, driver: Forgetful) -> list[str]:
    """What a worker tells after its start, with that run in its journal."""
    settings = PrinterSettings(PrinterConfig("p", {}), "forgetful")
    agent = AgentSettings("c:1", (settings,), state_dir=tmp_path, observe_seconds=0.01, idle_observe_seconds=0.01)
    with Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        worker = PrinterWorker(
            settings, agent, cast(Driver, driver), journal, Files(tmp_path / "files"), Telemetry(), "boot"
        )
        task = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(20):
                found: list[Any] = []
                while not {"finished", "failed"} & set(found):
                    await asyncio.sleep(0.01)
                    found = [event.WhichOneof("fact") for event in journal.after(0, 99)]
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    return [str(kind) for kind in found]


async def test_a_print_that_ended_while_the_agent_was_away_is_asked_for_by_name(tmp_path: Path) -> None:
    """Without that it would be gone from the printer, and failed."""
    with Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        await journal.commit("p", Book(1, RUN), ())
    driver = Forgetful()
    kinds = await events_of(tmp_path, driver)
    assert driver.recovered == [(RUN.file_name, RUN.handle)]
    assert "finished" in kinds
    assert "failed" not in kinds


@dataclass
class Stubborn(Forgetful):
    """Its first stops do not reach it; its first looks end in something that no driver may raise."""

    tries: int = 0
    looks: int = 0

    async def emergency_stop(self) -> None:
        self.tries += 1
        if self.tries == 1:
            raise Refused("busy")
        if self.tries == 2:
            raise KeyError("a driver's mistake")

    async def observe(self) -> Observation:
        self.looks += 1
        if self.looks < 3:
            raise KeyError("a driver's mistake")
        return Observation(ObservedState.IDLE)


async def test_a_stop_is_written_until_it_is_and_looks_never_end(tmp_path: Path) -> None:
    """A refusal is no stop (I10), and a driver's mistake blinds nobody (I23)."""
    driver = Stubborn()
    settings = PrinterSettings(PrinterConfig("p", {}), "stubborn")
    agent = AgentSettings("c:1", (settings,), state_dir=tmp_path, observe_seconds=0.01, idle_observe_seconds=0.01)
    with Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        worker = PrinterWorker(
            settings, agent, cast(Driver, driver), journal, Files(tmp_path / "files"), Telemetry(), "boot"
        )
        task = asyncio.create_task(worker.run())
        worker.want(Wanted(1, stop_generation=1))
        try:
            async with asyncio.timeout(20):
                kinds: list[Any] = []
                while "emergency_stopped" not in kinds or driver.looks < 4:
                    await asyncio.sleep(0.01)
                    kinds = [event.WhichOneof("fact") for event in journal.after(0, 99)]
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert driver.tries == 3


@dataclass
class Slow(Forgetful):
    """Prints, and each look waits for its turn, for ever."""

    looks: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event(), asyncio.Event()])
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        return Observation(ObservedState.PRINTING, RUN.file_name)

    async def observe(self) -> Observation:
        self.looks[self.cancelled.is_set()].set()
        await asyncio.Event().wait()
        raise AssertionError

    async def cancel(self) -> None:
        self.cancelled.set()


async def test_a_command_does_not_wait_for_a_look_that_takes_long(tmp_path: Path) -> None:
    driver = Slow()
    settings = PrinterSettings(PrinterConfig("p", {}), "slow")
    agent = AgentSettings("c:1", (settings,), state_dir=tmp_path, observe_seconds=0.01, idle_observe_seconds=0.01)
    with Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        await journal.commit("p", Book(1, RUN), ())
        worker = PrinterWorker(
            settings, agent, cast(Driver, driver), journal, Files(tmp_path / "files"), Telemetry(), "boot"
        )
        task = asyncio.create_task(worker.run())
        try:
            async with asyncio.timeout(20):
                await driver.looks[0].wait()
                want = WantedRun(RUN.run_id, RUN.job_id, 1, Desire.CANCEL, RUN.sha256, RUN.size_bytes, "")
                worker.want(Wanted(1, want))
                await driver.cancelled.wait()
                await driver.looks[1].wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


CONTENT = b"G28\nM104 S0\n"
SHA = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Rusty(Forgetful):
    """The host's disk damages the file while its printer cannot be reached for a moment."""

    folder: Path = Path()
    came: list[bytes] = field(default_factory=list)
    tries: int = 0

    async def observe(self) -> Observation:
        return Observation(ObservedState.IDLE)

    async def put_file(self, path: Path, name: str, sent: Any) -> None:
        self.tries += 1
        if self.tries == 1:
            await asyncio.to_thread(path.write_bytes, CONTENT.replace(b"M104 S0", b"M104 S9"))
            raise ConnectionLost("unplugged")
        self.came.append(await asyncio.to_thread(path.read_bytes))


@dataclass
class Source:
    """What a worker asks of the link: the file, as often as it is wanted."""

    fetched: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        self.fetched += 1
        yield CONTENT[offset:]

    async def authorise(self, printer_id: str, run: LocalRun) -> NoAnswer:
        self.asked.set()
        return NoAnswer(run.nonce)

    def events_wait(self) -> None:
        return


async def test_a_file_that_was_damaged_before_it_went_to_the_printer_is_fetched_anew(tmp_path: Path) -> None:
    """I17: what lies on the host's disk is looked at again right before it is handed over."""
    driver, source = Rusty(folder=tmp_path), Source()
    settings = PrinterSettings(PrinterConfig("p", {}), "rusty")
    agent = AgentSettings("c:1", (settings,), state_dir=tmp_path, observe_seconds=0.01, idle_observe_seconds=0.01)
    with Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        worker = PrinterWorker(
            settings, agent, cast(Driver, driver), journal, Files(tmp_path / "files"), Telemetry(), "boot"
        )
        worker.coordinator = source
        task = asyncio.create_task(worker.run())
        worker.want(Wanted(1, WantedRun("r1", "j1", 1, Desire.PRINT, SHA, len(CONTENT), "token")))
        try:
            async with asyncio.timeout(60):
                await source.asked.wait()
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
    assert (source.fetched, driver.came) == (2, [CONTENT])
