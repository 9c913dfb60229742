"""Rates: what a price may be, which one holds when, and which is the more special."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain.errors import Invalid
from printfarm_coordinator.domain.rate import (
    MICROS,
    Rate,
    RateKind,
    Subject,
    check_rate,
    current_and_coming,
    money,
    newest_at,
    price_from,
    price_list,
)

PLA = Subject(RateKind.MATERIAL, "pla")
EUR = "EUR"


def a_rate(price: int | None, valid_from: int = 0, subject: Subject = PLA, rate_id: str = "r") -> Rate:
    return Rate(rate_id, subject, price, EUR, valid_from, valid_from, "user/ana")


@given(st.integers(0, 1_000_000 * MICROS))
def test_money_goes_out_and_comes_back_as_it_was(micros: int) -> None:
    text = money(micros)
    assert price_from(text) == micros
    assert set(text) <= set("0123456789.")


@pytest.mark.parametrize(
    ("text", "micros"),
    [("0", 0), ("21.90", 21_900_000), ("0.000001", 1), ("1000000", 1_000_000 * MICROS), ("007.5", 7_500_000)],
)
def test_a_price(text: str, micros: int) -> None:
    assert price_from(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1.",
        ".5",
        "-1",
        "+1",
        "1e3",
        "1,5",
        "nan",
        " 1",
        "1 ",
        "0.0000001",
        "1000000.1",
        "٣",
        "1.2.3",
        "12345678",
    ],
)
def test_no_price(text: str) -> None:
    with pytest.raises(Invalid) as error:
        price_from(text)
    assert error.value.field == "price"


def test_a_change_begins_when_it_says_so_and_the_later_word_on_one_moment_wins() -> None:
    old, new = a_rate(5, 10), a_rate(7, 20, rate_id="s")
    corrected = replace(a_rate(8, 20, rate_id="t"), created_at=21)
    rates = [corrected, new, old]
    found = {at: newest_at(rates, EUR, at).get(PLA) for at in (9, 10, 19, 20)}
    assert found == {9: None, 10: old, 19: old, 20: corrected}
    assert newest_at(rates, "USD", 20) == {}


def test_an_end_ends_and_does_not_bring_the_one_before_back() -> None:
    rates = [a_rate(5, 10), a_rate(7, 20, rate_id="s"), a_rate(None, 30, rate_id="t")]
    assert PLA not in newest_at(rates, EUR, 30)
    assert newest_at(rates, EUR, 29)[PLA].price == 7
    assert current_and_coming(rates, EUR, 30) == []
    assert [rate.price for rate in current_and_coming(rates, EUR, 15)] == [5, 7]


def test_the_more_special_rate_wins() -> None:
    kind, machine = RateKind.MATERIAL, RateKind.MACHINE
    subjects = [
        Subject(kind),
        PLA,
        Subject(kind, "pla", "gold"),
        Subject(machine),
        Subject(machine, printer_id="p1"),
    ]
    prices = price_list([a_rate(n, 0, of, f"r{n}") for n, of in enumerate(subjects)], EUR, 0)

    def price(rate: Rate | None) -> int | None:
        return rate.price if rate else None

    assert [price(prices.material(*of)) for of in (("PLA", "Gold"), ("PLA", "red"), ("PETG", "gold"), ("", ""))] == [
        2,
        1,
        0,
        0,
    ]
    assert [price(prices.of_printer(machine, name)) for name in ("p1", "p2")] == [4, 3]
    assert prices.of_printer(RateKind.START, "p1") is None


@pytest.mark.parametrize(
    ("subject", "more", "field"),
    [
        (Subject(RateKind.MACHINE, "pla"), {}, "material"),
        (Subject(RateKind.START, "", "red"), {}, "colour"),
        (Subject(RateKind.MATERIAL, "", "red"), {}, "material"),
        (Subject(RateKind.MATERIAL, "p\nla"), {}, "material"),
        (Subject(RateKind.MATERIAL, printer_id="p1"), {}, "printer_id"),
        (Subject(RateKind.MACHINE), {"density_g_cm3": 1.2}, "density_g_cm3"),
        (PLA, {"diameter_mm": 0.0}, "diameter_mm"),
        (PLA, {"density_g_cm3": float("nan")}, "density_g_cm3"),
    ],
)
def test_a_rate_that_makes_no_sense_is_refused(subject: Subject, more: dict[str, float], field: str) -> None:
    with pytest.raises(Invalid) as error:
        check_rate(replace(a_rate(1, 0, subject), **more))
    assert error.value.field == field
