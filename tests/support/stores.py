"""Stores to test, and the rows that tests put into them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Agent, Store, Writing
from printfarm_coordinator.domain.events import AuditEntry, DomainEvent
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Overrides, Printer, PrinterState
from printfarm_coordinator.domain.run import Run
from printfarm_coordinator.domain.slice import Slice

from .control_plane import ManualClock
from .memory_store import MemoryStore

SHA = "a" * 64
SECOND = 1_000_000


def database_url(request: pytest.FixtureRequest, folder: Path, kind: str) -> str:
    """Of an empty database: ``sqlite`` or ``postgresql``."""
    if kind == "postgresql":
        url: str = request.getfixturevalue("postgres").database()
        return url
    return f"sqlite:///{folder / 'farm.db'}"


async def sql_store(url: str) -> SqlStore:
    """With its tables, and a clock that is turned by hand."""
    store = SqlStore(url, clock=ManualClock())
    await migrate(store.engine)
    return store


def forward(store: Store, microseconds: int) -> None:
    """Time passes."""
    if isinstance(store, MemoryStore):
        store.now += microseconds
    else:
        cast(Any, store)._clock.forward(microseconds)


class _Undo(Exception):
    """Thrown to undo a transaction."""


@asynccontextmanager
async def undone(store: Store) -> AsyncGenerator[Writing]:
    """A transaction that comes to nothing."""
    try:
        async with store.write("undone") as tx:
            yield tx
            raise _Undo
    except _Undo:
        return


def a_job(job_id: str = "j1", **changes: Any) -> Job:
    """No field is empty that may be filled."""
    plain = Job(
        job_id=job_id,
        name=f"job {job_id}",
        client="key/k1",
        artifact_sha256=SHA,
        quantity=4,
        parts_per_plate=2,
        priority=3,
        due_at=2_000 * SECOND,
        requirements=Requirements(100.0, 90.5, 80.0, 0.4, "PLA", "black", ("enclosed",), ("p1", "p2")),
        max_retries=3,
        estimated_seconds=61.5,
        created_at=1_000 * SECOND,
        updated_at=1_000 * SECOND,
    )
    return replace(plain, **changes)


def a_printer(printer_id: str = "p1", **changes: Any) -> Printer:
    """Idle, its bed clear."""
    plain = Printer(
        printer_id=printer_id,
        agent_id="a1",
        name=f"Printer {printer_id}",
        driver="virtual",
        abilities=Abilities(
            "M", "1.0", "sn", (220.0, 220.0, 250.0), 0.4, "PLA", "black", ("enclosed",), can_pause=True
        ),
        created_at=1,
        updated_at=1,
        overrides=Overrides(colour="red", tags=("lab",)),
        bed=Bed(BedState.CLEAR, f"token-{printer_id}", None, "user/ana", 5),
        observed_state=PrinterState.IDLE,
    )
    return replace(plain, **changes)


def a_run(run_id: str = "r1", **changes: Any) -> Run:
    """Offered, of job j1 on printer p1."""
    plain = Run(run_id, "j1", "p1", "a1", epoch=1, parts=2, created_at=10, updated_at=10)
    return replace(plain, **changes)


async def furnish(store: Store, *printers: Printer) -> None:
    """An artifact, an agent, a job and its printers."""
    async with store.write("furnish") as tx:
        await tx.put_artifact(Artifact(SHA, 10, "gcode", "cube.gcode", 1, 61.5))
        await tx.put_agent(Agent("a1", 1, connection_epoch=3, reachable=True))
        await tx.add_jobs([a_job()])
        for printer in printers or (a_printer(),):
            await tx.add_printer(printer)


async def offer(store: Store, run: Run) -> Slice:
    """The run on its printer, as the assignment writes it."""
    async with store.write("offer") as tx:
        await add_offer(tx, run)
    held = await look_at(store, run.run_id)
    assert held is not None
    return held


async def add_offer(tx: Writing, run: Run) -> None:
    """As ``offer``, in a transaction that goes on."""
    job, printer = await tx.lock_job(run.job_id), await tx.lock_printer(run.printer_id)
    assert job is not None
    assert printer is not None
    after = Slice(
        replace(job, state=JobState.ACTIVE, active_runs=job.active_runs + 1),
        run,
        replace(printer, epoch=run.epoch, active_run_id=run.run_id),
        (DomainEvent("run.offered", run.run_id, "coordinator", {"epoch": run.epoch}),),
        (AuditEntry("offer", "run", run.run_id, "coordinator", "chosen", run.epoch),),
    )
    await tx.add_offer(job, printer, after)


async def look_at(store: Store, run_id: str) -> Slice | None:
    """The run with its job and its printer."""
    async with store.write("look") as tx:
        return await tx.lock_slice(run_id)
