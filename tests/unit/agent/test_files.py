"""Print files on the agent's disk: whole and right, or not there (I17)."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from printfarm_agent.files import Files, WrongBytes

CONTENT = bytes(range(256)) * 1_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Source:
    """A coordinator's download; remembers from where it was asked."""

    def __init__(self, content: bytes = CONTENT, *, breaks_at: int = 1 << 30) -> None:
        self.content = content
        self.breaks_at = breaks_at
        self.offsets: list[int] = []

    async def download(self, sha256: str, offset: int) -> AsyncIterator[bytes]:
        assert sha256 == SHA
        self.offsets.append(offset)
        for at in range(offset, len(self.content), 10_000):
            if at >= self.breaks_at:
                raise ConnectionError("cut")
            yield self.content[at : at + 10_000]


def flip(path: Path, at: int = 777) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


async def test_a_file_is_fetched_once_and_kept(tmp_path: Path) -> None:
    source, files = Source(), Files(tmp_path / "files")
    for _ in range(2):
        path = await files.fetch(SHA, len(CONTENT), source.download)
        assert path.read_bytes() == CONTENT
    assert source.offsets == [0]


async def test_a_flipped_bit_on_the_disk_is_found_and_the_file_fetched_anew(tmp_path: Path) -> None:
    source, files = Source(), Files(tmp_path / "files")
    flip(await files.fetch(SHA, len(CONTENT), source.download))
    assert not await files.has(SHA)
    assert not files.path(SHA).exists(), "what is damaged is not left to be used"
    path = await files.fetch(SHA, len(CONTENT), source.download)
    assert path.read_bytes() == CONTENT
    assert source.offsets == [0, 0]


async def test_a_fetch_that_broke_off_goes_on_where_it_was(tmp_path: Path) -> None:
    source, files = Source(breaks_at=50_000), Files(tmp_path / "files")
    with pytest.raises(ConnectionError):
        await files.fetch(SHA, len(CONTENT), source.download)
    assert not files.path(SHA).exists()
    source.breaks_at = 1 << 30
    assert (await files.fetch(SHA, len(CONTENT), source.download)).read_bytes() == CONTENT
    assert source.offsets == [0, 50_000]


async def test_a_part_that_was_damaged_meanwhile_begins_anew(tmp_path: Path) -> None:
    source, files = Source(breaks_at=50_000), Files(tmp_path / "files")
    with pytest.raises(ConnectionError):
        await files.fetch(SHA, len(CONTENT), source.download)
    flip(tmp_path / "files" / f"{SHA}.part")
    source.breaks_at = 1 << 30
    with pytest.raises(WrongBytes):
        await files.fetch(SHA, len(CONTENT), source.download)
    assert (await files.fetch(SHA, len(CONTENT), source.download)).read_bytes() == CONTENT
    assert source.offsets == [0, 50_000, 0]


@pytest.mark.parametrize("wrong", [CONTENT[:-1] + b"x", CONTENT + b"x"], ids=["other", "longer"])
async def test_wrong_bytes_are_never_there(tmp_path: Path, wrong: bytes) -> None:
    files = Files(tmp_path / "files")
    with pytest.raises(WrongBytes):
        await files.fetch(SHA, len(CONTENT), Source(wrong).download)
    assert list((tmp_path / "files").iterdir()) == []


async def test_room_is_made_of_what_no_run_needs(tmp_path: Path) -> None:
    """The file of a run that waits for its bed stays, and what has come of one under way."""
    files, folder = Files(tmp_path / "files", most_bytes=2 * len(CONTENT)), tmp_path / "files"
    waits, under_way, old = "a" * 64, "b" * 64, "c" * 64
    for age, name in enumerate((waits, f"{under_way}.part", f"{SHA}.part", old)):
        (folder / name).write_bytes(CONTENT if name != f"{SHA}.part" else CONTENT[:1_000])
        os.utime(folder / name, (age, age))
    for needed in (waits, under_way, ""):
        files.keep(lambda needed=needed: needed)  # type: ignore[misc]
    source = Source()
    await files.fetch(SHA, len(CONTENT), source.download)
    assert {path.name for path in folder.iterdir()} == {waits, f"{under_way}.part", SHA}
    assert source.offsets == [1_000]
