"""One slicing from model to checked print file, in a folder of its own."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .check import Checked, check_result
from .engine import Ended, Order, SlicerEngine, SlicingFailed
from .models import load
from .reading import model_read
from .running import run
from .sandbox import Sandbox, SlicerLimits

_LIMIT_SIGNALS = {signal.SIGXCPU: "processor time", signal.SIGXFSZ: "room for its file", signal.SIGKILL: "memory"}
_OUT_OF_MEMORY = ("bad_alloc", "Cannot allocate memory", "out of memory", "failed to map segment")


@dataclass(frozen=True, slots=True)
class Work:
    """What to slice. ``source``: the file as the client sent it, of the kind stl or 3mf."""

    source: Path
    kind: str
    settings: Mapping[str, str]
    parts: int


async def slice_model(
    engine: SlicerEngine,
    sandbox: Sandbox,
    limits: SlicerLimits,
    work: Work,
    folder: Path,
    on_progress: Callable[[float], None],
) -> tuple[Path, Checked]:
    """The print file, and what it says of itself. ``folder`` is empty, and the slicer's alone. Raises SlicingFailed."""
    async with model_read(work.source, work.kind, limits) as model:
        program = await asyncio.to_thread(_prepared, engine, work, model, folder, sandbox.folder(folder))

    def heard(line: str) -> None:
        if (part := engine.progress(line)) is not None:
            on_progress(part)

    ended = await _ran(engine, sandbox, limits, folder, program, heard)
    result = await asyncio.to_thread(engine.result, work.settings, ended, folder)
    return result, await asyncio.to_thread(check_result, result, engine.wanted(work.settings))


async def try_parts(engine: SlicerEngine, sandbox: Sandbox, limits: SlicerLimits, work: Work, folder: Path) -> None:
    """Returns if so many parts fit on the plate, as far as can be told without slicing. Raises DoesNotFit, SlicingFailed."""
    async with model_read(work.source, work.kind, limits) as model:
        program = await asyncio.to_thread(_tried, engine, work, model, folder, sandbox.folder(folder))
    if program is not None:
        await _ran(engine, sandbox, limits, folder, program, lambda line: None)


async def _ran(
    engine: SlicerEngine,
    sandbox: Sandbox,
    limits: SlicerLimits,
    folder: Path,
    program: list[str],
    heard: Callable[[str], None],
) -> Ended:
    """How it ended, which was well. Raises SlicingFailed."""
    sandbox.admit(folder)
    ended = await run(
        sandbox.command(folder, limits, program),
        sandbox.environment(folder),
        folder,
        wall_seconds=limits.wall_seconds,
        disk_bytes=limits.file_bytes,
        on_line=heard,
        user=sandbox.user,
    )
    check_end(engine, ended, folder)
    return ended


def _tried(engine: SlicerEngine, work: Work, model: Path, folder: Path, inside: PurePosixPath) -> list[str] | None:
    return engine.trial(Order(*load(model), work.settings, work.parts), folder, inside)


def _prepared(engine: SlicerEngine, work: Work, model: Path, folder: Path, inside: PurePosixPath) -> list[str]:
    """The triangles are let go of before the slicer needs the memory."""
    return engine.prepare(Order(*load(model), work.settings, work.parts), folder, inside)


def check_end(engine: SlicerEngine, ended: Ended, folder: Path) -> None:
    """Raises SlicingFailed unless the program ended well. A signal comes as itself, or as 128 more through another program."""
    code = ended.returncode
    if code and any(word in ended.stdout + ended.stderr for word in _OUT_OF_MEMORY):
        raise SlicingFailed("slicer_limit", "the slicer needed more memory than it may have")
    if failure := engine.failure(ended, folder):
        raise failure
    number = -code if code < 0 else code - 128 if code > 128 else 0
    if number in _LIMIT_SIGNALS:
        raise SlicingFailed(
            "slicer_limit", f"the slicer needed more {_LIMIT_SIGNALS[signal.Signals(number)]} than it may have"
        )
    if number:
        raise SlicingFailed("slicer_crashed", f"the slicer crashed ({_name(number)}): the model is not tried again")
    if code:
        raise SlicingFailed("slicer_refused", f"the slicer ended with code {code} and did not say why")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
