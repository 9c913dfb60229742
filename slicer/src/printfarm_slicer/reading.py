"""Reads one model in a process of its own: ``python -m printfarm_slicer.reading KIND SOURCE TARGET CPU_SECONDS MEMORY_BYTES``.

The triangles go to TARGET; ``{"refused": null}`` is printed, or the reason. It ends with another status than 0 when
the limits did not suffice.
"""

import json
import resource
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from .engine import Ended, SlicingFailed
from .models import read_model, save
from .running import run
from .sandbox import SlicerLimits

# Twenty-five million elements are read in less.
CPU_SECONDS = 180
_LIMIT_STATUSES = {-signal.SIGXCPU, -signal.SIGKILL}
_OUT_OF_MEMORY = ("MemoryError", "Cannot allocate memory", "failed to map segment")
_NAME = "triangles.npz"
# Each thread of the library reserves memory that counts against the limit.
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}


@asynccontextmanager
async def model_read(
    source: Path, kind: str, limits: SlicerLimits, cpu_seconds: int = CPU_SECONDS
) -> AsyncGenerator[Path]:
    """The model's triangles in a file for ``models.load``, gone afterwards. Neither this process nor the host pays for what is
    in it. Raises SlicingFailed ``model_refused``, ``slicer_limit``, ``worker_fault``."""
    target = source.with_name(_NAME)
    program = (sys.executable, "-I", "-m", "printfarm_slicer.reading", kind, str(source), str(target))
    bounds = (str(min(cpu_seconds, limits.cpu_seconds)), str(limits.memory_bytes))
    try:
        ended = await run(
            [*program, *bounds],
            _ENVIRONMENT,
            source.parent,
            wall_seconds=limits.wall_seconds,
            disk_bytes=2 * limits.file_bytes,
            on_line=lambda line: None,
        )
        _check(ended)
        yield target
    finally:
        target.unlink(missing_ok=True)


def _check(ended: Ended) -> None:
    if ended.returncode in _LIMIT_STATUSES or any(word in ended.stderr for word in _OUT_OF_MEMORY):
        raise SlicingFailed("slicer_limit", "to read the model takes more time or memory than a model is given")
    if ended.returncode:
        raise SlicingFailed("worker_fault", "the worker fell over the model")
    if reason := json.loads(ended.stdout)["refused"]:
        raise SlicingFailed("model_refused", reason)


def main(kind: str, source: str, target: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Sets the limits before anything of the file is touched."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds),) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    refused = None
    try:
        save(*read_model(Path(source), kind), Path(target))
    except SlicingFailed as failure:
        refused = failure.reason
    sys.stdout.write(json.dumps({"refused": refused}))


if __name__ == "__main__":
    main(*sys.argv[1:])
