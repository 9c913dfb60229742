"""Figures over the whole farm."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain.costing import CostTally
from ..domain.printer import BedState, Printer
from ..domain.run import Run, RunState
from .farm import Farm

DAY_US = 24 * 3_600_000_000
LONGEST_RANGE_US = 400 * DAY_US


@dataclass(frozen=True, slots=True)
class Stats:
    """As ``GetStatsResponse``. Times in microseconds."""

    jobs: dict[str, int]
    runs: dict[str, int]
    printers: dict[str, int]
    waiting_for_bed_clear: int
    held: int
    agents_connected: int
    agents_unreachable: int
    without_verdict: int
    parts_owed: int
    overdue: int
    finished_today: int
    failed_today: int
    now: int
    oldest_waiting: int
    backlog_seconds: float
    # Of all runs that ended today, and of those that did not finish. None if the farm reckons no cost.
    cost_today: CostTally | None = None
    unfinished_today: CostTally | None = None


async def stats(farm: Farm) -> Stats:
    """One look. "Today" is the UTC day of the database's clock."""
    async with farm.store.read() as look:
        counts = await look.count_by_state()
        backlog, printers, agents = await look.job_backlog(), await look.printers(), await look.agents()
        ended = await look.count_ended_runs(look.now - look.now % DAY_US)
        without_verdict, now = await look.runs_without_verdict(), look.now
        costs = await look.costs_since(now - now % DAY_US, farm.currency) if farm.currency else None
    return Stats(
        jobs=counts["job"],
        runs=counts["run"],
        printers=_by_state(printers),
        waiting_for_bed_clear=sum(p.bed.state is not BedState.CLEAR and p.active_run_id is None for p in printers),
        held=sum(p.held for p in printers),
        agents_connected=sum(agent.reachable for agent in agents),
        agents_unreachable=sum(not agent.reachable and agent.connection_epoch > 0 for agent in agents),
        without_verdict=without_verdict,
        parts_owed=backlog.parts_owed,
        overdue=backlog.overdue,
        finished_today=ended.get(RunState.FINISHED.value, 0),
        failed_today=ended.get(RunState.FAILED.value, 0),
        now=now,
        oldest_waiting=0 if backlog.waiting_since is None else now - backlog.waiting_since,
        backlog_seconds=backlog.seconds,
        cost_today=None if costs is None else _together(costs),
        unfinished_today=None if costs is None else _together(costs, but=RunState.FINISHED),
    )


def _together(costs: Mapping[str, CostTally], but: RunState | None = None) -> CostTally:
    found = [tally for state, tally in costs.items() if state != but]
    return CostTally(sum(t.runs for t in found), sum(t.known for t in found), sum(t.total for t in found))


def _by_state(printers: list[Printer]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for printer in printers:
        counted[printer.observed_state.value] = counted.get(printer.observed_state.value, 0) + 1
    return counted


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one printer in a range; times in microseconds. ``known``: the part in which the farm knew the printer."""

    printer_id: str
    printing: int
    known: int
    started: int
    finished: int
    failed: int

    @property
    def share(self) -> float:
        """0..1."""
        return min(1.0, self.printing / self.known) if self.known > 0 else 0.0


async def utilization(farm: Farm, start: int, end: int, printer_id: str) -> list[Usage]:
    """How much each printer printed between two times. What lies in the future counts for nothing."""
    async with farm.store.read() as look:
        end = min(end, look.now)
        printers = await look.printers()
        runs = await look.runs_between(start, end)
    wanted = [p for p in printers if printer_id in ("", p.printer_id)]
    by_printer: dict[str, list[Run]] = {}
    for run in runs:
        by_printer.setdefault(run.printer_id, []).append(run)
    return [_usage(p, by_printer.get(p.printer_id, []), start, end) for p in wanted]


def _usage(printer: Printer, runs: list[Run], start: int, end: int) -> Usage:
    started = [run for run in runs if run.started_at is not None]
    spans = [(max(start, run.started_at or 0), min(end, run.ended_at or end)) for run in started]
    return Usage(
        printer.printer_id,
        printing=sum(max(0, last - first) for first, last in spans),
        known=max(0, end - max(start, printer.created_at)),
        started=sum(start <= (run.started_at or 0) < end for run in started),
        finished=sum(run.state is RunState.FINISHED and start <= (run.ended_at or 0) < end for run in runs),
        failed=sum(run.state is RunState.FAILED and start <= (run.ended_at or 0) < end for run in runs),
    )
