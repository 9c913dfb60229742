"""What each slicer states is what is read: a table of file, fact, expected. Real output where the slicer runs here.

``cura_engine.gcode`` was made by CuraEngine 4.13, unchanged; the others are written after each slicer's own format.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from printfarm_files import FileFacts, Kind
from printfarm_files.facts import from_json, to_json
from printfarm_files.inspecting import inspect_file
from printfarm_files.reading import read_facts
from printfarm_files.toolpath import scan
from tests.conftest import need
from tests.support.print_files import binary_stl, cube, zipped

SAMPLES = Path(__file__).parent / "samples"
EXPECTED: Mapping[str, Mapping[str, Any]] = {
    "orcaslicer.gcode": {
        "slicer": "OrcaSlicer", "slicer_version": "2.2.0", "printer_model": "Voron 2.4 350", "gcode_flavor": "klipper",
        "estimated_seconds": 2229, "total_weight_g": 7.05, "total_cost": 0.17, "length_mm": 2761.97, "layer_count": 5,
        "layer_height_mm": 0.2, "first_layer_height_mm": 0.25, "bed_celsius": 100, "first_layer_bed_celsius": 105,
        "filament_types": ["ABS", "PLA"], "lengths": [2461.97, 300], "weights": [6.16, 0.89], "costs": [0.15, 0.02],
        "nozzles": [0.4, 0.4], "hotends": [245, 210], "first_hotends": [250, 215], "colours": ["#F2754E", "#0086D6"],
        "bed": ((0, 0, 0), (350, 350, 340)), "all": ((92, 92, 0.2), (128, 128, 1)), "model": ((100, 100, 0.2), (120, 120, 1)),
        "pictures": [("png", 48, 48)], "warnings": [],
    },
    "bambu_studio.gcode": {
        "slicer": "Bambu Studio", "slicer_version": "02.04.00.70", "printer_model": "Bambu Lab A1 mini",
        "estimated_seconds": 942, "weight_g": 0.23, "cost": None, "length_mm": 75.74, "layer_count": 4, "layer_height_mm": 0.2,
        "bed_celsius": 60, "first_layer_bed_celsius": 65, "filament_types": ["PLA"], "hotends": [220], "first_hotends": [225],
        "all": ((72, 72, 0.2), (108, 108, 0.8)), "model": ((80, 80, 0.2), (100, 100, 0.8)), "pictures": [],
    },
    "superslicer.gcode": {
        "slicer": "SuperSlicer", "slicer_version": "2.5.59", "printer_model": "MK3S", "estimated_seconds": 4625,
        "length_mm": 8, "weight_g": 0.02, "cost": 0.01, "layer_count": 2, "layer_height_mm": 0.3,
        "first_layer_height_mm": 0.225, "nozzles": [0.6],
        "filament_types": ["PETG"], "hotends": [200], "first_hotends": [205], "bed_celsius": 55,
        "all": ((90, 90, 0.2), (130, 130, 0.5)), "model": ((100, 100, 0.2), (120, 120, 0.5)),
    },
    "cura.gcode": {
        "slicer": "Cura", "slicer_version": "5.8.1", "printer_model": "Creality Ender-3", "gcode_flavor": "Marlin",
        "estimated_seconds": 1234, "length_mm": 12.3456, "lengths": [12.3456, 0], "weight_g": None, "cost": None,
        "layer_count": 3, "layer_height_mm": 0.2, "first_hotends": [200, None], "first_layer_bed_celsius": 50,
        "all": ((10, 20, 0.2), (128, 200, 0.6)), "model": ((100, 100, 0.2), (120, 120, 0.6)),
    },
    "cura_engine.gcode": {
        "slicer": "Cura", "slicer_version": "4.13.0", "estimated_seconds": 78.378083, "lengths": [146.25], "weight_g": None,
        "layer_count": 12, "layer_height_mm": 0.5, "first_hotends": [215], "first_layer_bed_celsius": 60,
        "all": ((0.1, 20, 0.3), (128.7, 200, 6)), "model": ((117.7, 117.7, 0.5), (123.3, 123.3, 6)),
    },
    "ultimaker.gcode": {
        "slicer": "Cura", "printer_model": "Ultimaker S5", "gcode_flavor": "Griffin", "estimated_seconds": 2595,
        "volumes": [4554], "nozzles": [0.4], "first_hotends": [205], "bed_celsius": 60, "chamber_celsius": 28, "layer_count": 2,
        "warnings": [],
    },
    "simplify3d.gcode": {
        "slicer": "Simplify3D", "slicer_version": "4.1.2", "estimated_seconds": 3720, "lengths": [1234.5], "weights": [3.71],
        "total_cost": 0.17, "first_hotends": [215], "layer_count": 2, "model": None,
    },
    "ideamaker.gcode": {
        "slicer": "ideaMaker", "slicer_version": "4.3.2.6470", "estimated_seconds": 1850, "lengths": [1830.5], "nozzles": [0.4],
        "first_hotends": [205], "layer_count": 2, "layer_height_mm": None, "all": ((142.5, 142.5, 0.3), (162.5, 162.5, 0.6)),
    },
}  # fmt: skip
OF_TOOLS = {
    "filament_types": "filament_type", "lengths": "length_mm", "volumes": "volume_mm3", "weights": "weight_g", "costs": "cost",
    "nozzles": "nozzle_mm", "hotends": "hotend_celsius", "first_hotends": "first_layer_hotend_celsius", "colours": "colour",
}  # fmt: skip
BOXES = {"bed": "bed_mm", "all": "bounds_all", "model": "bounds_model"}


def read(facts: FileFacts, fact: str) -> Any:
    if fact in OF_TOOLS:
        return [getattr(tool, OF_TOOLS[fact]) for tool in facts.tools]
    if fact in BOXES:
        box = getattr(facts, BOXES[fact])
        return box and (box.low, box.high)
    if fact == "pictures":
        return [(t.format, t.width, t.height) for t in facts.thumbnails]
    if fact == "warnings":
        return [w.code for w in facts.warnings]
    return getattr(facts, fact)


@pytest.mark.parametrize(
    ("file", "fact", "expected"), [(f, n, e) for f, facts in EXPECTED.items() for n, e in facts.items()]
)
def test_what_is_stated_is_read(file: str, fact: str, expected: Any) -> None:
    found = read(read_facts(SAMPLES / file), fact)
    if isinstance(expected, tuple):
        assert [*found[0], *found[1]] == pytest.approx([*expected[0], *expected[1]])
    else:
        assert found == (pytest.approx(expected) if isinstance(expected, int | float) else expected)


@pytest.mark.parametrize("file", EXPECTED)
def test_facts_survive_json_and_windows_line_ends(tmp_path: Path, file: str) -> None:
    facts = read_facts(SAMPLES / file)
    path = tmp_path / "a"
    path.write_bytes((SAMPLES / file).read_bytes().replace(b"\n", b"\r\n"))
    other = read_facts(path)
    kept, again = to_json(facts), to_json(other)
    del kept["size_bytes"], again["size_bytes"]
    assert kept == again
    assert to_json(from_json(to_json(facts) | {"later": 1})) | {"thumbnails": 0} == to_json(facts) | {"thumbnails": 0}


INFO = """<?xml version="1.0" encoding="UTF-8"?><config><header><header_item key="X-BBL-Client-Type" value="slicer"/></header>
<plate><metadata key="index" value="1"/><metadata key="prediction" value="1000"/><metadata key="weight" value="4.5"/>
<metadata key="printer_model_id" value="N1"/><metadata key="nozzle_diameters" value="0.4"/>
<filament id="3" type="PETG" color="#112233" used_m="1.5" used_g="4.5"/></plate></config>"""


def test_a_sliced_3mf(tmp_path: Path) -> None:
    gcode = (SAMPLES / "bambu_studio.gcode").read_bytes()
    entries = {"3D/3dmodel.model": "<model/>", "Metadata/plate_1.gcode": gcode, "Metadata/slice_info.config": INFO}
    path = tmp_path / "a.3mf"
    path.write_bytes(zipped(entries))
    facts = read_facts(path)
    assert (facts.kind, facts.plates, facts.estimated_seconds, facts.weight_g) == (Kind.GCODE_3MF, (1,), 1000, 4.5)
    (tool,) = facts.tools
    assert (tool.index, tool.filament_type, tool.length_mm, tool.colour) == (2, "PETG", 1500, "#112233")
    assert read(facts, "model") == ((80.0, 80.0, 0.2), (100.0, 100.0, 0.8))
    path.write_bytes(zipped(entries | {"Metadata/plate_2.gcode": gcode}))
    facts = read_facts(path)
    assert facts.plates == (1, 2) and facts.estimated_seconds is None and read(facts, "warnings") == ["several_plates"]
    assert read_facts(path, plate=2).layer_count == 4


@pytest.fixture(scope="session")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("prusa-slicer")
    folder = tmp_path_factory.mktemp("sliced")
    (folder / "cube.stl").write_bytes(binary_stl(cube(20)))
    options = {
        "center": "100,100", "layer-height": "0.25", "first-layer-height": "0.3", "nozzle-diameter": "0.4", "skirts": "1",
        "filament-type": "PETG", "filament-density": "1.27", "filament-cost": "30", "temperature": "240",
        "first-layer-temperature": "235", "bed-temperature": "85", "first-layer-bed-temperature": "80",
        "filament-diameter": "1.75", "loglevel": "1", "output": str(folder / "cube.gcode"),
    }  # fmt: skip
    given = [part for name, value in options.items() for part in (f"--{name}", value)]
    environment = {"HOME": str(folder), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["prusa-slicer", "--export-gcode", *given, str(folder / "cube.stl")],
        env=environment,
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder / "cube.gcode"


def test_real_prusaslicer(sliced: Path) -> None:
    """Against what PrusaSlicer wrote, read here by the simplest means."""
    stated = dict(
        line[2:].split(" = ", 1) for line in sliced.read_text().splitlines() if line.startswith("; ") and " = " in line
    )
    facts = read_facts(sliced)
    (tool,) = facts.tools
    assert facts.slicer == "PrusaSlicer" and facts.slicer_version and facts.slicer_version in sliced.read_text()
    assert tool.length_mm == float(stated["filament used [mm]"]) and tool.weight_g == float(stated["filament used [g]"])
    assert (tool.filament_type, tool.hotend_celsius, tool.first_layer_hotend_celsius) == ("PETG", 240, 235)
    assert (facts.layer_height_mm, facts.first_layer_height_mm, facts.bed_celsius) == (0.25, 0.3, 85)
    minutes, seconds = stated["estimated printing time (normal mode)"].rstrip("s").split("m ")
    assert facts.estimated_seconds == int(minutes) * 60 + int(seconds)
    assert facts.layer_count == sliced.read_text().count(";LAYER_CHANGE")
    assert facts.bounds_model is not None and facts.bounds_all is not None
    assert facts.bounds_model.size == pytest.approx((19.55, 19.55, 19.5), abs=0.4)
    # The skirt goes 6 mm around it.
    assert facts.bounds_all.size[0] > facts.bounds_model.size[0] + 12
    assert facts.warnings == ()


def test_the_safety_check_asks_nobody_about_what_it_slices(sliced: Path) -> None:
    facts, found = read_facts(sliced), inspect_file(sliced, Kind.GCODE)
    assert (found.refused_by, found.questions) == ((), ())
    assert found.nozzle_mm == facts.tools[0].nozzle_mm
    assert facts.bounds_all and found.high and found.low
    assert found.high[0] >= facts.bounds_all.high[0] and found.low[1] <= facts.bounds_all.low[1]


def test_the_scan_agrees_with_the_slicer_on_filament(sliced: Path, tmp_path: Path) -> None:
    """Without its comments the same file says the same by its moves."""
    bare = tmp_path / "bare.gcode"
    bare.write_text("\n".join(line.partition(";")[0] for line in sliced.read_text().splitlines()))
    facts, stated = read_facts(bare), read_facts(sliced)
    assert facts.length_mm == pytest.approx(stated.length_mm, rel=0.01)
    assert (facts.layer_count, facts.layer_height_mm) == (stated.layer_count, stated.layer_height_mm)
    assert facts.bounds_all == stated.bounds_all and facts.bounds_model is None
    assert (facts.slicer, facts.estimated_seconds, facts.weight_g, facts.cost) == (None, None, None, None)


@pytest.mark.parametrize(
    ("lift", "high", "drawn"),
    [
        # A layer's own code lifts; what is printed after it is as far as before.
        ((), (100.0, 100.0, 9.8), 49.0),
        (("G91", "G1 Z0.4", "G90"), (100.0, 100.0, 9.8), 49.0),
        (("G91", "G1 E-1 Z0.4", "G90", "G1 E1"), (100.0, 100.0, 9.8), 49.0),
        (("G91", "M83", "G90"), (100.0, 100.0, 9.8), 49.0),
    ],
)
def test_absolute_moves_leave_filament_relative(lift: tuple[str, ...], high: tuple[float, ...], drawn: float) -> None:
    lines = ["G28", "M83", "G90", "G1 X0 Y0 Z0.2"]
    for layer in range(1, 50):
        lines += [f"G1 Z{layer / 5:g}", f"G1 X{layer % 2 * 100} Y100 E1", *lift]
    path = scan([("\n".join(lines) + "\n").encode()])
    assert path.bounds_all is not None
    assert path.bounds_all.high == pytest.approx(high)
    assert path.lengths == {0: pytest.approx(drawn)}


def test_relative_moves_are_for_filament_too_and_absolute_ones_take_that_back() -> None:
    lines = ["G28", "M82", "G90", "G1 X0 Y0 Z1", "G1 X10 E20", "G91", "G1 E-2 Z1", "G1 E2 Z-1", "G90", "G1 X30 E21"]
    path = scan([("\n".join(lines) + "\n").encode()])
    assert path.lengths == {0: pytest.approx(21.0)}
