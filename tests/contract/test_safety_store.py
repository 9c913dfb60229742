"""What the safety check found, who allowed it, and whose files are still to be judged, over every store."""

from dataclasses import replace

from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Store
from printfarm_coordinator.domain.file_asks import FileAsks
from printfarm_coordinator.domain.job import with_asks
from printfarm_coordinator.domain.safety_policy import Override, Policy, judged
from printfarm_files.inspecting import inspect_bytes
from tests.support.stores import SHA, a_job, furnish

FOUND = inspect_bytes(b"; printer_model = MK4\nG28\nM104 S210\nG1 X10 Y20 Z1\nG1 X50 E1\nM500\nMY_MACRO\nM104 S0\n")


async def test_an_inspection_comes_back_and_is_replaced(store: Store) -> None:
    other = "b" * 64
    async with store.write("test") as tx:
        await tx.put_artifact(Artifact(SHA, 10, "gcode", "a", 1))
        await tx.put_artifact(Artifact(other, 10, "gcode", "b", 1, inspection=FOUND))
    async with store.read() as look:
        seen = [await look.artifact(SHA), await look.artifact(other)]
        assert [file and file.inspection for file in seen] == [None, FOUND]
    async with store.write("test") as tx:
        await tx.save_inspection(SHA, replace(FOUND, rules=7))
    async with store.read() as look:
        files = {file.sha256: file.inspection for file in await look.artifacts_named([SHA, other])}
    assert files == {SHA: replace(FOUND, rules=7), other: FOUND}


async def test_a_jobs_word_of_its_file_comes_back(store: Store) -> None:
    await furnish(store)
    asks = judged(FOUND, Policy())
    assert (asks.low_mm, asks.refused_by, asks.waits_for) != (None, (), ())
    async with store.write("test") as tx:
        job = await tx.lock_job("j1")
        assert job is not None
        await tx.save_job(job, with_asks(job, asks))
    async with store.read() as look:
        kept = await look.job("j1")
        waiting = await look.waiting_jobs(5)
    assert kept is not None
    assert kept.requirements.file == asks
    assert [each.requirements for each in waiting] == [kept.requirements]


async def test_jobs_to_judge_are_those_of_other_rules_the_most_urgent_first(store: Store) -> None:
    await furnish(store)
    async with store.write("test") as tx:
        await tx.add_jobs(
            [
                with_asks(a_job("judged"), FileAsks(rules="2.x")),
                with_asks(a_job("older", priority=9), FileAsks(rules="1.x")),
                a_job("model", needs_slicing=True),
                a_job("over", ended_at=5),
                a_job("later", created_at=2_000_000_000, prepared=False),
            ]
        )
    async with store.read() as look:
        assert [job.job_id for job in await look.jobs_to_judge("2.x", 10)] == ["older", "j1", "later"]
        assert [job.job_id for job in await look.jobs_to_judge("2.x", 1)] == ["older"]
        assert [job.job_id for job in await look.jobs_to_judge("2.x", 10, new_only=True)] == ["later"]
        assert await look.jobs_to_judge("2.x", 10, but=[SHA]) == []
        assert len(await look.jobs_to_judge("2.x", 10, but=["b" * 64])) == 3


async def test_peoples_words_are_kept_with_those_that_were_taken_back(store: Store) -> None:
    await furnish(store)
    first = Override("o1", "j1", SHA, 1, "key/ana", "operator", "it purges", ("unlisted:MY_MACRO", "markup:M117"), 5)
    second = replace(first, override_id="o2", actor="key/ben", created_at=6, covers=())
    async with store.write("test") as tx:
        await tx.put_override(second)
        await tx.put_override(first)
        assert await tx.overrides_of("j1") == [first, second]
        await tx.put_override(replace(first, revoked_at=9, revoked_by="key/eve"))
    async with store.read() as look:
        assert await look.overrides_of("j1") == [replace(first, revoked_at=9, revoked_by="key/eve"), second]
        assert await look.overrides_of("j2") == []
