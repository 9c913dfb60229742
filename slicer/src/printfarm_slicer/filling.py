"""As many copies on one plate as it takes: tried without slicing where the slicer can, then sliced."""

import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from .check import Checked
from .engine import DoesNotFit, SlicerEngine
from .sandbox import Sandbox, SlicerLimits
from .slicing import Work, slice_model, try_parts


async def most_that_fit(most: int, fits: Callable[[int], Awaitable[bool]]) -> int:
    """The largest number up to ``most`` that fits, if whatever is less than one that fits does, too; 1 where not even that is
    known to fit. Each number is tried at most once, and of 100 at most seven are."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        if await fits(middle):
            low = middle
        else:
            high = middle - 1
    return low


async def fill_plate(
    engine: SlicerEngine,
    sandbox: Sandbox,
    limits: SlicerLimits,
    work: Work,
    folder: Path,
    on_progress: Callable[[float], None],
) -> tuple[Path, Checked, int]:
    """As ``slice_model``, with as many copies as fit, ``work.parts`` at most; and how many those are.

    What a slicer arranges may still not fit with its skirt: then fewer are sliced, one less first, and ever more after that.
    Raises SlicingFailed; DoesNotFit where not even one does."""

    async def fits(parts: int) -> bool:
        _emptied(folder)
        try:
            await try_parts(engine, sandbox, limits, replace(work, parts=parts), folder)
        except DoesNotFit:
            return False
        return True

    parts, less = await most_that_fit(work.parts, fits), 1
    while True:
        _emptied(folder)
        try:
            result, checked = await slice_model(
                engine, sandbox, limits, replace(work, parts=parts), folder, on_progress
            )
        except DoesNotFit:
            if parts == 1:
                raise
            parts, less = max(1, parts - less), 2 * less
        else:
            return result, checked, parts


def _emptied(folder: Path) -> None:
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()
