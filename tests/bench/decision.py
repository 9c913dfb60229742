"""One assignment decision: which waiting jobs go to which open printers.

The rule is priority, then due time, then age, so there is no schedule to be worth less than an exact one: only time is
told. The yardstick is sorting the same jobs by the same three things, which any such rule must do.
"""

import asyncio
import random
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Agent
from printfarm_coordinator.domain.assignment import Candidate, choose
from printfarm_coordinator.domain.job import Job, Requirements
from printfarm_coordinator.domain.printer import Printer
from tests.support.stores import SHA, a_job, a_printer

from .figures import NO_TARGET, compare, figure_at_most, single, tell

_SIZES = ((100, 50, 2.0), (1_000, 200, 30.0), (10_000, 1_000, 100.0))
_MATERIALS, _COLOURS, _NOZZLES = ("PLA", "PETG", "ABS", "TPU"), ("black", "white", "red", None), (0.4, 0.6, None)
_NOW = 2_000_000_000


def decide() -> None:
    """All printers open; jobs that want 48 different things."""
    for jobs, printers, most in _SIZES:
        waiting, candidates = _jobs(jobs), _candidates(printers)
        found = compare(lambda j=waiting, c=candidates: _ms(choose, j, c, _NOW), lambda j=waiting: _ms(_sort, j))  # type: ignore[misc]
        tell(f"one assignment decision, {jobs} x {printers}", found, "ms", figure_at_most(most), value="not applicable")
    for jobs, printers, _ in _SIZES:
        asyncio.run(_looked_at(jobs, printers))


def _ms(call: object, *arguments: object) -> float:
    """CPU time: nothing of it waits, and a busy machine disturbs it less."""
    began = time.process_time()
    call(*arguments)  # type: ignore[operator]
    return (time.process_time() - began) * 1000


def _sort(jobs: list[Job]) -> None:
    sorted(jobs, key=lambda job: (-job.priority, job.due_at or 1 << 62, job.created_at))


def _jobs(count: int) -> list[Job]:
    dice = random.Random(count)
    return [
        a_job(
            f"job-{number:05}",
            priority=dice.choice((0, 0, 0, 10, -10)),
            due_at=dice.choice((None, dice.randrange(1 << 40))),
            created_at=dice.randrange(1 << 40),
            requirements=Requirements(
                material=dice.choice(_MATERIALS),
                colour=dice.choice(_COLOURS),
                nozzle_diameter_mm=dice.choice(_NOZZLES),
            ),
            quantity=dice.choice((1, 1, 2, 5)),
            parts_per_plate=1,
        )
        for number in range(count)
    ]


def _printers(count: int) -> list[Printer]:
    dice = random.Random(count)
    plain = a_printer()
    return [
        a_printer(
            f"printer-{number:04}",
            abilities=replace(
                plain.abilities,
                material=dice.choice(_MATERIALS),
                colour=dice.choice(_COLOURS[:-1]),
                nozzle_diameter_mm=dice.choice(_NOZZLES[:-1]),
            ),
            overrides=replace(plain.overrides, colour=None, tags=None),
        )
        for number in range(count)
    ]


def _candidates(count: int) -> list[Candidate]:
    return [Candidate(printer, agent_reachable=True, agent_draining=False) for printer in _printers(count)]


async def _looked_at(jobs: int, printers: int) -> None:
    """The same out of SQLite, as the coordinator decides: its look at the rows is most of it."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqlStore(f"sqlite:///{Path(folder) / 'farm.db'}")
        try:
            await migrate(store.engine)
            async with store.write("bench") as tx:
                await tx.put_artifact(Artifact(SHA, 10, "gcode", "cube.gcode", 1, 61.5))
                await tx.put_agent(Agent("a1", 1, connection_epoch=3, reachable=True))
                for job in _jobs(jobs):
                    await tx.add_jobs([job])
                for printer in _printers(printers):
                    await tx.add_printer(printer)
            took = min([await _look_and_choose(store) for _ in range(3)])
        finally:
            await store.close()
    tell(f"the same with its look at SQLite, {jobs} x {printers}", single(took, 0), "ms", NO_TARGET)


async def _look_and_choose(store: SqlStore) -> float:
    began = time.process_time()
    async with store.read() as look:
        candidates = await look.free_candidates()
        choose(await look.waiting_jobs(len(candidates)), candidates, look.now)
    return (time.process_time() - began) * 1000
