"""What the farm finds in a file before it is for any printer: by the worst reading, then by each firmware's own."""

import json
from pathlib import Path

import pytest

from printfarm_files import Kind
from printfarm_files.inspecting import inspect_bytes, inspect_file
from printfarm_files.safety import Dialect
from printfarm_files.safety.inspection import MOST_TOLD, Inspection, from_json, to_json
from printfarm_files.safety.questions import MOST_QUESTIONS
from tests.support.print_files import zipped

SAMPLES = Path(__file__).parent / "samples"
SOUND = b"G28\nM104 S210\nM140 S60\nG1 X10 Y10 Z0.2 F3000\nG1 X120 Y95.5 E1 F1500\nM104 S0\nM84\n"
EVERY = {dialect.value for dialect in Dialect}


def of(*lines: str) -> Inspection:
    return inspect_bytes(SOUND + "".join(line + "\n" for line in lines).encode())


def questions(found: Inspection) -> dict[str, tuple[int, set[str]]]:
    return {f"{q.rule}:{q.command}": (q.line, set(q.dialects)) for q in found.questions}


def test_a_sound_file_asks_nobody_and_says_what_it_needs() -> None:
    found = inspect_bytes(SOUND)
    assert (found.refused, found.refused_by, found.questions) == ((), (), ())
    assert (found.hotend_celsius, found.bed_celsius, found.chamber_celsius) == (210, 60, None)
    assert (found.low, found.high) == ((10.0, 10.0, 0.2), (120.0, 95.5, 0.2))


def test_what_no_printer_may_do_is_counted_and_the_first_are_told() -> None:
    found = of(*["M104 S999"] * 30, "M997")
    assert (found.is_refused, found.refused_count, len(found.refused)) == (True, 31, MOST_TOLD)
    assert set(found.refused_by) == EVERY
    assert found.reason.startswith("line 8: M104 asks 999 C of the hotend")
    assert found.reason.endswith("and 28 more")


@pytest.mark.parametrize(
    ("line", "free"),
    [
        # Bambu Lab's own start code saves what it has measured; RepRapFirmware's M121 takes a state back.
        ("M500", {"bambu"}),
        ("M121", {"reprapfirmware"}),
        ("M104 (S999)", {"reprapfirmware"}),
        ("G4 P1 M104 S999", {"klipper", "bambu"}),
        ("M500\nM121", set()),
    ],
)
def test_what_one_firmware_takes_is_refused_for_the_others_alone(line: str, free: set[str]) -> None:
    found = of(line)
    assert set(found.refused_by) == EVERY - free
    assert found.is_refused is (not free)


def test_each_command_is_one_question_for_the_firmwares_that_do_not_list_it() -> None:
    found = of("MY_MACRO A=1", "M600", "MY_MACRO A=2", "M117 <b>", "G28 M1002")
    told = questions(found)
    assert told["unlisted:MY_MACRO"] == (8, {"klipper"})
    # A printer whose firmware is not known may be a Marlin.
    assert told["other_firmware:MY_MACRO"] == (8, EVERY - {"klipper"})
    assert told["needs_person:M600"] == (9, EVERY)
    assert told["markup:M117"] == (11, EVERY)
    # Klipper takes it for a word of G28.
    assert told["unlisted:M1002"] == (12, {"any", "marlin", "prusa", "reprapfirmware"})
    assert len(told) == 5


def test_names_without_end_and_questions_without_number_are_bounded_and_nothing_of_them_is_let_go() -> None:
    lines = [f"A{'B' * 2_500}{n}" for n in range(950)] + [f"MACRO_{n}" for n in range(950)] + ["M117 <b>", "M600"]
    found = of(*lines)
    assert len(json.dumps(to_json(found))) < 100_000
    assert max(len(q.command) for q in found.questions) <= 81
    told = questions(found)
    # Whoever allows it allows, for each rule, one thing more than what is told.
    assert len(told) == MOST_QUESTIONS + 4
    assert (told["unlisted:"][1], told["other_firmware:"][1]) == ({"klipper"}, EVERY - {"klipper"})
    assert (told["markup:"], told["needs_person:"]) == ((1908, EVERY), (1909, EVERY))
    assert from_json(json.loads(json.dumps(to_json(found)))) == found


