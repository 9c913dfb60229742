"""Which printer suits a file by the file's own word, and what people's word changes. Bad input 63."""

from dataclasses import replace

import pytest

from printfarm_coordinator.domain.abilities import Abilities
from printfarm_coordinator.domain.file_asks import FileAsks, coarse, may_be_model, same_material
from printfarm_coordinator.domain.job import Requirements
from printfarm_coordinator.domain.printer import can_take, lacks
from printfarm_coordinator.domain.safety_policy import (
    DEFAULT_ANSWERS,
    Answer,
    Override,
    Policy,
    judged,
    policy_of,
    refusal,
)
from printfarm_files.inspecting import inspect_bytes
from printfarm_files.safety import Inspection

MK3 = Abilities(
    model="Prusa MK3S",
    nozzle_diameter_mm=0.4,
    material="PLA Basic",
    volume_mm=(250.0, 210.0, 210.0),
    most_celsius=(260.0, 100.0, 60.0),
    origin_mm=(0.0, 0.0, 0.0),
)
UNKNOWN = Abilities()
SOUND = b"G28\nM104 S210\nG1 X10 Y10 Z0.2 F3000\nG1 X20 E1\n"


@pytest.mark.parametrize(
    ("asks", "code"),
    [
        ({}, None),
        ({"nozzle_diameter_mm": 0.4, "material": "PLA", "printer_model": "MK3S"}, None),
        ({"nozzle_diameter_mm": 0.6}, "nozzle"),
        ({"material": "PETG"}, "material"),
        ({"printer_model": "Ender-3"}, "printer_model"),
        ({"printer_model": "Original Prusa i3 MK3S MMU2"}, None),
        ({"celsius": (260.0, 100.0, 60.0)}, None),
        ({"celsius": (275.0, 60.0, 0.0)}, "temperature"),
        ({"celsius": (210.0, 110.0, 0.0)}, "temperature"),
        ({"low_mm": (-10.0, 0.0, 0.0), "high_mm": (260.0, 200.0, 100.0)}, None),
        ({"low_mm": (0.0, 0.0, 0.0), "high_mm": (300.0, 200.0, 100.0)}, "exceeds_volume"),
        ({"low_mm": (0.0, 0.0, -10.0), "high_mm": (100.0, 200.0, 100.0)}, "exceeds_volume"),
        ({"refused_by": ("any",)}, "file_refused"),
        ({"refused_by": ("klipper",), "waits_for": ("marlin",)}, None),
        ({"waits_for": ("any", "klipper")}, "needs_override"),
    ],
)
def test_what_the_file_says_of_itself(asks: dict[str, object], code: str | None) -> None:
    wanted = Requirements(file=FileAsks(**asks))  # type: ignore[arg-type]
    found = lacks(MK3, wanted)
    assert [obstacle.code for obstacle in found] == ([code] if code else [])
    # The quick answer is the same one.
    assert can_take(MK3, wanted) is (code is None)


def test_it_is_held_against_nothing_that_a_printer_does_not_state() -> None:
    file = FileAsks("1", "MK4", 0.6, "PETG", (500.0, 200.0, 0.0), (0.0, 0.0, 0.0), (900.0, 900.0, 900.0))
    assert lacks(UNKNOWN, Requirements(file=file)) == []
    for model in ("3D Printer", "Generic RepRap Printer", "Prusa (Buddy)", "Bambu Lab"):
        assert lacks(replace(UNKNOWN, model=model), Requirements(file=file)) == []
    # RepRapFirmware tells its board.
    assert lacks(replace(UNKNOWN, model="MB6HC", dialect="reprapfirmware"), Requirements(file=file)) == []


def test_the_clients_word_wins() -> None:
    file = FileAsks("1", "Ender-3", 0.6, "PETG")
    assert {o.code for o in lacks(MK3, Requirements(file=file))} == {"nozzle", "material", "printer_model"}
    explicit = Requirements(nozzle_diameter_mm=0.4, material="PLA basic", printer_model="mk3s", file=file)
    assert lacks(MK3, explicit) == []
    assert {o.code for o in lacks(MK3, replace(explicit, printer_model=None, printer_ids=("p1",)))} == set()
    assert [o.code for o in lacks(MK3, replace(explicit, printer_model="MK4"))] == ["printer_model"]
    # A wish is no hint: a printer that does not say its model is not one.
    assert [o.code for o in lacks(UNKNOWN, Requirements(printer_model="MK4"))] == ["printer_model"]


