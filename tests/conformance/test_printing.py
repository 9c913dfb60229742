"""A print from its start to its end, and everything a person may want of it in between."""

import asyncio
import contextlib

import pytest

from printfarm_agent.driver import ConnectionLost, Ending, Observation, ObservedState, OutcomeUnknown, Refused

from .steps import AT_WORK, BUSY, Bench, new_name, until


def _is_over(bench: Bench, seen: Observation) -> bool:
    return bench.is_ours(seen) and seen.ending is not None and seen.state is ObservedState.IDLE


def _has_ended(seen: Observation) -> bool:
    """By any word for it: some printers forget a cancelled print at once."""
    return seen.state in (ObservedState.IDLE, ObservedState.ERROR) and seen.ending is not Ending.COMPLETE


async def test_a_print_starts_once(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(10.0))
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state in AT_WORK)
    with pytest.raises((Refused, OutcomeUnknown)):
        await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state is ObservedState.PRINTING)
    assert await bench.rig.starts() == [bench.name]


async def test_a_refused_start_is_certain(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(2.0))
    await bench.rig.refuse_starts()
    with pytest.raises(Refused):
        await bench.driver.start(path, bench.name)
    await bench.rig.heal()
    assert await bench.rig.starts() == []


async def test_a_start_without_its_file_is_refused(bench: Bench) -> None:
    with pytest.raises(Refused):
        await bench.driver.start(bench.file(bench.rig.gcode(1.0)), bench.name)
    assert await bench.rig.starts() == []


async def test_a_start_whose_reply_is_lost_is_unknown_and_found_by_looking(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(10.0))
    await bench.rig.lose_the_reply_to_a_start()
    with pytest.raises(OutcomeUnknown):
        await bench.driver.start(path, bench.name)
    await bench.rig.heal()
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state in AT_WORK, patient=True)
    assert await bench.rig.starts() == [bench.name]


async def test_a_start_that_could_not_be_sent_is_known_to_be_none(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(1.0))
    await bench.rig.lose_connection()
    # The first call may find the old connection broken; from the second on nobody listens.
    with contextlib.suppress(ConnectionLost):
        await bench.driver.observe()
    with pytest.raises(ConnectionLost):
        await bench.driver.start(path, bench.name)
    await bench.rig.heal()
    assert (await until(bench.driver, lambda seen: True, patient=True)).state is ObservedState.IDLE
    assert await bench.rig.starts() == []


async def test_a_print_tells_its_progress(bench: Bench) -> None:
    await bench.begin(3.0)
    told = list[float]()
    while not _is_over(bench, seen := await bench.driver.observe()):
        assert bench.is_ours(seen)
        assert seen.state in AT_WORK
        if seen.progress is not None:
            told.append(seen.progress)
        await asyncio.sleep(0.1)
    assert told == sorted(told)
    assert len(set(told)) >= 3
    assert all(0.0 <= progress <= 1.0 for progress in told)


async def test_a_print_finishes_with_evidence(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(2.0))
    await bench.driver.start(path, bench.name)
    while not _is_over(bench, seen := await bench.driver.observe()):
        assert seen.ending is None, "no end is told while it goes on"
        await asyncio.sleep(0.1)
    assert seen.ending is Ending.COMPLETE
    assert seen.end_of_file
    assert await bench.rig.starts() == [bench.name]


async def test_a_finished_printer_prints_again(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(0.5))
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: _is_over(bench, seen))
    first, bench.name = bench.name, new_name()
    await bench.begin(3.0)
    assert await bench.rig.starts() == [first, bench.name]


async def test_it_pauses_and_resumes(bench: Bench) -> None:
    await bench.begin(4.0)
    await bench.driver.pause()
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state is ObservedState.PAUSED)
    await bench.driver.pause()
    still = {(await bench.driver.observe()).progress for _ in range(5)}
    assert len(still) == 1
    await bench.driver.resume()
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state is ObservedState.PRINTING)
    with contextlib.suppress(Refused):
        await bench.driver.resume()
    seen = await until(bench.driver, lambda seen: _is_over(bench, seen))
    assert seen.ending is Ending.COMPLETE


async def test_a_pause_at_the_machine_is_seen(bench: Bench) -> None:
    await bench.begin(10.0)
    await bench.rig.pause_at_the_machine()
    seen = await until(bench.driver, lambda seen: seen.state is ObservedState.PAUSED)
    assert bench.is_ours(seen)


async def _cancels(bench: Bench) -> None:
    await bench.driver.cancel()
    seen = await until(bench.driver, _has_ended)
    assert seen.ending in (Ending.CANCELLED, None)
    assert all(heater.target == 0 for heater in seen.heaters)
    assert await bench.rig.starts() == [bench.name]


async def test_it_cancels_while_it_prints(bench: Bench) -> None:
    await bench.begin(20.0)
    await _cancels(bench)


async def test_it_cancels_while_it_heats(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode_that_heats())
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.state in AT_WORK)
    await _cancels(bench)


async def test_it_cancels_while_it_is_paused(bench: Bench) -> None:
    await bench.begin(20.0)
    await bench.driver.pause()
    await until(bench.driver, lambda seen: seen.state is ObservedState.PAUSED)
    await _cancels(bench)


async def test_it_cancels_right_after_the_start(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(20.0))
    await bench.driver.start(path, bench.name)
    await _cancels(bench)


async def test_a_cancel_that_comes_too_late_changes_nothing(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(0.5))
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: _is_over(bench, seen))
    with contextlib.suppress(Refused):
        await bench.driver.cancel()
    assert (await bench.driver.observe()).ending is Ending.COMPLETE


async def test_a_cancel_may_be_repeated(bench: Bench) -> None:
    await bench.begin(20.0)
    await bench.driver.cancel()
    with contextlib.suppress(Refused):
        await bench.driver.cancel()
    await until(bench.driver, _has_ended)


async def test_a_failed_print_says_why(bench: Bench) -> None:
    await bench.begin(20.0)
    await bench.rig.fail_the_print()
    seen = await until(bench.driver, lambda seen: seen.state not in BUSY, patient=True)
    assert seen.ending is not Ending.COMPLETE
    assert seen.halted or seen.ending is Ending.FAILED or seen.state is ObservedState.ERROR
    assert seen.message


async def test_heaters_cool_down_when_nothing_prints(bench: Bench) -> None:
    await bench.driver.cool_down()
    seen = await until(bench.driver, lambda seen: all(heater.target == 0 for heater in seen.heaters))
    assert seen.state is ObservedState.IDLE
    await bench.driver.cool_down()
