"""The cost of runs that ended, and what a job costs so far and will. Millionths, as in ``cost``."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal

from printfarm_files import FileFacts

from .cost import RunCost, Use
from .events import DomainEvent, Scalar
from .rate import money
from .run import Run, RunState
from .slice import Slice


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """On the cheapest and on the dearest printer."""

    currency: str
    low: int | None
    high: int | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobCost:
    """``so_far`` is of all ended runs, the failed ones included."""

    currency: str
    so_far: int | None
    per_good_part: int | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CostTally:
    """Runs that ended and are known to have started: how many, of how many the cost is known in the farm's currency, and the
    sum of those."""

    runs: int
    known: int
    total: int


def costs_something(before: Run, after: Run) -> bool:
    """The run ends with this change, and is known to have started."""
    return before.state.is_active and _has_printed(after)


def _has_printed(run: Run) -> bool:
    is_known = run.started_at is not None or run.state is RunState.FINISHED
    return is_known and not run.state.is_active


def use_of(run: Run, reading: float | None, facts: FileFacts | None) -> Use:
    """What an ended run took. ``reading``: the newest that was heard of its progress; 0 in the row says that none was kept."""
    occupied = None
    if run.started_at is not None and run.ended_at is not None:
        occupied = max(0, run.ended_at - run.started_at)
    printed: float | None = 1.0
    if run.state is not RunState.FINISHED:
        heard = [progress for progress in (reading, run.progress or None) if progress is not None]
        printed = min(1.0, max(heard)) if heard else None
    return Use(occupied, printed, facts)


def with_cost(held: Slice, cost: RunCost) -> Slice:
    """The run that ended, and the event that tells of it, with what it cost."""
    data: dict[str, Scalar] = {"currency": cost.currency, "cost": None if cost.total is None else money(cost.total)}
    word = f"run.{held.run.state.value}"
    events = tuple(_told(event, data) if event.type == word else event for event in held.events)
    return replace(held, run=replace(held.run, cost=cost), events=events)


def _told(event: DomainEvent, data: dict[str, Scalar]) -> DomainEvent:
    return replace(event, data={**event.data, **data})


def estimate(costs: Sequence[RunCost], runs: int, currency: str) -> CostEstimate:
    """``costs``: of one run on each printer that could take it. Unless all are known, neither bound is."""
    missing = tuple(dict.fromkeys(word for cost in costs for word in cost.missing))
    if not runs:
        return CostEstimate(currency, 0, 0)
    totals = [cost.total for cost in costs if cost.total is not None]
    if not costs:
        missing = ("no printer can take it",)
    if not totals or len(totals) < len(costs):
        return CostEstimate(currency, None, None, missing)
    return CostEstimate(currency, min(totals) * runs, max(totals) * runs)


def job_cost(runs: Iterable[Run], good_parts: int, currency: str) -> JobCost:
    """The sum over the runs that ended. A run that started and has no cost leaves the sum unknown."""
    ended = [run for run in runs if _has_printed(run)]
    missing: list[str] = []
    total = 0
    for run in ended:
        found = run.cost
        if found is not None and found.currency != currency:
            missing.append(f"run {run.run_id} was reckoned in {found.currency}")
        elif found is None or found.total is None:
            why = "; ".join(found.missing) if found else "the farm reckoned no cost when it ended"
            missing.append(f"run {run.run_id}: {why}")
        else:
            total += found.total
    if missing:
        return JobCost(currency, None, None, tuple(missing))
    return JobCost(currency, total, _share(total, good_parts) if good_parts else None)


def cost_of_tally(tally: CostTally, good_parts: int, currency: str) -> JobCost:
    """As ``job_cost``, where the runs themselves were not read: which of them are unknown is not said."""
    if unknown := tally.runs - tally.known:
        missing = f"the cost of {unknown} of its {tally.runs} runs that ended is not known: the job's status says why"
        return JobCost(currency, None, None, (missing,))
    return JobCost(currency, tally.total, _share(tally.total, good_parts) if good_parts else None)


def _share(total: int, parts: int) -> int:
    return int((Decimal(total) / parts).quantize(Decimal(1), ROUND_HALF_EVEN))
