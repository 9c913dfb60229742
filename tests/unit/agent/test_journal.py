"""The journal: what was committed is there after any death, and what is there was committed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from printfarm_agent.execution import Book, Event, LocalRun, Stage
from printfarm_agent.journal import Journal, JournalCorrupt
from printfarm_rpc.durability import FSYNC_FAILED_EXIT


def clock() -> float:
    return 5.0


def page(epoch: int) -> Book:
    run = LocalRun(f"r{epoch}", "j", epoch, "a" * 64, 1, Stage.STARTING, nonce="n", nonce_boot="b")
    return Book(epoch, run, left_files=(run.file_name,))


def fact(number: int) -> Event:
    return Event("accepted", f"r{number}", number, MappingProxyType({}))


async def test_pages_and_facts_survive(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db", clock) as journal:
        for epoch in range(1, 6):
            await journal.commit("p", page(epoch), (fact(epoch),))
        identity = journal.journal_id
        journal.acknowledge(2)
    with Journal(tmp_path / "j.db", clock) as journal:
        assert journal.journal_id == identity
        assert journal.book("p") == page(5)
        assert [event.sequence for event in journal.after(0, 100)] == [3, 4, 5]
        await journal.commit("p", Book(2), (fact(6),))
        assert journal.after(5, 100)[0].sequence == 6
    assert Journal(tmp_path / "j.db", clock).book("p").max_epoch == 5, "I6: the epoch never goes back"


async def test_numbers_go_on_after_everything_was_acknowledged(tmp_path: Path) -> None:
    with Journal(tmp_path / "j.db", clock) as journal:
        await journal.commit("p", page(1), (fact(1), fact(2)))
        journal.acknowledge(2)
    with Journal(tmp_path / "j.db", clock) as journal:
        assert journal.max_sequence == 2
        await journal.go_on_above(9)
        await journal.commit("p", page(2), (fact(3),))
        assert journal.after(0, 10)[0].sequence == 10


async def test_an_older_copy_numbers_what_waits_anew(tmp_path: Path) -> None:
    """Else new facts would be taken for repetitions, and forgotten unapplied."""
    with Journal(tmp_path / "j.db", clock) as journal:
        await journal.commit("p", page(1), (fact(1), fact(2), fact(3)))
        await journal.go_on_above(500)
        await journal.commit("p", page(2), (fact(4),))
        # As the session does with what the coordinator has applied.
        journal.acknowledge(500)
        waiting = journal.after(500, 10)
        assert [event.sequence for event in waiting] == [501, 502, 503, 504]
        assert [event.run_id for event in waiting] == ["r1", "r2", "r3", "r4"]
        await journal.go_on_above(502)
        assert [event.sequence for event in journal.after(0, 10)] == [501, 502, 503, 504]
    again = Journal(tmp_path / "j.db", clock)
    assert again.max_sequence == 504
    assert [event.sequence for event in again.after(0, 10)] == [501, 502, 503, 504]


@pytest.mark.parametrize("seed", range(40))
async def test_power_cut_leaves_a_prefix(tmp_path: Path, seed: int) -> None:
    """The log cut anywhere: the page and the facts are those of one moment, and nothing before that moment is missing."""
    chance = random.Random(seed)
    path = tmp_path / "j.db"
    with Journal(path, clock) as journal:
        for epoch in range(1, 30):
            await journal.commit("p", page(epoch), (fact(epoch),))
        copy = tmp_path / "after"
        copy.mkdir()
        for name in ("j.db", "j.db-wal"):
            shutil.copy(tmp_path / name, copy / name)
    wal = copy / "j.db-wal"
    kept = chance.randrange(wal.stat().st_size + 1)
    with wal.open("r+b") as file:
        file.truncate(kept)
    try:
        with Journal(copy / "j.db", clock) as journal:
            epoch = journal.book("p").max_epoch
            assert [event.epoch for event in journal.after(0, 100)] == list(range(1, epoch + 1))
    except JournalCorrupt:
        # It refuses to be trusted: nothing is dispatched then, which is safe.
        return


def test_a_damaged_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    path.write_bytes(b"this is no database, and it is long enough to be looked at" * 40)
    before = path.read_bytes()
    with pytest.raises(JournalCorrupt):
        Journal(path, clock)
    assert path.read_bytes() == before


LYING_DISK = """
import asyncio, sys, time
from pathlib import Path
from printfarm_agent.execution import Book
from printfarm_agent.journal import Journal
from tests.support.lying_disk import break_fsync

async def main():
    with Journal(Path(sys.argv[1]), time.monotonic) as journal:
        await journal.commit("p", Book(1), ())
        try:
            break_fsync()
        except OSError as error:
            sys.exit(f"cannot: {error}")
        try:
            await journal.commit("p", Book(2), ())
        finally:
            print("went on")

asyncio.run(main())
"""


async def test_after_a_failed_fsync_the_process_ends_and_a_fresh_one_reads_the_disk(tmp_path: Path) -> None:
    """Never tried again: the kernel may have thrown away what it could not write, and say yes the second time."""
    path = tmp_path / "j.db"
    command = [sys.executable, "-c", LYING_DISK, str(path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60)  # noqa: ASYNC221
    if "cannot:" in done.stderr:
        pytest.skip(f"fsync cannot be made to fail here: {done.stderr.strip()}")
    assert done.returncode == FSYNC_FAILED_EXIT, done.stderr
    assert "went on" not in done.stdout
    with Journal(path, clock) as journal:
        assert journal.book("p").max_epoch in (1, 2)
