"""Models are read whole, and packed G-code is looked into, in a process of its own: neither the event loop nor the
coordinator's memory pays for them."""

import asyncio
import json
import sys
from pathlib import Path

import structlog

from printfarm_files import Kind, Refused

_LOG = structlog.get_logger(__name__)
MOST_SECONDS = 30.0
MOST_BYTES = 2 << 30
AT_ONCE = 2


class Examiner:
    """At most ``AT_ONCE`` files at a time, each bounded in time and memory."""

    def __init__(self, seconds: float = MOST_SECONDS, memory_bytes: int = MOST_BYTES) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._turn = asyncio.Semaphore(AT_ONCE)

    async def examine(self, path: Path, kind: Kind) -> tuple[int, ...] | None:
        """The plates of a sliced 3MF. Raises Refused for a broken file. One that the limits do not suffice for is left to
        whoever reads it again, before a slicer or a printer does: a busy coordinator refuses nobody's file."""
        try:
            async with asyncio.timeout(self._seconds), self._turn:
                status, printed = await self._run(path, kind)
        except TimeoutError:
            _LOG.warning("a file was not examined in time", kind=kind.value, seconds=self._seconds)
            return None
        if status:
            _LOG.warning("a file could not be examined", kind=kind.value, status=status)
            return None
        told = json.loads(printed)
        if reason := told["refused"]:
            raise Refused(reason)
        return tuple(told["plates"]) if "plates" in told else None

    async def _run(self, path: Path, kind: Kind) -> tuple[int, bytes]:
        # Rounded up: the clock on the wall ends it first.
        limits = (str(int(self._seconds) + 1), str(self._memory_bytes))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "printfarm_files.examine", kind.value, str(path), *limits),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            # Each thread of the library reserves memory that counts against the limit.
            env={"OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            printed, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await asyncio.shield(process.wait())
        return await process.wait(), printed
