"""A file that comes in: written, hashed and made durable, as the coordinator's store does it."""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import uvloop

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder

from .figures import NO_TARGET, compare_async, tell

_MB = 50
# As the gateway passes a body on.
_PIECE = 512 * 1024


def receive() -> None:
    """The digest is known when the last piece is written; the yardstick writes the same pieces and makes them durable."""
    with tempfile.TemporaryDirectory() as folder:
        uvloop.run(_receive(Path(folder)))


async def _receive(folder: Path) -> None:
    pieces = [os.urandom(_PIECE) for _ in range((_MB << 20) // _PIECE)]
    store = ArtifactFolder(folder / "artifacts")
    try:
        found = await compare_async(lambda: _kept(store, pieces), lambda: _written(folder / "bare", pieces))
    finally:
        await store.close()
    is_what = "the same pieces written in a thread each, and one fsync"
    tell(f"hash while receiving, {_MB} MB", found, "MB/s", NO_TARGET, yardstick_is=is_what)


async def _kept(store: ArtifactFolder, pieces: list[bytes]) -> float:
    began = time.perf_counter()
    async with store.incoming() as incoming:
        for piece in pieces:
            await incoming.write(piece)
        received = await incoming.received()
        await incoming.keep()
    took = time.perf_counter() - began
    assert await store.size(received.sha256) == _MB << 20
    # Else the next round's move finds it there.
    await store.set_aside(received.sha256)
    await store.drop_aside(received.sha256)
    return _MB / took


async def _written(path: Path, pieces: list[bytes]) -> float:
    began = time.perf_counter()
    with path.open("xb", buffering=0) as file:
        for piece in pieces:
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(os.fsync, file.fileno())
    took = time.perf_counter() - began
    await asyncio.to_thread(path.unlink)
    return _MB / took
