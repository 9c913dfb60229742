"""Stops, deaths, restarts, and other people's prints."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from printfarm_agent.driver import DriverError, Ending, Handle, NothingToStop, ObservedState, OutcomeUnknown, Refused

from .rig import Rig
from .steps import AT_WORK, BUSY, PATIENCE_SECONDS, Bench, new_name, until


async def _is_stopped(rig: Rig) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await rig.is_stopped():  # noqa: ASYNC110 - the machine is asked
            await asyncio.sleep(0.05)


async def test_an_emergency_stop_stops_a_print(bench: Bench) -> None:
    await bench.begin(20.0)
    await bench.driver.emergency_stop()
    await _is_stopped(bench.rig)
    seen = await until(bench.driver, lambda seen: seen.state not in BUSY, patient=True)
    assert seen.ending is not Ending.COMPLETE
    assert seen.state is not ObservedState.IDLE, "a stopped machine takes no print"


async def test_an_emergency_stop_waits_for_no_other_call(bench: Bench) -> None:
    await bench.begin(20.0)
    await bench.rig.answer_late(0.8)
    hanging = asyncio.create_task(bench.driver.observe())
    await asyncio.sleep(0)
    await bench.driver.emergency_stop()
    await _is_stopped(bench.rig)
    await asyncio.gather(hanging, return_exceptions=True)


async def test_an_emergency_stop_waits_for_no_heating(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode_that_heats())
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state in AT_WORK)
    await bench.driver.emergency_stop()
    await _is_stopped(bench.rig)


async def test_an_emergency_stop_may_be_repeated(bench: Bench) -> None:
    await bench.driver.emergency_stop()
    with contextlib.suppress(Refused, NothingToStop):
        await bench.driver.emergency_stop()
    await _is_stopped(bench.rig)


async def test_an_emergency_stop_that_was_not_written_says_so(bench: Bench) -> None:
    await bench.rig.lose_connection()
    with pytest.raises(DriverError):
        await bench.driver.emergency_stop()
    await bench.rig.heal()
    assert not await bench.rig.is_stopped()


@asynccontextmanager
async def _another_agent(bench: Bench, seconds: float) -> AsyncIterator[Handle]:
    """A process of its own that starts a print, and is then killed as by a power cut."""
    given = {"driver": bench.rig.driver, "options": bench.rig.options(), "name": bench.name}
    given["path"] = str(bench.file(bench.rig.gcode(seconds)))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.conformance.starter", json.dumps(given), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = json.loads(await process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        yield Handle(told["version"], told["facts"])
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_print_survives_the_death_of_its_process(rig: Rig, bench: Bench) -> None:
    async with _another_agent(bench, 6.0) as handle:
        seen = await bench.driver.recover(bench.name, handle)
        assert bench.is_ours(seen) and seen.state in AT_WORK
        seen = await until(
            bench.driver, lambda seen: seen.ending is not None and seen.state is ObservedState.IDLE, patient=True
        )
        assert bench.is_ours(seen) and seen.ending is Ending.COMPLETE
        assert await rig.starts() == [bench.name]


async def test_a_print_is_found_without_its_handle(rig: Rig, bench: Bench) -> None:
    async with _another_agent(bench, 10.0):
        seen = await bench.driver.recover(bench.name, None)
        assert bench.is_ours(seen) and seen.state in AT_WORK
        assert await rig.starts() == [bench.name]


async def test_an_end_that_nobody_watched_is_known(rig: Rig, bench: Bench) -> None:
    async with _another_agent(bench, 1.0) as handle:
        await until(bench.driver, lambda seen: seen.ending is not None and seen.state is ObservedState.IDLE)
    async with rig.open() as later:
        await later.connect()
        seen = await later.recover(bench.name, handle)
        assert bench.is_ours(seen) and seen.ending is Ending.COMPLETE


async def test_a_print_that_never_was_is_not_found(rig: Rig, bench: Bench) -> None:
    await bench.bring(rig.gcode(1.0))
    seen = await bench.driver.recover(bench.name, None)
    assert seen.state is ObservedState.IDLE
    assert not bench.is_ours(seen)


async def test_a_restart_of_the_printer_is_no_finish(bench: Bench) -> None:
    await bench.begin(20.0)
    before = (await bench.driver.observe()).boot_count
    await bench.rig.restart_the_machine()
    seen = await until(
        bench.driver,
        lambda seen: seen.state not in BUSY or seen.boot_count != before,
        patient=True,
    )
    assert seen.ending is not Ending.COMPLETE
    assert not (bench.is_ours(seen) and seen.state in BUSY and seen.boot_count == before)
    assert await bench.rig.starts() == [bench.name]


async def test_a_foreign_print_is_told_by_its_file_and_left_alone(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(1.0))
    theirs = await bench.rig.start_foreign(10.0)
    seen = await until(bench.driver, lambda seen: seen.state in AT_WORK)
    assert seen.file_name == theirs != bench.name
    with pytest.raises((Refused, OutcomeUnknown)):
        await bench.driver.start(path, bench.name)
    assert (await bench.driver.observe()).state in AT_WORK
    assert bench.name not in await bench.rig.starts()


async def test_closing_the_driver_stops_nothing(rig: Rig, bench: Bench) -> None:
    bench.name = new_name()
    async with rig.open() as other:
        await other.connect()
        path = await bench.bring(rig.gcode(10.0))
        await other.start(path, bench.name)
        await until(other, lambda seen: bench.is_ours(seen) and seen.state in AT_WORK)
    seen = await until(bench.driver, lambda seen: True)
    assert bench.is_ours(seen) and seen.state in AT_WORK
