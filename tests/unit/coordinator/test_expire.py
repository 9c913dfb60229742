"""Silence of many at once, of before a term, or by a clock that is set makes nobody unreachable (I18, I19)."""

import asyncio
from contextlib import AbstractAsyncContextManager

import pytest

from printfarm_coordinator.app import expire, runs
from printfarm_coordinator.app.expire import expire_for_ever, expire_once, notice_clock
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import Agent, DatabaseUnavailable, Role
from printfarm_coordinator.app.slicing import CLAIM_US
from printfarm_coordinator.domain.errors import IllegalState
from printfarm_coordinator.domain.run import RunState
from printfarm_coordinator.domain.setup import Setup
from printfarm_coordinator.domain.silence import ClockWatch
from printfarm_coordinator.domain.slicing import SlicingKey, claimed, may_claim, new_slicing
from printfarm_coordinator.domain.wishes import LONGEST_AUTHORITY_US
from tests.support.memory_store import MemoryStore, MemoryWriting, drive
from tests.support.slices import held

SECOND = 1_000_000
LEASE = 45 * SECOND
BEAT = 10 * SECOND
HOUR = 3_600.0


class Ids:
    def new(self) -> str:
        return "new"


class Stumbling(MemoryStore):
    """It does not answer, the first time that it is to note that the clock was set."""

    stumbled = False

    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager[MemoryWriting]:
        if name == "clock" and not self.stumbled:
            self.stumbled = True
            raise DatabaseUnavailable("gone")
        return super().write(name, request_id)


class Coordinator:
    """Its silence loop, with both clocks turned by hand."""

    def __init__(self, *agents: str, store: type[MemoryStore] = MemoryStore) -> None:
        self.store = store(now=1_000_000 * SECOND)
        self.restart()
        self.leadership = Leadership("c")
        self.monotonic = 50.0
        drive(self._add(agents))
        self.look()

    async def _add(self, agents: tuple[str, ...]) -> None:
        async with self.store.write("setup") as tx:
            for agent_id in agents:
                await tx.put_agent(
                    Agent(agent_id, self.store.now, reachable=True, lease_expires_at=self.store.now + LEASE)
                )

    def look(self) -> list[str]:
        """One period: who is declared out of reach."""
        drive(self.leadership.prolong(self.farm))
        drive(notice_clock(self.farm, self.watch, LEASE, lambda: self.monotonic))
        return drive(expire_once(self.farm, self.leadership, LEASE, BEAT))

    def beat(self, *agents: str) -> None:
        """Their leases are prolonged."""
        drive(self._beat(agents))

    async def _beat(self, agents: tuple[str, ...]) -> None:
        async with self.store.write("heartbeats") as tx:
            await tx.extend_leases(dict.fromkeys(agents, 0), self.store.now + LEASE)

    def pass_time(self, seconds: float, *, set_by: float = 0.0) -> None:
        """The database's clock may be set meanwhile."""
        self.monotonic += seconds
        self.store.now += round((seconds + set_by) * SECOND)

    def restart(self) -> None:
        """Another process at the same database, which has not looked at its clock yet."""
        self.farm = Farm(self.store, None, None, Ids())  # type: ignore[arg-type]
        self.watch = ClockWatch()

    @property
    def brakes(self) -> bool:
        return self.farm.vigilance.brake.is_on(self.store.now)


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 60.0, -60.0])
def test_a_clock_that_is_set_makes_nobody_unreachable(jump: float) -> None:
    made = Coordinator("a1")
    made.pass_time(2, set_by=jump)
    assert made.look() == []
    assert made.brakes
    made.pass_time(40)
    assert made.look() == []
    # Who is really silent is found out as after any start: two leases later.
    made.pass_time(51)
    assert made.look() == ["a1"]
    assert not made.brakes


def test_a_brake_of_before_does_not_hold_for_an_hour() -> None:
    made = Coordinator("a1")
    made.pass_time(60, set_by=0)
    made.farm.vigilance.note_lag(10.0)
    assert made.look() == []
    assert made.brakes
    made.pass_time(2, set_by=-HOUR)
    made.look()
    made.pass_time(91)
    made.look()
    assert not made.brakes


def test_a_clock_that_only_drifts_or_a_process_that_slept_is_no_jump() -> None:
    made = Coordinator("a1")
    for drift in (0.1, -0.1, 4.0, -4.0):
        made.pass_time(2, set_by=drift)
        made.look()
        assert not made.brakes
    # Stopped for a while: both clocks went on.
    made.pass_time(30)
    made.look()
    assert not made.brakes


def names(count: int) -> list[str]:
    return [f"a{number}" for number in range(count)]


def watch_for(made: Coordinator, agents: list[str], seconds: int, late: float = 0.0) -> dict[str, int]:
    """Agents send heartbeats, spread over the period as agents are, and their commits are that late; a look every 2 s.

    Agent -> the second in which it was declared."""
    declared: dict[str, int] = {}
    for second in range(seconds):
        made.pass_time(1)
        due = [name for at, name in enumerate(agents) if (second - at) % 10 == 0]
        made.store.now -= round(late * SECOND)
        made.beat(*due)
        made.store.now += round(late * SECOND)
        if second % 2:
            declared |= dict.fromkeys(made.look(), second)
    return declared


@pytest.mark.parametrize("count", [3, 4, 7, 10, 31, 100])
def test_all_links_lost_at_once_make_nobody_unreachable_for_two_leases(count: int) -> None:
    made = Coordinator(*names(count))
    assert not watch_for(made, names(count), 60)
    assert not made.brakes
    declared = watch_for(made, [], 300)
    # Silence longer than that is theirs.
    assert len(declared) == count
    assert min(declared.values()) >= 90


