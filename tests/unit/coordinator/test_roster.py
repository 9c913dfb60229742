"""The roster is read once while it is fresh, and counts each kind of requirement once."""

from typing import Any

from printfarm_coordinator.app.roster import Roster
from printfarm_coordinator.domain.assignment import Candidate
from printfarm_coordinator.domain.job import Requirements
from printfarm_coordinator.domain.printer import Abilities, Printer


class Look:
    """Answers the one question that a roster asks."""

    def __init__(self, *candidates: Candidate) -> None:
        self.found = list(candidates)
        self.asked = 0

    async def candidates(self) -> list[Candidate]:
        self.asked += 1
        return self.found


def candidate(name: str, material: str, *, reachable: bool = True) -> Candidate:
    printer = Printer(name, "a", name, "virtual", Abilities(material=material), 0, 0)
    return Candidate(printer, agent_reachable=reachable, agent_draining=False)


async def test_counts_those_in_reach_that_fit() -> None:
    look: Any = Look(candidate("one", "PLA"), candidate("two", "PETG"), candidate("dead", "PLA", reachable=False))
    roster = Roster()
    assert await roster.able(look, Requirements()) == 2
    assert await roster.able(look, Requirements(material="pla")) == 1
    assert await roster.able(look, Requirements(material="ABS")) == 0


async def test_reads_again_only_when_it_is_no_longer_fresh() -> None:
    now = 100.0
    look: Any = Look(candidate("one", "PLA"))
    roster = Roster(2.0, lambda: now)
    for now, expected, asked in ((100.0, 1, 1), (101.9, 1, 1), (102.0, 2, 2), (103.9, 2, 2)):  # noqa: B007
        assert (await roster.able(look, Requirements()), look.asked) == (expected, asked)
        look.found = [candidate("one", "PLA"), candidate("two", "PLA")]
