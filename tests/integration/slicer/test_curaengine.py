"""The real CuraEngine in the real sandbox: what it makes, what it refuses, and what it is not let do."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from printfarm_coordinator.domain.slicer_keys import ENGINES, Rule
from printfarm_files.reading import read_facts
from printfarm_slicer.engine import Ended, Order, SlicingFailed
from printfarm_slicer.engines.cura import CuraEngine
from printfarm_slicer.engines.cura.definitions import Definitions
from printfarm_slicer.engines.cura.program import DEFINITION
from printfarm_slicer.models import read_model
from printfarm_slicer.sandbox import Sandbox, SlicerLimits
from printfarm_slicer.slicing import Work, check_end, slice_model
from tests import cura
from tests.conftest import need
from tests.support.models import box_3mf, box_stl
from tests.support.slicings import merged

from .conftest import works

SETTINGS = merged("curaengine")
LIMITS = SlicerLimits(memory_bytes=2 << 30, wall_seconds=240.0)
_NOWHERE = PurePosixPath("/job")


@pytest.fixture
def work(tmp_path: Path) -> Callable[..., Work]:
    """A model of that content."""
    return works(tmp_path, SETTINGS)


async def test_a_model_becomes_a_checked_print_file(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    told: list[float] = []
    path, checked = await slice_model(curaengine, sandbox, LIMITS, work(), folder, told.append)
    assert checked.estimated_seconds is not None and 60 < checked.estimated_seconds < 3_600
    # 4 cm3 at 15 % infill with its walls, of 1.24 g/cm3.
    assert checked.filament_grams is not None and 0.8 < checked.filament_grams < 4
    # From less than half on: somebody who waits sees it move.
    assert max(told) == 1.0 and min(told) < 0.5
    facts = read_facts(path)
    assert (facts.slicer, facts.gcode_flavor, facts.layer_height_mm) == ("Cura", "Marlin", 0.2)
    assert facts.slicer_version is not None and curaengine.version.startswith(facts.slicer_version)
    # The first layer of Cura's own default, 0.3 mm, and 49 of ours reach 10 mm.
    assert facts.layer_count == 50
    # What it extrudes by its moves is what the header says, which the engine itself leaves unfilled.
    assert facts.length_mm is not None and checked.filament_grams == pytest.approx(
        facts.length_mm * 3.14159 / 4 * 1.75**2 * 1.24 / 1000, rel=0.01
    )
    (tool,) = facts.tools
    assert (tool.filament_type, tool.nozzle_mm, tool.first_layer_hotend_celsius) == ("PLA", 0.4, 210)
    assert facts.bounds_model is not None and facts.bed_mm is not None and facts.bed_mm.high == (220, 220, 250)
    middle = [(low + high) / 2 for low, high in zip(facts.bounds_model.low, facts.bounds_model.high, strict=True)]
    assert middle[:2] == pytest.approx([110, 110], abs=0.2)
    text = path.read_text()
    # Each place is filled; the nozzle is heated by the start code alone, the bed by Cura, for the start code does not.
    assert "{" not in text and text.count("M109 S210") == 1 and "M190 S60" in text
    assert "model.stl" in text and str(folder) not in text and "/job" not in text


async def test_formulas_give_what_a_profile_leaves_out(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    # A line width of 0.6 mm and 40 % infill: the distance of lines follows, and so does what is extruded.
    thin = curaengine._resolved(SETTINGS)
    wide = curaengine._resolved({**SETTINGS, "line_width": "0.6", "infill_sparse_density": "40"})
    assert thin["infill_line_distance"] == pytest.approx(0.4 * 100 / 15 * 2)
    # Above 25 % Cura's pattern is lines, which are not crossed by others.
    assert (wide["infill_pattern"], wide["infill_line_distance"]) == ("lines", pytest.approx(0.6 * 100 / 40))
    assert wide["wall_line_width_0"] == 0.6 and wide["wall_line_count"] == 1
    assert (thin["top_layers"], thin["material_bed_temperature_layer_0"]) == (4, 60)
    _, checked = await slice_model(
        curaengine, sandbox, LIMITS, work(infill_sparse_density="100"), folder, lambda part: None
    )
    # 4 cm3, solid.
    assert checked.filament_grams == pytest.approx(4 * 1.24, rel=0.08)


async def test_copies_stand_apart_on_one_plate(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    path, checked = await slice_model(
        curaengine, sandbox, LIMITS, work(box_3mf(), "3mf", parts=3), folder, lambda part: None
    )
    facts = read_facts(path)
    # Two columns and two rows of 20 mm, 5 mm apart.
    assert facts.bounds_model is not None and facts.bounds_model.size[:2] == pytest.approx((45, 45), abs=0.5)
    assert checked.filament_grams is not None and checked.filament_grams > 3


async def test_a_bed_around_the_origin(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    path, _ = await slice_model(
        curaengine, sandbox, LIMITS, work(machine_center_is_zero="true"), folder, lambda part: None
    )
    facts = read_facts(path)
    assert facts.bounds_model is not None
    assert facts.bounds_model.low[0] == pytest.approx(-facts.bounds_model.high[0], abs=0.2)


@pytest.mark.parametrize(
    ("content", "kind", "parts", "settings", "code", "words"),
    [
        (box_stl(400, 400, 10), "stl", 1, {}, "slicer_refused", "does not fit on the bed: 400.0 x 400.0 mm"),
        (box_stl(100, 100, 10), "stl", 5, {}, "slicer_refused", "5 parts do not fit on the bed"),
        (box_stl(20, 20, 300), "stl", 1, {}, "slicer_refused", "300.0 mm high, and the printer prints 250 mm"),
        # It fits, and its skirt does not.
        (box_stl(219, 20, 1), "stl", 1, {}, "result_refused", "does not fit the printer: X"),
        (box_stl(20, 20, 0.01), "stl", 1, {}, "slicer_refused", "no layer"),
        (box_stl()[:-30], "stl", 1, {}, "model_refused", "cut off"),
        (b"PK\x03\x04 no archive", "3mf", 1, {}, "model_refused", ""),
        (box_stl(), "stl", 1, {"machine_start_gcode": "M104 S{hot}"}, "slicer_refused", "{hot} is no setting"),
        (box_stl(), "stl", 1, {"layer_hight": "0.2"}, "slicer_refused", "no setting layer_hight"),
        (box_stl(), "stl", 1, {"wall_line_count": "two"}, "slicer_refused", "wall_line_count is no int"),
        (box_stl(), "stl", 1, {"infill_pattern": "stars"}, "slicer_refused", "infill_pattern must be one of"),
        (box_stl(), "stl", 1, {"layer_height": "0"}, "slicer_refused", "formula for top_layers cannot be reckoned"),
    ],
)
async def test_what_cannot_be_printed_is_refused_with_a_reason(
    curaengine: CuraEngine,
    sandbox: Sandbox,
    folder: Path,
    work: Callable[..., Work],
    content: bytes,
    kind: str,
    parts: int,
    settings: dict[str, str],
    code: str,
    words: str,
) -> None:
    with pytest.raises(SlicingFailed) as failed:
        await slice_model(
            curaengine, sandbox, LIMITS, work(content, kind, parts=parts, **settings), folder, lambda part: None
        )
    assert failed.value.code == code, failed.value
    assert words in failed.value.reason and "/job" not in failed.value.reason and failed.value.reason


# Bad input 49 and 53.
async def test_what_names_a_file_is_emptied_and_a_project_brings_no_settings(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work]
) -> None:
    hostile = box_3mf(config="; post_process = /usr/bin/touch owned\n; layer_height = 0.3\n")
    asked = work(hostile, "3mf", cross_infill_density_image="/etc/passwd")
    path, _ = await slice_model(curaengine, sandbox, LIMITS, asked, folder, lambda part: None)
    told = json.loads((folder / DEFINITION).read_text())["settings"]
    assert told["cross_infill_density_image"] == {"default_value": ""}
    assert told["layer_height"] == {"default_value": 0.2} and read_facts(path).layer_height_mm == 0.2
    assert not (folder / "owned").exists()


@pytest.mark.parametrize(
    "limits",
    [
        replace(LIMITS, memory_bytes=60 << 20),
        replace(LIMITS, cpu_seconds=1),
        replace(LIMITS, file_bytes=1 << 20),
        replace(LIMITS, wall_seconds=0.5),
    ],
    ids=["memory", "processor", "file", "time"],
)
async def test_a_slicer_that_wants_too_much_is_ended(
    curaengine: CuraEngine, sandbox: Sandbox, folder: Path, work: Callable[..., Work], limits: SlicerLimits
) -> None:
    large = work(box_stl(200, 200, 200), infill_sparse_density="90", layer_height="0.05")
    with pytest.raises(SlicingFailed) as failed:
        await slice_model(curaengine, sandbox, limits, large, folder, lambda part: None)
    assert failed.value.code == "slicer_limit", failed.value


async def test_a_link_in_place_of_the_print_file_is_not_followed(
    curaengine: CuraEngine, folder: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    (folder / "out.gcode").symlink_to(secret)
    with pytest.raises(SlicingFailed, match="none of its own"):
        curaengine.result(SETTINGS, Ended(0, "", ""), folder)
    assert secret.read_text() == "of the host"


SUMMARY = "Gcode header after slicing:\n;FLAVOR:Marlin\n;TIME:60\n;Layer height: 0.2\nEnd of gcode header.\n"


@pytest.mark.parametrize(
    ("ended", "code", "words"),
    [
        (Ended(0, "", "[ERROR] Unable to open STL /job/model.stl\n"), "slicer_refused", "Unable to open STL the model"),
        (Ended(0, "", ""), "slicer_refused", "no layer"),
        (Ended(0, "", SUMMARY.replace("60", "0")), "slicer_refused", "no layer"),
        (Ended(1, "", "[ERROR] Failed to load settings\n"), "slicer_refused", "Failed to load settings"),
        (Ended(-11, "", ""), "slicer_crashed", "SIGSEGV"),
        (Ended(137, "", ""), "slicer_limit", "memory"),
        (Ended(134, "", "what():  std::bad_alloc"), "slicer_limit", "memory"),
    ],
)
def test_each_end_has_its_name(ended: Ended, code: str, words: str, curaengine: CuraEngine, tmp_path: Path) -> None:
    with pytest.raises(SlicingFailed) as failed:
        check_end(curaengine, ended, tmp_path)
    assert failed.value.code == code and words in failed.value.reason
    check_end(curaengine, Ended(0, "", SUMMARY), tmp_path)


def test_the_version_changes_with_the_definitions(curaengine: CuraEngine, tmp_path: Path) -> None:
    need("cura")
    found = cura.definitions()
    assert found is not None
    for name in ("fdmprinter.def.json", "fdmextruder.def.json"):
        (tmp_path / name).write_bytes((found / name).read_bytes())
    same = CuraEngine.find(tmp_path)
    assert same is not None and same.version == curaengine.version
    text = (tmp_path / "fdmprinter.def.json").read_text()
    (tmp_path / "fdmprinter.def.json").write_text(text + "\n")
    other = CuraEngine.find(tmp_path)
    assert other is not None and other.version != curaengine.version
    # Definitions that cannot be reckoned are found out at the start, not at the first model.
    (tmp_path / "fdmprinter.def.json").write_text(text.replace("machine_nozzle_size / 2", "open('x') / 2", 1))
    assert CuraEngine.find(tmp_path) is None


def test_no_setting_of_a_user_reaches_the_command_line(curaengine: CuraEngine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(box_stl())
    order = Order(*read_model(source, "stl"), {**SETTINGS, "material_type": "-s evil=1"}, 2)
    command = curaengine.prepare(order, tmp_path, _NOWHERE)
    assert "evil" not in " ".join(command)
    assert command[1:8] == ["slice", "-v", "-p", "-j", "setup.def.json", "-o", "out.gcode"]
    assert command[8:] == [
        *("-l", "model.stl", "-s", "mesh_position_x=0.000", "-s", "mesh_position_y=-12.500"),
        *("-l", "model.stl", "-s", "mesh_position_x=0.000", "-s", "mesh_position_y=12.500"),
    ]


def the_farms_list() -> tuple[Definitions, Mapping[str, Rule]]:
    need("cura")
    folder = cura.definitions()
    assert folder is not None
    return Definitions.read(folder), ENGINES["curaengine"].rules


def test_the_farms_list_of_settings_is_one_of_real_settings() -> None:
    known, rules = the_farms_list()
    assert [key for key in rules if key not in known] == ["material_type", "material_density"]


def test_no_value_that_the_farms_list_allows_is_one_that_a_formula_stumbles_over() -> None:
    known, rules = the_farms_list()
    whole = {key: value for key, value in SETTINGS.items() if key in known}
    for key, rule in rules.items():
        if key in known:
            ends = {"number": (f"{rule.least:g}", f"{rule.most:g}"), "truth": ("true", "false"), "choice": rule.choices}
            for value in ends.get(rule.form, ()):
                assert known.resolved({**whole, key: value})[key] in (value, value == "true", *_number(value))


def _number(value: str) -> tuple[float, ...]:
    try:
        return (float(value),)
    except ValueError:
        return ()
