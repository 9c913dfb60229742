"""Rates by a clock that the test turns."""

from hypothesis import given
from hypothesis import strategies as st

from printfarm_rpc import buckets
from printfarm_rpc.buckets import Bucket


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_one_by_one() -> None:
    clock = Clock()
    bucket = Bucket(6, clock)
    assert [bucket.take("a") for _ in range(6)] == [0.0] * 6
    assert 0 < bucket.take("a") <= 10
    assert bucket.take("b") == 0.0
    clock.now += bucket.wait("a")
    assert bucket.take("a") == 0.0
    assert bucket.take("a") > 0
    clock.now += 60
    assert [bucket.take("a") for _ in range(6)] == [0.0] * 6


def test_asking_takes_nothing() -> None:
    bucket = Bucket(1, Clock())
    assert [bucket.wait("a") for _ in range(3)] == [0.0] * 3
    assert bucket.take("a") == 0.0
    assert bucket.wait("a") > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket(2, Clock())
    bucket.give_back("a")
    assert [bucket.take("a") for _ in range(2)] == [0.0] * 2
    bucket.give_back("a")
    assert bucket.take("a") == 0.0
    assert bucket.take("a") > 0


@given(st.lists(st.floats(0, 30), min_size=1, max_size=60), st.integers(1, 20))
def test_never_more_than_twice_the_rate_in_a_minute(pauses: list[float], per_minute: int) -> None:
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    taken = []
    for pause in pauses:
        clock.now += pause
        if bucket.take("a") == 0:
            taken.append(clock.now)
    for at in taken:
        assert sum(at - 60 < other <= at for other in taken) <= 2 * per_minute


def test_it_forgets_who_came_longest_ago() -> None:
    bucket = Bucket(1, Clock())
    for number in range(buckets.MOST_KEYS + 10):
        assert bucket.take(str(number)) == 0.0
    assert len(bucket._paid) == buckets.MOST_KEYS
    assert bucket.take("0") == 0.0
    assert bucket.take(str(buckets.MOST_KEYS + 9)) > 0
