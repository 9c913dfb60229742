"""Files looked at for whoever waits: each once, to its end, even if who asked goes."""

import asyncio
from pathlib import Path

import structlog

from printfarm_files import Kind
from printfarm_files.safety import Inspection

from .reader import FileReader

_LOG = structlog.get_logger(__name__)
# What nobody has come back for.
_MOST_KEPT = 64


class Inspections:
    """By one reader, one after another."""

    def __init__(self, reader: FileReader) -> None:
        self._reader = reader
        self._looks: dict[str, asyncio.Task[Inspection]] = {}

    async def inspect(self, path: Path, kind: Kind) -> Inspection:
        """What is found in the file. Who asks again finds what was found since. Raises NotRead, FileNotFoundError."""
        look = self._looks.get(path.name) or self._begun(path, kind)
        try:
            return await asyncio.shield(look)
        finally:
            if look.done():
                self._forget(path.name, look)

    def _begun(self, path: Path, kind: Kind) -> "asyncio.Task[Inspection]":
        look = self._looks[path.name] = asyncio.create_task(self._reader.inspect(path, kind))
        look.add_done_callback(lambda done: self._done(path.name, done))
        done = [name for name, each in self._looks.items() if each.done()]
        for name in done[: max(0, len(done) - _MOST_KEPT)]:
            del self._looks[name]
        return look

    def _done(self, name: str, look: "asyncio.Task[Inspection]") -> None:
        if look.cancelled():
            self._forget(name, look)
        elif error := look.exception():
            _LOG.info("a file was not inspected", sha256=name, why=type(error).__name__)
            self._forget(name, look)

    def _forget(self, name: str, look: "asyncio.Task[Inspection]") -> None:
        if self._looks.get(name) is look:
            del self._looks[name]

    async def close(self) -> None:
        """Ends what runs, and the reader's process."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        await self._reader.close()
