"""Rates in every store, and the cost that is kept with a run."""

from dataclasses import replace

import pytest

from printfarm_coordinator.app.ports import AlreadyExists, Store
from printfarm_coordinator.domain.cost import RunCost
from printfarm_coordinator.domain.file_facts import StoredFacts
from printfarm_coordinator.domain.rate import Rate, RateKind, Subject
from printfarm_coordinator.domain.run import RunState
from printfarm_files import FileFacts, Kind, Tool
from tests.support.stores import SHA, a_run, furnish, offer

RATES = [
    Rate("r1", Subject(RateKind.MATERIAL, "pla", "gold"), 21_900_001, "EUR", 10, 9, "user/ana", 1.24, 1.75),
    Rate("r2", Subject(RateKind.MACHINE, printer_id="p1"), 0, "EUR", 20, 9, "user/ana"),
    Rate("r3", Subject(RateKind.MACHINE, printer_id="p1"), None, "EUR", 30, 9, "user/ana"),
]


async def test_rates_come_back_as_they_were_and_each_id_once(store: Store) -> None:
    async with store.write("rates") as tx:
        for rate in reversed(RATES):
            await tx.add_rate(rate)
    async with store.read() as look:
        assert await look.rates() == RATES
    with pytest.raises(AlreadyExists):
        async with store.write("rates") as tx:
            await tx.add_rate(replace(RATES[0], price=1))


async def test_rates_of_a_time_come_with_the_facts_of_a_file(store: Store) -> None:
    await furnish(store)
    facts = FileFacts(Kind.GCODE, 7, tools=(Tool(0, "PLA", weight_g=31.5),))
    async with store.write("rates") as tx:
        assert await tx.rates_and_facts(99, SHA) == ([], None)
        for rate in RATES:
            await tx.add_rate(rate)
        assert (await tx.rates_and_facts(99, SHA))[1] is None
        await tx.put_file_facts(StoredFacts(SHA, 1, 5, facts))
        for at, count in ((9, 0), (10, 1), (25, 2), (99, 3)):
            found, read = await tx.rates_and_facts(at, SHA)
            assert sorted(found, key=lambda rate: rate.rate_id) == RATES[:count]
            assert read == (StoredFacts(SHA, 1, 5, facts) if count else None)
        assert (await tx.rates_and_facts(99, "b" * 64))[1] is None


async def test_the_cost_of_a_run_is_kept_with_its_end(store: Store) -> None:
    await furnish(store)
    await offer(store, a_run("r1"))
    for cost in (RunCost("EUR", 1, None, 3, ("why",), ("r1", "r2")), RunCost("EUR", 10**15, 0, 0)):
        async with store.write("end") as tx:
            held = await tx.lock_slice("r1")
            assert held is not None
            ended = replace(held.run, state=RunState.FAILED, cost=cost)
            await tx.save_slice(held, replace(held, run=ended))
        async with store.read() as look:
            found = await look.run("r1")
        assert found is not None
        assert found.cost == cost
