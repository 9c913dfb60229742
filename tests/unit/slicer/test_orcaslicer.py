"""OrcaSlicer's command line and what is read from its end: as its sources say. That it slices is in the integration tests."""

import json
import os
import stat
import struct
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from printfarm_coordinator.domain.slicer_keys import ENGINES
from printfarm_slicer.engine import Ended, Order, SlicingFailed
from printfarm_slicer.engines.orca_presets import FILAMENT, KINDS, MACHINE, PROCESS
from printfarm_slicer.engines.orcaslicer import OrcaSlicer
from printfarm_slicer.models import read_model
from printfarm_slicer.slicing import check_end
from tests.support.models import box_stl
from tests.support.slicings import merged

ENGINE = OrcaSlicer("/usr/bin/orca-slicer", "2.3.0")
SETTINGS = merged("orcaslicer")
INSIDE = PurePosixPath("/job")


def prepared(folder: Path, parts: int = 1, **settings: str) -> list[str]:
    source = folder / "source"
    source.write_bytes(box_stl())
    return ENGINE.prepare(Order(*read_model(source, "stl"), {**SETTINGS, **settings}, parts), folder, INSIDE)


def preset(folder: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{kind}.json").read_text())
    return found


def test_the_command_line_has_names_of_ours_alone(tmp_path: Path) -> None:
    assert prepared(tmp_path) == [
        *("/usr/bin/orca-slicer", "--slice", "0", "--arrange", "1", "--orient", "0", "--debug", "3"),
        *("--datadir", "/job", "--outputdir", "/job"),
        *("--load-settings", "/job/machine.json;/job/process.json", "--load-filaments", "/job/filament.json"),
        "/job/model.stl",
    ]


def test_each_setting_stands_in_its_preset_and_the_three_fit_each_other(tmp_path: Path) -> None:
    prepared(tmp_path)
    machine, filament, process = (preset(tmp_path, kind) for kind in (MACHINE, FILAMENT, PROCESS))
    assert [each["type"] for each in (machine, filament, process)] == ["machine", "filament", "process"]
    # Each is taken for a whole one, and the process and the filament for ones of this machine.
    assert {each["from"] for each in (machine, filament, process)} == {"system"}
    assert process["compatible_printers"] == filament["compatible_printers"] == [machine["name"]]
    assert not any("inherits" in each for each in (machine, filament, process))
    assert machine["printable_area"] == ["0x0", "220x0", "220x220", "0x220"]
    assert (machine["nozzle_diameter"], machine["machine_max_speed_x"]) == (["0.4"], ["500", "200"])
    assert machine["machine_start_gcode"] == SETTINGS["machine_start_gcode"]
    assert (filament["filament_type"], filament["nozzle_temperature"]) == (["PLA"], ["210"])
    # Whatever plate it takes for the one that lies there.
    assert filament["textured_plate_temp"] == filament["cool_plate_temp"] == ["60"]
    assert filament["eng_plate_temp_initial_layer"] == ["65"]
    assert (process["layer_height"], process["sparse_infill_density"]) == ("0.2", "15%")


def test_nothing_runs_or_reaches_out_whatever_is_asked_for(tmp_path: Path) -> None:
    prepared(tmp_path)
    assert preset(tmp_path, PROCESS)["post_process"] == []
    assert preset(tmp_path, MACHINE)["print_host"] == ""
    # Past the farm's own list of settings.
    for key in ("post_process", "print_host", "inherits", "bed_custom_model", "slicing_pipeline_plugin"):
        with pytest.raises(SlicingFailed, match=f"does not know the setting {key}") as failed:
            prepared(tmp_path, **{key: "/usr/bin/touch owned"})
        assert failed.value.code == "slicer_refused"


def test_no_file_is_named_by_the_printers_model(tmp_path: Path) -> None:
    prepared(tmp_path, printer_model="Virtual One")
    assert preset(tmp_path, MACHINE)["printer_model"] == "Virtual One"
    with pytest.raises(SlicingFailed, match="printer_model must have no slash"):
        prepared(tmp_path, printer_model="../../../job/x")


def test_the_farms_list_and_the_workers_agree() -> None:
    words = {"printer": MACHINE, "material": FILAMENT, "quality": PROCESS}
    rules = ENGINES["orcaslicer"].rules
    assert {key: words[rule.kind] for key, rule in rules.items()} == {
        key: kind for kind in KINDS for key in KINDS[kind]
    }
    lists = {key for kind in KINDS for key, is_list in KINDS[kind].items() if is_list}
    assert {key for key, rule in rules.items() if rule.values > 1 or rule.form == "points"} <= lists


def test_copies_are_placed_by_us(tmp_path: Path) -> None:
    prepared(tmp_path, parts=4)
    content = (tmp_path / "model.stl").read_bytes()
    (count,) = struct.unpack_from("<I", content, 80)
    assert count == 4 * 12 and len(content) == 84 + 50 * count
    corners = [struct.unpack_from("<9f", content, 84 + 50 * at + 12) for at in range(count)]
    xs, zs = ([triangle[axis] for triangle in corners] for axis in (0, 2))
    # Two columns of 20 mm, 5 mm apart, around the origin, on the bed.
    assert (min(xs), max(xs), min(zs)) == (-22.5, 22.5, 0)
    with pytest.raises(SlicingFailed, match="100 parts do not fit"):
        prepared(tmp_path, parts=100)


def report(folder: Path, **values: Any) -> None:
    (folder / "result.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("returncode", "told", "code", "words"),
    [
        (
            206,
            {"return_code": -50, "error_string": "No object is fully inside the print volume."},
            "slicer_refused",
            "fully",
        ),
        # The kernel's word is enough where it wrote nothing.
        (205, None, "slicer_refused", "the settings do not fit the model"),
        (251, None, "slicer_refused", "a preset cannot be read"),
        (156, None, "slicer_refused", "slicing failed"),
        (155, {"error_string": ""}, "slicer_refused", "paths cross each other"),
        # And its report where the code was lost.
        (
            0,
            {"return_code": -100, "error_string": "Failed slicing /job/model.stl"},
            "slicer_refused",
            "Failed slicing the model",
        ),
        (242, None, "slicer_limit", "memory"),
        (198, None, "slicer_limit", "time"),
        (254, {"error_string": "Invalid parameters"}, "worker_fault", "its command line: Invalid parameters"),
        (253, None, "worker_fault", "not there"),
        (139, None, "slicer_crashed", "SIGSEGV"),
        (-6, None, "slicer_crashed", "SIGABRT"),
        (137, None, "slicer_limit", "memory"),
        (1, None, "slicer_refused", "ended with code 1"),
    ],
)
def test_each_end_has_its_name(
    tmp_path: Path, returncode: int, told: dict[str, Any] | None, code: str, words: str
) -> None:
    if told is not None:
        report(tmp_path, **told)
    with pytest.raises(SlicingFailed) as failed:
        check_end(ENGINE, Ended(returncode, "", ""), tmp_path)
    assert failed.value.code == code and words in failed.value.reason and "/job" not in failed.value.reason


def test_it_says_what_its_log_says_where_the_report_is_silent(tmp_path: Path) -> None:
    log = "[2026-01-01 10:00:00] [0x1] [error]   Unknown option in /job/process.json\n[...] [info] bye\n"
    with pytest.raises(SlicingFailed, match="Unknown option in the model"):
        check_end(ENGINE, Ended(251, log, ""), tmp_path)
    # And both, where the report is of many failures and the log of this one.
    report(tmp_path, return_code=-5, error_string="Can not parse the setting file.")
    said = "load_config_file: unknown config type of file /job/filament.json in load-settings\n"
    with pytest.raises(
        SlicingFailed, match=r"Can not parse the setting file\. \(load_config_file: unknown config type"
    ):
        check_end(ENGINE, Ended(251, "", said), tmp_path)


def test_a_good_end_gives_the_one_plate(tmp_path: Path) -> None:
    report(tmp_path, return_code=0, error_string="Success.")
    check_end(ENGINE, Ended(0, "", ""), tmp_path)
    assert ENGINE.result(SETTINGS, Ended(0, "", ""), tmp_path) == tmp_path / "plate_1.gcode"
    (tmp_path / "plate_2.gcode").touch()
    with pytest.raises(SlicingFailed, match="do not fit on one plate"):
        ENGINE.result(SETTINGS, Ended(0, "", ""), tmp_path)


@pytest.mark.parametrize(
    "content", ["", "no JSON", "[]", '{"return_code": "-5"}', "[" * 100_000, '{"error_string": 7}']
)
def test_a_report_that_cannot_be_read_says_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "result.json").write_text(content)
    check_end(ENGINE, Ended(0, "", ""), tmp_path)
    with pytest.raises(SlicingFailed, match="a preset cannot be read"):
        check_end(ENGINE, Ended(251, "", ""), tmp_path)


