"""What is kept of files, over every store."""

import asyncio
from dataclasses import replace

import pytest

from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.file_ports import Artifact, FileFilter, FileNeed, UnpackedFile
from printfarm_coordinator.app.ports import Store
from printfarm_coordinator.domain.file_facts import FactsState, StoredFacts, materials, state_of
from printfarm_coordinator.domain.job import JobState
from printfarm_coordinator.domain.run import RunState
from printfarm_coordinator.domain.slicing import Slicing, SlicingKey, SlicingState
from printfarm_files import Bounds, FileFacts, Kind, Tool, Warned
from tests.support.stores import SHA, a_job, a_run, furnish, look_at, offer, undone

FULL = FileFacts(
    kind=Kind.GCODE,
    size_bytes=12,
    slicer="PrusaSlicer",
    slicer_version="2.5.0",
    printer_model="MK4",
    gcode_flavor="marlin",
    estimated_seconds=61.5,
    tools=(
        Tool(0, "PLA", "Some PLA", "#FF8000", 1500.25, 3608.5, 4.5, 0.11, 0.4, 215.0, 220.0),
        Tool(1, "PETG", weight_g=0.0, length_mm=0.0),
        Tool(2, "PVA"),
    ),
    total_cost=0.11,
    total_weight_g=4.5,
    tool_changes=2,
    layer_count=50,
    layer_height_mm=0.2,
    first_layer_height_mm=0.25,
    bed_celsius=60.0,
    first_layer_bed_celsius=65.0,
    chamber_celsius=40.0,
    bed_mm=Bounds((0.0, 0.0, 0.0), (250.0, 210.0, 220.0)),
    bounds_all=Bounds((1.0, 2.0, 0.2), (30.0, 31.5, 10.0)),
    bounds_model=Bounds((10.0, 10.0, 0.2), (30.0, 30.0, 10.0)),
    objects=("cube.stl", "würfel"),
    plates=(1,),
    needs_person=False,
    triangles=12,
    volume_mm3=8000.0,
    is_watertight=True,
    warnings=(Warned("never_heated", "no command in the file heats the hotend"),),
)


async def put_files(store: Store, *digits: str, kind: str = "gcode") -> None:
    async with store.write("files") as tx:
        for age, digit in enumerate(digits):
            await tx.put_artifact(Artifact(digit * 64, 10, kind, f"{digit}.gcode", 100 + age))


async def test_what_a_packed_file_unpacks_to_is_known_while_its_text_is_there(store: Store) -> None:
    await put_files(store, "a", "b")
    packed = Artifact("c" * 64, 10, "gcode.3mf", "c", 102, plates=(1, 2))
    first, second = UnpackedFile(packed.sha256, 1, "a" * 64, 61.5), UnpackedFile(packed.sha256, 2, "b" * 64, None)
    async with store.write("files") as tx:
        await tx.put_artifact(packed)
        for found in (first, second, first):
            await tx.put_unpacked(found)
    async with store.read() as look:
        assert await look.artifact(packed.sha256) == packed
        assert [await look.unpacked(packed.sha256, plate) for plate in (0, 1, 2)] == [None, first, second]
    async with store.write("files") as tx:
        await tx.lock_artifact("b" * 64)
        await tx.delete_artifact("b" * 64)
        assert await tx.unpacked(packed.sha256, 2) is None
        assert await tx.unpacked(packed.sha256, 1) == first
    async with store.write("files") as tx:
        job = replace(a_job("j1"), artifact_sha256=packed.sha256, packed_kind="gcode.3mf", plate=1)
        await tx.add_jobs([replace(job, gcode_sha256="a" * 64)])
    async with store.read() as look:
        assert (await look.job("j1")) == replace(job, gcode_sha256="a" * 64)
        assert [await look.needs_of_file(digit * 64) for digit in "ac"] == [[FileNeed("job", "j1")]] * 2


async def test_facts_come_back_as_they_were_read(store: Store) -> None:
    await put_files(store, "a", "b", "c")
    known = StoredFacts("a" * 64, 1, 5, FULL)
    broken = StoredFacts("b" * 64, 1, 6, None, "it is cut off")
    async with store.write("facts") as tx:
        await tx.put_file_facts(known)
        await tx.put_file_facts(broken)
        # Nothing is known of a file that is not there.
        await tx.put_file_facts(StoredFacts("d" * 64, 1, 6, FULL))
    async with store.read() as look:
        found = await look.file_facts(["a" * 64, "b" * 64, "c" * 64, "d" * 64])
        assert found == {"a" * 64: known, "b" * 64: broken}
        assert await look.file_facts([]) == {}
    states = [state_of(found.get(digit * 64)) for digit in "abc"]
    assert states == [FactsState.KNOWN, FactsState.UNREADABLE, FactsState.PENDING]


