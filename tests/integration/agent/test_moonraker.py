"""The moonraker driver and the traps of a real Klipper; the rest is in tests/conformance."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from printfarm_agent.driver import (
    Driver,
    Ending,
    NothingToStop,
    Observation,
    ObservedState,
    OutcomeUnknown,
    Refused,
)
from printfarm_agent.drivers.moonraker.absence import PROOF_SECONDS
from tests.conformance.rigs.moonraker import MoonrakerRig
from tests.conformance.steps import AT_WORK, Bench, until
from tests.support.http_front import Instead
from tests.support.klipper import KlipperServer
from tests.support.patience import PATIENCE_SECONDS


@pytest.fixture
async def rig(klipper_server: KlipperServer, tmp_path: Path) -> AsyncIterator[MoonrakerRig]:
    async with MoonrakerRig.opened(tmp_path, klipper_server) as opened:
        yield opened


@pytest.fixture
async def driver(rig: MoonrakerRig) -> AsyncIterator[Driver]:
    async with rig.open() as opened:
        await opened.connect()
        yield opened


@pytest.fixture
def bench(rig: MoonrakerRig, driver: Driver, tmp_path: Path) -> Bench:
    return Bench(rig, driver, tmp_path)


def is_over(seen: Observation) -> bool:
    return seen.state is ObservedState.IDLE and seen.ending is not None


async def test_the_machine_is_described_by_its_configuration(rig: MoonrakerRig) -> None:
    async with rig.open() as driver:
        machine, _ = await driver.connect()
    assert (machine.volume_mm, machine.nozzle_diameter_mm) == ((220.0, 230.0, 240.0), 0.6)
    assert "Moonraker 0.11" in machine.firmware


async def test_a_print_goes_on_while_moonraker_restarts(klipper_server: KlipperServer, bench: Bench) -> None:
    await bench.begin(5.0)
    klipper_server.kill("moonraker")
    await asyncio.to_thread(klipper_server.start_part, "moonraker")
    seen = await until(bench.driver, is_over, patient=True)
    assert bench.is_ours(seen) and seen.ending is Ending.COMPLETE
    assert klipper_server.started()


async def test_klippy_that_dies_fails_the_print(klipper_server: KlipperServer, bench: Bench) -> None:
    handle = await bench.begin(20.0)
    klipper_server.kill("klippy")
    await until(bench.driver, lambda seen: seen.state is ObservedState.OFFLINE)
    await asyncio.to_thread(klipper_server.start_part, "klippy")
    seen = await until(bench.driver, is_over, patient=True)
    assert bench.is_ours(seen) and seen.ending is Ending.FAILED
    assert "klippy_disconnect" in seen.message
    assert seen.print_number == handle.facts["print_number"] is not None


async def test_a_print_right_after_a_restart_of_klipper_is_in_the_history(
    klipper_server: KlipperServer, bench: Bench
) -> None:
    """Moonraker misses one that begins within a second of Klipper's being ready."""
    path = await bench.bring(bench.rig.gcode(2.0))
    klipper_server.kill("klippy")
    await until(bench.driver, lambda seen: seen.state is ObservedState.OFFLINE)
    await asyncio.to_thread(klipper_server.start_part, "klippy")
    await until(bench.driver, lambda seen: seen.state is ObservedState.IDLE, patient=True)
    handle = await bench.driver.start(path, bench.name)
    assert handle.facts["print_number"] is not None


async def test_an_end_is_known_after_klipper_and_the_agent_restarted(
    klipper_server: KlipperServer, rig: MoonrakerRig, bench: Bench
) -> None:
    await bench.begin(2.0)
    await until(bench.driver, is_over)
    await asyncio.to_thread(klipper_server.restart_klipper)
    async with rig.open() as later:
        await later.connect()
        seen = await later.observe()
    assert bench.is_ours(seen)
    assert (seen.ending, seen.end_of_file) == (Ending.COMPLETE, True)