def test_no_link_leads_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "plate_1.gcode").symlink_to("/etc/passwd")
    with pytest.raises(SlicingFailed, match="none of its own"):
        ENGINE.result(SETTINGS, Ended(0, "", ""), tmp_path)
    (tmp_path / "result.json").symlink_to("/etc/passwd")
    with pytest.raises(SlicingFailed, match="none of its own"):
        check_end(ENGINE, Ended(0, "", ""), tmp_path)


def test_what_a_profile_asks_for_is_what_the_file_is_measured_by() -> None:
    wanted = ENGINE.wanted(SETTINGS)
    assert (wanted.room.high, wanted.layer_height_mm, wanted.nozzle_mm, wanted.material) == (
        (220, 220, 250),
        0.2,
        0.4,
        "PLA",
    )


def test_it_is_found_by_its_own_word_and_only_where_a_sandbox_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "orca-slicer"
    program.write_text("#!/bin/sh\necho 'OrcaSlicer-2.3.1:'\necho 'Usage: orca-slicer [ OPTIONS ]'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = OrcaSlicer.find()
    assert found is not None and (found.program, found.version) == (str(program), "2.3.1")
    assert OrcaSlicer.find(program) is None
    program.write_text("#!/bin/sh\necho another program\n")
    assert OrcaSlicer.find() is None
