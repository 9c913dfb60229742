"""What is kept of files, over every store."""

from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Store
from printfarm_coordinator.domain.file_facts import FactsState, StoredFacts, materials, state_of
from printfarm_files import Bounds, FileFacts, Kind, Tool, Warned
from tests.support.stores import undone

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
