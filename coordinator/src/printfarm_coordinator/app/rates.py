"""Rates: added, listed, retired. None is ever changed: what was reckoned with it stays true."""

from dataclasses import dataclass

from ..domain.errors import Invalid, RuleError
from ..domain.events import AuditEntry
from ..domain.rate import Rate, RateKind, Subject, check_rate, current_and_coming, money, newest_at, price_from
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import Writing

MOST_RATES = 10_000


@dataclass(frozen=True, slots=True)
class RateOrder:
    """A price as a person wants it. ``valid_from`` None: from now on."""

    kind: RateKind
    price: str
    material: str = ""
    colour: str = ""
    printer_id: str = ""
    density_g_cm3: float | None = None
    diameter_mm: float | None = None
    valid_from: int | None = None


async def put_rate(farm: Farm, caller: Caller, order: RateOrder) -> Rate:
    """The rate, or the one in force that says the same. Raises Invalid, NO_CURRENCY, NOT_FOUND, QUOTA_EXCEEDED."""
    if not farm.currency:
        raise RuleError(
            "NO_CURRENCY", "set PRINTFARM_CURRENCY to the farm's currency, such as EUR, to have costs reckoned"
        )
    price, rate_id = price_from(order.price), farm.ids.new()
    of = Subject(order.kind, order.material.strip().lower(), order.colour.strip().lower(), order.printer_id)

    async def work(tx: Writing) -> Rate:
        rate = Rate(
            rate_id,
            of,
            price,
            farm.currency,
            tx.now if order.valid_from is None else order.valid_from,
            tx.now,
            caller.name,
            order.density_g_cm3,
            order.diameter_mm,
        )
        check_rate(rate)
        if rate.valid_from < tx.now:
            raise Invalid("valid_from", "must not be before now: what was printed keeps its price")
        if of.printer_id and await tx.printer(of.printer_id) is None:
            raise missing("printer", of.printer_id)
        rates = await tx.rates()
        if same := _same(rates, rate, order.valid_from is None):
            return same
        if len(rates) >= MOST_RATES:
            raise RuleError("QUOTA_EXCEEDED", f"a farm keeps at most {MOST_RATES} rates")
        await tx.add_rate(rate)
        said = f"{money(price)} {rate.currency} from {rate.valid_from}"
        await tx.append_audit([AuditEntry("rate.put", "rate", rate_id, caller.name, f"{of}: {said}", 0)])
        return rate

    return await transact(farm, "rate", work, caller.request_id)


def _same(rates: list[Rate], rate: Rate, from_now: bool) -> Rate | None:
    """From now on: what is in force. From a later time: what begins just then."""
    now = rate.created_at
    if from_now:
        found = newest_at(rates, rate.currency, now).get(rate.subject)
    else:
        then = [r for r in rates if r.subject == rate.subject and r.valid_from == rate.valid_from]
        found = newest_at(then, rate.currency, rate.valid_from).get(rate.subject)
    return found if found and _words(found) == _words(rate) else None


def _words(rate: Rate) -> tuple[object, ...]:
    return rate.price, rate.density_g_cm3, rate.diameter_mm


async def retire_rate(farm: Farm, caller: Caller, rate_id: str, reason: str) -> None:
    """From now on what it is of has no price, nor one to come. May be repeated. Raises NOT_FOUND."""

    async def work(tx: Writing) -> None:
        rates = await tx.rates()
        named = next((rate for rate in rates if rate.rate_id == rate_id), None)
        if named is None:
            raise missing("rate", rate_id)
        mine = [rate for rate in rates if rate.subject == named.subject]
        live = current_and_coming(mine, named.currency, tx.now)
        for rate in live:
            # An end beside each: nothing that was written is taken back.
            until = max(tx.now, rate.valid_from)
            end = Rate(farm.ids.new(), rate.subject, None, rate.currency, until, tx.now, caller.name)
            await tx.add_rate(end)
        if live:
            said = f"{named.subject}: {reason}" if reason else str(named.subject)
            await tx.append_audit([AuditEntry("rate.retired", "rate", rate_id, caller.name, said, 0)])

    await transact(farm, "rate", work, caller.request_id)


async def list_rates(farm: Farm, *, history: bool) -> list[Rate]:
    """Those in force and those to come; with history all, the oldest first."""
    async with farm.store.read() as look:
        rates = await look.rates()
        return rates if history else current_and_coming(rates, farm.currency, look.now)
