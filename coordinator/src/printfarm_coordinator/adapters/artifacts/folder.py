"""Artifacts in a folder: written aside, hashed on the way, synced, then moved to the name of their digest.

``ab/cd/<sha256>`` holds what is visible; ``incoming`` and ``uploads`` lie in the same file system, so that a move is one step.
"""

import asyncio
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import TypeVar

import structlog

from printfarm_files import FileFacts, Kind
from printfarm_files.safety import Inspection
from printfarm_rpc.durability import end_process
from printfarm_rpc.failpoints import failpoint

from ...app.ports import Incoming, Opened, Received, StorageFull
from ...app.safety_ports import Text
from .examining import Examiner
from .inspections import Inspections
from .pictures import Pictures
from .reader import FileReader

_LOG = structlog.get_logger(__name__)
T = TypeVar("T")
EDGE_BYTES = 64 * 1024
_READ_BYTES = 1 << 20
# Every line is looked at: about two seconds for ten megabytes.
_INSPECT_CPU_SECONDS = 240
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


class ArtifactFolder:
    """The ``Blobs`` port. Everything that touches the disk runs in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.examiner = Examiner()
        self._reader = FileReader()
        self._pictures = Pictures(root / "pictures")
        # A job waits for it: no other file's facts or picture may stand before it.
        self._inspector = FileReader(_INSPECT_CPU_SECONDS)
        self._inspections = Inspections(self._inspector)
        # A worker waits for it, under a claim: nor may what jobs wait for.
        self._results = Inspections(FileReader(_INSPECT_CPU_SECONDS))
        self._incoming = root / "incoming"
        self._uploads = root / "uploads"
        # Folders of artifacts whose names are known to be on the disk; there are at most 65,536.
        self._synced: set[Path] = set()
        for folder in (root, self._incoming, self._uploads):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def close(self) -> None:
        """Ends the processes that read for it."""
        await self._pictures.close()
        await self._reader.close()
        await self._inspections.close()
        await self._results.close()

    def path(self, sha256: str) -> Path:
        """Where an artifact lies, or would lie. Only digits and letters of a digest ever become a path."""
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError("not a SHA-256")
        return self._root / sha256[:2] / sha256[2:4] / sha256

    def _part(self, upload_id: str) -> Path:
        return self._uploads / f"{uuid.UUID(upload_id)}.part"

    def incoming(self) -> AbstractAsyncContextManager[Incoming]:
        """A file on its way in."""
        return self._open_incoming()

    @asynccontextmanager
    async def _open_incoming(self) -> AsyncGenerator["_IncomingFile"]:
        path = self._incoming / uuid.uuid4().hex
        # Without a buffer: an error of the disk shows where it happens, and closing has nothing left to write.
        opening = asyncio.ensure_future(_guarded(lambda: path.open("xb", buffering=0)))
        try:
            file = await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread opens it all the same: then it is thrown away.
            opening.add_done_callback(lambda done: self._discard_opened(path, done))
            raise
        held = _IncomingFile(self, path, file)
        try:
            yield held
        finally:
            await asyncio.to_thread(held.discard)

    def _discard_opened(self, path: Path, opening: "asyncio.Future[FileIO]") -> None:
        if not opening.cancelled() and opening.exception() is None:
            _IncomingFile(self, path, opening.result()).discard()

    def opened(self, sha256: str) -> AbstractAsyncContextManager[Opened]:
        """A stored file, held open."""
        return self._opened(self.path(sha256))

    @asynccontextmanager
    async def _opened(self, path: Path) -> AsyncGenerator["_OpenFile"]:
        handle = await asyncio.to_thread(os.open, path, os.O_RDONLY)
        try:
            yield _OpenFile(handle)
        finally:
            os.close(handle)

    async def size(self, sha256: str) -> int | None:
        path = self.path(sha256)
        try:
            return (await asyncio.to_thread(path.stat)).st_size
        except FileNotFoundError:
            return None

    async def read(self, sha256: str, offset: int, limit: int) -> bytes:
        return await asyncio.to_thread(_read_at, self.path(sha256), offset, limit)

    async def free_bytes(self) -> int:
        return (await asyncio.to_thread(shutil.disk_usage, self._root)).free

    async def part_length(self, upload_id: str) -> int:
        path = self._part(upload_id)
        return await _guarded(lambda: _durable_length(path))

    async def append_part(self, upload_id: str, offset: int, chunk: bytes) -> None:
        path = self._part(upload_id)
        await _guarded(lambda: _write_at(path, offset, chunk))

    async def sync_part(self, upload_id: str) -> None:
        path = self._part(upload_id)
        await _guarded(lambda: _sync_path(path))

    async def receive_part(self, upload_id: str) -> Received:
        return await asyncio.to_thread(_received, self._part(upload_id))

    async def examine_part(self, upload_id: str, kind: Kind) -> tuple[int, ...] | None:
        return await self.examiner.examine(self._part(upload_id), kind)

    async def read_facts(self, sha256: str, kind: Kind) -> FileFacts:
        return await self._reader.facts(self.path(sha256).absolute(), kind)

    async def picture(self, sha256: str, kind: Kind, size: int) -> bytes:
        return await self._pictures.picture(self.path(sha256).absolute(), sha256, kind, size)

    def _aside(self, sha256: str) -> Path:
        return self._incoming / f"{self.path(sha256).name}.deleted"

    async def set_aside(self, sha256: str) -> None:
        await asyncio.to_thread(_moved, self.path(sha256), self._aside(sha256))

    async def drop_aside(self, sha256: str) -> None:
        await _guarded(lambda: self._drop_aside(sha256))

    def _drop_aside(self, sha256: str) -> None:
        folder = self.path(sha256).parent
        if folder.exists():
            _sync_path(folder)
        self._aside(sha256).unlink(missing_ok=True)
        self._pictures.drop(sha256)

    async def inspect(self, sha256: str, kind: Kind) -> Inspection:
        return await self._inspections.inspect(self.path(sha256).absolute(), kind)

    async def inspect_result(self, sha256: str) -> Inspection:
        return await self._results.inspect(self.path(sha256).absolute(), Kind.GCODE)

    def unpacked(self, sha256: str, kind: Kind, plate: int) -> AbstractAsyncContextManager[Text]:
        """Unpacked aside, as a file on its way in."""
        return self._unpacked(sha256, kind, plate)

    @asynccontextmanager
    async def _unpacked(self, sha256: str, kind: Kind, plate: int) -> AsyncGenerator["_UnpackedText"]:
        path = self._incoming / uuid.uuid4().hex
        try:
            source, into = self.path(sha256).absolute(), path.absolute()
            found, seconds = await self._inspector.unpack(source, kind, plate, into)
            digest, size = await asyncio.to_thread(_digest, path)
            yield _UnpackedText(self, path, digest, size, found, seconds)
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def receive_kept(self, sha256: str) -> Received | None:
        path = self.path(sha256)
        try:
            return await asyncio.to_thread(_received, path)
        except FileNotFoundError:
            return None

    async def keep_part(self, upload_id: str, sha256: str) -> None:
        await _guarded(lambda: self.move(self._part(upload_id), sha256))

    async def drop_part(self, upload_id: str) -> None:
        path = self._part(upload_id)
        await asyncio.to_thread(path.unlink, missing_ok=True)

    async def drop_stale(self, older_than_seconds: float) -> int:
        return await asyncio.to_thread(self._drop_stale, time.time() - older_than_seconds)

    def _drop_stale(self, before: float) -> int:
        folders = (self._incoming, self._uploads)
        return self._pictures.drop_old() + sum(
            _dropped(path, before) for folder in folders for path in folder.iterdir()
        )

    def move(self, source: Path, sha256: str) -> None:
        """Synced, then visible; the source stays, for once more. The same bytes twice are one file."""
        target = self.path(sha256)
        if not source.exists() and target.exists():
            return
        self._make_folder(target.parent)
        _sync_path(source)
        failpoint("before_artifact_visible")
        _linked(source, target)
        _sync_path(target.parent)
        failpoint("after_artifact_visible")

    def _make_folder(self, folder: Path) -> None:
        """Its own name and that of the folder above are on the disk before anything lies in it. Once in a process: the one
        before may have died between making it and syncing it."""
        if folder in self._synced and folder.exists():
            return
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for above in (folder.parent, self._root):
            _sync_path(above)
        self._synced.add(folder)


class _IncomingFile:
    """Hashes while it writes; keeps the edges for a look at what it is."""

    def __init__(self, folder: ArtifactFolder, path: Path, file: FileIO) -> None:
        self._folder = folder
        self._path = path
        self._file = file
        self._digest = hashlib.sha256()
        self._size = 0
        self._head = b""
        self._tail = b""
        self._has_nul = False

    async def write(self, chunk: bytes) -> None:
        await _guarded(lambda: self._write(chunk))

    def _write(self, chunk: bytes) -> None:
        _write_all(self._file, chunk)
        self._digest.update(chunk)
        self._has_nul = self._has_nul or b"\0" in chunk
        self._size += len(chunk)
        if len(self._head) < EDGE_BYTES:
            self._head += chunk[: EDGE_BYTES - len(self._head)]
        self._tail = (self._tail + chunk[-EDGE_BYTES:])[-EDGE_BYTES:]

    async def received(self) -> Received:
        return Received(self._digest.hexdigest(), self._size, self._head, self._tail, self._has_nul)

    async def examine(self, kind: Kind) -> tuple[int, ...] | None:
        return await self._folder.examiner.examine(self._path, kind)

    async def keep(self) -> None:
        await _guarded(self._keep)

    def _keep(self) -> None:
        self._file.close()
        self._folder.move(self._path, self._digest.hexdigest())

    def discard(self) -> None:
        """Closes; deletes what was not kept."""
        try:
            self._file.close()
        except OSError:
            _LOG.warning("an incoming file could not be closed")
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _UnpackedText:
    """The ``Text`` port."""

    _folder: ArtifactFolder
    _path: Path
    sha256: str
    size_bytes: int
    inspection: Inspection
    estimated_seconds: float | None

    async def keep(self) -> None:
        await _guarded(lambda: self._folder.move(self._path, self.sha256))


async def _guarded(work: Callable[[], T]) -> T:
    """In a thread; a full disk as the port says it.

    To its end even if the caller goes: nobody else may touch the file before."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()):
            _LOG.warning("the work of a caller that is gone failed", error=type(error).__name__)
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(os.strerror(error.errno)) from error
        raise