async def test_a_cancel_that_forgets_the_file_is_found_in_the_history(
    klipper_server: KlipperServer, bench: Bench
) -> None:
    """As many a CANCEL_PRINT macro does: Klipper is in standby then, and knows no file."""
    await bench.begin(20.0)
    await asyncio.to_thread(klipper_server.post, "/printer/gcode/script", script="SDCARD_RESET_FILE")
    seen = await until(bench.driver, is_over)
    assert klipper_server.objects("print_stats")["print_stats"]["state"] == "standby"
    assert bench.is_ours(seen) and seen.ending is Ending.CANCELLED


async def test_a_print_of_somebody_elses_is_neither_paused_nor_cancelled(rig: MoonrakerRig, bench: Bench) -> None:
    await bench.begin(2.0)
    await until(bench.driver, is_over)
    await rig.start_foreign(20.0)
    for command in (bench.driver.pause, bench.driver.cancel):
        with pytest.raises(Refused, match="somebody else"):
            await command()
    assert (await until(bench.driver, lambda seen: seen.state is not ObservedState.IDLE)).state in AT_WORK


@pytest.mark.parametrize("then", ["resume", "cancel"])
async def test_a_pause_by_m25_can_be_ended(klipper_server: KlipperServer, bench: Bench, then: str) -> None:
    # RESUME and CANCEL_PRINT answer ok to it, and do nothing.
    await bench.begin(4.0)
    await asyncio.to_thread(klipper_server.post, "/printer/gcode/script", script="M25")
    await until(bench.driver, lambda seen: seen.state is ObservedState.PAUSED)
    if then == "resume":
        await bench.driver.resume()
        await until(bench.driver, lambda seen: seen.state in AT_WORK)
        assert (await until(bench.driver, is_over)).ending is Ending.COMPLETE
    else:
        await bench.driver.cancel()
        seen = await until(bench.driver, is_over)
        assert bench.is_ours(seen) and seen.ending is Ending.CANCELLED


async def test_a_pause_that_was_left_over_does_not_swallow_the_next(
    klipper_server: KlipperServer, bench: Bench
) -> None:
    await asyncio.to_thread(klipper_server.post, "/printer/print/pause")
    await bench.begin(20.0)
    await bench.driver.pause()
    await until(bench.driver, lambda seen: seen.state is ObservedState.PAUSED)


async def test_an_error_in_the_file_is_the_reason(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(0.5) + b"FAIL\n")
    await bench.driver.start(path, bench.name)
    seen = await until(bench.driver, is_over)
    assert bench.is_ours(seen) and seen.ending is Ending.FAILED
    assert "Filament jam detected" in seen.message


async def test_an_emergency_stop_that_is_denied_is_no_stop(rig: MoonrakerRig) -> None:
    async with rig.open(rig.wrong_credentials()) as driver:
        with pytest.raises(OutcomeUnknown):
            await driver.emergency_stop()
    assert not await rig.is_stopped()


def says_503(why: str) -> Instead:
    """Moonraker's word for a Klipper that it has no connection to."""
    return Instead(503, json.dumps({"error": {"code": 503, "message": why, "traceback": ""}}).encode())


async def test_a_stop_while_moonraker_has_lost_klipper_goes_out_once_it_can(
    klipper_server: KlipperServer, rig: MoonrakerRig, bench: Bench
) -> None:
    """Klipper prints on meanwhile: one answer proves nothing."""
    await bench.begin(30.0)
    rig.front.way.instead = (lambda _method, path: "emergency_stop" in path, says_503("Klippy Host not connected"))
    for _ in range(2):
        with pytest.raises(Refused, match="not connected to Klipper"):
            await bench.driver.emergency_stop()
    assert (await bench.driver.observe()).state in AT_WORK
    rig.front.heal()
    await bench.driver.emergency_stop()
    await asyncio.to_thread(klipper_server.until, lambda: klipper_server.state() == "shutdown")


async def test_a_klipper_that_stays_away_has_nothing_to_stop(klipper_server: KlipperServer, driver: Driver) -> None:
    klipper_server.kill("klippy")
    await until(driver, lambda seen: seen.state is ObservedState.OFFLINE)
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(60):
        while True:
            try:
                await driver.emergency_stop()
            except Refused:
                await asyncio.sleep(0.5)
            except NothingToStop:
                break
    assert asyncio.get_running_loop().time() - began >= PROOF_SECONDS
    await asyncio.to_thread(klipper_server.start_part, "klippy")