def test_what_comes_behind_very_many_listed_commands_is_a_question_all_the_same() -> None:
    told = questions(of(*(f"T{n}" for n in range(3_000)), "MY_MACRO", "M117 hello", "M117 <b>"))
    assert told["unlisted:MY_MACRO"] == (3_008, {"klipper"})
    assert told["markup:M117"] == (3_010, EVERY)


@pytest.mark.parametrize(
    "line", ["START_PRINT EXTRUDER_TEMP=215", 'M98 P"purge.g"', "M906 X5000", "M584 X9", "M950 H1"]
)
def test_what_no_marlin_knows_is_asked_of_a_printer_whose_firmware_is_not_known(line: str) -> None:
    (_, dialects), *rest = questions(of(line)).values()
    assert {"any", "marlin"} <= dialects and not rest


@pytest.mark.parametrize(
    ("lines", "high"),
    [
        (("G91", "G1 X500", "G1 X500"), (1120.0, 95.5, 0.2)),
        (("G20", "G1 X10 Y1 E1"), (254.0, 95.5, 0.2)),
        (("G92 X0", "G1 X200 E1"), (320.0, 95.5, 0.2)),
        (("G2 X120 Y95.5 I50 J0 E9",), (220.0, 145.5, 0.2)),
        # Nobody can tell where the moves go.
        (("G54", "G1 X900"), None),
        (("G28", "G92 X-500", "G1 X900"), None),
    ],
)
def test_how_far_it_reaches(lines: tuple[str, ...], high: tuple[float, ...] | None) -> None:
    assert of(*lines).high == (high and pytest.approx(high))


def test_it_survives_json() -> None:
    found = of("M500", "MY_MACRO", "M600")
    assert from_json(json.loads(json.dumps(to_json(found))) | {"later": 1}) == found


@pytest.mark.parametrize(
    ("file", "model", "nozzle", "material", "asked"),
    [
        ("bambu_studio.gcode", "Bambu Lab A1 mini", 0.4, "PLA", {"unlisted:M1002": EVERY - {"bambu"}}),
        ("cura.gcode", "Creality Ender-3", None, None, {}),
        ("ideamaker.gcode", None, 0.4, None, {}),
        (
            "orcaslicer.gcode",
            "Voron 2.4 350",
            0.4,
            None,
            dict.fromkeys(("other_firmware:PRINT_START", "other_firmware:PRINT_END"), EVERY - {"klipper"}),
        ),
        ("simplify3d.gcode", None, None, None, {}),
        ("superslicer.gcode", "MK3S", 0.6, "PETG", {}),
        ("ultimaker.gcode", "Ultimaker S5", 0.4, None, {"never_heated:": EVERY}),
    ],
)
def test_what_slicers_write_is_refused_by_nobody(
    file: str, model: str | None, nozzle: float | None, material: str | None, asked: dict[str, set[str]]
) -> None:
    found = inspect_file(SAMPLES / file, Kind.GCODE)
    assert (found.refused_by, found.reason) == ((), "")
    assert (found.printer_model, found.nozzle_mm, found.material) == (model, nozzle, material)
    assert {name: dialects for name, (_, dialects) in questions(found).items()} == asked


def test_a_template_that_nobody_filled_in_is_refused() -> None:
    """CuraEngine's command line leaves a variable of its end code as it is."""
    found = inspect_file(SAMPLES / "cura_engine.gcode", Kind.GCODE)
    assert found.is_refused
    assert found.reason.startswith("line 1001: has an expression")


def test_a_zipped_plate_is_unpacked_and_a_broken_one_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.gcode.3mf"
    path.write_bytes(zipped({"3D/3dmodel.model": b"<model/>", "Metadata/plate_1.gcode": SOUND + b"M104 S999\n"}))
    assert inspect_file(path, Kind.GCODE_3MF).reason.startswith("line 8: M104 asks 999")
    path.write_bytes(b"GCDE broken")
    found = inspect_file(path, Kind.BGCODE)
    assert found.is_refused
    assert found.reason
