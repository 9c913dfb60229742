"""A slicer worker beside the farm, as a process of its own, and the profiles that a first start brings."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import structlog

from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.profiles import ProfileOrder, newest_profiles, put_profile
from printfarm_coordinator.domain.profile import ProfileKind
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_slicer.bootstrap import NoSandbox, NoSlicer, able
from printfarm_slicer.settings import SlicerSettings

_LOG = structlog.get_logger(__name__)
WORKER = "local"
_STOP_SECONDS = 10.0
_AGAIN_SECONDS = 2.0


async def bring_profiles(farm: Farm, caller: Caller) -> None:
    """Those of the virtual printer, where the farm has none yet."""
    if await newest_profiles(farm):
        return
    folder = files("printfarm_standalone") / "profiles"
    for path in sorted(folder.iterdir(), key=lambda each: each.name):
        await put_profile(farm, caller, _order(json.loads(path.read_text())))


def _order(said: dict[str, Any]) -> ProfileOrder:
    models = tuple(said.pop("printer_models", ()))
    return ProfileOrder(**said | {"kind": ProfileKind(said["kind"]), "printer_models": models})


@asynccontextmanager
async def slicer_worker(authority: Authority, control_address: str, data: Path) -> AsyncGenerator[str]:
    """Says what it slices with, or why models are refused."""
    try:
        engines, _ = await asyncio.to_thread(able, SlicerSettings())
    except (NoSlicer, NoSandbox) as error:
        yield f"Models (STL, 3MF) are refused: {error}."
        return
    working = asyncio.create_task(_keep_working(authority, control_address, data / "slicer"))
    try:
        yield f"Models are sliced with {', '.join(f'{name} {each.version}' for name, each in engines.items())}"
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def _keep_working(authority: Authority, control_address: str, credentials: Path) -> None:
    """Begun again whenever it ends, until cancelled."""
    target = {"PRINTFARM_CONTROL_TARGET": control_address, "PRINTFARM_SLICER_CREDENTIALS": str(credentials)}
    while True:
        # Anew at each start: nobody else holds it, and it lasts 90 days.
        await asyncio.to_thread(authority.issue, credentials, Identity(PeerRole.SLICER, WORKER))
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "printfarm_slicer",
            "--with-parent",
            env=os.environ | target,
            # It ends when this closes: with the farm, however that ends.
            stdin=asyncio.subprocess.PIPE,
            # Ctrl-C is for the farm; it ends its worker last.
            start_new_session=True,
        )
        try:
            code = await process.wait()
        finally:
            await _ended(process)
        _LOG.warning("the slicer worker ended; it is begun again", code=code)
        await asyncio.sleep(_AGAIN_SECONDS)


async def _ended(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
