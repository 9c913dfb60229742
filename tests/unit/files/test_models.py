"""Models: what is measured of them agrees with trimesh and with lib3mf, which know nothing of our readers."""

from pathlib import Path

import lib3mf
import numpy as np
import pytest
import trimesh

from printfarm_files import Kind, Refused
from printfarm_files.mesh import measure
from printfarm_files.reading import read_facts
from printfarm_files.stl import read_stl
from printfarm_files.threemf import read_3mf
from printfarm_files.threemf_write import write_clean_3mf
from tests.support.print_files import binary_stl, cube, mesh_xml, model_xml, text_stl, three_mf


def stored(folder: Path, data: bytes | str) -> Path:
    path = folder / "file"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def codes(path: Path) -> set[str]:
    return {warning.code for warning in read_facts(path).warnings}


@pytest.mark.parametrize("shape", ["icosphere", "torus", "cylinder", "open", "flipped"])
@pytest.mark.parametrize("form", ["stl", "stl_ascii"])
def test_measures_agree_with_trimesh(tmp_path: Path, shape: str, form: str) -> None:
    whole = {
        "icosphere": lambda: trimesh.creation.icosphere(3, 15.0),
        "torus": lambda: trimesh.creation.torus(20.0, 5.0),
        "cylinder": lambda: trimesh.creation.cylinder(7.0, 30.0),
        "open": lambda: trimesh.creation.icosphere(2, 15.0),
        "flipped": lambda: trimesh.creation.icosphere(2, 15.0),
    }[shape]()
    if shape == "open":
        whole.update_faces(np.arange(len(whole.faces)) > 2)
    if shape == "flipped":
        whole.invert()
    path = stored(tmp_path, whole.export(file_type=form))
    said = trimesh.load_mesh(path, file_type=form)
    found = measure(read_stl(path)[0])
    assert found.triangles == len(said.faces)
    assert found.is_closed == said.is_watertight
    np.testing.assert_allclose([found.bounds.low, found.bounds.high], said.bounds, atol=1e-4)
    if said.is_watertight:
        assert found.volume_mm3 == pytest.approx(whole.volume, rel=1e-4)
    assert ("not_closed" in codes(path)) == (shape == "open")
    assert ("inside_out" in codes(path)) == (shape == "flipped")


def test_binary_text_and_a_binary_that_begins_like_text_are_the_same(tmp_path: Path) -> None:
    text = text_stl(cube())
    forms = (binary_stl(cube()), binary_stl(cube(), b"solid cube"), text, text.replace("\n", "\r\n").upper())
    facts = [read_facts(stored(tmp_path, data)) for data in forms]
    assert {(f.kind, f.triangles, f.volume_mm3, f.is_watertight, f.bounds_model) for f in facts} == {
        (Kind.STL, 12, 8000.0, True, facts[0].bounds_model)
    }
    assert facts[0].bounds_model is not None and facts[0].bounds_model.size == (20.0, 20.0, 20.0)


def test_two_solids_in_one_file_are_one_model(tmp_path: Path) -> None:
    facts = read_facts(stored(tmp_path, text_stl(cube(10)) + text_stl(cube(10, (30, 0, 0)), "other one")))
    assert facts.triangles == 24 and facts.volume_mm3 == pytest.approx(2000)


@pytest.mark.parametrize(("side", "code"), [(0.5, "tiny"), (2_000.0, "huge")])
def test_a_size_that_tells_of_another_unit_is_warned_of(tmp_path: Path, side: float, code: str) -> None:
    assert code in codes(stored(tmp_path, binary_stl(cube(side))))


@pytest.mark.parametrize(
    ("unit", "side"), [("millimeter", 20.0), ("inch", 508.0), ("centimeter", 200.0), ("micron", 0.02)]
)
def test_the_unit_of_a_3mf(tmp_path: Path, unit: str, side: float) -> None:
    facts = read_facts(stored(tmp_path, three_mf(model_xml(unit=unit))))
    assert facts.bounds_model is not None and facts.bounds_model.size == pytest.approx((side, side, side))


ASSEMBLY = (
    f'<object id="1" type="model" name="cube">{mesh_xml(10)}</object>'
    f'<object id="2" type="support">{mesh_xml(500)}</object>'
    '<object id="3" type="model"><components><component objectid="1"/>'
    '<component objectid="1" transform="2 0 0 0 2 0 0 0 2 50 0 0"/></components></object>'
)
BUILD = (
    '<item objectid="3" transform="0 1 0 -1 0 0 0 0 1 100 0 5"/><item objectid="2"/><item objectid="1" printable="0"/>'
)


