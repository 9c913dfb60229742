"""Print files on this host: fetched in pieces, hashed on the way, whole or not there."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary

import structlog

from printfarm_rpc.failpoints import failpoint

_LOG = structlog.get_logger(__name__)
_READ_BYTES = 1 << 20
MOST_BYTES = 4 << 30
Download = Callable[[str, int], AsyncIterator[bytes]]


class WrongBytes(Exception):
    """What came does not have the digest that was assigned (I17)."""


class Files:
    """A folder of files by SHA-256."""

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._needed: list[Callable[[], str]] = []
        # Forgotten once nobody holds or awaits them.
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def keep(self, needed: Callable[[], str]) -> None:
        """The file of that digest is not thrown away to make room, nor what has come of it. Asked whenever room is made."""
        self._needed.append(needed)

    def path(self, sha256: str) -> Path:
        """Where the file lies, or would lie. Raises ValueError for what is no digest."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError("not a SHA-256")
        return self._folder / sha256

    async def has(self, sha256: str) -> bool:
        """The file is there and its bytes are right. One that was damaged is thrown away."""
        path = self.path(sha256)
        if not path.exists():
            return False
        if await asyncio.to_thread(_digest, path) == sha256:
            return True
        _LOG.warning("a stored file was damaged; it is fetched again", sha256=sha256)
        path.unlink()
        return False

    async def fetch(self, sha256: str, size_bytes: int, download: Download) -> Path:
        """Fetches what is missing, from where an earlier try ended.

        Raises WrongBytes, OSError, and what ``download`` raises."""
        # Several printers may want the same file at once: one fetches it, the others find it.
        async with self._fetching.setdefault(sha256, asyncio.Lock()):
            return await self._fetch(sha256, size_bytes, download)

    async def _fetch(self, sha256: str, size_bytes: int, download: Download) -> Path:
        path = self.path(sha256)
        if await self.has(sha256):
            os.utime(path)
            return path
        await asyncio.to_thread(self._make_room, size_bytes, {sha256, *(needed() for needed in self._needed)})
        part = path.with_suffix(".part")
        digest, offset = await asyncio.to_thread(_resumed, part, size_bytes)
        with part.open("ab") as file:
            async with _Appending(file, digest) as appending:
                async for chunk in download(sha256, offset):
                    offset += len(chunk)
                    if offset > size_bytes:
                        break
                    await appending.append(chunk)
            await asyncio.to_thread(os.fsync, file.fileno())
        if offset < size_bytes:
            raise ConnectionError(f"{offset} of {size_bytes} bytes came")
        if digest.hexdigest() != sha256 or offset != size_bytes:
            part.unlink()
            raise WrongBytes(f"the bytes that came are not those of {sha256[:12]}")
        failpoint("before_file_visible")
        await asyncio.to_thread(_publish, part, path)
        return path

    def _make_room(self, wanted: int, needed: set[str]) -> None:
        """The files used longest ago go first; those of runs that are not over stay, whatever the sum."""
        found = [(path.stat(), path) for path in self._folder.iterdir()]
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda each: each[0].st_mtime):
            if total + wanted <= self._most_bytes:
                return
            if path.stem not in needed:
                total -= stat.st_size
                path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resumed(part: Path, size_bytes: int) -> "tuple[hashlib._Hash, int]":
    digest, offset = hashlib.sha256(), 0
    if not part.exists() or part.stat().st_size > size_bytes:
        part.unlink(missing_ok=True)
        return digest, 0
    with part.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            offset += len(chunk)
    return digest, offset


class _Appending:
    """Writes and hashes one piece in a thread while the next is on its way. Nothing is under way once the context is left."""

    def __init__(self, file: BinaryIO, digest: "hashlib._Hash") -> None:
        self._file = file
        self._digest = digest
        self._under_way: asyncio.Future[None] | None = None

    async def append(self, piece: bytes) -> None:
        """Returns once the piece before is written. Raises OSError of that one."""
        await self._done()
        self._under_way = asyncio.get_running_loop().run_in_executor(None, self._write, piece)

    async def _done(self) -> None:
        if self._under_way is not None:
            await asyncio.shield(self._under_way)
            self._under_way = None

    def _write(self, piece: bytes) -> None:
        self._file.write(piece)
        self._digest.update(piece)

    async def __aenter__(self) -> "_Appending":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._under_way is None:
            return
        # A download that breaks off must not close the file under the thread's hands.
        await asyncio.wait([self._under_way])
        error = self._under_way.exception()
        if error is not None and kind is None:
            raise error


def _publish(part: Path, path: Path) -> None:
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
