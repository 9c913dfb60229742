"""Pictures of files: drawn once, in processes of their own, and kept beside the files as long as somebody may ask again."""

import asyncio
import time
from pathlib import Path

import structlog

from printfarm_files import Kind, Refused
from printfarm_files.thumbnails import PICTURE_VERSION

from ...app.ports import NotRead
from .reader import FileReader

_LOG = structlog.get_logger(__name__)
AT_ONCE = 2
MOST_WAITING = 256
CPU_SECONDS = 30
KEPT_SECONDS = 30 * 24 * 3_600.0
# A PNG begins and ends so: one that a crash cut off is drawn anew.
_FIRST, _LAST = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
_NONE = b"none: "
_Key = tuple[str, int]


class Pictures:
    """Below ``root``, named by digest, size and version; what has no picture keeps the reason instead."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drawing: dict[_Key, asyncio.Task[bytes]] = {}
        self._readers: asyncio.LifoQueue[FileReader] = asyncio.LifoQueue()
        for _ in range(AT_ONCE):
            self._readers.put_nowait(FileReader(cpu_seconds=CPU_SECONDS))

    async def picture(self, path: Path, sha256: str, kind: Kind, size: int) -> bytes:
        """A PNG. It is drawn to its end even if who asked goes: the next one finds it. Raises Refused, NotRead,
        FileNotFoundError."""
        if kept := await asyncio.to_thread(_kept, self._file(sha256, size)):
            return _shown(kept)
        key = (sha256, size)
        if key not in self._drawing:
            if len(self._drawing) >= MOST_WAITING:
                raise NotRead("too many pictures are being drawn")
            task = self._drawing[key] = asyncio.create_task(self._draw(path, sha256, kind, size))
            task.add_done_callback(lambda done: self._drawn(key, done))
        return _shown(await asyncio.shield(self._drawing[key]))

    def _drawn(self, key: _Key, task: asyncio.Task[bytes]) -> None:
        del self._drawing[key]
        if not task.cancelled() and (error := task.exception()):
            _LOG.warning("a picture was not drawn", sha256=key[0], error=type(error).__name__)

    async def _draw(self, path: Path, sha256: str, kind: Kind, size: int) -> bytes:
        reader = await self._readers.get()
        try:
            content = await reader.picture(path, kind, size)
        except Refused as error:
            content = _NONE + error.reason.encode()
        finally:
            self._readers.put_nowait(reader)
        await asyncio.to_thread(_keep, self._file(sha256, size), content)
        return content

    def _file(self, sha256: str, size: int) -> Path:
        return self._root / sha256[:2] / f"{sha256}-{size}-{PICTURE_VERSION}"

    def drop(self, sha256: str) -> None:
        """All of a file."""
        for path in (self._root / sha256[:2]).glob(f"{sha256}-*"):
            path.unlink(missing_ok=True)

    def drop_old(self) -> int:
        """Those that were drawn long ago: they are drawn anew if somebody asks. Returns how many."""
        before = time.time() - KEPT_SECONDS
        old = [path for path in self._root.glob("*/*") if path.stat().st_mtime < before]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

    async def close(self) -> None:
        """Ends the processes."""
        tasks = list(self._drawing.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(AT_ONCE):
            await (await self._readers.get()).close()


def _shown(content: bytes) -> bytes:
    if content.startswith(_NONE):
        raise Refused(content.removeprefix(_NONE).decode())
    return content


def _kept(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError:
        return b""
    is_whole = content.startswith(_NONE) or (content.startswith(_FIRST) and content.endswith(_LAST))
    return content if is_whole else b""


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        # It is shown all the same, and drawn anew when it is asked for again.
        _LOG.warning("a picture was not kept", error=type(error).__name__)
