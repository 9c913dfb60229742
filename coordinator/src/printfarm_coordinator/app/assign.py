"""Decides which printer gets which job. Woken by events; a slow tick is only the safety net."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ..domain.assignment import COORDINATOR, choose, is_open
from ..domain.errors import RuleError
from ..domain.preparing import is_judged
from ..domain.run import Run
from .farm import Farm, transact
from .jobs import place
from .leading import Leadership
from .ports import AlreadyExists, DatabaseUnavailable, Writing
from .workshop import refusals, workshop_for

_LOG = structlog.get_logger(__name__)
TICK_SECONDS = 5.0
# Woken again while it decides: one more round, at most so many in a row before others get their turn.
_PAUSE_SECONDS = 0.002


@dataclass(slots=True)
class AssignFigures:
    """For the metrics."""

    offers: int = 0
    rounds: int = 0
    seconds: float = 0.0
    observe_decision: Callable[[float], None] = field(default=lambda seconds: None)


async def assign_once(farm: Farm, leadership: Leadership) -> list[Run]:
    """One decision over all waiting jobs and open printers. Nothing while the brake is on (I19) or another leads (I20)."""
    if not farm.hints.sessions():
        return []
    async with farm.store.read() as look:
        if farm.vigilance.brake.is_on(look.now):
            return []
        if not await look.is_any_job_waiting():
            # As when all agents come back at once: each tells of its printers, and nothing is to be printed.
            return []
        attached = [c for c in await look.free_candidates() if farm.hints.is_attached(c.printer.agent_id)]
        candidates = [candidate for candidate in attached if is_open(candidate, look.now)]
        if not candidates:
            return []
        # No more jobs that require the same than there are printers can get one.
        refused = await refusals(look)
        picky = {sha256 for sha256, _ in refused}
        rules = farm.safety.version if farm.safety else ""
        jobs = [job for job in await look.waiting_jobs(len(candidates), picky) if is_judged(job, rules)]
        workshop = await workshop_for(look, jobs, refused, farm.safety)
        now = look.now
    pairs = choose(jobs, candidates, now, workshop.file_for, picky)
    offered = []
    for job_id, printer_id in pairs:
        run = await _offer(farm, leadership, job_id, printer_id)
        if run is not None:
            offered.append(run)
            farm.hints.printer_changed(run.agent_id, run.printer_id)
    return offered


async def _offer(farm: Farm, leadership: Leadership, job_id: str, printer_id: str) -> Run | None:
    run_id = farm.ids.new()

    async def work(tx: Writing) -> Run | None:
        if not await leadership.confirm(tx):
            return None
        return await place(farm, tx, job_id, printer_id, run_id, COORDINATOR)

    try:
        return await transact(farm, "offer", work)
    except (RuleError, AlreadyExists) as error:
        # Decided on a look that is out of date by now: the next round sees why.
        _LOG.info("offer not made", job_id=job_id, printer_id=printer_id, why=str(error))
        return None


async def assign_for_ever(farm: Farm, leadership: Leadership, figures: AssignFigures) -> None:
    """Decides whenever something changed, until cancelled."""
    while True:
        await _woken(farm.hints.assign, TICK_SECONDS)
        farm.hints.assign.clear()
        began = time.monotonic()
        try:
            offered = await assign_once(farm, leadership)
        except DatabaseUnavailable as error:
            _LOG.warning("no assignment: the database does not answer", why=str(error))
            await asyncio.sleep(1.0)
            farm.hints.assign.set()
            continue
        figures.rounds += 1
        figures.offers += len(offered)
        figures.observe_decision(time.monotonic() - began)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _woken(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
