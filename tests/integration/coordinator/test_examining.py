"""Models are read in a process of its own, within limits."""

from pathlib import Path

import pytest

from printfarm_coordinator.adapters.artifacts.examining import Examiner
from printfarm_files import Kind, Refused
from tests.support.models import box_3mf, box_stl


async def test_a_sound_model_passes_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    sound, broken = tmp_path / "sound", tmp_path / "broken"
    sound.write_bytes(box_3mf())
    broken.write_bytes(box_stl()[:-1])
    await Examiner().examine(sound, Kind.THREE_MF)
    with pytest.raises(Refused) as refused:
        await Examiner().examine(broken, Kind.STL)
    assert str(tmp_path) not in refused.value.reason


@pytest.mark.parametrize(
    "examiner", [Examiner(seconds=0.0), Examiner(memory_bytes=1 << 20)], ids=["no time", "no memory"]
)
async def test_limits_that_do_not_suffice_refuse_nobody(tmp_path: Path, examiner: Examiner) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(box_stl()[:-1])
    await examiner.examine(broken, Kind.STL)
