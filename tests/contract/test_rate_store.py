"""Rates in every store, and the cost that is kept with a run."""

from dataclasses import replace

import pytest

from printfarm_coordinator.app.ports import AlreadyExists, Store
from printfarm_coordinator.domain.cost import RunCost
from printfarm_coordinator.domain.costing import CostTally
from printfarm_coordinator.domain.file_facts import StoredFacts
from printfarm_coordinator.domain.rate import Rate, RateKind, Subject
from printfarm_coordinator.domain.run import RunState
from printfarm_files import FileFacts, Kind, Tool
from tests.support.stores import SHA, a_job, a_run, furnish, offer

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


async def test_costs_are_added_up_by_job_and_by_end(store: Store) -> None:
    """What is not known is counted, never added; what did not start is neither."""
    await furnish(store)
    async with store.write("jobs") as tx:
        await tx.add_jobs([a_job("j2"), a_job("j3")])
    euros = RunCost("EUR", 10**15, 2, 3)
    ends: list[tuple[str, RunState, int | None, RunCost | None]] = [
        ("j1", RunState.FINISHED, 1, euros),
        ("j1", RunState.FAILED, 2, euros),
        ("j1", RunState.CANCELLED, 3, replace(euros, material=None)),
        ("j2", RunState.FINISHED, None, replace(euros, currency="USD")),
        ("j2", RunState.FINISHED, 5, None),
        ("j2", RunState.FENCED, None, None),
    ]
    for number, (job_id, state, started_at, cost) in enumerate(ends, 1):
        await offer(store, a_run(f"r{number}", job_id=job_id, epoch=number))
        async with store.write("end") as tx:
            held = await tx.lock_slice(f"r{number}")
            assert held is not None
            run = replace(held.run, state=state, cost=cost, started_at=started_at, ended_at=10 * number)
            await tx.save_slice(held, replace(held, run=run, printer=replace(held.printer, active_run_id=None)))
    await offer(store, a_run("r9", epoch=9, started_at=8))
    total = 10**15 + 5
    async with store.read() as look:
        assert await look.costs_of_jobs(["j1", "j2", "j3"], "EUR") == {
            "j1": CostTally(3, 2, 2 * total),
            "j2": CostTally(2, 0, 0),
        }
        assert await look.costs_of_jobs(["j2"], "USD") == {"j2": CostTally(2, 1, total)}
        assert await look.costs_of_jobs([], "EUR") == {}
        assert await look.costs_since(20, "EUR") == {
            "failed": CostTally(1, 1, total),
            "cancelled": CostTally(1, 0, 0),
            "finished": CostTally(2, 0, 0),
        }
        assert await look.costs_since(61, "EUR") == {}