@pytest.mark.parametrize(
    ("why", "certain"),
    [("Klippy Host not connected", True), ("Klippy Disconnected", False), ("Klippy Write Request Error", False)],
)
async def test_a_start_that_klipper_may_have_heard_is_no_certain_no(
    rig: MoonrakerRig, bench: Bench, why: str, certain: bool
) -> None:
    """Moonraker's words when Klipper goes while the start is on its way."""
    path = await bench.bring(bench.rig.gcode(1.0))
    rig.front.way.instead = (lambda _method, path: path == "/printer/print/start", says_503(why))
    with pytest.raises(Refused if certain else OutcomeUnknown) as raised:
        await bench.driver.start(path, bench.name)
    assert isinstance(raised.value, Refused) is certain


@pytest.mark.parametrize("klipper", ["there", "away", "restarted"])
async def test_a_start_that_never_arrived_is_no_print(
    klipper_server: KlipperServer, rig: MoonrakerRig, bench: Bench, klipper: str
) -> None:
    path = await bench.bring(bench.rig.gcode(1.0))
    rig.front.way.instead = (lambda _method, path: path == "/printer/print/start", says_503("Klippy Disconnected"))
    with pytest.raises(OutcomeUnknown):
        await bench.driver.start(path, bench.name)
    rig.front.heal()
    wanted = ObservedState.IDLE
    if klipper == "away":
        klipper_server.kill("klippy")
        wanted = ObservedState.OFFLINE
    elif klipper == "restarted":
        await asyncio.to_thread(klipper_server.restart_klipper)
    for look in (bench.driver.observe, lambda: bench.driver.recover(bench.name, None)):
        await until(bench.driver, lambda seen: seen.state is wanted)
        seen = await look()
        assert seen.state is wanted and not bench.is_ours(seen)


async def test_a_print_whose_start_was_not_answered_is_found_after_a_restart_of_klipper(
    klipper_server: KlipperServer, rig: MoonrakerRig, bench: Bench
) -> None:
    path = await bench.bring(bench.rig.gcode(20.0))
    await rig.lose_the_reply_to_a_start()
    with pytest.raises(OutcomeUnknown):
        await bench.driver.start(path, bench.name)
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The history shows it, a moment later.
        while await rig.starts() != [bench.name]:  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.05)
    klipper_server.kill("klippy")
    await asyncio.to_thread(klipper_server.start_part, "klippy")
    seen = await until(bench.driver, is_over, patient=True)
    assert bench.is_ours(seen) and seen.ending is Ending.FAILED


async def test_moves_by_hand_are_no_idle(klipper_server: KlipperServer, driver: Driver) -> None:
    script = asyncio.create_task(
        asyncio.to_thread(klipper_server.post, "/printer/gcode/script", script="G4 P1500\nG1 E0.1 F300")
    )
    seen = await until(driver, lambda seen: seen.state is not ObservedState.IDLE)
    assert seen.state in AT_WORK
    assert seen.ending is None
    await script


async def test_a_wrong_configuration_is_an_error_with_its_reason(
    klipper_server: KlipperServer, rig: MoonrakerRig, driver: Driver
) -> None:
    config = klipper_server.folder / "printer.cfg"
    right = config.read_text()
    config.write_text(right.replace("nozzle_diameter: 0.6", "nozzle_diameter: wide"))
    try:
        await asyncio.to_thread(klipper_server.post, "/printer/restart")
        seen = await until(driver, lambda seen: seen.state is ObservedState.ERROR, patient=True)
        assert "nozzle_diameter" in seen.message
        # Moonraker notices a moment later.
        await asyncio.to_thread(klipper_server.until, lambda: klipper_server.state() == "error")
        async with rig.open() as later:
            await later.connect()
            assert (await later.observe()).state is ObservedState.ERROR
    finally:
        config.write_text(right)
        # A board that was never configured is not reset by command: as after a power cut.
        await asyncio.to_thread(klipper_server.power_cycle)
    await until(driver, lambda seen: seen.state is ObservedState.IDLE, patient=True)
