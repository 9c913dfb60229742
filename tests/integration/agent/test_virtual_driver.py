"""The virtual driver against the real program, with everything that a printer may answer (bad inputs 86, 87, 89, 92)."""

import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from printfarm_agent.driver import (
    BadReply,
    ConnectionLost,
    Driver,
    DriverError,
    Ending,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
)
from printfarm_agent.drivers.virtual.driver import open_driver
from tests.support.virtual_printer import VirtualPrinters

NAME = "pf-00000000-0000-0000-0000-000000000001.gcode"
GCODE = b"G28\nM104 S200\nM109 S200\n" + b"G1 X100 F3000\nG1 X0\n" * 40


@pytest.fixture
def printers(tmp_path: Path) -> Iterator[VirtualPrinters]:
    with VirtualPrinters(tmp_path / "printers", time_scale=200.0) as running:
        yield running


@pytest.fixture
async def driver(printers: VirtualPrinters) -> AsyncIterator[Driver]:
    options = {"address": printers.address(), "timeout_seconds": 1.0}
    async with open_driver(PrinterConfig("p", options)) as opened:
        yield opened


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.gcode"
    path.write_bytes(GCODE)
    return path


def unheard(size_bytes: int) -> None:
    """Nobody listens."""


async def look_often(driver: Driver) -> None:
    """A dropped line is noticed a moment later."""
    for _ in range(50):
        await driver.observe()


async def test_a_print_from_end_to_end(driver: Driver, printers: VirtualPrinters, file: Path) -> None:
    machine, can = await driver.connect()
    assert machine.model
    assert can.prints_autonomously
    await driver.put_file(file, NAME, unheard)
    await driver.start(file, NAME)
    while (seen := await driver.observe()).ending is None:
        assert seen.file_name == NAME
    assert (seen.ending, seen.end_of_file, seen.state) == (Ending.COMPLETE, True, ObservedState.IDLE)
    start = printers.starts()[0]
    assert start["sha256"] == hashlib.sha256(GCODE).hexdigest()
    assert start["run_id"] == NAME[3:-6]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("never_answer", ConnectionLost),
        ("answer_late", ConnectionLost),
        ("garbage", BadReply),
        ("long_line", BadReply),
        ("drop_line", ConnectionLost),
    ],
)
async def test_a_look_that_fails_is_no_idle(
    driver: Driver, printers: VirtualPrinters, fault: str, expected: type[DriverError]
) -> None:
    await driver.connect()
    printers.admin("fault", name=fault)
    with pytest.raises(expected):
        await look_often(driver)
    printers.admin("clear_fault")


async def test_it_answers_again_after_the_fault(driver: Driver, printers: VirtualPrinters) -> None:
    printers.admin("fault", name="never_answer")
    with pytest.raises(DriverError):
        await driver.observe()
    printers.admin("clear_fault")
    assert (await driver.observe()).state is ObservedState.IDLE


async def test_an_unknown_state_is_never_idle(driver: Driver, printers: VirtualPrinters) -> None:
    printers.admin("fault", name="unknown_state")
    assert (await driver.observe()).state is ObservedState.UNKNOWN


@pytest.mark.parametrize("fault", ["nan_temperature", "open_thermistor"])
async def test_a_broken_sensor_says_nothing(driver: Driver, printers: VirtualPrinters, fault: str) -> None:
    printers.admin("fault", name=fault)
    assert (await driver.observe()).heaters == ()


async def test_starts_tell_refused_from_unknown(driver: Driver, printers: VirtualPrinters, file: Path) -> None:
    await driver.put_file(file, NAME, unheard)
    printers.admin("fault", name="refuse_start")
    with pytest.raises(Refused):
        await driver.start(file, NAME)
    printers.admin("clear_fault")
    assert not printers.starts()
    printers.admin("fault", name="lose_start_reply")
    with pytest.raises(OutcomeUnknown):
        await driver.start(file, NAME)
    assert len(printers.starts()) == 1, "it started, and nobody was told"
    assert (await driver.observe()).file_name == NAME


async def test_a_start_that_was_never_sent_is_known_to_be_none(printers: VirtualPrinters, file: Path) -> None:
    address = printers.address()
    printers.kill()
    async with open_driver(PrinterConfig("p", {"address": address, "timeout_seconds": 1.0})) as driver:
        with pytest.raises(ConnectionLost):
            await driver.start(file, NAME)


@pytest.mark.parametrize("fault", ["storage_full", "corrupt_transfer"])
async def test_a_file_that_did_not_arrive_is_refused(
    driver: Driver, printers: VirtualPrinters, file: Path, fault: str
) -> None:
    printers.admin("fault", name=fault)
    with pytest.raises(Refused):
        await driver.put_file(file, NAME, unheard)


async def test_emergency_stop_waits_for_nothing(driver: Driver, printers: VirtualPrinters, file: Path) -> None:
    import asyncio

    await driver.put_file(file, NAME, unheard)
    await driver.start(file, NAME)
    printers.admin("fault", name="answer_late", argument=0.8)
    hanging = asyncio.create_task(driver.observe())
    await driver.emergency_stop()
    assert any(entry["event"] == "emergency_stop" for entry in printers.log())
    await asyncio.gather(hanging, return_exceptions=True)


async def test_a_power_cut_takes_the_print_and_leaves_the_part(
    driver: Driver, printers: VirtualPrinters, file: Path
) -> None:
    await driver.put_file(file, NAME, unheard)
    await driver.start(file, NAME)
    before = (await driver.observe()).boot_count
    printers.kill()
    printers.start()
    with pytest.raises(ConnectionLost):
        await driver.observe()
    seen = await driver.observe()
    assert (seen.state, seen.file_name) == (ObservedState.IDLE, None)
    assert seen.boot_count != before
    assert printers.admin("status")["plate_occupied"] is True
