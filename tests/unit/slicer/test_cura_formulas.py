"""Cura's formulas and definitions: what a setting is worth when nobody says it."""

import json
from pathlib import Path
from typing import Any

import pytest

from printfarm_slicer.engines.cura.definitions import DefinitionError, Definitions, SettingError
from printfarm_slicer.engines.cura.formulas import FormulaError, Reckoner, Value, parsed

WORTH: dict[str, Value] = {
    "width": 0.4,
    "count": 3,
    "kind": "grid",
    "on": True,
    "off": False,
    "zero": 0,
    "angles": [45],
}


def value_of(key: str) -> Value:
    if key not in WORTH:
        raise FormulaError(f"there is no setting {key}")
    return WORTH[key]


def reckon(formula: str) -> Value:
    return Reckoner(value_of).reckon(parsed(formula))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("width * 2", 0.8),
        ("-width + 1.4", 1.0),
        ("7 % count", 1),
        ("1 if kind == 'grid' else 2", 1),
        ("1 if kind in ('lines', 'zigzag') else 2 if off else 3", 3),
        ("0 if zero == 0 else 1 / zero", 0),
        ("max(1, round((1.2 - width) / width) + 1) if zero != 1 else 0", 3),
        ("math.ceil(round(0.8 / width, 4))", 2),
        ("math.tan(math.radians(45)) > 0.99 and not off", True),
        ("off or kind", "grid"),
        ("zero and 1 / zero", 0),
        ("1 < count <= 3 != 4", True),
        ("extruderValue(count, 'width')", 0.4),
        ("sum(extruderValues('width')) + max(map(abs, extruderValues('count')))", 3.4),
        ("any(extruderValues('off'))", False),
        ("resolveOrValue('width') / 2", 0.2),
        ("int(defaultExtruderPosition())", 0),
        ("len(angles)", 1),
        ("[0, 90]", [0, 90]),
    ],
)
def test_formulas_are_reckoned_as_cura_does(formula: str, expected: Value) -> None:
    found = reckon(formula)
    assert found == pytest.approx(expected) if isinstance(expected, float) else found == expected


@pytest.mark.parametrize(
    "formula",
    [
        "__import__('os').system('touch owned')",
        "open('/etc/passwd').read()",
        "width.__class__",
        "math.__loader__",
        "().__class__.__base__",
        "(lambda: 1)()",
        "[x for x in (1, 2)]",
        "'a' * 1000000000",
        "'a' + 'b'",
        "9 ** 9 ** 9",
        "max(1, key=abs)",
        "f'{width}'",
        "eval('1')",
        "globals",
        "1 / zero",
        "1 << 99999",
        "angles[0]",
        "int('x')",
        "nowhere + 1",
        "width +",
        "x := 1",
        "1 +" * 5_000 + "1",
        "(" * 2_000 + "1" + ")" * 2_000,
        "math.ceil",
        "abs",
    ],
)
def test_formulas_are_nothing_but_formulas(formula: str) -> None:
    with pytest.raises(FormulaError):
        reckon(formula)


def definitions(folder: Path, **settings: Any) -> Definitions:
    """Of a machine with these settings: a default and a formula of each, by kind."""
    tree = {"all": {"type": "category", "children": settings}}
    (folder / "fdmprinter.def.json").write_text(json.dumps({"settings": tree}))
    (folder / "fdmextruder.def.json").write_text(json.dumps({"settings": {}}))
    return Definitions.read(folder)


def test_a_setting_is_as_given_else_by_its_formula_else_by_default(tmp_path: Path) -> None:
    known = definitions(
        tmp_path,
        width={
            "type": "float",
            "default_value": 0.4,
            "children": {"wall": {"type": "float", "default_value": 9, "value": "width * 2"}},
        },
        lines={"type": "int", "default_value": 1, "value": "round(wall / 0.4)"},
        on={"type": "bool", "default_value": False},
        kind={"type": "enum", "default_value": "a", "options": {"a": "", "b": ""}},
        nozzle={"type": "extruder", "default_value": "0"},
    )
    assert known.resolved({})["wall"] == pytest.approx(0.8)
    found = known.resolved({"width": "0.6", "on": "true", "kind": "b"})
    assert (found["wall"], found["lines"], found["on"], found["kind"], found["nozzle"]) == (1.2, 3, True, "b", 0)
    assert known.resolved({"width": "0.6", "wall": "0.5"})["lines"] == 1
    # Whatever anybody says of a setting that names a file.
    assert known.resolved({})["cross_infill_density_image"] == ""


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"hight": "1"}, "no setting hight"),
        ({"kind": "c"}, "kind must be one of a, b"),
        ({"on": "yes"}, "on is no bool: yes"),
        ({"width": "wide"}, "width is no float: wide"),
        ({"width": "inf"}, "width is no float: inf"),
        ({"walls": "1.5"}, "walls is no int: 1.5"),
        ({"width": "0"}, "formula for share cannot be reckoned"),
    ],
)
def test_what_a_profile_gets_wrong_is_named(tmp_path: Path, given: dict[str, str], words: str) -> None:
    known = definitions(
        tmp_path,
        width={"type": "float", "default_value": 0.4},
        share={"type": "float", "default_value": 1, "value": "1 / width"},
        walls={"type": "int", "default_value": 2},
        on={"type": "bool", "default_value": False},
        kind={"type": "enum", "default_value": "a", "options": {"a": "", "b": ""}},
    )
    with pytest.raises(SettingError, match=words):
        known.resolved(given)


@pytest.mark.parametrize(
    "settings",
    [
        {"a": {"type": "float", "value": "b"}, "b": {"type": "float", "value": "a"}},
        {"a": {"type": "float", "value": "c"}},
        {"a": {"type": "float", "value": "import os"}},
        {"a": {"value": "1"}},
        {"a": {"type": "float", "default_value": "wide"}},
    ],
)
def test_definitions_that_cannot_be_used_are_refused_at_the_start(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        definitions(tmp_path, **settings)


def test_definitions_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"fdmprinter\.def\.json cannot be read"):
        Definitions.read(tmp_path)
    (tmp_path / "fdmprinter.def.json").write_text("no JSON")
    with pytest.raises(DefinitionError, match=r"fdmprinter\.def\.json cannot be read"):
        Definitions.read(tmp_path)
