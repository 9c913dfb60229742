"""The real OrcaSlicer in the real sandbox, where somebody has installed it."""

from pathlib import Path

import pytest

from printfarm_files.reading import read_facts
from printfarm_slicer.engine import SlicingFailed
from printfarm_slicer.engines.orcaslicer import OrcaSlicer
from printfarm_slicer.sandbox import Sandbox, SlicerLimits
from printfarm_slicer.slicing import slice_model
from tests.support.models import box_stl
from tests.support.slicings import merged

from .conftest import works

SETTINGS = merged("orcaslicer")
# A browser's libraries take address space, not memory.
LIMITS = SlicerLimits(memory_bytes=16 << 30, wall_seconds=240.0)


async def test_a_model_becomes_a_checked_print_file(
    orcaslicer: OrcaSlicer, sandbox: Sandbox, folder: Path, tmp_path: Path
) -> None:
    work = works(tmp_path, SETTINGS)(parts=2)
    path, checked = await slice_model(orcaslicer, sandbox, LIMITS, work, folder, lambda part: None)
    assert checked.filament_grams is not None and 1.6 < checked.filament_grams < 8
    facts = read_facts(path)
    assert (facts.slicer, facts.layer_height_mm) == ("OrcaSlicer", 0.2)
    assert facts.bounds_model is not None and max(facts.bounds_model.size) == pytest.approx(45, abs=1)


async def test_what_does_not_fit_is_refused(
    orcaslicer: OrcaSlicer, sandbox: Sandbox, folder: Path, tmp_path: Path
) -> None:
    work = works(tmp_path, SETTINGS)(box_stl(400, 400, 10))
    with pytest.raises(SlicingFailed, match="fit on the bed"):
        await slice_model(orcaslicer, sandbox, LIMITS, work, folder, lambda part: None)
