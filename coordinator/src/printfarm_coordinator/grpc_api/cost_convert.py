"""Costs and rates as messages: money is decimal text."""

from printfarm.control.v1 import rate_service_pb2
from printfarm.model.v1 import cost_pb2

from ..domain.cost import RunCost
from ..domain.costing import CostEstimate, CostTally, JobCost
from ..domain.rate import Rate, RateKind, money

RATE_KINDS = {kind: getattr(rate_service_pb2, f"RATE_KIND_{kind.name}") for kind in RateKind}


def _known(micros: int | None) -> str | None:
    return None if micros is None else money(micros)


def run_cost(found: RunCost) -> cost_pb2.RunCost:
    """What a run cost."""
    return cost_pb2.RunCost(
        currency=found.currency,
        total=_known(found.total),
        material=_known(found.material),
        machine=_known(found.machine),
        start=money(found.start),
        missing=found.missing,
        rate_ids=found.rates,
    )


def cost_estimate(found: CostEstimate) -> cost_pb2.CostEstimate:
    """What it would cost."""
    return cost_pb2.CostEstimate(
        currency=found.currency, low=_known(found.low), high=_known(found.high), missing=found.missing
    )


def cost_sum(all_runs: CostTally, unfinished: CostTally, currency: str) -> cost_pb2.CostSum:
    """What runs cost over a time."""
    return cost_pb2.CostSum(
        currency=currency,
        total=money(all_runs.total),
        unfinished=money(unfinished.total),
        runs=all_runs.known,
        runs_unknown=all_runs.runs - all_runs.known,
    )


def job_cost(found: JobCost, to_come: CostEstimate | None = None) -> cost_pb2.JobCost:
    """What a job costs."""
    return cost_pb2.JobCost(
        currency=found.currency,
        so_far=_known(found.so_far),
        per_good_part=_known(found.per_good_part),
        missing=found.missing,
        to_come=cost_estimate(to_come) if to_come else None,
    )


def price(found: Rate) -> str:
    """Empty: there is none from then on."""
    return _known(found.price) or ""
