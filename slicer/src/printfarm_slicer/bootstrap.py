"""The composition root: the only place that names engines."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog

from printfarm_rpc.tls import CredentialFiles, check

from .client import FarmClient
from .engine import SlicerEngine
from .engines.cura import CuraEngine
from .engines.orcaslicer import OrcaSlicer
from .engines.prusaslicer import PrusaSlicer
from .sandbox import NoSandbox, Sandbox
from .settings import SlicerSettings
from .worker import Worker

_LOG = structlog.get_logger(__name__)


class NoSlicer(Exception):
    """This host has no slicer. The text says what to install."""


def find_engines(settings: SlicerSettings) -> dict[str, SlicerEngine]:
    """The slicers that are installed here and can be used, by name."""
    found: list[SlicerEngine | None] = [
        PrusaSlicer.find(),
        CuraEngine.find(settings.cura_definitions),
        OrcaSlicer.find(settings.orca_program),
    ]
    return {engine.name: engine for engine in found if engine is not None}


def able(settings: SlicerSettings) -> tuple[dict[str, SlicerEngine], Sandbox]:
    """What this host slices with. Raises NoSlicer, NoSandbox."""
    engines = find_engines(settings)
    if not engines:
        raise NoSlicer(
            "no slicer is installed: install PrusaSlicer (apt-get install prusa-slicer), CuraEngine or OrcaSlicer"
        )
    return engines, Sandbox.open(limits_only=settings.limits_only)


@asynccontextmanager
async def open_slicer(settings: SlicerSettings) -> AsyncGenerator[dict[str, str]]:
    """Works while the context is open; the value is its engines, name -> version.

    Raises NoSlicer, NoSandbox, CredentialsError.
    """
    engines, sandbox = await asyncio.to_thread(able, settings)
    if not sandbox.is_caged:
        _LOG.warning("no sandbox: slicers reach this host's network and files; only limits hold")
    files = CredentialFiles.in_folder(settings.credentials)
    check(files, time.time())
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_work_folder(settings.work_dir))
        client = FarmClient(settings.control_target, files, settings.control_server_name)
        stack.push_async_callback(client.close)
        worker = Worker(client, engines, sandbox, settings.limits, folder)
        working = asyncio.create_task(worker.work_for_ever(), name="slicer")
        stack.push_async_callback(_cancelled, working)
        versions = {name: engine.version for name, engine in engines.items()}
        _LOG.info("slicer works", engines=versions, coordinator=settings.control_target)
        yield versions


@contextmanager
def _work_folder(given: Path | None) -> Generator[Path]:
    """Where each slicing gets its folder. One that was given is this worker's alone, and is emptied first."""
    if given is None:
        folder = Path(tempfile.mkdtemp(prefix="printfarm-slicer-"))
    else:
        folder = given.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("job-*"):
            # What a killed worker left is of no use to anybody.
            shutil.rmtree(left, ignore_errors=True)
    # A slicer that runs as nobody passes through to its own folder, and sees no other.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        if given is None:
            shutil.rmtree(folder, ignore_errors=True)


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


__all__ = ["NoSandbox", "NoSlicer", "able", "find_engines", "open_slicer"]
