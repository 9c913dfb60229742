"""What one run costs. Whole millionths; each part is rounded once, so that parts add up to their total.

What is not known makes an amount None, with the reason; never 0.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from printfarm_files import FileFacts, Tool

from .printer import Printer, effective_abilities
from .rate import PriceList, Rate, RateKind

_HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class RunCost:
    """``total`` is None if ``material`` or ``machine`` is; ``missing`` then says why.

    ``rates``: ids of those it was made with."""

    currency: str
    material: int | None
    machine: int | None
    start: int
    missing: tuple[str, ...] = ()
    rates: tuple[str, ...] = ()

    @property
    def total(self) -> int | None:
        """Exactly the sum of its parts."""
        return None if self.material is None or self.machine is None else self.material + self.machine + self.start


@dataclass(frozen=True, slots=True)
class Use:
    """What one run takes: ``occupied`` in microseconds, and how far its file was printed, 0..1. None where it is unknown."""

    occupied: int | None
    printed: float | None
    facts: FileFacts | None


def run_cost(prices: PriceList, printer: Printer, use: Use) -> RunCost:
    """By the rates of the list."""
    missing: list[str] = []
    used: list[Rate] = []
    material = _material(prices, printer, use, missing, used)
    machine = _machine(prices, printer.printer_id, use.occupied, missing, used)
    fee = prices.of_printer(RateKind.START, printer.printer_id)
    if fee is not None:
        used.append(fee)
    ids = tuple(dict.fromkeys(rate.rate_id for rate in used))
    start = (fee.price or 0) if fee else 0
    return RunCost(prices.currency, material, machine, start, tuple(dict.fromkeys(missing)), ids)


def _machine(
    prices: PriceList, printer_id: str, occupied: int | None, missing: list[str], used: list[Rate]
) -> int | None:
    rate = prices.of_printer(RateKind.MACHINE, printer_id)
    if occupied is None:
        missing.append("how long it takes is not known")
    if rate is None or rate.price is None:
        missing.append(f"there is no machine rate for printer {printer_id}")
        return None
    used.append(rate)
    return None if occupied is None else round(Fraction(rate.price * occupied, _HOUR_US))


def _material(prices: PriceList, printer: Printer, use: Use, missing: list[str], used: list[Rate]) -> int | None:
    if use.printed is None:
        missing.append("how far it was printed is not known")
    tools = _tools(use.facts)
    if not tools:
        missing.append("the file does not tell how much filament it takes")
    amounts = [_of_tool(prices, printer, tool, use.printed, len(tools) == 1, missing, used) for tool in tools]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if known and len(known) == len(amounts) else None


def _tools(facts: FileFacts | None) -> list[Tool]:
    """Those that filament goes through. Of one tool, the file's total is as good as its own figure."""
    if facts is None:
        return []
    tools = [tool for tool in facts.tools if tool.is_used is not False]
    if len(tools) > 1:
        return tools
    tool = tools[0] if tools else Tool(0)
    if tool.weight_g is None and facts.weight_g:
        return [replace(tool, weight_g=facts.weight_g)]
    return tools


def _of_tool(
    prices: PriceList,
    printer: Printer,
    tool: Tool,
    printed: float | None,
    is_alone: bool,
    missing: list[str],
    used: list[Rate],
) -> int | None:
    """Where only one filament is used, what is loaded is what is printed; of several, the file alone tells which is which."""
    loaded = effective_abilities(printer)
    material = tool.filament_type or (is_alone and loaded.material) or ""
    colour = (is_alone and loaded.colour) or tool.colour or ""
    rate = prices.material(material, colour)
    if rate is None or rate.price is None:
        missing.append(f"there is no rate for {material}" if material else "which material it takes is not known")
        return None
    used.append(rate)
    grams = _grams(tool, rate)
    if grams is None:
        missing.append(f"the file does not tell the weight of its {material or 'filament'}, nor enough to reckon it")
    if grams is None or printed is None:
        return None
    return round(Fraction(rate.price) * Fraction(grams) * Fraction(printed) / 1_000)


def _grams(tool: Tool, rate: Rate) -> float | None:
    if tool.weight_g is not None:
        return tool.weight_g
    volume = tool.volume_mm3
    if volume is None and tool.length_mm is not None and rate.diameter_mm is not None:
        volume = tool.length_mm * math.pi * (rate.diameter_mm / 2) ** 2
    return None if volume is None or rate.density_g_cm3 is None else volume * rate.density_g_cm3 / 1_000
