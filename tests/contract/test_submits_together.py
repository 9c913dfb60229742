"""Orders that share one transaction, in every store: each gets its own answer, and a wrong one spoils no other."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import JobFilter, Role, Store, Writing
from printfarm_coordinator.app.submit import JobOrder, Receipt, submit
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.job import Requirements
from tests.support.stores import SHA, furnish

_ORDER = JobOrder("n", SHA, 1, 1, 0, None, Requirements(), 0, "", "d" * 64)


class Counted:
    """The store, with the names of its writing transactions. Each leaves time for others to ask."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writes: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def write(self, name: str, request_id: str = "") -> AsyncGenerator[Writing]:
        for _ in range(20):
            await asyncio.sleep(0)
        async with self._store.write(name, request_id) as tx:
            self.writes.append(name)
            yield tx


def order(name: str, **changes: Any) -> JobOrder:
    return replace(_ORDER, name=name, **changes)


async def test_a_wrong_order_spoils_no_other_of_its_transaction(store: Store, tmp_path: Path) -> None:
    await furnish(store)
    counted = Counted(store)
    farm = Farm(counted, InProcessBus(), ArtifactFolder(tmp_path / "files"), TimeOrderedIds())
    orders = [
        order("first"),
        order("good", idempotency_key="k1"),
        order("no such file", artifact_sha256="b" * 64, idempotency_key="k2"),
        order("good", idempotency_key="k1"),
        order("another under its key", idempotency_key="k1", digest="e" * 64),
        order("a profile for what is sliced", profile="fine"),
        order("also good"),
    ]
    told = await asyncio.gather(
        *(submit(farm, Caller("key/shop", Role.OPERATOR), each) for each in orders), return_exceptions=True
    )
    # The first is on its way alone; all that came meanwhile share the second.
    assert counted.writes == ["submit", "submit"]
    first, good, no_file, again, other, profile, also_good = told
    assert [_code(each) for each in (no_file, other, profile)] == [
        "ARTIFACT_NOT_FOUND",
        "IDEMPOTENCY_MISMATCH",
        "INVALID_ARGUMENT",
    ]
    made = [each for each in (first, good, also_good) if isinstance(each, Receipt)]
    assert len(made) == 3 and not any(each.repeated for each in made)
    assert isinstance(again, Receipt) and again.repeated and again.job.job_id == made[1].job.job_id
    async with store.read() as look:
        kept = await look.jobs(JobFilter(limit=99, client="key/shop"))
        assert {job.job_id for job in kept} == {each.job.job_id for each in made}
    async with store.write("look") as tx:
        assert await tx.remembered("key/shop", "k2") is None
        known = await tx.remembered("key/shop", "k1")
        assert known is not None and known.subject_id == made[1].job.job_id
        received = [each.event.subject_id for each in await tx.position_events(99) if each.event.type == "job.received"]
        assert sorted(received) == sorted(each.job.job_id for each in made)


def _code(told: Receipt | BaseException) -> str:
    assert isinstance(told, RuleError), told
    return told.code
