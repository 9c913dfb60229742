"""A file on its way to the printer, and away from it."""

import asyncio

import pytest

from printfarm_agent.driver import DriverError, ObservedState, Refused

from .steps import Bench, nothing, until

_BIG = 3 << 20


def _big(bench: Bench) -> bytes:
    """A print whose transfer takes a while."""
    comment = b"; nothing to do, and a long way to come\n"
    return bench.rig.gcode(1.0) + comment * (_BIG // len(comment))


async def test_a_transfer_tells_its_progress(bench: Bench) -> None:
    content, told = _big(bench), list[int]()
    await bench.driver.put_file(bench.file(content), bench.name, told.append)
    assert told == sorted(told)
    assert len(told) >= 4, "often enough to see that it goes on"
    assert told[-1] == len(content)
    assert bench.name in await bench.rig.files()


async def test_a_transfer_may_be_repeated(bench: Bench) -> None:
    await bench.bring(b"; an older file of that name\n")
    path = await bench.bring(bench.rig.gcode(0.5))
    await bench.driver.start(path, bench.name)
    await until(bench.driver, lambda seen: bench.is_ours(seen) and seen.ending is not None)


async def test_a_corrupt_transfer_is_noticed_and_cannot_be_started(bench: Bench) -> None:
    await bench.rig.corrupt_the_next_transfer()
    with pytest.raises(DriverError):
        await bench.bring(_big(bench))
    assert bench.name not in await bench.rig.files()
    assert await bench.rig.starts() == []
    await bench.bring(_big(bench))
    assert bench.name in await bench.rig.files(), "the next one arrives"


async def test_a_full_storage_is_a_refusal(bench: Bench) -> None:
    await bench.rig.fill_the_storage()
    with pytest.raises(Refused):
        await bench.bring(_big(bench))
    assert bench.name not in await bench.rig.files()


async def test_a_transfer_can_be_abandoned(bench: Bench) -> None:
    await bench.rig.slow_transfers()
    begun = asyncio.Event()

    def sent(size: int) -> None:
        if size:
            begun.set()

    work = asyncio.create_task(bench.driver.put_file(bench.file(_big(bench)), bench.name, sent))
    await begun.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await bench.driver.observe()).state is ObservedState.IDLE
    await bench.rig.heal()
    await bench.begin(5.0)
    assert await bench.rig.starts() == [bench.name], "what came of the first was started by nobody"


async def test_its_file_is_removed_and_may_be_gone_already(bench: Bench) -> None:
    await bench.bring(bench.rig.gcode(0.5))
    assert bench.name in await bench.rig.files()
    await bench.driver.remove_file(bench.name)
    assert bench.name not in await bench.rig.files()
    await bench.driver.remove_file(bench.name)


async def test_its_file_is_removed_after_its_print(bench: Bench) -> None:
    path = await bench.bring(bench.rig.gcode(0.5))
    await bench.driver.start(path, bench.name)
    await until(
        bench.driver,
        lambda seen: bench.is_ours(seen) and seen.ending is not None and seen.state is ObservedState.IDLE,
    )
    await bench.driver.remove_file(bench.name)
    assert bench.name not in await bench.rig.files()


async def test_a_transfer_starts_nothing(bench: Bench) -> None:
    await bench.driver.put_file(bench.file(bench.rig.gcode(1.0)), bench.name, nothing)
    for _ in range(5):
        assert (await bench.driver.observe()).state is ObservedState.IDLE
    assert await bench.rig.starts() == []