async def test_what_a_newer_reader_found_stays(store: Store) -> None:
    await put_files(store, "a")
    old, new = StoredFacts("a" * 64, 1, 5, None, "why"), StoredFacts("a" * 64, 2, 6, FULL)
    again = StoredFacts("a" * 64, 2, 7, None, "nothing")
    for put, kept in ((old, old), (new, new), (old, new), (again, again)):
        async with store.write("facts") as tx:
            await tx.put_file_facts(put)
        async with store.read() as look:
            assert await look.file_facts(["a" * 64]) == {"a" * 64: kept}


async def test_unread_files_are_found_the_newest_first(store: Store) -> None:
    await put_files(store, "a", "b", "c", "d")
    async with store.write("facts") as tx:
        await tx.put_file_facts(StoredFacts("c" * 64, 1, 5, None, "why"))
    async with store.read() as look:

        async def unread(version: int, limit: int = 9, but: str = "") -> str:
            found = await look.unread_files(version, limit, [digit * 64 for digit in but])
            return "".join(artifact.sha256[0] for artifact in found)

        assert await unread(1) == "dba"
        assert await unread(1, limit=2) == "db"
        assert await unread(1, but="bd") == "a"
        # A newer reader reads them all again.
        assert await unread(2) == "dcba"


async def test_facts_that_come_to_nothing_leave_the_file_unread(store: Store) -> None:
    await put_files(store, "a")
    async with undone(store) as tx:
        await tx.put_file_facts(StoredFacts("a" * 64, 1, 5, FULL))
    async with store.read() as look:
        assert [artifact.sha256[0] for artifact in await look.unread_files(1, 9)] == ["a"]
        assert await look.file_facts(["a" * 64]) == {}


def test_materials_are_those_that_a_tool_uses() -> None:
    assert materials(FULL) == ("PLA", "PVA")
    assert materials(FileFacts(Kind.GCODE, 1, tools=(Tool(0), Tool(1, "PLA", weight_g=1.0), Tool(2, "PLA")))) == (
        "PLA",
    )


async def test_files_are_found_by_what_they_tell(store: Store) -> None:
    await put_files(store, "a", "b", "c", "d")
    told = {
        "a": FULL,
        "b": FileFacts(Kind.GCODE, 1, slicer="OrcaSlicer", printer_model="X1_Carbon 100%", tools=(Tool(0, "PETG-CF"),)),
        "c": None,
    }
    async with store.write("facts") as tx:
        for digit, facts in told.items():
            await tx.put_file_facts(StoredFacts(digit * 64, 1, 5, facts))

    async def found(**wanted: str) -> str:
        async with store.read() as look:
            return "".join(artifact.sha256[0] for artifact in await look.artifacts(FileFilter(9, **wanted)))

    assert await found() == "dcba"
    assert await found(slicer="SLICER") == "ba"
    assert await found(slicer="orca") == "b"
    assert await found(printer_model="mk4") == "a"
    assert await found(printer_model="100%") == "b"
    assert await found(printer_model="_") == "b"
    # A whole word, of a tool that the file uses.
    assert (await found(material="pla"), await found(material="PVA"), await found(material="PETG")) == ("a", "a", "")
    assert (await found(material="petg-cf"), await found(material="|")) == ("b", "")
    assert await found(slicer="slicer", material="PLA", name_contains="A.G", kind="gcode") == "a"


async def test_a_deleted_file_is_a_record_and_nothing_else(store: Store) -> None:
    await put_files(store, "a", "b")
    async with store.write("delete") as tx:
        assert await tx.lock_artifact("a" * 64) is not None
        await tx.delete_artifact("a" * 64)
        deleted_at = tx.now
    async with store.read() as look:
        assert await look.artifact("a" * 64) is None
        assert [found.sha256[0] for found in await look.artifacts(FileFilter(9))] == ["b"]
        assert [found.sha256[0] for found in await look.unread_files(1, 9)] == ["b"]
        [record] = await look.artifacts_named(["a" * 64])
        assert record == Artifact("a" * 64, 10, "gcode", "a.gcode", 100, deleted_at=deleted_at)
        assert await look.files_to_erase(9) == ["a" * 64]
    async with store.write("erased") as tx:
        assert await tx.hold_artifact("a" * 64) is None
        assert await tx.hold_artifact("?") is None
        assert await tx.lock_artifact("a" * 64) == record
        await tx.note_erased("a" * 64)
    async with store.read() as look:
        assert await look.files_to_erase(9) == []