def test_components_transforms_and_what_is_not_printed(tmp_path: Path) -> None:
    facts = read_facts(stored(tmp_path, three_mf(model_xml(ASSEMBLY, BUILD))))
    assert facts.triangles == 24 and facts.objects == ("cube",)
    assert facts.volume_mm3 == pytest.approx(10**3 + 20**3)
    assert facts.bounds_model is not None
    assert (facts.bounds_model.low, facts.bounds_model.high) == ((80.0, 0.0, 5.0), (100.0, 70.0, 25.0))


def test_meshes_in_other_parts_as_bambu_studio_writes_them(tmp_path: Path) -> None:
    outer = model_xml(
        '<object id="8" type="model"><components>'
        '<component p:path="/3D/Objects/o_1.model" objectid="1"/></components></object>',
        '<item objectid="8"/>',
    )
    facts = read_facts(stored(tmp_path, three_mf(outer, {"3D/Objects/o_1.model": model_xml()})))
    assert facts.triangles == 12 and facts.volume_mm3 == pytest.approx(8000)


@pytest.mark.filterwarnings("ignore")
def test_a_clean_3mf_is_the_same_model_to_lib3mf_and_holds_nothing_else(tmp_path: Path) -> None:
    """Bad input 49: what a project may hide is not copied."""
    more = {
        "Metadata/Slic3r_PE.config": "; post_process = /bin/sh -c 'touch /tmp/owned'\n; start_gcode = M104 S999\n",
        "Metadata/project_settings.config": '{"post_process": ["curl evil"], "print_host": "http://10.0.0.1"}',
    }
    model = read_3mf(stored(tmp_path, three_mf(model_xml(ASSEMBLY, BUILD), more)))
    clean = tmp_path / "clean.3mf"
    write_clean_3mf(model, clean)
    data = clean.read_bytes()
    assert b"Metadata" not in data
    assert read_3mf(clean).count == model.count
    assert measure(read_3mf(clean)) == measure(model)
    write_clean_3mf(model, clean)
    assert clean.read_bytes() == data
    wrapper = lib3mf.get_wrapper()
    said = wrapper.CreateModel()
    reader = said.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(clean))
    assert reader.GetWarningCount() == 0
    box = said.GetOutbox()
    assert list(box.MinCoordinate) == pytest.approx([80, 0, 5]) and list(box.MaxCoordinate) == pytest.approx(
        [100, 70, 25]
    )


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (text_stl(cube()).replace("endfacet", "", 1), "where"),
        (text_stl(cube())[:-400], "cut off"),
        (text_stl(cube()).replace("vertex 2.000000e+01", "vertex 20,0", 1), "decimal comma"),
        (text_stl(cube()).replace("vertex 2.000000e+01", "vertex twenty", 1), "not a number"),
        (text_stl(cube()).replace("vertex 2.000000e+01", "vertex " + "9" * 100, 1), "no part of one"),
        ("solid nothing\nendsolid nothing\n", "no triangles"),
        (three_mf(model_xml(build="")), "build is empty"),
        (three_mf(model_xml(build='<item objectid="7"/>')), "names an object"),
        (three_mf(model_xml(unit="parsec")), "unit"),
        (three_mf(model_xml(build='<item objectid="1" transform="1 2 3"/>')), "transform"),
        (
            three_mf(model_xml(mesh_xml(1).replace('v1="0"', 'v1="99"').join(['<object id="1">', "</object>"]))),
            "not there",
        ),
        (
            three_mf(model_xml(mesh_xml(1).replace('v1="0"', 'v1="-1"').join(['<object id="1">', "</object>"]))),
            "not numbers",
        ),
        (three_mf("<model"), "broken"),
        (three_mf(model_xml().replace("utf-8".upper(), "no-such-code")), "broken"),
        (three_mf(model_xml().replace("utf-8".upper(), "shift_jis")), "broken"),
    ],
)
def test_a_broken_model_is_refused_with_its_reason(tmp_path: Path, data: bytes | str, word: str) -> None:
    with pytest.raises(Refused, match=word):
        read_facts(stored(tmp_path, data))
