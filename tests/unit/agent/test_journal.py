"""The journal: what was committed is there after any death, and what is there was committed."""

import random
import shutil
import subprocess
import sys
from pathlib import Path
from types import MappingProxyType

import pytest

from printfarm_agent.execution import Book, Event, LocalRun, Stage
from printfarm_agent.journal import Journal, JournalCorrupt, JournalUnavailable
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
        await journal.welcomed(9)
        await journal.commit("p", page(2), (fact(3),))
        assert journal.after(0, 10)[0].sequence == 10


async def test_an_older_copy_numbers_what_waits_anew(tmp_path: Path) -> None:
    """Else new facts would be taken for repetitions, and forgotten unapplied."""
    with Journal(tmp_path / "j.db", clock) as journal:
        await journal.commit("p", page(1), (fact(1), fact(2), fact(3)))
        await journal.welcomed(500)
        await journal.commit("p", page(2), (fact(4),))
        # As the session does with what the coordinator has applied.
        journal.acknowledge(500)
        waiting = journal.after(500, 10)
        assert [event.sequence for event in waiting] == [501, 502, 503, 504]
        assert [event.run_id for event in waiting] == ["r1", "r2", "r3", "r4"]
        await journal.welcomed(502)
        assert [event.sequence for event in journal.after(0, 10)] == [501, 502, 503, 504]
    again = Journal(tmp_path / "j.db", clock)
    assert again.max_sequence == 504
    assert [event.sequence for event in again.after(0, 10)] == [501, 502, 503, 504]


async def _older_copy(tmp_path: Path) -> Path:
    """A journal at 3, restored after its coordinator had applied 6 facts."""
    path = tmp_path / "j.db"
    with Journal(path, clock) as journal:
        await journal.welcomed(0)
        await journal.commit("p", page(1), (fact(1), fact(2), fact(3)))
        journal.acknowledge(3)
    return path


async def test_an_older_copy_is_noticed_whatever_is_journalled_before_hello(tmp_path: Path) -> None:
    """I12: each start journals what the printers are, and what the first look proves: soon the copy is as long as what was
    applied, and its facts would be taken for those."""
    path = await _older_copy(tmp_path)
    with Journal(path, clock) as journal:
        await journal.commit("p", page(2), (fact(11), fact(12), fact(13)))
        assert (journal.told_sequence, journal.acknowledged) == (3, 3), "Hello: less than the coordinator has applied"
        await journal.welcomed(6)
        journal.acknowledge(6)
        assert [(event.sequence, event.run_id) for event in journal.after(6, 10)] == [
            (7, "r11"),
            (8, "r12"),
            (9, "r13"),
        ]
        assert journal.told_sequence == 9
        await journal.commit("p", page(3), (fact(14),))
        await journal.welcomed(8)
        assert [event.sequence for event in journal.after(0, 10)] == [7, 8, 9, 10], "a second session finds it as it is"
    with Journal(path, clock) as journal:
        assert journal.told_sequence == 10


async def test_an_older_copy_is_noticed_also_by_a_later_start_that_is_the_first_to_be_heard(tmp_path: Path) -> None:
    path = await _older_copy(tmp_path)
    for number in (11, 12):
        with Journal(path, clock) as journal:
            await journal.commit("p", page(2), (fact(number), fact(number)))
            assert journal.told_sequence == 3
    with Journal(path, clock) as journal:
        await journal.welcomed(6)
        assert [event.sequence for event in journal.after(0, 10)] == [7, 8, 9, 10]


async def test_a_journal_that_is_no_copy_keeps_its_numbers(tmp_path: Path) -> None:
    """Told before Hello and after it, with an acknowledgement that was lost."""
    path = await _older_copy(tmp_path)
    with Journal(path, clock) as journal:
        await journal.commit("p", page(2), (fact(4),))
        await journal.welcomed(3)
        await journal.commit("p", page(2), (fact(5),))
        await journal.welcomed(5)
        assert [event.sequence for event in journal.after(0, 10)] == [4, 5]
    with Journal(path, clock) as journal:
        await journal.commit("p", page(2), (fact(6),))
        assert journal.told_sequence == 5
        await journal.welcomed(5)
        assert [event.sequence for event in journal.after(0, 10)] == [4, 5, 6]


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


async def test_opening_a_journal_writes_nothing(tmp_path: Path) -> None:
    """On a disk that takes nothing more it is read all the same."""
    path = await _older_copy(tmp_path)
    reader = Journal(path, clock)
    written = path.with_name("j.db-wal")
    assert reader.book("p") == page(1)
    assert not written.exists() or written.stat().st_size == 0


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from printfarm_agent.journal import Journal, JournalUnavailable

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
try:
    Journal(Path(sys.argv[1]), lambda: 0.0)
except JournalUnavailable as error:
    print("unavailable:", error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print("epoch", Journal(Path(sys.argv[1]), lambda: 0.0).book("p").max_epoch)
"""


async def test_a_full_disk_is_no_damage(tmp_path: Path) -> None:
    """Not even room for what SQLite keeps beside the file: it cannot be opened now, and can be later."""
    path = await _older_copy(tmp_path)
    command = [sys.executable, "-c", FULL_DISK, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: ASYNC221
    assert done.stdout.startswith("unavailable: j.db: "), done.stderr
    assert done.stdout.endswith("epoch 1\n"), done.stderr


def test_a_folder_that_cannot_be_made_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable):
        Journal(tmp_path / "file" / "j.db", clock)


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