@pytest.mark.parametrize("corner", [(0.0, 0.0, 0.0), (-110.0, -110.0, 0.0)])
def test_a_round_bed_has_its_corner_elsewhere(corner: tuple[float, float, float]) -> None:
    delta = replace(MK3, volume_mm=(220.0, 220.0, 300.0), origin_mm=corner)
    low, high = coarse((-100.0, -100.0, 0.2), (100.0, 100.0, 50.0))
    wanted = Requirements(file=FileAsks(low_mm=low, high_mm=high))
    assert can_take(delta, wanted) is (corner[0] < 0)
    # Where its agent does not say, either may be.
    assert can_take(replace(delta, origin_mm=None), wanted)


@pytest.mark.parametrize(
    ("printer", "file", "same"),
    [
        ("Ender-3 V2", "Creality Ender-3", True),
        ("X1C", "Bambu Lab X1 Carbon", True),
        ("Voron 2.4", "Voron 2.4 350", True),
        ("MK4", "MK3S", False),
        ("P1S", "Bambu Lab X1 Carbon", False),
        ("", "MK4", True),
    ],
)
def test_models_are_spelled_in_many_ways(printer: str, file: str, same: bool) -> None:
    assert may_be_model(printer, file) is same


def test_materials_by_family() -> None:
    assert same_material("PLA+", "pla")
    assert same_material("PETG-CF", "PETG")
    assert not same_material("PLA", "PETG")


def of(line: str) -> Inspection:
    return inspect_bytes(SOUND + line.encode() + b"\nM104 S0\n")


def word(actor: str, found: Inspection, **changes: object) -> Override:
    covers = tuple(f"{q.rule}:{q.command}" for q in found.questions)
    return replace(Override(actor, "j1", "a" * 64, found.rules, actor, "operator", "why", covers, 1), **changes)  # type: ignore[arg-type]


MACRO = of("MY_MACRO")


@pytest.mark.parametrize(
    ("words", "waits"),
    [
        ([], True),
        ([word("ana", MACRO)], True),
        # Twice the same person is one person.
        ([word("ana", MACRO), word("ana", MACRO, override_id="o2")], True),
        ([word("ana", MACRO), word("ben", MACRO)], False),
        ([word("ana", MACRO), word("ben", MACRO, role="viewer")], True),
        ([word("ana", MACRO), word("ben", MACRO, revoked_at=5)], True),
        # Another set of rules found something else.
        ([word("ana", MACRO), word("ben", MACRO, rules=MACRO.rules + 1)], True),
        ([word("ana", MACRO), word("ben", MACRO, covers=("markup:M117",))], True),
        ([word("ana", MACRO), word("ben", MACRO), word("cem", MACRO)], False),
    ],
)
def test_two_people_must_allow_it(words: list[Override], waits: bool) -> None:
    asks = judged(MACRO, Policy(), words)
    assert ("klipper" in asks.waits_for) is waits
    # Behind OctoPrint may stand a Marlin, which would do nothing at the macro, and print on.
    assert ("any" in asks.waits_for) is waits


def test_the_policy_says_who() -> None:
    two = [word("ana", MACRO), word("ben", MACRO)]
    for_admins = policy_of("unlisted=admin, other_firmware=allow")
    assert judged(MACRO, for_admins, two).waits_for == ("klipper",)
    assert judged(MACRO, for_admins, [replace(one, role="admin") for one in two]).waits_for == ()
    not_klipper = ("any", "bambu", "marlin", "prusa", "reprapfirmware")
    assert judged(MACRO, policy_of("", ["my_macro"])).waits_for == not_klipper
    assert judged(MACRO, policy_of("unlisted=refuse"), two).refused_by == ("klipper",)
    assert refusal(MACRO, policy_of("unlisted=refuse")) == ""


def test_what_nobody_may_allow_for_any_printer_is_refused() -> None:
    colour = of("M600")
    assert judged(colour, Policy()).waits_for == ()
    assert refusal(colour, policy_of("needs_person=refuse")).startswith("this farm's policy refuses it: line 5: M600")


@pytest.mark.parametrize("text", ["unlisted", "unlisted=maybe", "temperature=allow", "forbidden=operator"])
def test_a_policy_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be one of|no rule that can be overruled"):
        policy_of(text)


def test_another_policy_is_another_version() -> None:
    versions = {Policy().version, policy_of("markup=allow").version, policy_of("", ["X_Y"]).version}
    assert len(versions) == 3
    assert policy_of("").version == Policy().version
    assert set(DEFAULT_ANSWERS.values()) <= set(Answer)
