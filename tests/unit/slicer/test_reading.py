"""Models are read in a process of its own, within limits, and come whole from there."""

import struct
from pathlib import Path

import numpy as np
import pytest

from printfarm_files.threemf_write import write_clean_3mf
from printfarm_slicer.engine import SlicingFailed
from printfarm_slicer.models import load, read_model
from printfarm_slicer.reading import model_read
from printfarm_slicer.sandbox import SlicerLimits
from tests.support.hostile_models import endless
from tests.support.models import box_stl
from tests.support.print_files import mesh_xml, model_xml, three_mf

LIMITS = SlicerLimits(memory_bytes=2 << 30, wall_seconds=60.0)
MOVED = '<item objectid="2" transform="1 0 0 0 1 0 0 0 1 30 0 0"/>'
SEVERAL = model_xml(
    f'<object id="1">{mesh_xml()}</object><object id="2"><components><component objectid="1"/>'
    '<component objectid="1" transform="1 0 0 0 1 0 0 0 1 0 50 0"/></components></object>',
    '<item objectid="1"/>' + MOVED,
)


def written(folder: Path, content: bytes) -> Path:
    source = folder / "source"
    source.write_bytes(content)
    return source


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def slow() -> bytes:
    """Two million corners: some seconds of work."""
    corners = "".join(f'<vertex x="{i}" y="1" z="2"/>' for i in range(2_000_000))
    return three_mf(model_xml(f'<object id="1"><mesh><vertices>{corners}</vertices></mesh></object>'))


def large() -> bytes:
    """An STL of 12 MB."""
    whole = box_stl()
    return whole[:80] + struct.pack("<I", 12 * 20_000) + whole[84:] * 20_000


@pytest.mark.parametrize(("kind", "content"), [("stl", box_stl()), ("3mf", three_mf(SEVERAL))])
async def test_what_is_read_apart_is_what_is_read_here(tmp_path: Path, kind: str, content: bytes) -> None:
    source = written(tmp_path, content)
    async with model_read(source, kind, LIMITS) as kept:
        model, box = load(kept)
    expected, around = read_model(source, kind)
    assert (model.count, box) == (expected.count, around)
    assert np.array_equal(model.corners(0, model.count), expected.corners(0, expected.count))
    made = tmp_path / "made"
    for each in (model, expected):
        write_clean_3mf(each, made)
    assert names(tmp_path) == ["made", "source"]


@pytest.mark.parametrize(
    ("content", "limits", "cpu_seconds", "code"),
    [
        (endless, LIMITS, 60, "model_refused"),
        (lambda: b"PK\x03\x04 no archive", LIMITS, 60, "model_refused"),
        (slow, LIMITS, 1, "slicer_limit"),
        (large, SlicerLimits(memory_bytes=64 << 20), 60, "slicer_limit"),
        (endless, SlicerLimits(wall_seconds=0.05), 60, "slicer_limit"),
    ],
)
async def test_a_model_holds_nobody_up(
    tmp_path: Path, content: object, limits: SlicerLimits, cpu_seconds: int, code: str
) -> None:
    assert callable(content)
    source = written(tmp_path, content())
    with pytest.raises(SlicingFailed) as failed:
        async with model_read(source, "stl" if content is large else "3mf", limits, cpu_seconds):
            pass
    assert failed.value.code == code
    assert names(tmp_path) == ["source"]