class _OpenFile:
    """The ``Opened`` port."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    async def read(self, offset: int, limit: int) -> bytes:
        # To its end even if the reader goes: its handle is closed after that, and then may be another's.
        return await _guarded(lambda: os.pread(self._handle, limit, offset))


def _linked(source: Path, target: Path) -> None:
    """Under both names, and the second never half: a link beside it takes its place. Where the file system has no links, the
    first name goes."""
    beside = source.with_name(f"{source.name}.kept")
    try:
        beside.unlink(missing_ok=True)
        beside.hardlink_to(source)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        source.replace(target)
        return
    beside.replace(target)
    # A link to what is there already takes no place: then it is left over.
    beside.unlink(missing_ok=True)


def _moved(source: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        source.replace(target)


def _read_at(path: Path, offset: int, limit: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        return file.read(limit)


def _write_at(path: Path, offset: int, chunk: bytes) -> None:
    is_new = not path.exists()
    with path.open("xb" if is_new else "r+b", buffering=0) as file:
        file.truncate(offset)
        file.seek(offset)
        _write_all(file, chunk)
    if is_new:
        _sync_path(path.parent)


def _write_all(file: FileIO, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _durable_length(path: Path) -> int:
    """What was written before a crash of this process may not be on the disk yet: it is synced before it is told."""
    try:
        _sync_path(path)
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _dropped(path: Path, before: float) -> bool:
    try:
        if path.stat().st_mtime >= before:
            return False
        path.unlink()
    except FileNotFoundError:
        # Kept or thrown away meanwhile.
        return False
    return True


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()


def _received(path: Path) -> Received:
    digest, size, head, tail, has_nul = hashlib.sha256(), 0, b"", b"", False
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
            head = head or chunk[:EDGE_BYTES]
            tail = (tail + chunk[-EDGE_BYTES:])[-EDGE_BYTES:]
            has_nul = has_nul or b"\0" in chunk
    return Received(digest.hexdigest(), size, head, tail, has_nul)


def _sync_path(path: Path) -> None:
    """Returns when it is on the disk; a failed fsync ends the process."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _FULL:
            raise
        end_process(os.strerror(error.errno or 0))
    finally:
        os.close(handle)
