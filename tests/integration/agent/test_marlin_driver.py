"""The serial driver with its host process, against a board on a pseudo terminal: what dies, what goes on, and who may speak."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from printfarm_agent.driver import (
    ConnectionLost,
    Driver,
    Ending,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
)
from printfarm_agent.drivers.marlin.driver import open_driver
from printfarm_agent.drivers.marlin.hosting import Hosting, Line
from printfarm_agent.drivers.marlin.options import options_of
from printfarm_agent.limits import HeatRules, Limits
from tests.conformance.steps import until, until_it_fails
from tests.support.fake_marlin import FakeMarlin
from tests.support.marlin_board import Board, Firmware
from tests.support.serial_host import SerialHost

pytestmark = pytest.mark.timeout(180)
NAME = "pf-00000000-0000-0000-0000-000000000001.gcode"
# 10 mm at 100 mm/s each, hot.
MOVES = b"".join(b"G1 X%d E%d F6000\n" % (i % 2 * 10 + 10, i + 1) for i in range(600))
GCODE = b"G28\nM104 S200\nG92 E0\n" + MOVES


@pytest.fixture
def printer(tmp_path: Path) -> Iterator[FakeMarlin]:
    with FakeMarlin(tmp_path / "printer", Firmware(time_scale=2.0)) as running:
        yield running


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SerialHost]:
    """Of the driver below; ended with the test."""
    found = SerialHost(tmp_path / "state")
    yield found
    found.kill()


def config(printer: FakeMarlin, host: SerialHost, **options: str | float) -> PrinterConfig:
    given = {"port": str(printer.path), "quiet_seconds": 0.2, **options}
    return PrinterConfig("p", given, host.folder, Limits(volume_mm=(200.0, 200.0, 200.0)))


@pytest.fixture
async def driver(printer: FakeMarlin, host: SerialHost) -> AsyncIterator[Driver]:
    async with open_driver(config(printer, host)) as opened:
        await connected(opened)
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.gcode"
    path.write_bytes(GCODE)
    return path


async def connected(driver: Driver) -> None:
    async with asyncio.timeout(60):
        while True:
            with suppress(ConnectionLost):
                await driver.connect()
                return
            await asyncio.sleep(0.05)


async def printing(driver: Driver, file: Path) -> None:
    await driver.put_file(file, NAME, print)
    await driver.start(file, NAME)
    await until(driver, lambda seen: seen.state is ObservedState.PRINTING)


async def failed(driver: Driver, code: str) -> Observation:
    seen = await until(driver, lambda seen: seen.ending is not None, patient=True)
    assert (seen.ending, seen.file_name) == (Ending.FAILED, NAME)
    assert seen.failure_code == code
    return seen


def moves(printer: FakeMarlin) -> int:
    return sum(command.startswith("G1") for command in printer.commands())


def targets(printer: FakeMarlin) -> list[float]:
    return printer.do(lambda board: [heater.target for heater in board.heaters.values()])


async def refused_with(driver: Driver, words: str) -> None:
    """Looks until it is told why there is no printer."""
    told = ""
    async with asyncio.timeout(30):
        while words not in told:
            with pytest.raises(ConnectionLost) as error:
                await driver.observe()
            told = str(error.value)
            await asyncio.sleep(0.02)


async def cold(printer: FakeMarlin) -> None:
    async with asyncio.timeout(60):
        while any(targets(printer)):  # noqa: ASYNC110 - the board is asked
            await asyncio.sleep(0.02)


async def stopped(printer: FakeMarlin) -> None:
    async with asyncio.timeout(20):
        while not printer.events("emergency_stop"):  # noqa: ASYNC110 - the board is asked
            await asyncio.sleep(0.01)


async def test_a_host_that_dies_in_a_print_ends_it_and_cools_down(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    """The board is not reset by it, nothing is taken up again, and its heaters do not stay on."""
    await printing(driver, file)
    before = await driver.observe()
    host.kill()
    seen = await failed(driver, "host_interrupted")
    assert seen.boot_count == before.boot_count
    await cold(printer)
    assert printer.dtr_resets == 1, "only the first opening after the cable was plugged in"
    count = moves(printer)
    await until(driver, lambda seen: seen.state is ObservedState.IDLE)
    assert moves(printer) == count < 600


async def test_unplugged_in_a_print(driver: Driver, printer: FakeMarlin, file: Path) -> None:
    await printing(driver, file)
    printer.unplug()
    assert isinstance(await until_it_fails(driver), ConnectionLost)
    count = moves(printer)
    printer.plug_in()
    await failed(driver, "printer_lost")
    await until(driver, lambda seen: seen.state is ObservedState.IDLE)
    assert moves(printer) == count, "never taken up again"
    await driver.start(file, NAME)
    await until(driver, lambda seen: seen.state is ObservedState.PRINTING)


async def test_a_port_that_comes_later(printer: FakeMarlin, host: SerialHost) -> None:
    printer.unplug()
    async with open_driver(config(printer, host)) as driver:
        await refused_with(driver, "not there")
        printer.plug_in()
        await connected(driver)
        assert (await driver.observe()).state is ObservedState.IDLE


async def test_told_to_end_in_a_print_it_leaves_a_cold_printer(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    await printing(driver, file)
    await asyncio.to_thread(host.kill, signal.SIGTERM)
    assert targets(printer) == [0.0, 0.0]
    await failed(driver, "host_interrupted")


async def test_nobody_asks_for_an_idle_printer(printer: FakeMarlin, host: SerialHost) -> None:
    """It is cooled down, and its port is let go; an agent that comes later finds it again, without a reset."""
    given = config(printer, host, unclaimed_seconds=0.5)
    async with open_driver(given) as driver:
        await connected(driver)

        def heat(board: Board) -> None:
            board.heaters["B"].target = 60.0

        printer.do(heat)
        await until(driver, lambda seen: any(heater.target for heater in seen.heaters))
    async with asyncio.timeout(60):
        while host.is_alive():  # noqa: ASYNC110 - a process is waited for
            await asyncio.sleep(0.02)
    assert targets(printer) == [0.0, 0.0]
    async with open_driver(given) as driver:
        await connected(driver)
    assert (printer.opens, printer.dtr_resets) == (2, 1)


@pytest.mark.parametrize("why", ["it is told to end", "nobody asks for it"])
async def test_a_host_that_leaves_lets_somebodys_card_print_go_on(
    printer: FakeMarlin, host: SerialHost, why: str
) -> None:
    def begin(board: Board) -> None:
        board.card_print = [100, 100_000]
        board.heaters["T"].target = 200.0

    def is_hot_and_theirs(seen: Observation) -> bool:
        return seen.state is ObservedState.PRINTING and any(heater.target for heater in seen.heaters)

    unclaimed = 600.0 if why == "it is told to end" else 0.5
    async with open_driver(config(printer, host, unclaimed_seconds=unclaimed)) as driver:
        await connected(driver)
        printer.do(begin)
        await until(driver, is_hot_and_theirs)
    if why == "it is told to end":
        await asyncio.to_thread(host.kill, signal.SIGTERM)
    # Far sooner than a printer would take that had to cool down.
    async with asyncio.timeout(10):
        while host.is_alive():  # noqa: ASYNC110 - a process is waited for
            await asyncio.sleep(0.02)
    assert targets(printer) == [200.0, 0.0]


async def test_nobody_asks_for_a_print_and_it_goes_on(printer: FakeMarlin, host: SerialHost, file: Path) -> None:
    given = config(printer, host, unclaimed_seconds=0.2)
    await asyncio.to_thread(file.write_bytes, b"G92 E0\n" + MOVES[: len(MOVES) // 10])
    async with open_driver(given) as driver:
        await connected(driver)
        await printing(driver, file)
    async with asyncio.timeout(60):
        while host.is_alive():  # noqa: ASYNC110 - a process is waited for
            await asyncio.sleep(0.02)
    async with open_driver(given) as driver:
        seen = await until(driver, lambda seen: True, patient=True)
        assert (seen.ending, seen.end_of_file, seen.file_name) == (Ending.COMPLETE, True, NAME)


async def test_a_port_has_one_holder(driver: Driver, printer: FakeMarlin, tmp_path: Path) -> None:
    other = SerialHost(tmp_path / "other")
    try:
        async with open_driver(config(printer, other)) as second:
            with pytest.raises(ConnectionLost):
                await second.connect()
            await refused_with(second, "another program")
        assert (await driver.observe()).state is ObservedState.IDLE
        assert printer.opens == 1
    finally:
        other.kill()


async def test_a_start_whose_reply_is_lost_is_found_by_looking(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    def mute(board: Board) -> None:
        board.faults.is_mute = True

    def speak(board: Board) -> None:
        board.faults.is_mute = False
        board.say("ok")

    printer.do(mute)
    start = asyncio.create_task(driver.start(file, NAME))
    async with asyncio.timeout(30):
        while host.look()["file_name"] != NAME:  # noqa: ASYNC110 - a process is asked
            await asyncio.sleep(0.01)
    async with open_driver(config(printer, host)) as newer:
        with suppress(ConnectionLost):
            await newer.connect()
        with pytest.raises(OutcomeUnknown):
            await start
        printer.do(speak)
        seen = await until(newer, lambda seen: seen.state is ObservedState.PRINTING, patient=True)
        assert seen.file_name == NAME
        assert printer.commands().count("G28") == 1


async def test_new_settings_replace_an_idle_host_and_wait_for_a_print(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    first = host.pid
    async with open_driver(config(printer, host, pause_hotend_seconds=60.0)) as changed:
        await connected(changed)
        second = host.pid
        assert second != first
        await printing(changed, file)
        async with open_driver(config(printer, host)) as again:
            seen = await until(again, lambda seen: True, patient=True)
            assert (seen.state, seen.file_name) == (ObservedState.PRINTING, NAME)
            assert host.pid == second, "a print keeps the host that it has"
    assert printer.dtr_resets == 1


async def test_a_host_that_ends_while_it_is_claimed_is_a_lost_connection(printer: FakeMarlin, host: SerialHost) -> None:
    """It moved nothing, so that it may be tried again."""
    given = config(printer, host)
    host.folder.mkdir(mode=0o700)

    async def leaves(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_unix_server(leaves, host.folder / "host.sock"), open_driver(given) as driver:
        with pytest.raises(ConnectionLost):
            await driver.connect()
    (host.folder / "host.sock").unlink(missing_ok=True)
    async with open_driver(given) as driver:
        await connected(driver)


async def test_only_who_may_read_the_folder_may_speak(driver: Driver, host: SerialHost, printer: FakeMarlin) -> None:
    assert stat.S_IMODE(host.folder.stat().st_mode) == 0o700
    for name in ("host.sock", "token", "config.json"):
        assert stat.S_IMODE((host.folder / name).stat().st_mode) == 0o600, name
    for op, token in (("claim", "wrong"), ("emergency_stop", ""), ("look", "wrong"), ("status", ""), ("start", "")):
        line = Line(Hosting(host.folder, options_of(config(printer, host)).host), 5.0)
        await line.open()
        with pytest.raises(Refused):
            await line.exchange(op, token=token)
        await line.close()
    assert (await driver.observe()).state is ObservedState.IDLE
    assert not printer.events("emergency_stop")


@pytest.mark.parametrize("noise", [b"\n", b"[]\n", b"\x00\xff{\n", b"[" * 70_000, b'{"id":1}\n', b'{"op":["claim"]}\n'])
async def test_noise_on_the_socket_harms_nobody(
    driver: Driver, host: SerialHost, printer: FakeMarlin, noise: bytes
) -> None:
    reader, writer = await Hosting(host.folder, options_of(config(printer, host)).host).reach()
    writer.write(noise)
    with suppress(OSError):
        await writer.drain()
        writer.write_eof()
        async with asyncio.timeout(30):
            await reader.read()
    writer.close()
    assert (await driver.observe()).state is ObservedState.IDLE


async def test_a_damaged_memory_prints_nothing(printer: FakeMarlin, host: SerialHost) -> None:
    host.folder.mkdir()
    (host.folder / "memory.json").write_text('{"version": 1')
    async with open_driver(config(printer, host)) as driver:
        with pytest.raises(ConnectionLost, match="memory"):
            await driver.connect()
    assert not printer.commands()


async def test_a_disk_that_refuses_begins_nothing_and_ends_nothing(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    """What the memory cannot hold does not begin. A print that runs goes on, and its end is told, and written later."""
    obstacle = host.folder / "memory.new"
    obstacle.mkdir()
    with pytest.raises(ConnectionLost, match="disk"):
        await driver.start(file, NAME)
    assert moves(printer) == 0
    obstacle.rmdir()
    await until(driver, lambda seen: seen.state is ObservedState.IDLE)
    await asyncio.to_thread(file.write_bytes, b"G92 E0\n" + MOVES[: len(MOVES) // 20])
    await printing(driver, file)
    obstacle.mkdir()
    seen = await until(driver, lambda seen: seen.ending is not None)
    assert (seen.ending, seen.state) == (Ending.COMPLETE, ObservedState.IDLE)
    assert host.is_alive()
    obstacle.rmdir()
    async with asyncio.timeout(30):
        while host.memory()["last"]["ending"] != "complete":  # noqa: ASYNC110 - the disk is asked
            await asyncio.sleep(0.05)


@pytest.fixture
def full_disk(host: SerialHost) -> None:
    """Not a word fits into the log."""
    host.folder.mkdir()
    (host.folder / "host.log").symlink_to("/dev/full")


async def test_an_emergency_stop_needs_no_disk(
    full_disk: None, driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    await printing(driver, file)
    obstacle = host.folder / "memory.new"
    obstacle.mkdir()
    first = host.pid
    await driver.emergency_stop()
    await stopped(printer)
    await failed(driver, "emergency_stop")
    assert host.is_alive() and host.pid == first
    obstacle.rmdir()
    async with asyncio.timeout(30):
        while host.memory()["last"]["ending"] != "failed":  # noqa: ASYNC110 - the disk is asked
            await asyncio.sleep(0.05)


async def test_an_emergency_stop_does_not_wait_for_the_memory(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    """A disk on its way out takes seconds for each write."""
    await printing(driver, file)
    os.mkfifo(host.folder / "memory.new")
    stop = asyncio.create_task(driver.emergency_stop())
    try:
        await stopped(printer)
    finally:
        host.kill()
        with suppress(OutcomeUnknown):
            await stop


async def test_a_thermal_fault_needs_no_disk(
    full_disk: None, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    given = replace(config(printer, host), heat=HeatRules(deviation_seconds=0.2))
    async with open_driver(given) as driver:
        await connected(driver)
        await printing(driver, file)
        await until(driver, lambda seen: any(heater.target for heater in seen.heaters))
        (host.folder / "memory.new").mkdir()

        def runs_away(board: Board) -> None:
            board.faults.temperatures = "T:300.00 /200.00 B:25.00 /0.00 @:0 B@:0"

        printer.do(runs_away)
        await failed(driver, "thermal")
        await stopped(printer)
        await cold(printer)
        assert host.is_alive()


async def test_a_host_that_died_is_replaced_on_a_full_disk(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    """What it heated must not stay on until somebody makes room."""
    await printing(driver, file)
    host.kill()
    assert any(targets(printer))
    for name in ("memory.new", "config.new"):
        (host.folder / name).mkdir()
    for name, target in (("host.pid", "nowhere/host.pid"), ("host.log", "/dev/full")):
        (host.folder / name).unlink()
        (host.folder / name).symlink_to(target)
    try:
        await failed(driver, "host_interrupted")
        await cold(printer)
    finally:
        os.kill(host.answering(), signal.SIGKILL)


async def test_the_last_words_of_a_failed_print_are_kept(
    driver: Driver, printer: FakeMarlin, host: SerialHost, file: Path
) -> None:
    await printing(driver, file)
    printer.do(lambda board: board.kill("Error:Thermal Runaway, system stopped! Heater_ID: 0"))
    seen = await failed(driver, "thermal")
    assert seen.halted
    kept = (host.folder / f"failed-{NAME}.log").read_text()
    assert "Thermal Runaway" in kept and "G1 X" in kept


async def test_what_does_not_fit_through_the_line_is_refused_before_it_starts(driver: Driver, tmp_path: Path) -> None:
    path = tmp_path / "long.gcode"
    path.write_bytes(GCODE + b"G1 " + b"X1.00000000 " * 10 + b"\n")
    with pytest.raises(Refused, match="line 604"):
        await driver.put_file(path, NAME, print)


async def test_another_model_on_the_port_is_refused(printer: FakeMarlin, host: SerialHost) -> None:
    async with AsyncExitStack() as stack:
        right = await stack.enter_async_context(open_driver(config(printer, host, model="Ender-3")))
        await connected(right)
        wrong = await stack.enter_async_context(open_driver(config(printer, host, model="Prusa MK3")))
        with pytest.raises(ConnectionLost, match="Ender-3"):
            await wrong.connect()


async def test_the_baud_rate_is_found(tmp_path: Path, host: SerialHost) -> None:
    """The first rate gives noise both ways; nothing but a hello is sent into it."""
    with FakeMarlin(tmp_path / "slow", Firmware(), speed=termios.B57600) as printer:
        given = options_of(config(printer, host)).host
        hosting = Hosting(host.folder, replace(given, bauds=(115200, 57600)))
        hosting.prepare()
        line = Line(hosting, 5.0)
        async with asyncio.timeout(60):
            while not (await line.claimed())["is_known"]:  # noqa: ASYNC110 - a process is asked
                await asyncio.sleep(0.1)
        await line.close()
        assert json.loads((host.folder / "config.json").read_text())["bauds"] == [115200, 57600]
        assert "57600 baud" in host.log()


def test_the_host_runs_without_the_agents_network(tmp_path: Path) -> None:
    """It is light: neither gRPC nor asyncio, which its own process would carry for nothing."""
    heavy = ("grpc", "asyncio", "google.protobuf")
    code = f"import sys, printfarm_serial_host.__main__; print([m for m in {heavy} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert told.stdout.strip() == "[]"
