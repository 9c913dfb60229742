"""Runs one program to its end: output read as it comes, ended with its whole group when its time is over."""

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .engine import Ended, SlicingFailed

KEPT_BYTES = 64 * 1024
_TERM_SECONDS = 5.0
_POLL_SECONDS = 0.5


async def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    wall_seconds: float,
    disk_bytes: int,
    on_line: Callable[[str], None],
    user: int | None = None,
) -> Ended:
    """How it ended. Raises SlicingFailed ``slicer_limit`` where time or room ran out. A cancellation ends it, too.

    ``disk_bytes``: of all files in its folder together; the kernel's limit is for each. ``user``: whom it runs as.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(environment),
        cwd=folder,
        start_new_session=True,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
    )
    assert process.stdout is not None
    assert process.stderr is not None
    reading = asyncio.gather(_read(process.stdout, on_line), _read(process.stderr, on_line))
    watching = asyncio.ensure_future(_watch(folder, disk_bytes))
    both: set[asyncio.Future[Any]] = {reading, watching}
    try:
        done, _ = await asyncio.wait(both, timeout=wall_seconds, return_when=asyncio.FIRST_COMPLETED)
        if reading in done:
            stdout, stderr = reading.result()
            return Ended(await asyncio.wait_for(process.wait(), _TERM_SECONDS), stdout, stderr)
        raise SlicingFailed("slicer_limit", _why(watching in done, wall_seconds, disk_bytes))
    except TimeoutError as error:
        raise SlicingFailed("slicer_limit", "the slicer closed its output and did not end") from error
    finally:
        watching.cancel()
        await _end(process)
        await asyncio.gather(reading, watching, return_exceptions=True)


def _why(full: bool, wall_seconds: float, disk_bytes: int) -> str:
    if full:
        return f"the slicer wrote more than {disk_bytes >> 20} MiB"
    return f"the slicer was not done within {wall_seconds:g} s"


async def _read(stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> str:
    """The last of it; every whole line is told."""
    kept, rest = bytearray(), b""
    while chunk := await stream.read(8 * 1024):
        kept += chunk
        del kept[:-KEPT_BYTES]
        *lines, rest = (rest + chunk).split(b"\n")
        rest = rest[-KEPT_BYTES:]
        for line in lines:
            on_line(line.decode("utf-8", "replace"))
    return kept.decode("utf-8", "replace")


async def _watch(folder: Path, most: int) -> None:
    """Returns when the folder holds more."""
    while await asyncio.to_thread(_size, folder) <= most:  # noqa: ASYNC110 - another process's doing sets no Event
        await asyncio.sleep(_POLL_SECONDS)


def _size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole group: asked first, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        if process.returncode is not None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_TERM_SECONDS):
                await process.wait()
