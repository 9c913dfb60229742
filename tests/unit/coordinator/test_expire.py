"""A clock that is set makes nobody unreachable, keeps nobody alive for longer, and holds nothing up for an hour (I18, I19)."""

import pytest

from printfarm_coordinator.app.expire import expire_once, notice_clock
from printfarm_coordinator.app.farm import Farm
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import Agent
from printfarm_coordinator.domain.silence import ClockWatch
from tests.support.memory_store import MemoryStore, drive

SECOND = 1_000_000
LEASE = 45 * SECOND
HOUR = 3_600.0


class Coordinator:
    """Its silence loop, with both clocks turned by hand."""

    def __init__(self, *agents: str) -> None:
        self.store = MemoryStore(now=1_000_000 * SECOND)
        self.farm = Farm(self.store, None, None, None)  # type: ignore[arg-type]
        self.leadership = Leadership("c")
        self.watch = ClockWatch()
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
        return drive(expire_once(self.farm, self.leadership, LEASE))

    def pass_time(self, seconds: float, *, set_by: float = 0.0) -> None:
        """The database's clock may be set meanwhile."""
        self.monotonic += seconds
        self.store.now += round((seconds + set_by) * SECOND)

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
