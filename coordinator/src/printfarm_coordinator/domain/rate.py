"""Rates: what a kilogram, an hour or a start costs, each from a time on. Money is whole millionths of the currency's unit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from .errors import Invalid

MICROS = 1_000_000
HIGHEST_PRICE = 1_000_000
_DIGITS = frozenset("0123456789")
_LONGEST_WORD = 100


class RateKind(StrEnum):
    """What it is paid for; spelled as in the API."""

    MATERIAL = "material"
    MACHINE = "machine"
    START = "start"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a rate is of. Empty words stand for all that have no rate of their own. Material and colour in lower case."""

    kind: RateKind
    material: str = ""
    colour: str = ""
    printer_id: str = ""

    def __str__(self) -> str:
        words = (self.kind.value, self.material, self.colour, self.printer_id)
        return "/".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Rate:
    """One row of the rate table: it never changes. ``price`` is None where, from then on, there is none."""

    rate_id: str
    subject: Subject
    price: int | None
    currency: str
    valid_from: int
    created_at: int
    created_by: str
    density_g_cm3: float | None = None
    diameter_mm: float | None = None


def check_rate(rate: Rate) -> None:
    """Raises Invalid."""
    of, is_material = rate.subject, rate.subject.kind is RateKind.MATERIAL
    for field, word in (("material", of.material), ("colour", of.colour)):
        if word and not is_material:
            raise Invalid(field, "is of a material's rate only")
        if len(word) > _LONGEST_WORD or not word.isprintable():
            raise Invalid(field, f"must be at most {_LONGEST_WORD} printable characters")
    if of.colour and not of.material:
        raise Invalid("material", "must be given with a colour")
    if of.printer_id and is_material:
        raise Invalid("printer_id", "is of a machine's or a start's rate only")
    for field, number, most in (("density_g_cm3", rate.density_g_cm3, 30.0), ("diameter_mm", rate.diameter_mm, 10.0)):
        if number is None:
            continue
        if not is_material:
            raise Invalid(field, "is of a material's rate only")
        if not 0.1 <= number <= most:
            raise Invalid(field, f"must be 0.1 to {most:g}")


def price_from(text: str) -> int:
    """Millionths. Raises Invalid for anything but a plain decimal number."""
    whole, dot, part = text.partition(".")
    is_plain = 1 <= len(whole) <= 7 and set(whole) <= _DIGITS and set(part) <= _DIGITS and (bool(part) == bool(dot))
    if not is_plain or len(part) > 6:
        raise Invalid(
            "price", 'must be a decimal number as text with at most 6 digits after the point, such as "21.90"'
        )
    price = int(whole) * MICROS + int(part.ljust(6, "0"))
    if price > HIGHEST_PRICE * MICROS:
        raise Invalid("price", f"must be at most {HIGHEST_PRICE}")
    return price


def money(micros: int) -> str:
    """As the API says it: exact, without needless zeros, never an exponent."""
    text = format(Decimal(micros) / MICROS, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def newest_at(rates: Iterable[Rate], currency: str, at: int) -> dict[Subject, Rate]:
    """For each subject the rate in force: of those valid from no later, the last. Where that says none, there is none."""
    found: dict[Subject, Rate] = {}
    for rate in sorted(rates, key=_age):
        if rate.valid_from <= at and rate.currency == currency:
            found[rate.subject] = rate
    return {subject: rate for subject, rate in found.items() if rate.price is not None}


def _age(rate: Rate) -> tuple[int, int, str]:
    return rate.valid_from, rate.created_at, rate.rate_id


def current_and_coming(rates: Sequence[Rate], currency: str, now: int) -> list[Rate]:
    """What a person who sets prices looks at: those in force, and those to come."""
    last = {(rate.subject, rate.valid_from): rate for rate in sorted(rates, key=_age) if rate.currency == currency}
    coming = [rate for rate in last.values() if rate.valid_from > now and rate.price is not None]
    return sorted([*newest_at(rates, currency, now).values(), *coming], key=_place)


def _place(rate: Rate) -> tuple[str, str, str, str, int, int, str]:
    of = rate.subject
    return of.kind.value, of.material, of.colour, of.printer_id, *_age(rate)


@dataclass(frozen=True, slots=True)
class PriceList:
    """The rates in force at one time; the more special one wins."""

    currency: str
    rates: Mapping[Subject, Rate]

    def material(self, material: str, colour: str) -> Rate | None:
        """Of that colour, else of the material, else of all."""
        kind, word = RateKind.MATERIAL, material.lower()
        own = (Subject(kind, word, colour.lower()), Subject(kind, word)) if word else ()
        return self._first(*own, Subject(kind))

    def of_printer(self, kind: RateKind, printer_id: str) -> Rate | None:
        """Of that printer, else of all."""
        return self._first(Subject(kind, printer_id=printer_id), Subject(kind))

    def _first(self, *subjects: Subject) -> Rate | None:
        return next((self.rates[subject] for subject in subjects if subject in self.rates), None)


def price_list(rates: Iterable[Rate], currency: str, at: int) -> PriceList:
    """The rates in force at a time."""
    return PriceList(currency, newest_at(rates, currency, at))
