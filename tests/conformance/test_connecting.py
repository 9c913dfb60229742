"""Reaching a printer, and what may be in its place."""

import asyncio
import contextlib

import pytest

from printfarm_agent.driver import BadReply, ConnectionLost, Driver, DriverError, ObservedState

from .rig import WRONG_SECRET, Hostile, Rig
from .steps import AT_WORK, BOUND_SECONDS, Bench, until, until_it_fails


async def test_it_identifies_the_machine(rig: Rig) -> None:
    async with rig.open() as driver:
        first = await driver.connect()
        assert await driver.connect() == first, "it may be repeated"
        machine, can = first
        assert machine.model or machine.firmware or machine.serial_number
        assert machine.volume_mm is None or all(side > 0 for side in machine.volume_mm)
        assert can.prints_autonomously or can.fragile
        assert (await driver.observe()).state is ObservedState.IDLE


async def test_wrong_options_name_the_key(rig: Rig) -> None:
    with pytest.raises(ValueError, match="no_such_key"):
        async with rig.open(rig.wrong_options()):
            pass


async def test_wrong_credentials_are_named_and_not_shown(rig: Rig) -> None:
    async with rig.open(rig.wrong_credentials()) as driver:
        with pytest.raises(DriverError) as told:
            await driver.connect()
        assert not isinstance(told.value, BadReply), "a no is an answer"
        assert WRONG_SECRET not in str(told.value)
        with pytest.raises(DriverError):
            await driver.observe()


async def test_a_lost_connection_is_no_idle_and_comes_back(bench: Bench) -> None:
    await bench.begin(15.0)
    await bench.rig.lose_connection()
    assert isinstance(await until_it_fails(bench.driver), ConnectionLost)
    await bench.rig.heal()
    seen = await until(bench.driver, bench.is_ours, patient=True)
    assert seen.state in AT_WORK, "the print went on meanwhile"
    assert await bench.rig.starts() == [bench.name]


async def test_a_dead_printer_ends_every_call(driver: Driver, rig: Rig) -> None:
    await rig.answer_never()
    async with asyncio.timeout(BOUND_SECONDS):
        with pytest.raises(DriverError):
            await driver.observe()
        with pytest.raises(DriverError):
            await driver.connect()
        with pytest.raises(DriverError):
            await driver.pause()
    await rig.heal()
    assert (await until(driver, lambda seen: True, patient=True)).state is ObservedState.IDLE


async def test_a_late_answer_is_not_taken_for_the_next(bench: Bench) -> None:
    await bench.rig.answer_late(3.0)
    await until_it_fails(bench.driver, idle=True)
    await bench.rig.heal()
    await bench.begin(10.0)
    assert await bench.rig.starts() == [bench.name]


async def _is_no_answer(driver: Driver, rig: Rig, how: Hostile) -> None:
    await rig.be_hostile(how)
    told = str(await until_it_fails(driver))
    assert len(told) <= 512
    assert told.isprintable()
    await rig.heal()
    assert (await until(driver, lambda seen: True, patient=True)).state is ObservedState.IDLE


async def test_noise_is_no_answer(driver: Driver, rig: Rig) -> None:
    await _is_no_answer(driver, rig, Hostile.NOISE)


async def test_an_endless_answer_is_cut(driver: Driver, rig: Rig) -> None:
    await _is_no_answer(driver, rig, Hostile.ENDLESS)


async def test_a_login_page_is_no_answer(driver: Driver, rig: Rig) -> None:
    await _is_no_answer(driver, rig, Hostile.LOGIN_PAGE)


async def test_a_redirect_is_not_followed(driver: Driver, rig: Rig) -> None:
    await _is_no_answer(driver, rig, Hostile.REDIRECT)
    assert not await rig.was_followed()


async def test_an_answer_of_the_wrong_shape_is_never_idle(driver: Driver, rig: Rig) -> None:
    await rig.be_hostile(Hostile.WRONG_SHAPE)
    for _ in range(3):
        with contextlib.suppress(DriverError):
            assert (await driver.observe()).state is not ObservedState.IDLE


async def test_an_unknown_state_is_never_idle(driver: Driver, rig: Rig) -> None:
    await rig.be_hostile(Hostile.UNKNOWN_STATE)
    assert (await until(driver, lambda seen: seen.state is not ObservedState.IDLE)).state is ObservedState.UNKNOWN


async def test_a_broken_sensor_says_nothing(driver: Driver, rig: Rig) -> None:
    await rig.be_hostile(Hostile.BROKEN_SENSOR)
    seen = await until(driver, lambda seen: seen.heaters == ())
    assert seen.state is ObservedState.IDLE, "it says nothing of the rest"
