"""The real PrusaSlicer in the real sandbox: what it makes, what it refuses, and what it is not let do."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from printfarm_slicer.engine import DoesNotFit, Ended, SlicingFailed
from printfarm_slicer.engines.prusaslicer import CONFIG, MODEL, PrusaSlicer
from printfarm_slicer.filling import fill_plate
from printfarm_slicer.running import run
from printfarm_slicer.sandbox import Sandbox, SlicerLimits
from printfarm_slicer.slicing import Work, check_end, slice_model
from tests.support.models import box_3mf, box_stl
from tests.support.slicings import merged

from .conftest import works

SETTINGS = merged("prusaslicer")
LIMITS = SlicerLimits(memory_bytes=2 << 30, wall_seconds=240.0)


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Work]:
    """A model of that content."""
    return works(tmp_path, SETTINGS)


async def test_a_model_becomes_a_checked_print_file(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    told: list[float] = []
    path, checked = await slice_model(prusaslicer, sandbox, LIMITS, work(), folder, told.append)
    assert checked.estimated_seconds is not None and 60 < checked.estimated_seconds < 3_600
    # 4 cm3 at 15 % infill with its walls, of 1.24 g/cm3.
    assert checked.filament_grams is not None and 0.8 < checked.filament_grams < 4
    assert max(told) >= 0.9
    text = path.read_text()
    assert "M109 S215" in text and "; layer_height = 0.2\n" in text and "; post_process = \n" in text


async def test_copies_stand_apart_on_one_plate(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    path, _ = await slice_model(
        prusaslicer, sandbox, LIMITS, work(box_3mf(), "3mf", parts=3), folder, lambda part: None
    )
    copies = {line.rstrip() for line in path.read_text().splitlines() if line.startswith("; printing object")}
    assert len(copies) == 3


async def test_a_plate_is_filled_with_as_many_as_fit_and_no_more(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    asked = work(box_stl(90, 90, 0.6), parts=12)
    path, checked, parts = await fill_plate(prusaslicer, sandbox, LIMITS, asked, folder, lambda part: None)
    copies = {line.rstrip() for line in path.read_text().splitlines() if line.startswith("; printing object")}
    assert len(copies) == parts == 4, "220 mm of bed hold two rows of two"
    assert checked.estimated_seconds is not None
    with pytest.raises(DoesNotFit):
        await slice_model(prusaslicer, sandbox, LIMITS, replace(asked, parts=5), folder, lambda part: None)


async def test_no_more_are_put_on_a_plate_than_are_asked_for_and_none_where_one_is_too_large(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    asked = work(box_stl(40, 40, 0.6), parts=3)
    path, _, parts = await fill_plate(prusaslicer, sandbox, LIMITS, asked, folder, lambda part: None)
    copies = {line.rstrip() for line in path.read_text().splitlines() if line.startswith("; printing object")}
    assert len(copies) == parts == 3
    with pytest.raises(SlicingFailed, match="fit"):
        await fill_plate(prusaslicer, sandbox, LIMITS, work(box_stl(400, 40, 1), parts=3), folder, lambda part: None)


# Bad input 49: the real slicer given the real file runs nothing.
HOSTILE = (
    "; post_process = /usr/bin/touch {where}/owned\n; start_gcode = M104 S999\n"
    "; print_host = 10.0.0.1\n; layer_height = 0.3\n"
)


async def test_a_hostile_3mf_runs_no_command_and_brings_no_settings(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    hostile = box_3mf(config=HOSTILE.format(where=sandbox.folder(folder)))
    path, _ = await slice_model(prusaslicer, sandbox, LIMITS, work(hostile, "3mf"), folder, lambda part: None)
    assert not (folder / "owned").exists()
    text = path.read_text()
    assert "S999" not in text and "10.0.0.1" not in text and "; layer_height = 0.2\n" in text


@pytest.mark.parametrize("locked", [False, True])
async def test_the_command_line_alone_keeps_it_from_running_a_command(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, locked: bool
) -> None:
    # Past our own list of settings: that the unlocked half runs the command shows that the test would see it.
    (folder / MODEL).write_bytes(box_3mf())
    hostile = {**SETTINGS, "post_process": f"/usr/bin/touch {sandbox.folder(folder)}/owned"}
    lines = [f"{key} = {value}\n" for key, value in hostile.items() if "gcode" not in key or key == "gcode_flavor"]
    (folder / CONFIG).write_text("".join(lines))
    command = prusaslicer.command(sandbox.folder(folder), 1)
    if not locked:
        at = command.index("--post-process")
        del command[at : at + 2]
    sandbox.admit(folder)
    await run(
        sandbox.command(folder, LIMITS, command),
        sandbox.environment(folder),
        folder,
        wall_seconds=240,
        disk_bytes=1 << 30,
        on_line=lambda line: None,
        user=sandbox.user,
    )
    assert (folder / "owned").exists() is not locked


@pytest.mark.parametrize(
    ("content", "kind", "settings", "code", "words"),
    [
        (box_stl(400, 400, 10), "stl", {}, "slicer_refused", "fit on the bed"),
        (box_stl(20, 20, 300), "stl", {}, "result_refused", "does not fit the printer: Z"),
        (box_stl(20, 20, 10), "stl", {"layer_height": "0.5"}, "slicer_refused", "ayer height"),
        (box_stl(20, 20, 0.01), "stl", {}, "slicer_refused", "layers"),
        (box_stl()[:-30], "stl", {}, "model_refused", ""),
        (b"PK\x03\x04 no archive", "3mf", {}, "model_refused", ""),
        (box_stl(), "stl", {"start_gcode": "{if 1}G28"}, "slicer_refused", ""),
    ],
)
async def test_what_cannot_be_printed_is_refused_with_the_slicers_own_words(
    prusaslicer: PrusaSlicer,
    sandbox: Sandbox,
    folder: Path,
    work: Callable[..., Work],
    content: bytes,
    kind: str,
    settings: dict[str, str],
    code: str,
    words: str,
) -> None:
    with pytest.raises(SlicingFailed) as failed:
        await slice_model(prusaslicer, sandbox, LIMITS, work(content, kind, **settings), folder, lambda part: None)
    assert failed.value.code == code, failed.value
    assert words in failed.value.reason and "/job" not in failed.value.reason and failed.value.reason


# Bad input 53.
@pytest.mark.parametrize(
    "limits",
    [
        replace(LIMITS, memory_bytes=100 << 20),
        replace(LIMITS, cpu_seconds=1),
        replace(LIMITS, file_bytes=1 << 20),
        replace(LIMITS, wall_seconds=0.5),
    ],
    ids=["memory", "processor", "file", "time"],
)
async def test_a_slicer_that_wants_too_much_is_ended(
    prusaslicer: PrusaSlicer, sandbox: Sandbox, folder: Path, work: Callable[..., Work], limits: SlicerLimits
) -> None:
    large = work(box_stl(200, 200, 200), fill_density="90%", layer_height="0.05")
    with pytest.raises(SlicingFailed) as failed:
        await slice_model(prusaslicer, sandbox, limits, large, folder, lambda part: None)
    assert failed.value.code == "slicer_limit", failed.value
    assert not (folder / "out.gcode").exists()


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (Ended(-6, "", "terminate called"), "slicer_crashed"),
        (Ended(139, "", ""), "slicer_crashed"),
        (Ended(-9, "", ""), "slicer_limit"),
        (Ended(137, "", ""), "slicer_limit"),
        (Ended(-24, "", ""), "slicer_limit"),
        (Ended(-25, "", ""), "slicer_limit"),
        (Ended(134, "", "what():  std::bad_alloc"), "slicer_limit"),
        (Ended(1, "10 => Processing triangulated mesh", ""), "slicer_limit"),
        (Ended(1, "", "Layer height can't be greater than nozzle diameter"), "slicer_refused"),
    ],
)
def test_each_end_has_its_name(ended: Ended, code: str, tmp_path: Path) -> None:
    with pytest.raises(SlicingFailed) as failed:
        check_end(PrusaSlicer("prusa-slicer", "2.5.0"), ended, tmp_path)
    assert failed.value.code == code
