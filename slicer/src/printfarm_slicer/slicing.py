"""One slicing from model to checked print file, in a folder of its own."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .check import Checked, check_result
from .engine import MODEL, RESULT, Ended, SlicerEngine, SlicingFailed
from .models import write_clean_model
from .running import run
from .sandbox import Sandbox, SlicerLimits

_LIMIT_SIGNALS = {signal.SIGXCPU: "processor time", signal.SIGXFSZ: "room for its file", signal.SIGKILL: "memory"}
# Ends that PrusaSlicer leaves by an uncaught exception, and are the model's.
_PLAIN_WORDS = ("could not fit on the bed",)
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
    await asyncio.to_thread(write_clean_model, work.source, work.kind, folder / MODEL)
    for name, content in engine.files(work.settings).items():
        (folder / name).write_bytes(content)
    sandbox.admit(folder)
    command = sandbox.command(folder, limits, engine.command(sandbox.folder(folder), work.parts))

    def heard(line: str) -> None:
        if (part := engine.progress(line)) is not None:
            on_progress(part)

    ended = await run(
        command,
        sandbox.environment(folder),
        folder,
        wall_seconds=limits.wall_seconds,
        disk_bytes=limits.file_bytes,
        on_line=heard,
        user=sandbox.user,
    )
    check_end(engine, ended)
    result = folder / RESULT
    if result.is_symlink():
        raise SlicingFailed("result_refused", "the slicer's file is none of its own")
    return result, await asyncio.to_thread(check_result, result, work.settings)


def check_end(engine: SlicerEngine, ended: Ended) -> None:
    """Raises SlicingFailed unless the program ended well. A signal comes as itself, or as 128 more through another program."""
    code = ended.returncode
    if code == 0:
        return
    number = -code if code < 0 else code - 128 if code > 128 else 0
    said = ended.stdout + ended.stderr
    refusal = engine.refusal(ended)
    # PrusaSlicer meets the end of its address space without a word.
    if any(word in said for word in _OUT_OF_MEMORY) or (not number and not refusal):
        raise SlicingFailed("slicer_limit", "the slicer needed more memory than it may have")
    if any(word in said for word in _PLAIN_WORDS):
        raise SlicingFailed("slicer_refused", refusal)
    if number in _LIMIT_SIGNALS:
        raise SlicingFailed(
            "slicer_limit", f"the slicer needed more {_LIMIT_SIGNALS[signal.Signals(number)]} than it may have"
        )
    if number:
        raise SlicingFailed("slicer_crashed", f"the slicer crashed ({_name(number)}): the model is not tried again")
    raise SlicingFailed("slicer_refused", refusal)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