@pytest.mark.parametrize(("count", "silent"), [(2, 2), (3, 2), (10, 2), (20, 5), (100, 29)])
def test_a_few_that_fall_silent_are_declared_with_the_end_of_their_lease(count: int, silent: int) -> None:
    made = Coordinator(*names(count))
    watch_for(made, names(count), 60)
    living = [name if at >= silent else "-" for at, name in enumerate(names(count))]
    declared = watch_for(made, living, 60)
    assert sorted(declared) == sorted(names(silent))
    assert max(declared.values()) <= 47
    assert not made.brakes


def test_heartbeats_that_are_committed_late_are_no_silence() -> None:
    made = Coordinator(*names(20))
    assert not watch_for(made, names(20), 120, late=5.0)
    assert not made.brakes


def test_those_who_fall_silent_one_after_the_other_count_together() -> None:
    made = Coordinator(*names(4))
    everybody = names(4)
    watch_for(made, everybody, 60)
    # Two leases end before the third shows that it is silent, too.
    first = watch_for(made, ["-", *everybody[1:]], 25)
    second = watch_for(made, ["-", "-", *everybody[2:]], 25)
    third = watch_for(made, ["-", "-", "-", everybody[3]], 50)
    assert (list(first), list(second), list(third)) == ([], ["a0"], ["a1"])
    assert made.brakes


def test_who_is_back_after_it_was_declared_is_not_counted() -> None:
    made = Coordinator(*names(3))
    made.pass_time(44)
    made.beat("a1", "a2")
    made.pass_time(2)
    assert made.look() == ["a0"]
    drive(made._add(("a0",)))
    made.look()
    assert not made.farm.vigilance.declared


async def test_who_takes_over_judges_no_silence_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expire, "PERIOD_SECONDS", 0.0)
    made = Coordinator("a1")
    standby = Leadership("standby")
    watching = asyncio.create_task(expire_for_ever(made.farm, standby, LEASE, BEAT, lambda: made.monotonic))

    async def is_reachable() -> bool:
        # Several looks later.
        for _ in range(20):
            await asyncio.sleep(0)
        async with made.store.read() as look:
            agent = await look.agent("a1")
            return agent is not None and agent.reachable

    try:
        # For days another led, and kept the leases up until it died.
        made.pass_time(100 * HOUR)
        await made._beat(("a1",))
        made.pass_time(44)
        assert await is_reachable()
        standby.term = (made.leadership.term or 0) + 1
        monkeypatch.setattr(standby, "confirm", _yes)
        assert await is_reachable()
        made.pass_time(89)
        assert await is_reachable()
        made.pass_time(2)
        assert not await is_reachable()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _yes(_tx: object) -> bool:
    return True


def authorised(made: Coordinator) -> None:
    """A run that was authorised just now; whether it started is not known, and its agent is away."""
    now, tables = made.store.now, made.store.tables
    rows = held(RunState.UNCONFIRMED, unconfirmed_from=RunState.AUTHORISED, bed_token="t", authorised_at=now)
    tables.jobs["j1"], tables.runs["r1"], tables.printers["p1"] = rows.job, rows.run, rows.printer


def sliced(made: Coordinator) -> None:
    """A slicing that a worker has claimed just now."""
    key = SlicingKey("a" * 64, "h", 1, "prusaslicer", "2.5")
    plain = new_slicing("s1", key, Setup("prusaslicer", "h", (), {}), 0, made.store.now)
    made.store.tables.slicings["s1"] = claimed(plain, "w1", "claim", made.store.now, CLAIM_US)


@pytest.mark.parametrize("restarts", [False, True])
def test_an_authority_of_before_is_over_in_half_a_minute_of_the_new_time(restarts: bool) -> None:
    """Else a person who looks at the printer is told for as long as the clock went back to look again in half a minute."""
    made = Coordinator("a1")
    authorised(made)
    made.pass_time(2, set_by=-HOUR)
    if restarts:
        made.restart()
    made.look()
    ana = Caller("ana", Role.OPERATOR)
    with pytest.raises(IllegalState, match="half a minute"):
        drive(runs.resolve_run(made.farm, ana, "r1", "failed", ""))
    made.pass_time(LONGEST_AUTHORITY_US / SECOND)
    assert drive(runs.resolve_run(made.farm, ana, "r1", "failed", "")).state is RunState.FAILED


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_claim_lasts_as_long_as_ever(jump: float, restarts: bool) -> None:
    """A worker that lives keeps it, and of one that died it is free again."""
    made = Coordinator("a1")
    sliced(made)
    made.pass_time(2, set_by=jump)
    if restarts:
        made.restart()
    made.look()
    lapses = restarts and jump > 0
    assert may_claim(made.store.tables.slicings["s1"], made.store.now) is lapses
    made.pass_time(CLAIM_US / SECOND)
    assert may_claim(made.store.tables.slicings["s1"], made.store.now)


def test_a_start_finds_nothing_of_the_future_where_no_clock_was_set() -> None:
    made = Coordinator("a1")
    authorised(made)
    sliced(made)
    made.pass_time(2)
    made.restart()
    made.look()
    assert not made.brakes


def test_a_jump_that_could_not_be_noted_is_noticed_again() -> None:
    made = Coordinator("a1", store=Stumbling)
    authorised(made)
    made.pass_time(2, set_by=-HOUR)
    with pytest.raises(DatabaseUnavailable):
        made.look()
    made.pass_time(2)
    made.look()
    assert made.store.tables.runs["r1"].authorised_at == made.store.now
