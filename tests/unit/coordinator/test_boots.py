"""Two hosts under one identity are told from one that was restarted, and from a late Hello of a dead process."""

import itertools

from printfarm_coordinator.app.boots import RETURNS, Boots


def test_restarts_and_reconnections_prove_nothing() -> None:
    boots = Boots()
    assert not any(boots.note("a1", f"boot-{number // 3}") for number in range(300))


def test_late_messages_of_a_dead_process_prove_nothing() -> None:
    """The living one comes back each time; the dead one has no more to say than what was held up."""
    boots = Boots()
    told = ["dead", "living"] + ["dead", "living"] * (RETURNS - 1)
    assert not any(boots.note("a1", boot) for boot in told)
    assert not any(boots.note("a1", "living") for _ in range(100))


def test_two_that_take_turns_are_two() -> None:
    boots = Boots()
    turns = itertools.cycle(["one", "two"])
    seen = [boots.note("a1", next(turns)) for _ in range(2 * (RETURNS + 1))]
    assert seen == [False] * (2 * RETURNS + 1) + [True]
    assert not boots.note("a2", "one")
    # Enrolled anew, it begins without a past.
    assert not boots.note("a1", "one")
