"""Files are read in a process of its own, which one after another shares: neither the event loop nor the coordinator's memory
pays for what is in them, and what hangs or dies of it is that process."""

import asyncio
import base64
import json
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from printfarm_files import FileFacts, Kind, Refused
from printfarm_files.facts import from_json
from printfarm_files.reader import NO_MEMORY
from printfarm_files.safety import Inspection
from printfarm_files.safety.inspection import from_json as inspection_from
from printfarm_files.safety.inspection import unreadable

from ...app.ports import NotRead, StorageFull

_LOG = structlog.get_logger(__name__)
CPU_SECONDS = 60
# The machine may be busy, and the reader gives way to whatever serves.
WALL_SECONDS = 300.0
MEMORY_BYTES = 2 << 30
# What has grown with what it read is begun anew.
FILES_PER_PROCESS = 200
_LONGEST_ANSWER = 8 << 20
_WHY = {
    -signal.SIGXCPU: "to read it takes more time than a file is given",
    NO_MEMORY: "to read it takes more memory than a file is given",
}
_FELL = "its reader fell over it"
_TOO_MUCH = "more is found in it than can be told"
# Somebody stopped the process: that says nothing of the file.
_STOPPED = {-signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL, -signal.SIGHUP}


class FileReader:
    """One file at a time. Its process is begun when it is needed, ends when nobody asks, and is replaced when it dies."""

    def __init__(
        self,
        cpu_seconds: int = CPU_SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        wall_seconds: float = WALL_SECONDS,
        longest_answer: int = _LONGEST_ANSWER,
    ) -> None:
        self._cpu_seconds = cpu_seconds
        self._memory_bytes = memory_bytes
        self._wall_seconds = wall_seconds
        self._longest_answer = longest_answer
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._files = 0

    async def facts(self, path: Path, kind: Kind) -> FileFacts:
        """Raises Refused where nothing can be known of it; NotRead, FileNotFoundError."""
        return from_json((await self._ask("facts", path, kind))["facts"])

    async def inspect(self, path: Path, kind: Kind) -> Inspection:
        """What the safety check finds. Raises NotRead, FileNotFoundError."""
        try:
            return inspection_from((await self._ask("inspect", path, kind))["inspection"])
        except Refused as error:
            return unreadable(error.reason)

    async def unpack(self, path: Path, kind: Kind, plate: int, into: Path) -> tuple[Inspection, float | None]:
        """Writes the G-code as text, and tells what is in it and the slicer's word on one run in seconds.

        Raises Refused where it cannot be unpacked; NotRead, StorageFull, FileNotFoundError."""
        told = await self._ask("unpack", path, kind, plate=plate, into=str(into))
        return inspection_from(told["inspection"]), told["estimated_seconds"]

    async def picture(self, path: Path, kind: Kind, size: int) -> bytes:
        """A PNG. Raises Refused if there is nothing to see, or it cannot be drawn; NotRead, FileNotFoundError."""
        return base64.b64decode((await self._ask("picture", path, kind, size=size))["picture"])

    async def close(self) -> None:
        """Ends the process."""
        async with self._turn:
            await self._end()

    async def _ask(self, what: str, path: Path, kind: Kind, **more: int | str) -> dict[str, Any]:
        asked = {"do": what, "path": str(path), "kind": kind.value, "cpu_seconds": self._cpu_seconds, **more}
        async with self._turn:
            answer = await self._answered(json.dumps(asked).encode() + b"\n")
        if answer.get("missing"):
            raise FileNotFoundError(path.name)
        if answer.get("full"):
            raise StorageFull("there is no room for what the file unpacks to")
        if reason := answer.get("refused"):
            raise Refused(reason)
        if error := answer.get("failed"):
            _LOG.error("a reader made a mistake", kind=kind.value, error=error)
            raise Refused(_FELL)
        return answer

    async def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._wall_seconds):
                told = await self._told(line)
        except TimeoutError:
            await self._end()
            raise NotRead("it was not read in time") from None
        except ValueError:
            # The answer is longer than any may be: that is the file's doing, and it would be so again.
            _LOG.warning("what was read from a file is too long")
            await self._end()
            raise Refused(_TOO_MUCH) from None
        except BaseException:
            # What it would still tell belongs to nobody.
            await asyncio.shield(self._end())
            raise
        if told:
            answer: dict[str, Any] = json.loads(told)
            return answer
        raise await self._fallen()

    async def _told(self, line: bytes) -> bytes:
        """Its answer; nothing if it died of it. One that went because nobody asked is followed by another."""
        for _ in range(2):
            process = await self._ready()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(line)
                await process.stdin.drain()
                told = await process.stdout.readline()
            except ConnectionError:
                told = b""
            if told.endswith(b"\n"):
                self._files += 1
                return told
            if await process.wait():
                break
        return b""

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._files >= FILES_PER_PROCESS or (self._process and self._process.returncode is not None):
            await self._end()
        if self._process is None:
            self._files = 0
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "printfarm_files.reader", str(self._memory_bytes)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # Each thread of the library reserves memory that counts against the limit.
                env={"OPENBLAS_NUM_THREADS": "1"},
                limit=self._longest_answer,
            )
        return self._process

    async def _fallen(self) -> Exception:
        assert self._process is not None
        status = await self._process.wait()
        await self._end()
        _LOG.warning("a file could not be read", status=status)
        if status in _STOPPED:
            return NotRead(f"its reader was stopped by signal {-status}")
        return Refused(_WHY.get(status, _FELL))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        # Also empties the pipe, so that its transport is closed.
        await process.communicate()
