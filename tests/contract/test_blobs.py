"""The folder of artifacts: what it promises of crashes, cancellations and lies of the disk."""

import asyncio
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from printfarm_coordinator.adapters.artifacts import folder
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_rpc.durability import FSYNC_FAILED_EXIT
from tests.support.control_plane import sha256_of

CONTENT = b"G28\n" * 100_000


def files(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


async def keep(blobs: ArtifactFolder, content: bytes = CONTENT) -> str:
    async with blobs.incoming() as incoming:
        await incoming.write(content)
        received = await incoming.received()
        await incoming.keep()
    return received.sha256


async def test_kept_under_its_digest_and_nowhere_else(tmp_path: Path) -> None:
    blobs = ArtifactFolder(tmp_path)
    sha256 = await keep(blobs)
    assert sha256 == sha256_of(CONTENT)
    assert await blobs.size(sha256) == len(CONTENT)
    assert await blobs.read(sha256, 4, 8) == CONTENT[4:12]
    assert await keep(blobs) == sha256
    received = await blobs.receive_kept(sha256)
    assert received is not None
    assert (received.sha256, received.size_bytes, received.head, received.tail, received.has_nul) == (
        sha256,
        len(CONTENT),
        CONTENT[: folder.EDGE_BYTES],
        CONTENT[-folder.EDGE_BYTES :],
        False,
    )
    assert files(tmp_path) == [sha256]


async def test_what_is_not_kept_is_gone(tmp_path: Path) -> None:
    blobs = ArtifactFolder(tmp_path)
    async with blobs.incoming() as incoming:
        await incoming.write(CONTENT)
        assert len(files(tmp_path)) == 1
    assert files(tmp_path) == []
    assert await blobs.size(sha256_of(CONTENT)) is None
    assert await blobs.receive_kept(sha256_of(CONTENT)) is None


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 63 + "/", "0" * 63 + "\0"])
async def test_only_a_digest_becomes_a_path(tmp_path: Path, sha256: str) -> None:
    blobs = ArtifactFolder(tmp_path)
    with pytest.raises(ValueError, match="not a SHA-256"):
        await blobs.read(sha256, 0, 1)
    with pytest.raises(ValueError):
        await blobs.part_length(sha256)


async def test_a_part_is_cut_to_where_the_next_bytes_begin(tmp_path: Path) -> None:
    blobs, upload_id = ArtifactFolder(tmp_path), str(uuid.uuid4())
    assert await blobs.part_length(upload_id) == 0
    await blobs.append_part(upload_id, 0, b"abcdef")
    await blobs.append_part(upload_id, 3, b"XY")
    assert await blobs.part_length(upload_id) == 5
    received = await blobs.receive_part(upload_id)
    assert received.head == b"abcXY"
    await blobs.keep_part(upload_id, received.sha256)
    await blobs.keep_part(upload_id, received.sha256)
    assert await blobs.read(received.sha256, 0, 9) == b"abcXY"


async def test_a_writer_that_is_cancelled_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its thread would go on writing into what the next writer appends."""
    blobs, upload_id = ArtifactFolder(tmp_path), str(uuid.uuid4())
    entered, go_on = threading.Event(), threading.Event()
    write = folder._write_at

    def slow(path: Path, offset: int, chunk: bytes) -> None:
        entered.set()
        go_on.wait(30)
        write(path, offset, chunk)

    monkeypatch.setattr(folder, "_write_at", slow)
    writing = asyncio.create_task(blobs.append_part(upload_id, 0, b"first"))
    await asyncio.to_thread(entered.wait, 30)
    writing.cancel()
    # It must not end while its thread writes.
    done, _ = await asyncio.wait([writing], timeout=0.2)
    assert not done
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await blobs.part_length(upload_id) == 5


async def test_the_janitor_takes_only_what_nobody_touches(tmp_path: Path) -> None:
    blobs = ArtifactFolder(tmp_path)
    sha256 = await keep(blobs)
    await blobs.append_part(str(uuid.uuid4()), 0, b"x")
    (tmp_path / "incoming" / "stray").write_bytes(b"x")
    assert await blobs.drop_stale(3_600) == 0
    assert await blobs.drop_stale(-1) == 2
    assert await blobs.size(sha256) == len(CONTENT)


LYING_DISK = """
import asyncio, errno, os, sys
from pathlib import Path
from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_rpc.durability import FSYNC_FAILED_EXIT

def fsync(handle):
    raise OSError(errno.EIO, "the disk lies")

async def main():
    blobs = ArtifactFolder(Path(sys.argv[1]))
    os.fsync = fsync
    async with blobs.incoming() as incoming:
        await incoming.write(b"G28\\n")
        try:
            await incoming.keep()
        finally:
            print("went on")

asyncio.run(main())
"""


def test_after_a_failed_fsync_the_process_ends_at_once(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LYING_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == FSYNC_FAILED_EXIT
    assert "went on" not in ended.stdout
    assert not [path for path in tmp_path.glob("*/*/*") if path.is_file()]


LYING_DATABASE = """
import asyncio, sys
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.ports import Agent
from tests.support.lying_disk import break_fsync

async def main():
    store = SqlStore(sys.argv[1])
    await migrate(store.engine)
    try:
        break_fsync()
    except OSError as error:
        sys.exit(f"cannot: {error}")
    try:
        async with store.write("test") as tx:
            await tx.put_agent(Agent("a1", tx.now))
    finally:
        print("went on")

asyncio.run(main())
"""


def test_after_a_failed_fsync_of_the_embedded_database_the_process_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LYING_DATABASE, f"sqlite:///{tmp_path / 'farm.db'}"]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60)
    if "cannot:" in done.stderr:
        pytest.skip(f"fsync cannot be made to fail here: {done.stderr.strip()}")
    assert done.returncode == FSYNC_FAILED_EXIT, done.stderr
    assert "went on" not in done.stdout
