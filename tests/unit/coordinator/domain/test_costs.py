"""What runs and jobs cost: parts add up to totals without drift, more costs no less, and what is unknown is never 0."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain.cost import RunCost, Use, run_cost
from printfarm_coordinator.domain.costing import (
    costs_something,
    estimate,
    job_cost,
    use_of,
    with_cost,
)
from printfarm_coordinator.domain.printer import Abilities
from printfarm_coordinator.domain.rate import MICROS, PriceList, Rate, RateKind, Subject
from printfarm_coordinator.domain.reports import Report, apply_report
from printfarm_coordinator.domain.run import EndEvidence, Fact, RunState
from printfarm_files import FileFacts, Kind, Tool
from tests.support.slices import a_printer, a_run, held

EUR = "EUR"
HOUR = 3_600_000_000
PRICES = st.integers(0, 1_000 * MICROS)
GRAMS = st.floats(0.001, 5_000)


def a_list(
    material: int | None = 20 * MICROS, machine: int | None = 2 * MICROS, start: int | None = None, **more: Any
) -> PriceList:
    said = {
        Subject(RateKind.MATERIAL, "pla"): material,
        Subject(RateKind.MACHINE): machine,
        Subject(RateKind.START): start,
    }
    rates = [
        Rate(of.kind.value, of, price, EUR, 0, 0, "user/ana", **(more if of.kind is RateKind.MATERIAL else {}))
        for of, price in said.items()
        if price is not None
    ]
    return PriceList(EUR, {rate.subject: rate for rate in rates})


def facts(*tools: Tool, **more: Any) -> FileFacts:
    return FileFacts(Kind.GCODE, 1, tools=tools, **more)


def pla(grams: float | None, **more: Any) -> Tool:
    return Tool(0, "PLA", weight_g=grams, **more)


def cost(use: Use, prices: PriceList | None = None, **printer: Any) -> RunCost:
    return run_cost(prices or a_list(), a_printer(**printer), use)


def test_a_run_costs_its_filament_its_hours_and_its_start() -> None:
    found = cost(Use(HOUR * 3 // 2, 1.0, facts(pla(31.5))), a_list(start=MICROS // 4))
    assert (found.material, found.machine, found.start) == (630_000, 3_000_000, 250_000)
    assert found.total == 3_880_000
    assert found.rates == ("material", "machine", "start")
    assert found.missing == ()


@given(PRICES, PRICES, PRICES, st.integers(0, 1_000 * HOUR), st.floats(0, 1), st.lists(GRAMS, min_size=1, max_size=4))
def test_the_total_is_exactly_the_sum_of_its_parts_and_each_tool_is_rounded_once(
    material: int, machine: int, start: int, occupied: int, printed: float, grams: list[float]
) -> None:
    prices = a_list(material, machine, start)
    whole = cost(Use(occupied, printed, facts(*(pla(g) for g in grams))), prices)
    alone = [cost(Use(0, printed, facts(pla(g))), prices).material for g in grams]
    assert whole.material == sum(part or 0 for part in alone)
    assert whole.total == (whole.material or 0) + (whole.machine or 0) + start
    exact = Decimal(machine) * occupied / HOUR
    assert abs(Decimal(whole.machine or 0) - exact) <= Decimal("0.5")


@given(PRICES, st.integers(0, HOUR), st.integers(0, HOUR), st.floats(0, 1), st.floats(0, 1), GRAMS, GRAMS)
def test_more_of_anything_never_costs_less(
    price: int, time: int, more_time: int, one: float, other: float, grams: float, more_grams: float
) -> None:
    prices = a_list(price, price, price)
    low = cost(Use(time, min(one, other), facts(pla(grams))), prices).total
    high = cost(Use(time + more_time, max(one, other), facts(pla(grams + more_grams))), prices).total
    assert low is not None
    assert high is not None
    assert low <= high


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=30), st.integers(1, 1_000))
def test_a_job_costs_the_sum_of_its_runs_whatever_became_of_them(totals: list[int], good: int) -> None:
    states = [RunState.FINISHED, RunState.FAILED, RunState.CANCELLED]
    runs = [
        a_run(states[n % 3], run_id=f"r{n}", started_at=1, ended_at=2, cost=RunCost(EUR, total, 0, 0))
        for n, total in enumerate(totals)
    ]
    found = job_cost([*runs, a_run(RunState.FENCED), a_run(RunState.PRINTING, started_at=1)], good, EUR)
    assert found.so_far == sum(totals)
    assert found.per_good_part is not None
    assert abs(Decimal(found.per_good_part) - Decimal(sum(totals)) / good) <= Decimal("0.5")
    assert job_cost(runs, 0, EUR).per_good_part is None


@pytest.mark.parametrize(
    ("use", "prices", "part", "word"),
    [
        (Use(None, 1.0, facts(pla(1))), a_list(), "machine", "how long"),
        (Use(HOUR, None, facts(pla(1))), a_list(), "material", "how far"),
        (Use(HOUR, 1.0, None), a_list(), "material", "how much filament"),
        (Use(HOUR, 1.0, facts()), a_list(), "material", "how much filament"),
        (Use(HOUR, 1.0, facts(pla(None))), a_list(), "material", "weight"),
        (Use(HOUR, 1.0, facts(pla(None, length_mm=1_000.0))), a_list(density_g_cm3=1.24), "material", "weight"),
        (Use(HOUR, 1.0, facts(Tool(0, "PETG", weight_g=1.0))), a_list(), "material", "no rate for PETG"),
        (Use(HOUR, 1.0, facts(Tool(0, weight_g=1.0))), a_list(), "material", "which material"),
        (Use(HOUR, 1.0, facts(pla(1))), a_list(machine=None), "machine", "no machine rate for printer p1"),
        (Use(HOUR, 1.0, facts(pla(1), Tool(1, "PLA"))), a_list(), "material", "weight"),
    ],
)
def test_what_is_unknown_is_said_and_never_0(use: Use, prices: PriceList, part: str, word: str) -> None:
    found = cost(use, prices)
    other = found.machine if part == "material" else found.material
    assert (getattr(found, part), found.total) == (None, None)
    assert other is not None
    assert [word in said for said in found.missing] == [True]


def test_a_price_of_0_is_known() -> None:
    assert cost(Use(HOUR, 1.0, facts(pla(10))), a_list(0, 0, 0)).total == 0


def test_weight_from_volume_or_length_where_the_rate_knows_the_filament() -> None:
    by_volume = cost(Use(0, 1.0, facts(pla(None, volume_mm3=10_000.0))), a_list(density_g_cm3=1.25))
    assert by_volume.material == 250_000
    by_length = cost(Use(0, 1.0, facts(pla(None, length_mm=10_000.0))), a_list(density_g_cm3=1.24, diameter_mm=1.75))
    # 10 m of 1.75 mm are 24.05 cm3: 29.83 g at 20 a kilogram.
    assert by_length.material is not None
    assert abs(by_length.material - 596_513) < 100


def test_the_one_filament_that_is_loaded_is_what_is_printed() -> None:
    loaded = Abilities(material="PLA")
    assert cost(Use(0, 1.0, facts(Tool(0, weight_g=10.0))), abilities=loaded).material == 200_000
    assert cost(Use(0, 1.0, facts(total_weight_g=10.0)), abilities=loaded).material == 200_000
    two = facts(Tool(0, weight_g=10.0), Tool(1, weight_g=10.0))
    assert cost(Use(0, 1.0, two), abilities=loaded).material is None


def test_a_tool_that_nothing_goes_through_costs_nothing_and_asks_for_no_rate() -> None:
    found = cost(Use(0, 1.0, facts(pla(10), Tool(1, "PVA", weight_g=0.0))))
    assert (found.material, found.missing) == (200_000, ())


@pytest.mark.parametrize(
    ("state", "progress", "reading", "printed"),
    [
        (RunState.FINISHED, 0.5, 0.2, 1.0),
        (RunState.FAILED, 0.5, 0.6, 0.6),
        (RunState.FAILED, 0.5, None, 0.5),
        (RunState.CANCELLED, 0.0, 0.0, 0.0),
        (RunState.FAILED, 0.0, None, None),
    ],
)
def test_how_far_it_was_printed(state: RunState, progress: float, reading: float | None, printed: float | None) -> None:
    run = a_run(state, progress=progress, started_at=10, ended_at=25)
    assert use_of(run, reading, None) == Use(15, printed, None)


def test_only_a_run_that_started_costs_and_only_when_it_ends() -> None:
    active, started = a_run(RunState.PRINTING, started_at=1), {"started_at": 1, "ended_at": 2}
    assert costs_something(active, replace(active, state=RunState.FAILED))
    assert not costs_something(active, replace(active, state=RunState.PAUSED))
    assert not costs_something(a_run(RunState.FAILED, **started), a_run(RunState.FAILED, **started))
    assert not costs_something(a_run(RunState.ACCEPTED), a_run(RunState.CANCELLED))
    assert not costs_something(a_run(RunState.AUTHORISED), a_run(RunState.FENCED))


def test_the_event_of_the_end_tells_the_cost_and_no_other_event_does() -> None:
    before = held(RunState.PRINTING, started_at=1)
    after = apply_report(before, Report(Fact.FINISHED, evidence=EndEvidence(True, True, 9e9)), 9, "t")
    told = with_cost(after, RunCost(EUR, 1, 2, 3))
    assert told.run.cost == RunCost(EUR, 1, 2, 3)
    assert {e.type: e.data.get("cost") for e in told.events}["run.finished"] == "0.000006"
    assert [e for e in told.events if e.type != "run.finished"] == [e for e in after.events if e.type != "run.finished"]
    unknown = with_cost(after, RunCost(EUR, None, 2, 3, ("why",)))
    assert {e.type: e.data.get("cost", "absent") for e in unknown.events}["run.finished"] is None


def test_an_estimate_spans_the_printers_and_is_unknown_if_one_of_them_is() -> None:
    costs = [RunCost(EUR, 1, 2, 3), RunCost(EUR, 1, 1, 1)]
    found = estimate(costs, 3, EUR)
    assert (found.low, found.high) == (9, 18)
    vague = estimate([*costs, RunCost(EUR, None, 1, 1, ("why",))], 3, EUR)
    assert (vague.low, vague.high, vague.missing) == (None, None, ("why",))
    assert estimate([], 3, EUR).low is None
    assert estimate([], 3, EUR).missing
    assert estimate([], 0, EUR).low == 0


def test_a_job_of_which_one_run_is_unknown_costs_nobody_knows_what() -> None:
    ended = {"started_at": 1, "ended_at": 2}
    known = a_run(RunState.FINISHED, cost=RunCost(EUR, 1, 1, 1), **ended)
    for other in (None, RunCost(EUR, None, 1, 1, ("why",)), RunCost("USD", 1, 1, 1)):
        found = job_cost([known, a_run(RunState.FAILED, run_id="r2", cost=other, **ended)], 1, EUR)
        assert (found.so_far, found.per_good_part) == (None, None)
        assert "r2" in found.missing[0]
