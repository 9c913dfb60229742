"""What runs cost, kept with their end; and what a job costs so far, and will."""

from collections.abc import Iterable, Sequence

from printfarm_files import FileFacts

from ..domain.assignment import plates_owed
from ..domain.cost import Use, run_cost
from ..domain.costing import (
    CostEstimate,
    CostTally,
    JobCost,
    cost_of_tally,
    costs_something,
    estimate,
    job_cost,
    use_of,
    with_cost,
)
from ..domain.job import Job
from ..domain.preparing import Workshop
from ..domain.print_file import PrintFile, print_file_of
from ..domain.printer import Printer, mismatches
from ..domain.rate import price_list
from ..domain.run import Run
from ..domain.slice import Slice
from .farm import Farm
from .ports import Reading, Writing
from .workshop import workshop_for


async def save(farm: Farm, tx: Writing, before: Slice, after: Slice) -> None:
    """The slice saved; with the cost of its run, if that has ended with it. By the rates in force at its start: a later price
    changes nothing of it. One statement more, and none while the farm reckons no cost."""
    if farm.currency and costs_something(before.run, after.run):
        run = after.run
        began = run.started_at if run.started_at is not None else run.created_at
        rates, found = await tx.rates_and_facts(began, print_file_of(run, after.job).facts_sha256)
        if rates:
            use = use_of(run, farm.latest.progress_of(run.printer_id, run.run_id), found.facts if found else None)
            after = with_cost(after, run_cost(price_list(rates, farm.currency, began), after.printer, use))
    await tx.save_slice(before, after)


async def estimated(
    farm: Farm, look: Reading, able: Iterable[tuple[Printer, PrintFile]], runs: int, facts: dict[str, FileFacts]
) -> CostEstimate:
    """Of so many runs, by the rates of now: each printer with the file that it would print."""
    prices = price_list(await look.rates(), farm.currency, look.now)
    costs = [run_cost(prices, printer, _whole(file, facts.get(file.facts_sha256))) for printer, file in able]
    return estimate(costs, runs, farm.currency)


def _whole(file: PrintFile, facts: FileFacts | None) -> Use:
    seconds = file.estimated_seconds
    return Use(None if seconds is None else round(seconds * 1e6), 1.0, facts)


async def cost_of_job(
    farm: Farm, look: Reading, job: Job, runs: Sequence[Run]
) -> tuple[JobCost, CostEstimate | None] | None:
    """So far, and to come while the job has not ended. None if the farm reckons no cost. ``runs``: all of the job's."""
    if not farm.currency:
        return None
    so_far = job_cost(runs, job.good_parts, farm.currency)
    if job.state.is_final:
        return so_far, None
    owed = plates_owed(job) + sum(run.state.is_active for run in runs)
    able = able_printers(job, await workshop_for(look, [job]), await look.printers()) if owed else []
    found = await look.file_facts(sorted({file.facts_sha256 for _, file in able}))
    known = {sha256: stored.facts for sha256, stored in found.items() if stored.facts is not None}
    return so_far, await estimated(farm, look, able, owed, known)


async def costs_so_far(farm: Farm, look: Reading, jobs: Sequence[Job]) -> dict[str, JobCost]:
    """Of many jobs, by one statement. Nothing if the farm reckons no cost."""
    if not farm.currency or not jobs:
        return {}
    found = await look.costs_of_jobs([job.job_id for job in jobs], farm.currency)
    none = CostTally(0, 0, 0)
    return {job.job_id: cost_of_tally(found.get(job.job_id, none), job.good_parts, farm.currency) for job in jobs}


def able_printers(job: Job, workshop: Workshop, printers: Iterable[Printer]) -> list[tuple[Printer, PrintFile]]:
    """Those that meet what the job requires, whatever they do at the moment, each with its file. A file that is not sliced yet
    costs nobody knows what: it counts as one of which nothing is known."""
    able: list[tuple[Printer, PrintFile]] = []
    for printer in printers:
        if mismatches(printer, job.requirements):
            continue
        file = workshop.file_for(job, printer)
        if isinstance(file, PrintFile):
            able.append((printer, file))
        elif file.code == "not_sliced":
            able.append((printer, PrintFile("", None)))
    return able
