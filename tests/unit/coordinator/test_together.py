"""Group commit: who shares a transaction, who answers for what, and who is never committed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from printfarm_coordinator.app.ports import DatabaseUnavailable, StaleWrite
from printfarm_coordinator.app.together import MOST_TOGETHER, Together


class Database:
    """Commits groups when it is let: an answer is the wish, doubled. Notes each group that it was asked for."""

    def __init__(self) -> None:
        self.together: Together[int, int] = Together()
        self.groups: list[list[int]] = []
        self._turns = asyncio.Semaphore(0)
        # Wishes that are wrong alone, and errors that undo every group with such a wish in it.
        self.wrong: set[int] = set()
        self.undoing: dict[int, Exception] = {}

    async def serve(self, group: Sequence[int]) -> list[int | Exception]:
        self.groups.append(list(group))
        await self._turns.acquire()
        for wish in group:
            if wish in self.undoing:
                raise self.undoing[wish]
        return [ValueError(str(wish)) if wish in self.wrong else 2 * wish for wish in group]

    def let(self, commits: int) -> None:
        """So many more."""
        for _ in range(commits):
            self._turns.release()

    def ask(self, wish: int) -> "asyncio.Task[int]":
        return asyncio.create_task(self.together.ask(wish, self.serve))

    async def asked_behind(self, *wishes: int) -> list["asyncio.Task[int]"]:
        """The first is being committed, the others wait."""
        tasks = [self.ask(wish) for wish in wishes]
        await _settle()
        assert self.groups == [[wishes[0]]]
        return tasks


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def _ends(tasks: Sequence["asyncio.Task[int]"]) -> list[Any]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_is_alone_waits_for_nobody() -> None:
    database = Database()
    database.let(99)
    assert [await database.together.ask(wish, database.serve) for wish in (1, 2)] == [2, 4]
    assert database.groups == [[1], [2]]


async def test_those_that_come_during_a_commit_share_the_next_in_their_order() -> None:
    database = Database()
    tasks = await database.asked_behind(1, 2, 3, 4)
    assert not any(task.done() for task in tasks)
    database.let(99)
    assert await _ends(tasks) == [2, 4, 6, 8]
    assert database.groups == [[1], [2, 3, 4]]


async def test_a_group_has_its_limit_and_the_rest_is_the_next() -> None:
    database = Database()
    tasks = await database.asked_behind(*range(MOST_TOGETHER + 3))
    database.let(99)
    assert await _ends(tasks) == [2 * wish for wish in range(MOST_TOGETHER + 3)]
    assert list(map(len, database.groups)) == [1, MOST_TOGETHER, 2]


async def test_one_wrong_wish_fails_no_other() -> None:
    database = Database()
    database.wrong = {3}
    tasks = await database.asked_behind(1, 2, 3, 4)
    database.let(99)
    one, two, three, four = await _ends(tasks)
    assert (one, two, four) == (2, 4, 8) and isinstance(three, ValueError)
    assert database.groups == [[1], [2, 3, 4]]


async def test_a_group_that_was_undone_is_served_one_by_one() -> None:
    """By an error that nobody foresaw: only who brings it about gets it."""
    database = Database()
    database.undoing = {3: OverflowError("3")}
    tasks = await database.asked_behind(1, 2, 3, 4)
    database.let(99)
    one, two, three, four = await _ends(tasks)
    assert (one, two, four) == (2, 4, 8) and isinstance(three, OverflowError)
    assert database.groups == [[1], [2, 3, 4], [2], [3], [4]]


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), StaleWrite("again")])
async def test_what_is_no_single_wishs_fault_is_told_to_all_of_the_group(error: Exception) -> None:
    database = Database()
    database.undoing = {3: error}
    tasks = await database.asked_behind(1, 2, 3, 4)
    database.let(99)
    assert await _ends(tasks) == [2, error, error, error]
    assert database.groups == [[1], [2, 3, 4]]


async def test_who_leaves_while_it_waits_asked_for_nothing() -> None:
    database = Database()
    tasks = await database.asked_behind(1, 2, 3)
    tasks[1].cancel()
    await _settle()
    database.let(99)
    one, two, three = await _ends(tasks)
    assert (one, three) == (2, 6) and isinstance(two, asyncio.CancelledError)
    assert database.groups == [[1], [3]]


async def test_who_leaves_while_it_is_committed_with_others_takes_nobody_along() -> None:
    database = Database()
    tasks = await database.asked_behind(1, 2, 3)
    database.let(1)
    assert await tasks[0] == 2
    await _settle()
    assert database.groups == [[1], [2, 3]]
    # The one under which the group is served.
    tasks[1].cancel()
    await _settle()
    assert not tasks[2].done()
    database.let(1)
    assert await tasks[2] == 6
    assert isinstance((await _ends(tasks))[1], asyncio.CancelledError)
    assert database.groups == [[1], [2, 3]]


async def test_after_every_error_the_next_is_served() -> None:
    database = Database()
    database.let(99)
    database.undoing = {1: DatabaseUnavailable("away")}
    with pytest.raises(DatabaseUnavailable):
        await database.together.ask(1, database.serve)
    assert await database.together.ask(2, database.serve) == 4
