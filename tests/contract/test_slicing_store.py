"""Profiles, slicings and workers in every store."""

import asyncio
from dataclasses import replace

import pytest

from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import AlreadyExists, StaleWrite, Store
from printfarm_coordinator.app.slicing_ports import UNASKED_US, Backlog, SlicerWorker
from printfarm_coordinator.domain.profile import ProfileKind
from printfarm_coordinator.domain.slicing import SlicingKey, SlicingState, claimed
from tests.support.slicings import a_profile, a_slicing, three_profiles
from tests.support.stores import SHA, a_job, forward, furnish

ENGINES = {"prusaslicer": "2.5.0"}


async def test_profiles_come_back_as_they_were(store: Store) -> None:
    later = a_profile(ProfileKind.QUALITY, version=2, description="finer", settings={"layer_height": "0.1"})
    async with store.write("profiles") as tx:
        for profile in [later, *three_profiles()]:
            await tx.add_profile(profile)
    async with store.read() as look:
        found = await look.profiles()
    assert found == sorted([*three_profiles(), later], key=lambda p: (p.name, p.version))


async def test_a_version_is_written_once_and_retired_as_a_whole(store: Store) -> None:
    async with store.write("profiles") as tx:
        for version in (1, 2):
            await tx.add_profile(a_profile(ProfileKind.QUALITY, version=version))
        await tx.add_profile(a_profile(ProfileKind.MATERIAL))
    with pytest.raises(AlreadyExists):
        async with store.write("profiles") as tx:
            await tx.add_profile(a_profile(ProfileKind.QUALITY, version=2, description="other"))
    async with store.write("retire") as tx:
        await tx.retire_profile("quality", 99)
        assert [p.retired_at for p in await tx.profiles()] == [None, 99, 99]
        await tx.retire_profile("quality", None)
        assert {p.retired_at for p in await tx.profiles()} == {None}


async def test_a_slicing_comes_back_as_it_was(store: Store) -> None:
    await furnish(store)
    task = a_slicing(
        state=SlicingState.DONE,
        attempts=2,
        claim_token="t",
        claimed_by="w1",
        claimed_at=6,
        claim_expires_at=7,
        progress=1.0,
        result_sha256=SHA,
        estimated_seconds=61.5,
        filament_grams=3.25,
        ended_at=9,
    )
    async with store.write("slicing") as tx:
        await tx.add_slicing(task)
    async with store.read() as look:
        assert await look.slicing("s1") == task
        assert await look.slicing("s2") is None
        assert await look.slicings_of([SHA, "b" * 64]) == [task]
        assert await look.slicings_of(["b" * 64]) == []


async def test_the_same_part_is_sliced_once(store: Store) -> None:
    await furnish(store)
    async with store.write("slicing") as tx:
        await tx.add_slicing(a_slicing())
    with pytest.raises(AlreadyExists):
        async with store.write("slicing") as tx:
            await tx.add_slicing(a_slicing("s2"))
    async with store.write("slicing") as tx:
        assert (await tx.lock_slicing_of(a_slicing().key)) == a_slicing()
        assert await tx.lock_slicing_of(replace(a_slicing().key, parts=3)) is None
        await tx.add_slicing(a_slicing("s2", key=replace(a_slicing().key, parts=3)))


async def test_a_late_writer_of_a_slicing_loses(store: Store) -> None:
    await furnish(store)
    async with store.write("slicing") as tx:
        await tx.add_slicing(a_slicing())
    seen = a_slicing()
    async with store.write("claim") as tx:
        task = await tx.lock_slicing("s1")
        assert task is not None
        await tx.save_slicing(task, claimed(task, "w1", "t1", tx.now, 1_000))
    with pytest.raises(StaleWrite):
        async with store.write("claim") as tx:
            await tx.save_slicing(seen, claimed(seen, "w2", "t2", tx.now, 1_000))
    async with store.read() as look:
        task = await look.slicing("s1")
        assert task is not None
        assert (task.claimed_by, task.version) == ("w1", 2)
        assert await look.running_slicings() == [task]


