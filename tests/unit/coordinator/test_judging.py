"""A file that cannot be looked at holds up nobody but its own jobs, and those no longer than it must."""

import asyncio
from collections.abc import AsyncGenerator, Callable

import pytest
import pytest_asyncio

from printfarm_coordinator.app import judging
from printfarm_coordinator.app.farm import Farm
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import NotRead, StorageFull
from printfarm_coordinator.domain.file_asks import FileAsks
from printfarm_coordinator.domain.job import Job, with_asks
from printfarm_coordinator.domain.safety_policy import Policy
from printfarm_files.inspecting import inspect_bytes
from printfarm_files.safety import Inspection
from tests.support.memory_store import MemoryStore
from tests.support.stores import a_job

CLEAN = inspect_bytes(b"G28\nM104 S200\nG1 X10 E1\nM104 S0\n")
ROUNDS = 400


class Blobs:
    """Stored files, some of which cannot be read at the moment."""

    def __init__(self) -> None:
        self.broken: dict[str, Callable[[], Exception]] = {}

    async def inspect(self, sha256: str, _kind: object) -> Inspection:
        if sha256 in self.broken:
            raise self.broken[sha256]()
        return CLEAN


class Coordinator:
    """Its safety check, over a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.blobs = Blobs()
        self.farm = Farm(self.store, None, self.blobs, None, safety=Policy())  # type: ignore[arg-type]
        self.leadership = Leadership("c")

    async def add(self, job_id: str, **changes: object) -> str:
        """A job that other rules have judged; returns the digest of its file."""
        sha256 = job_id.rjust(64, "0")
        job = with_asks(a_job(job_id, artifact_sha256=sha256, **changes), FileAsks(rules="1.older"))
        async with self.store.write("add") as tx:
            await tx.put_artifact(Artifact(sha256, 100, "gcode", job_id, 1, 60.0))
            await tx.add_jobs([job])
        return sha256

    async def job(self, job_id: str) -> Job:
        async with self.store.read() as look:
            job = await look.job(job_id)
        assert job is not None
        return job

    async def comes_to_judge(self, job_id: str) -> bool:
        """Whether it does, with time for many rounds."""
        for _ in range(ROUNDS):
            await asyncio.sleep(0.002)
            if (await self.job(job_id)).requirements.file.rules == Policy().version:
                return True
        return False


@pytest_asyncio.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Coordinator]:
    monkeypatch.setattr(judging, "TICK_SECONDS", 0.001)
    monkeypatch.setattr(judging, "PASSED_OVER_SECONDS", 0.01, raising=False)
    coordinator = Coordinator()
    await coordinator.leadership.prolong(coordinator.farm)
    yield coordinator


async def judged(made: Coordinator, job_id: str, mend: Callable[[], None] = lambda: None) -> bool:
    """Whether the coordinator comes to that job, with what is mended meanwhile."""
    running = asyncio.create_task(judging.judge_for_ever(made.farm, made.leadership))
    try:
        await asyncio.sleep(0.05)
        mend()
        return await made.comes_to_judge(job_id)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize("error", [NotRead, StorageFull, FileNotFoundError, ValueError])
async def test_after_an_upgrade_a_file_that_was_not_read_is_looked_at_again(
    made: Coordinator, error: type[Exception]
) -> None:
    sha256 = await made.add("j1")
    made.blobs.broken[sha256] = error
    assert await judged(made, "j1", made.blobs.broken.clear)


async def test_jobs_behind_many_files_that_cannot_be_read_are_judged(
    made: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_AT_ONCE", 3)
    monkeypatch.setattr(judging, "PASSED_OVER_SECONDS", 60.0, raising=False)
    for number in range(10):
        made.blobs.broken[await made.add(f"urgent{number}", priority=9)] = NotRead
    await made.add("behind", priority=1)
    assert await judged(made, "behind")


async def test_where_no_file_can_be_read_the_storage_is_to_blame(
    made: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "MOST_PASSED_OVER", 3)
    monkeypatch.setattr(judging, "_AT_ONCE", 1)
    monkeypatch.setattr(judging, "PASSED_OVER_SECONDS", 3_600.0)
    for number in range(5):
        made.blobs.broken[await made.add(f"j{number}")] = StorageFull
    judge = judging.Judge(made.farm, made.leadership)
    assert [await judge.once() for _ in range(5)] == [1, 1, 1, 0, 0]
    assert judge.is_behind
