"""Fetched once for all who ask, kept for a moment, and never older than what somebody was told."""

import asyncio

import pytest

from printfarm_gateway.recent import KEPT_SECONDS, Recent


class Source:
    """Counts, and waits to be let go where it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.value = "old"

    async def fetch(self) -> str:
        self.asked += 1
        self.begun.put_nowait(None)
        value = self.value
        await self.gate.wait()
        return value


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_many_who_ask_at_once_are_answered_by_one_fetch() -> None:
    source, recent = Source(), Recent[str](Clock())
    answers = await asyncio.gather(*[recent.get("a", source.fetch) for _ in range(50)])
    assert (set(answers), source.asked) == ({"old"}, 1)
    await recent.get("b", source.fetch)
    assert source.asked == 2


async def test_it_is_kept_for_a_moment() -> None:
    source, clock = Source(), Clock()
    recent = Recent[str](clock)
    await recent.get("a", source.fetch)
    source.value = "new"
    clock.now += KEPT_SECONDS * 0.9
    assert await recent.get("a", source.fetch) == "old"
    clock.now += KEPT_SECONDS * 0.2
    assert await recent.get("a", source.fetch) == "new"


async def test_who_was_told_of_a_change_finds_it() -> None:
    source, recent = Source(), Recent[str](Clock())
    await recent.get("a", source.fetch)
    source.value = "new"
    recent.forget()
    assert await recent.get("a", source.fetch) == "new"


async def test_a_fetch_that_began_before_a_change_is_not_for_those_who_ask_after_it() -> None:
    source, recent = Source(), Recent[str](Clock())
    source.gate.clear()
    before = asyncio.ensure_future(recent.get("a", source.fetch))
    await source.begun.get()
    source.value = "new"
    recent.forget()
    after = asyncio.ensure_future(recent.get("a", source.fetch))
    await source.begun.get()
    source.gate.set()
    assert await before == "old"
    assert await after == "new"
    # And the old answer, whenever it came, was not kept.
    assert await recent.get("a", source.fetch) == "new"
    assert source.asked == 2


async def test_errors_are_told_to_all_and_kept_for_nobody() -> None:
    recent = Recent[str](Clock())
    asked = 0

    async def fails() -> str:
        nonlocal asked
        asked += 1
        raise ValueError("no")

    answers = await asyncio.gather(*[recent.get("a", fails) for _ in range(3)], return_exceptions=True)
    assert [type(answer) for answer in answers] == [ValueError] * 3
    assert asked == 1
    with pytest.raises(ValueError, match="no"):
        await recent.get("a", fails)


async def test_one_who_goes_away_does_not_take_the_others_answer_along() -> None:
    source, recent = Source(), Recent[str](Clock())
    source.gate.clear()
    first = asyncio.ensure_future(recent.get("a", source.fetch))
    second = asyncio.ensure_future(recent.get("a", source.fetch))
    await source.begun.get()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    source.gate.set()
    assert await second == "old"
