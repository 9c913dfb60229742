"""What a farm left behind, read from disk after the fact: logs, database, journals, files; and what clients were told.

Everything ran on one machine, so the observer, unlike the farm itself, may compare the times of any two of them.
"""

import asyncio
import hashlib
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from printfarm_coordinator.adapters.sql import tables
from printfarm_coordinator.adapters.sql.store import SqlStore

Row = dict[str, Any]
FINAL = frozenset({"finished", "failed", "cancelled", "fenced"})
_READ = (tables.job, tables.run, tables.printer, tables.agent, tables.event, tables.audit, tables.idempotency)


@dataclass(frozen=True)
class Told:
    """What a client was told of a job: ``accepted`` (with what it had sent), or ``cancelled``. Seconds."""

    what: str
    job_id: str
    at: float
    key: str = ""
    sha256: str = ""
    quantity: int = 1


@dataclass
class Outage:
    """A program that did nothing: killed, or stopped by a signal. ``until`` None: to the end."""

    program: str
    since: float
    until: float | None = None
    killed: bool = True


@dataclass(frozen=True)
class JournalFacts:
    """An agent's journal: highest epoch of each printer, numbers of the facts that wait, the last number given."""

    max_epochs: dict[str, int]
    waiting: tuple[int, ...]
    last: int


@dataclass
class History:
    """``logs`` by printer id, ``rows`` by table, ``journals`` by agent id. Files: where they lie -> SHA-256 of their bytes."""

    logs: dict[str, list[Row]]
    rows: dict[str, list[Row]]
    journals: dict[str, JournalFacts] = field(default_factory=dict)
    told: list[Told] = field(default_factory=list)
    outages: list[Outage] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    time_scale: float = 60.0
    start_ttl: float = 30.0
    idle_heat: float = 600.0
    # Nothing is under way any more: every wish must have come true.
    settled: bool = False
    now: float = field(default_factory=time.time)

    @cached_property
    def jobs(self) -> dict[str, Row]:
        return {row["job_id"]: row for row in self.rows["job"]}

    @cached_property
    def runs(self) -> dict[str, Row]:
        return {row["run_id"]: row for row in self.rows["run"]}

    @cached_property
    def events(self) -> list[Row]:
        """In the farm's order; those not placed yet come last."""
        return sorted(self.rows["event"], key=lambda e: (e["position"] is None, e["position"] or 0, e["event_id"]))

    @cached_property
    def audit(self) -> list[Row]:
        return sorted(self.rows["audit"], key=lambda row: int(row["sequence"]))

    def starts(self) -> Iterator[tuple[str, Row]]:
        """Physical starts by the farm: printer id and log entry."""
        for printer_id, log in self.logs.items():
            for entry in log:
                if entry["event"] == "physical_start" and entry["by"] == "farm":
                    yield printer_id, entry

    def end_of(self, printer_id: str, start: Row) -> Row | None:
        """The log entry that ends the print; None while it goes on."""
        log = self.logs[printer_id]
        for entry in log[log.index(start) + 1 :]:
            if entry["event"] == "end" and entry["print_number"] == start["print_number"]:
                return entry
        return None

    def audited(self, subject_id: str, actions: Iterable[str], before: float) -> bool:
        """A row of one of these actions about the subject was committed by then."""
        known = set(actions)
        return any(
            row["subject_id"] == subject_id and row["action"] in known and seconds(row["created_at"]) <= before
            for row in self.audit
        )


def seconds(microseconds: int) -> float:
    """Of a row's time."""
    return microseconds / 1e6


def is_offer(event: Row) -> bool:
    """The run's first event; an agent that comes back may make it ``offered`` again, from unconfirmed."""
    return event["type"] == "run.offered" and "from_state" not in event["data"]


def read_rows(url: str) -> dict[str, list[Row]]:
    """Every row of the tables that matter, as one moment has them."""

    async def work() -> dict[str, list[Row]]:
        store = SqlStore(url, pool_size=1)
        try:
            async with store.read() as look:
                found = {}
                for table in _READ:
                    result = await look._connection.execute(sa.select(table))
                    found[table.name] = [dict(row) for row in result.mappings()]
                return found
        finally:
            await store.close()

    return asyncio.run(work())


def read_journal(path: Path) -> JournalFacts:
    """While its agent may be at work."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        connection.execute("BEGIN")
        pages = dict(connection.execute("SELECT printer_id, max_epoch FROM page").fetchall())
        waiting = tuple(row[0] for row in connection.execute("SELECT sequence FROM event ORDER BY 1"))
        last = connection.execute("SELECT value FROM meta WHERE name = 'last_sequence'").fetchone()
        return JournalFacts(pages, waiting, int(last[0]))
    finally:
        connection.close()


def read_files(*folders: Path) -> dict[str, str]:
    """Files that are named by a digest -> the digest that their bytes have."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and len(path.name) == 64:
                with path.open("rb") as file:
                    found[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