async def test_a_file_that_comes_again_is_there_again(store: Store) -> None:
    await put_files(store, "a")
    async with store.write("facts") as tx:
        await tx.put_file_facts(StoredFacts("a" * 64, 1, 5, FULL))
        await tx.delete_artifact("a" * 64)
    again = Artifact("a" * 64, 10, "gcode", "newer.gcode", 500, 61.5)
    async with store.write("revive") as tx:
        await tx.put_artifact(again)
        assert await tx.artifact("a" * 64) is None
        await tx.revive_artifact(again)
        assert await tx.hold_artifact("a" * 64) == again
    async with store.read() as look:
        assert await look.artifact("a" * 64) == again
        assert await look.files_to_erase(9) == []
        # The same bytes tell the same.
        assert await look.unread_files(1, 9) == []
        assert state_of((await look.file_facts(["a" * 64])).get("a" * 64)) is FactsState.KNOWN
    # Deleted once more, it is erased once more.
    async with store.write("delete") as tx:
        await tx.note_erased("a" * 64)
        await tx.delete_artifact("a" * 64)
    async with store.read() as look:
        assert await look.files_to_erase(9) == ["a" * 64]


def a_slicing(model: str, state: SlicingState, result: str | None = None) -> Slicing:
    ended = None if state is SlicingState.RUNNING else 7
    key = SlicingKey(model, f"{state}{result}", 1, "prusaslicer", "2.5")
    return Slicing(f"s-{state}", key, (), {}, 1, 1, state=state, result_sha256=result, ended_at=ended)


async def needs(store: Store, sha256: str) -> list[FileNeed]:
    async with store.read() as look:
        return await look.needs_of_file(sha256)


async def test_what_needs_a_file(store: Store) -> None:
    await furnish(store)
    await put_files(store, "1", kind="stl")
    await put_files(store, "2", "3")
    model, result = "1" * 64, "2" * 64
    assert await needs(store, SHA) == [FileNeed("job", "j1")]
    # An open job of a model needs the model, and what it was sliced to.
    job = a_job("j2", artifact_sha256=model, needs_slicing=True, prepared=False)
    async with store.write("slice") as tx:
        await tx.add_slicing(a_slicing(model, SlicingState.RUNNING))
        await tx.add_slicing(a_slicing(model, SlicingState.DONE, result))
        await tx.add_jobs([job])
        assert [task.slicing_id for task in await tx.slicings_to(result)] == ["s-done"]
    assert await needs(store, model) == [FileNeed("job", "j2"), FileNeed("slicing", "s-running")]
    assert await needs(store, result) == [FileNeed("job", "j2")]
    assert await needs(store, "3" * 64) == []
    # When it is over, only what is under way needs anything.
    async with store.write("over") as tx:
        seen = await tx.lock_job("j2")
        assert seen is not None
        await tx.save_job(seen, replace(seen, state=JobState.COMPLETED, ended_at=9))
    assert await needs(store, model) == [FileNeed("slicing", "s-running")]
    assert await needs(store, result) == []


@pytest.mark.parametrize("own", [True, False], ids=["named by the run", "the job's"])
async def test_a_run_needs_its_file_when_its_job_is_over(store: Store, own: bool) -> None:
    await furnish(store)
    await put_files(store, "2")
    printed = "2" * 64 if own else SHA
    await offer(store, a_run(artifact_sha256="2" * 64 if own else ""))
    async with store.write("over") as tx:
        job = await tx.lock_job("j1")
        assert job is not None
        await tx.save_job(job, replace(job, state=JobState.COMPLETED, ended_at=9))
    assert await needs(store, printed) == [FileNeed("run", "r1")]
    held = await look_at(store, "r1")
    assert held is not None
    async with store.write("ended") as tx:
        await tx.save_slice(held, replace(held, run=replace(held.run, state=RunState.FINISHED, ended_at=9)))
    assert await needs(store, printed) == []


async def test_a_new_job_and_a_delete_wait_for_each_other(postgresql: SqlStore) -> None:
    """Who comes second sees what the first did: there is never a job of a file that is gone."""
    await furnish(postgresql)
    await put_files(postgresql, "2", "3")
    held, go_on = asyncio.Event(), asyncio.Event()

    async def submitting(sha256: str) -> None:
        async with postgresql.write("submit") as tx:
            assert await tx.hold_artifact(sha256)
            held.set()
            await go_on.wait()
            await tx.add_jobs([a_job("j2", artifact_sha256=sha256)])

    async def deleting(sha256: str) -> list[FileNeed]:
        async with postgresql.write("delete") as tx:
            assert await tx.lock_artifact(sha256)
            held.set()
            found = await tx.needs_of_file(sha256)
            await go_on.wait()
            if not found:
                await tx.delete_artifact(sha256)
            return found

    first = asyncio.ensure_future(submitting("2" * 64))
    await held.wait()
    second = asyncio.ensure_future(deleting("2" * 64))
    await asyncio.wait([second], timeout=0.2)
    go_on.set()
    await first
    assert await second == [FileNeed("job", "j2")]

    held.clear()
    go_on.clear()
    late = asyncio.ensure_future(deleting("3" * 64))
    await held.wait()
    go_on.set()
    async with postgresql.write("submit") as tx:
        assert await tx.hold_artifact("3" * 64) is None
    assert await late == []
