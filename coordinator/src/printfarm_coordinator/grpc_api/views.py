"""Jobs, runs and printers with what only memory knows of them."""

from collections.abc import Sequence

from printfarm.model.v1 import cost_pb2, job_pb2, printer_pb2, run_pb2

from ..app.costing import cost_of_job, costs_so_far
from ..app.farm import Farm
from ..app.file_ports import Artifact
from ..app.ports import Reading
from ..app.workshop import workshop_for
from ..domain.costing import JobCost
from ..domain.estimate import Outlook, outlook
from ..domain.job import Job, parts_owed
from ..domain.printer import Printer
from ..domain.run import Run
from . import convert, cost_convert


def progress_of(farm: Farm, run: Run) -> float:
    """The newest reading of the run, or what was kept of it."""
    if not run.state.is_active:
        return run.progress
    newest = farm.latest.progress_of(run.printer_id, run.run_id)
    return run.progress if newest is None else newest


def run(farm: Farm, found: Run) -> run_pb2.Run:
    """A run with its newest progress."""
    return convert.run(found, progress_of(farm, found))


async def jobs(farm: Farm, look: Reading, found: Sequence[Job], runs: Sequence[Run]) -> list[job_pb2.Job]:
    """Jobs with their outlook; ``runs`` holds at least their active runs."""
    files = {file.sha256: file for file in await look.artifacts_named(list({job.artifact_sha256 for job in found}))}
    views = await outlooks(farm, look, found, runs)
    workshop = await workshop_for(look, found)
    printers = await look.printers() if any(job.needs_slicing for job in found) else []
    costs = await costs_so_far(farm, look, found)
    return [
        convert.job(job, files.get(job.artifact_sha256), view, workshop.tasks_of(job, printers), costs.get(job.job_id))
        for job, view in zip(found, views, strict=True)
    ]


async def outlooks(farm: Farm, look: Reading, found: Sequence[Job], runs: Sequence[Run]) -> list[Outlook]:
    """When each job will be done; ``runs`` holds at least their active runs."""
    active: dict[str, list[tuple[Run, float]]] = {}
    for each in runs:
        if each.state.is_active:
            active.setdefault(each.job_id, []).append((each, progress_of(farm, each)))
    made = []
    for job in found:
        able = await farm.roster.able(look, job.requirements) if parts_owed(job) else 0
        made.append(outlook(job, active.get(job.job_id, []), able, look.now))
    return made


async def job(farm: Farm, look: Reading, found: Job) -> job_pb2.Job:
    """A job with its outlook."""
    [made] = await jobs(farm, look, [found], await look.runs_of_jobs([found.job_id]))
    return made


async def job_with_cost(
    farm: Farm, look: Reading, found: Job
) -> tuple[job_pb2.Job, list[run_pb2.Run], cost_pb2.JobCost | None]:
    """A job with all of its runs, oldest first, and what they cost."""
    runs = await look.runs_of_jobs([found.job_id])
    [made] = await jobs(farm, look, [found], runs)
    cost = await cost_of_job(farm, look, found, runs)
    return made, [run(farm, each) for each in runs], cost_convert.job_cost(*cost) if cost else None


async def new_job(farm: Farm, made: Job, file: Artifact | None) -> job_pb2.Job:
    """A job of this moment: it has no runs, and if it is ready to print, nothing of it need be read again."""
    able = farm.roster.known(made.requirements)
    if able is None or made.needs_slicing:
        async with farm.store.read() as look:
            [view] = await jobs(farm, look, [made], ())
        return view
    cost = JobCost(farm.currency, 0, None) if farm.currency else None
    return convert.job(made, file, outlook(made, [], able, made.created_at), (), cost)


async def fresh_job(farm: Farm, job_id: str) -> job_pb2.Job:
    """The job after a change."""
    async with farm.store.read() as look:
        found = await look.job(job_id)
        if found is None:
            raise LookupError(job_id)
        return await job(farm, look, found)


async def fresh_run(farm: Farm, run_id: str) -> run_pb2.Run:
    """The run after a change."""
    async with farm.store.read() as look:
        found = await look.run(run_id)
    if found is None:
        raise LookupError(run_id)
    return run(farm, found)


async def printers(farm: Farm, look: Reading, found: Sequence[Printer]) -> list[printer_pb2.Printer]:
    """Printers with their newest reading."""
    reachable = {agent.agent_id for agent in await look.agents() if agent.reachable}
    return [
        convert.printer(p, reachable=p.agent_id in reachable, latest=farm.latest.get(p.printer_id), now=look.now)
        for p in found
    ]


async def fresh_printer(farm: Farm, printer_id: str) -> printer_pb2.Printer:
    """The printer after a change."""
    async with farm.store.read() as look:
        found = await look.printer(printer_id)
        if found is None:
            raise LookupError(printer_id)
        [made] = await printers(farm, look, [found])
    return made
