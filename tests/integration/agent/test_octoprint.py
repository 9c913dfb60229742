"""The octoprint driver and a real OctoPrint that dies: what only this server has; the rest is in tests/conformance."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from printfarm_agent.driver import Driver, Ending, NothingToStop, ObservedState, OutcomeUnknown, Refused
from printfarm_agent.drivers.octoprint.driver import OctoPrintDriver
from tests.conformance.rigs.octoprint import OctoPrintRig
from tests.conformance.steps import BUSY, Bench, new_name, nothing, until
from tests.support.http_front import Instead
from tests.support.octoprint import OctoPrintServer


@pytest.fixture
async def rig(octoprint_server: OctoPrintServer, tmp_path: Path) -> AsyncIterator[OctoPrintRig]:
    async with OctoPrintRig.opened(tmp_path, octoprint_server) as opened:
        yield opened


@pytest.fixture
async def driver(rig: OctoPrintRig) -> AsyncIterator[Driver]:
    async with rig.open() as opened:
        await opened.connect()
        yield opened


@pytest.fixture
def bench(rig: OctoPrintRig, driver: Driver, tmp_path: Path) -> Bench:
    return Bench(rig, driver, tmp_path)


async def test_a_server_that_dies_takes_the_print_with_it(octoprint_server: OctoPrintServer, bench: Bench) -> None:
    await bench.begin(30.0)
    octoprint_server.kill()
    await asyncio.to_thread(octoprint_server.start)
    seen = await until(bench.driver, lambda seen: seen.state is ObservedState.IDLE, patient=True)
    assert bench.is_ours(seen), "the driver knows what it started"
    assert seen.ending is None, "OctoPrint never saw an end"
    assert not seen.end_of_file


async def test_an_end_is_known_after_the_death_of_agent_and_server(
    octoprint_server: OctoPrintServer, rig: OctoPrintRig, bench: Bench
) -> None:
    await bench.begin(1.0)
    await until(bench.driver, lambda seen: seen.ending is not None and seen.state is ObservedState.IDLE)
    octoprint_server.kill()
    await asyncio.to_thread(octoprint_server.start)
    async with rig.open() as later:
        await later.connect()
        seen = await later.observe()
    assert bench.is_ours(seen)
    assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, True)


async def test_a_file_that_somebody_selected_hides_no_end(octoprint_server: OctoPrintServer, bench: Bench) -> None:
    await bench.begin(1.0)
    await until(bench.driver, lambda seen: seen.ending is not None and seen.state is ObservedState.IDLE)
    octoprint_server.put("theirs.gcode", bench.rig.gcode(0.5).decode())
    octoprint_server.post("/api/files/local/theirs.gcode", command="select")
    seen = await bench.driver.observe()
    assert bench.is_ours(seen) and seen.ending is Ending.COMPLETE
    octoprint_server.post("/api/job", command="start")
    await until(bench.driver, lambda seen: seen.state is ObservedState.PRINTING)
    seen = await until(bench.driver, lambda seen: seen.state is ObservedState.IDLE)
    assert (seen.file_name, seen.ending) == ("theirs.gcode", None)


@pytest.mark.parametrize("paused", [False, True])
async def test_a_printer_that_is_unplugged_ends_the_print(
    octoprint_server: OctoPrintServer, bench: Bench, paused: bool
) -> None:
    await bench.begin(30.0)
    if paused:
        await bench.driver.pause()
        await until(bench.driver, lambda seen: seen.state is ObservedState.PAUSED)
    octoprint_server.debug("drop_connection")
    seen = await until(bench.driver, lambda seen: seen.state not in BUSY)
    assert (seen.state, seen.halted) == (ObservedState.ERROR, True)
    assert bench.is_ours(seen)
    assert seen.message
    # Lost while paused, OctoPrint records no end at all.
    assert seen.ending is (None if paused else Ending.FAILED)


@pytest.mark.parametrize("by", ["a person", "a reset"])
async def test_a_cancel_by_a_person_is_told_from_a_reset(
    octoprint_server: OctoPrintServer, rig: OctoPrintRig, tmp_path: Path, by: str
) -> None:
    async with rig.open(rig.options() | {"url": octoprint_server.url}) as driver:
        assert isinstance(driver, OctoPrintDriver)
        async with asyncio.timeout(60):
            while not driver.ends.is_listening:  # noqa: ASYNC110 - it has no Event: nobody else waits for it
                await asyncio.sleep(0.02)
        bench = Bench(rig, driver, tmp_path)
        await bench.begin(30.0)
        if by == "a person":
            octoprint_server.post("/api/job", command="cancel")
        else:
            octoprint_server.debug("reset")
        seen = await until(driver, lambda seen: seen.state is ObservedState.IDLE and seen.ending is not None)
    assert bench.is_ours(seen)
    assert seen.ending is (Ending.CANCELLED if by == "a person" else Ending.FAILED)


async def test_an_emergency_stop_that_is_denied_is_no_stop(rig: OctoPrintRig) -> None:
    async with rig.open(rig.wrong_credentials()) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.emergency_stop()
    assert not await rig.is_stopped()


async def test_a_printer_that_is_off_is_offline(octoprint_server: OctoPrintServer, driver: Driver) -> None:
    octoprint_server.post("/api/connection", command="disconnect")
    await until(driver, lambda seen: seen.state is ObservedState.OFFLINE)


async def test_a_file_that_does_not_fit_is_not_sent(rig: OctoPrintRig, bench: Bench) -> None:
    rig.front.way.rewrite = lambda path, body: (
        json.dumps(json.loads(body) | {"free": 1000}).encode() if path.startswith("/api/files/local?") else body
    )
    with pytest.raises(Refused, match="1000 bytes left"):
        await bench.bring(rig.gcode(1.0))
    assert await rig.files() == set()


async def test_a_file_beyond_the_servers_limit_is_a_refusal(
    octoprint_server: OctoPrintServer, rig: OctoPrintRig, tmp_path: Path
) -> None:
    """OctoPrint says so before it has read the file, without a word, and closes."""
    path = tmp_path / "large.gcode"
    path.write_bytes(b"G1 X1\n" * ((49 << 20) // 6))
    async with rig.open(rig.options() | {"url": octoprint_server.url}) as driver:
        with pytest.raises(Refused):
            await driver.put_file(path, new_name(), nothing)
    assert await rig.files() == set()


async def test_a_start_without_a_printer_says_so(octoprint_server: OctoPrintServer, bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(1.0))
    await asyncio.to_thread(octoprint_server.post, "/api/connection", command="disconnect")
    await until(bench.driver, lambda seen: seen.state is ObservedState.OFFLINE)
    with pytest.raises(Refused, match="Offline"):
        await bench.driver.start(path, bench.name)


async def test_a_start_that_never_arrived_is_no_print(rig: OctoPrintRig, bench: Bench) -> None:
    path = await bench.bring(rig.gcode(1.0))
    rig.front.way.instead = (lambda method, path: method == "POST" and "/files/local/" in path, Instead(504))
    with pytest.raises(OutcomeUnknown):
        await bench.driver.start(path, bench.name)
    rig.front.heal()
    seen = await bench.driver.observe()
    assert seen.state is ObservedState.IDLE and not bench.is_ours(seen)


async def test_a_file_of_ours_that_is_only_selected_was_not_printed(
    octoprint_server: OctoPrintServer, bench: Bench
) -> None:
    await bench.bring(bench.rig.gcode(1.0))
    octoprint_server.post(f"/api/files/local/printfarm/{bench.name}", command="select")
    seen = await bench.driver.recover(bench.name, None)
    assert seen.state is ObservedState.IDLE and not bench.is_ours(seen)


async def test_a_print_of_somebody_elses_is_left_to_them(rig: OctoPrintRig, driver: Driver) -> None:
    await rig.start_foreign(20.0)
    await until(driver, lambda seen: seen.state is ObservedState.PRINTING)
    for command in (driver.pause, driver.cancel):
        with pytest.raises(Refused, match="somebody else"):
            await command()
    assert (await driver.observe()).state is ObservedState.PRINTING
    await rig.pause_at_the_machine()
    await until(driver, lambda seen: seen.state is ObservedState.PAUSED)
    with pytest.raises(Refused, match="somebody else"):
        await driver.resume()
    assert (await driver.observe()).state is ObservedState.PAUSED


async def test_a_stop_that_nothing_can_carry_is_refused_with_what_to_do_and_goes_out_once_it_can(
    octoprint_server: OctoPrintServer, driver: Driver
) -> None:
    await asyncio.to_thread(octoprint_server.post, "/api/connection", command="disconnect")
    await until(driver, lambda seen: seen.state is ObservedState.OFFLINE)
    for _ in range(2):
        with pytest.raises(Refused, match="at its socket, or press Connect"):
            await driver.emergency_stop()
    await asyncio.to_thread(octoprint_server.connect)
    await driver.emergency_stop()
    await until(driver, lambda seen: seen.state is ObservedState.ERROR)
    with pytest.raises(NothingToStop):
        # It was written, and this closed the connection.
        await driver.emergency_stop()
    await asyncio.to_thread(octoprint_server.connect)
    await until(driver, lambda seen: seen.state is ObservedState.IDLE)
    await asyncio.to_thread(octoprint_server.post, "/api/connection", command="disconnect")
    await until(driver, lambda seen: seen.state is ObservedState.OFFLINE)
    with pytest.raises(Refused):
        await driver.emergency_stop()