async def test_what_may_be_claimed_comes_most_urgent_first(store: Store) -> None:
    await furnish(store)

    def key(parts: int, version: str = "2.5.0") -> SlicingKey:
        return replace(a_slicing().key, parts=parts, engine_version=version)

    async with store.write("slicings") as tx:
        now = tx.now
        held = claimed(a_slicing("held", key=key(1)), "w", "t", now, 1_000)
        await tx.add_slicing(held)
        await tx.add_slicing(replace(held, slicing_id="often", key=key(2), attempts=3))
        await tx.add_slicing(a_slicing("old", key=key(3), created_at=5))
        await tx.add_slicing(a_slicing("urgent", key=key(4), priority=9, created_at=6))
        await tx.add_slicing(a_slicing("other", key=key(5, "2.4.0")))
        await tx.add_slicing(a_slicing("done", key=key(6), state=SlicingState.DONE, ended_at=3))
    async with store.read() as look:
        assert [t.slicing_id for t in await look.claimable_slicings(ENGINES, 9)] == ["urgent", "old"]
        assert await look.slicing_backlog() == Backlog(waiting=3, running=2)
        assert [t.slicing_id for t in await look.claimable_slicings(ENGINES, 1)] == ["urgent"]
        assert await look.claimable_slicings({}, 9) == []
        assert await look.claimable_slicings({"prusaslicer": "3"}, 9) == []
    forward(store, 1_000)
    async with store.read() as look:
        assert {t.slicing_id for t in await look.claimable_slicings(ENGINES, 9)} == {"urgent", "old", "held"}
        # Whose worker fell silent waits, too.
        assert await look.slicing_backlog() == Backlog(waiting=5, running=0)


async def test_what_nobody_waits_for_is_unwanted(store: Store) -> None:
    await furnish(store)
    other = "b" * 64

    def key(parts: int, version: str = "2.5.0", model: str = SHA) -> SlicingKey:
        return replace(a_slicing().key, parts=parts, engine_version=version, model_sha256=model)

    async with store.write("slicings") as tx:
        now = tx.now
        await tx.put_artifact(Artifact(other, 1, "stl", "other", 1))
        await tx.add_jobs([a_job("j9", artifact_sha256=other, needs_slicing=True, prepared=False)])
        made = a_slicing("asked", key=key(1), updated_at=now)
        await tx.add_slicing(made)
        await tx.add_slicing(replace(made, slicing_id="gone", key=key(2, "2.4.0", other)))
        await tx.add_slicing(replace(made, slicing_id="mine", key=key(3, model=other), updated_at=now - UNASKED_US))
        held = claimed(replace(made, slicing_id="held", key=key(4, "2.4.0")), "w", "t", now, 1_000)
        await tx.add_slicing(held)
        await tx.add_slicing(replace(made, slicing_id="done", key=key(5, "2.4.0"), state=SlicingState.DONE, ended_at=3))

    async def unwanted(engines: dict[str, str], *closed: str, limit: int = 9) -> list[str]:
        async with store.read() as look:
            return await look.unwanted_slicings(set(engines.items()), closed, limit)

    assert await unwanted({}) == []
    assert await unwanted({"curaengine": "4"}) == []
    assert await unwanted(ENGINES) == ["gone"]
    assert await unwanted(ENGINES, SHA, other) == ["asked", "gone"]
    assert await unwanted(ENGINES, SHA, other, limit=1) == ["asked"]
    forward(store, UNASKED_US)
    # Its claim lapsed, too; of a model that has a job none is.
    assert await unwanted({}) == ["asked", "held"]
    assert await unwanted(ENGINES) == ["asked", "gone", "held"]


async def test_without_slicings_nothing_waits(store: Store) -> None:
    async with store.read() as look:
        assert await look.slicing_backlog() == Backlog(waiting=0, running=0)


async def test_two_that_claim_at_once_get_one_each_or_none(database: SqlStore) -> None:
    await furnish(database)
    async with database.write("slicing") as tx:
        await tx.add_slicing(a_slicing())

    async def claim(worker: str) -> bool:
        try:
            async with database.write("claim") as tx:
                task = await tx.lock_slicing("s1")
                assert task is not None
                if task.state is not SlicingState.QUEUED:
                    return False
                await tx.save_slicing(task, claimed(task, worker, worker, tx.now, 1_000))
                return True
        except StaleWrite:
            return False

    assert sum(await asyncio.gather(*(claim(f"w{n}") for n in range(6)))) == 1


async def test_workers_are_known_by_when_they_were_seen(store: Store) -> None:
    async with store.write("workers") as tx:
        await tx.put_slicer_worker(SlicerWorker("w1", ENGINES, 5))
        await tx.put_slicer_worker(SlicerWorker("w2", {"prusaslicer": "2.8.1"}, 9))
        await tx.put_slicer_worker(SlicerWorker("w1", ENGINES, 8))
        assert await tx.slicer_workers(0) == [
            SlicerWorker("w1", ENGINES, 8),
            SlicerWorker("w2", {"prusaslicer": "2.8.1"}, 9),
        ]
        assert [worker.name for worker in await tx.slicer_workers(9)] == ["w2"]


async def test_open_jobs_of_models_are_found(store: Store) -> None:
    await furnish(store)
    async with store.write("jobs") as tx:
        await tx.add_jobs([a_job("m1", needs_slicing=True, prepared=False, profile="draft")])
        await tx.add_jobs([a_job("m2", needs_slicing=True, ended_at=5)])
        assert [(job.job_id, job.profile, job.prepared) for job in await tx.open_model_jobs()] == [
            ("m1", "draft", False)
        ]
