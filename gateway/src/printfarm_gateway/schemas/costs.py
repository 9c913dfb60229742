"""Costs, and the rates that make them. Money is decimal text in units of the currency, such as "12.5", exact to a millionth."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field, StrictStr
from pydantic.config import JsonDict

from .base import EXAMPLE_ID, Moment, Strict, Word, example, real_number

RateKind = Literal["material", "machine", "start"]
Price = Annotated[StrictStr, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$", examples=["21.90"])]
Density = Annotated[float, BeforeValidator(real_number), Field(ge=0.1, le=30)]
Diameter = Annotated[float, BeforeValidator(real_number), Field(ge=0.1, le=10)]

RUN_COST_EXAMPLE: JsonDict = {
    "currency": "EUR",
    "total": "2.94",
    "material": "0.69",
    "machine": "2.25",
    "start": "0",
    "missing": [],
    "rate_ids": [EXAMPLE_ID],
}
ESTIMATE_EXAMPLE: JsonDict = {"currency": "EUR", "low": "8.82", "high": "11.07", "missing": []}
SO_FAR_EXAMPLE: JsonDict = {"currency": "EUR", "so_far": "8.82", "per_good_part": "0.801818", "missing": []}
COST_SUM_EXAMPLE: JsonDict = {
    "currency": "EUR",
    "total": "26.46",
    "unfinished": "1.07",
    "runs": 10,
    "runs_unknown": 0,
}
JOB_COST_EXAMPLE: JsonDict = {
    **SO_FAR_EXAMPLE,
    "to_come": {"currency": "EUR", "low": "2.94", "high": "3.69", "missing": []},
}


class RunCost(BaseModel):
    """What a run cost, made once when it ended. An amount is null where it is not known; ``missing`` says why."""

    model_config = example(RUN_COST_EXAMPLE)

    currency: str
    total: str | None
    material: str | None
    machine: str | None
    start: str
    missing: list[str]
    rate_ids: list[str]


class CostEstimate(BaseModel):
    """On the cheapest and on the dearest of the printers that could take it; null unless it is known for each of them."""

    model_config = example(ESTIMATE_EXAMPLE)

    currency: str
    low: str | None
    high: str | None
    missing: list[str]


class CostSoFar(BaseModel):
    """``so_far``: all runs that ended, the failed ones included; ``per_good_part``: that, over the good parts."""

    model_config = example(SO_FAR_EXAMPLE)

    currency: str
    so_far: str | None
    per_good_part: str | None
    missing: list[str]


class JobCost(CostSoFar):
    """``so_far``: all runs that ended, the failed ones included; ``per_good_part``: that, over the good parts.

    ``to_come``: runs under way and runs owed; null once the job has ended."""

    model_config = example(JOB_COST_EXAMPLE)

    to_come: CostEstimate | None


class CostSum(BaseModel):
    """``total``: over the ``runs`` whose cost is known; ``unfinished``: of these, what went into runs that did not finish.
    ``runs_unknown`` more ended, and are in no sum."""

    model_config = example(COST_SUM_EXAMPLE)

    currency: str
    total: str
    unfinished: str
    runs: int
    runs_unknown: int


class RateOrder(Strict):
    """A price from a time on, or from now: per kilogram of a material, per hour on a printer, per start. Where ``material``
    (and ``colour``), or ``printer_id``, is left out it is of all that have no rate of their own.

    ``density_g_cm3`` and ``diameter_mm`` serve files that tell a volume or a length, and no weight."""

    model_config = example(
        {"kind": "material", "material": "PLA", "price": "21.90", "density_g_cm3": 1.24, "diameter_mm": 1.75},
        {"kind": "machine", "price": "1.50"},
        {"kind": "start", "printer_id": "p1", "price": "0.25", "valid_from": "2199-01-01T00:00:00Z"},
    )

    kind: RateKind
    price: Price
    material: Word | None = None
    colour: Word | None = None
    printer_id: Word | None = None
    density_g_cm3: Density | None = None
    diameter_mm: Diameter | None = None
    valid_from: Moment | None = None


_RATE_EXAMPLE: JsonDict = {
    "rate_id": EXAMPLE_ID,
    "kind": "material",
    "material": "pla",
    "colour": None,
    "printer_id": None,
    "price": "21.9",
    "currency": "EUR",
    "density_g_cm3": 1.24,
    "diameter_mm": 1.75,
    "valid_from": "2026-11-24T08:00:00Z",
    "created_by": "user/ana",
    "created_at": "2026-11-24T08:00:00Z",
}


class Rate(BaseModel):
    """A price from a time on. It never changes. ``price`` null: from then on there is none."""

    model_config = example(_RATE_EXAMPLE)

    rate_id: str
    kind: RateKind
    material: str | None
    colour: str | None
    printer_id: str | None
    price: str | None
    currency: str
    density_g_cm3: float | None
    diameter_mm: float | None
    valid_from: datetime
    created_by: str
    created_at: datetime


class Rates(BaseModel):
    """``currency`` is the farm's; null if it reckons no cost."""

    model_config = example({"currency": "EUR", "items": [_RATE_EXAMPLE], "next": None})

    currency: str | None
    items: list[Rate]
    next: None = None
