"""Virtual printers, as a program of their own beside the farm."""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

_READY_SECONDS = 20.0
_STOP_SECONDS = 5.0


@asynccontextmanager
async def virtual_printers(count: int, folder: Path, time_scale: float) -> AsyncGenerator[list[str]]:
    """The addresses of so many printers; ended with the farm, as pulling their plugs would."""
    if not count:
        yield []
        return
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "printfarm_virtual_printer",
        *("--printers", str(count), "--dir", str(folder), "--time-scale", str(time_scale), "--stop-with-stdin"),
        # Held open and never written to: it ends with the farm, also by ``kill -9``, and the printers with it.
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # Ctrl-C is for the farm; it ends its printers last.
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(_READY_SECONDS):
            line = await process.stdout.readline()
        yield [str(printer["address"]) for printer in json.loads(line)["printers"]]
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
