"""What a profile may hold, and which profiles are chosen."""

import pytest

from printfarm_coordinator.domain.errors import Invalid
from printfarm_coordinator.domain.printer import Obstacle
from printfarm_coordinator.domain.profile import ProfileKind, check_profile, settings_hash
from printfarm_coordinator.domain.setup import Catalogue, Setup
from printfarm_coordinator.domain.slicer_keys import ENGINES
from tests.support.slicings import MATERIAL_SETTINGS, PRINTER_SETTINGS, QUALITY_SETTINGS, a_profile, three_profiles
from tests.support.stores import a_job, a_printer

PRINTER, MATERIAL, QUALITY = ProfileKind.PRINTER, ProfileKind.MATERIAL, ProfileKind.QUALITY


@pytest.mark.parametrize("kind", list(ProfileKind))
def test_what_is_right_is_taken(kind: ProfileKind) -> None:
    check_profile(a_profile(kind))


# Bad input 49 and 52: no command, no network, no file, nothing out of range.
@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        (QUALITY, "post_process", "/bin/sh -c id"),
        (QUALITY, "output_filename_format", "../../x"),
        (PRINTER, "print_host", "http://10.0.0.1"),
        (PRINTER, "printhost_apikey", "secret"),
        (PRINTER, "printhost_cafile", "/etc/passwd"),
        (PRINTER, "thumbnails", "99999x99999"),
        (PRINTER, "binary_gcode", "1"),
        (QUALITY, "layer_height", "0.001"),
        (QUALITY, "layer_height", "1.5"),
        (QUALITY, "layer_height", "nan"),
        (QUALITY, "layer_height", "1e9"),
        (QUALITY, "layer_height", "0.2\npost_process = x"),
        (QUALITY, "fill_density", "1001%"),
        (QUALITY, "fill_pattern", "nonsense"),
        (QUALITY, "support_material", "yes"),
        (QUALITY, "temperature", "210"),
        (MATERIAL, "temperature", "999"),
        (MATERIAL, "filament_type", "PLA;rm"),
        (MATERIAL, "filament_colour", "red"),
        (PRINTER, "bed_shape", "0x0,220x0"),
        (PRINTER, "max_print_height", "10000"),
        (PRINTER, "start_gcode", "G28\x00"),
        (PRINTER, "start_gcode", "G1 X1\n" * 5_000),
    ],
)
def test_what_is_wrong_is_named(kind: ProfileKind, key: str, value: str) -> None:
    profile = a_profile(kind)
    with pytest.raises(Invalid) as refused:
        check_profile(a_profile(kind, settings={**profile.settings, key: value}))
    assert refused.value.field == f"settings.{key}"


@pytest.mark.parametrize(
    ("kind", "key"), [(PRINTER, "bed_shape"), (MATERIAL, "filament_density"), (QUALITY, "layer_height")]
)
def test_what_the_slicer_would_guess_must_be_said(kind: ProfileKind, key: str) -> None:
    settings = {name: value for name, value in a_profile(kind).settings.items() if name != key}
    with pytest.raises(Invalid, match="is missing"):
        check_profile(a_profile(kind, settings=settings))


def test_only_printers_have_models_and_engines_are_known() -> None:
    for wrong, field in (
        (a_profile(QUALITY, printer_models=("M",)), "printer_models"),
        (a_profile(PRINTER, printer_models=()), "printer_models"),
        (a_profile(PRINTER, printer_models=("",)), "printer_models"),
        (a_profile(QUALITY, engine="cura"), "engine"),
    ):
        with pytest.raises(Invalid) as refused:
            check_profile(wrong)
        assert refused.value.field == field


def test_no_setting_of_any_engine_runs_a_command_or_reaches_a_network() -> None:
    for rules in ENGINES.values():
        for key in rules:
            assert not any(
                word in key for word in ("post_process", "host", "api", "script", "path", "file_", "filename")
            )


def test_a_setup_joins_the_three() -> None:
    found = Catalogue(three_profiles()).setup_for(a_printer(), a_job())
    assert isinstance(found, Setup)
    assert found.labels == ("printer@1", "material@1", "quality@1")
    assert found.settings == PRINTER_SETTINGS | MATERIAL_SETTINGS | QUALITY_SETTINGS
    assert found.settings_hash == settings_hash("prusaslicer", found.settings)


def test_the_job_names_the_quality() -> None:
    draft = a_profile(QUALITY, "draft", is_default=False, settings={"layer_height": "0.3"})
    catalogue = Catalogue([*three_profiles(), draft])
    found = catalogue.setup_for(a_printer(), a_job(profile="draft"))
    assert isinstance(found, Setup)
    assert found.settings["layer_height"] == "0.3"
    assert isinstance(catalogue.setup_for(a_printer(), a_job(profile="fine")), Obstacle)


def test_the_printer_decides_by_model_nozzle_and_material() -> None:
    other = a_profile(PRINTER, "big", settings={**PRINTER_SETTINGS, "nozzle_diameter": "0.6"})
    catalogue = Catalogue([*three_profiles(), other])
    has = a_printer().abilities
    for change, code in (
        ({"model": "N"}, "no printer profile"),
        ({"nozzle_diameter_mm": 0.8}, "no printer profile"),
        ({"material": "PETG"}, "no material profile"),
        ({"material": None}, "material is unknown"),
    ):
        printer = a_printer(
            abilities=type(has)(**{"model": "m", "nozzle_diameter_mm": 0.4, "material": "pla"} | change)
        )
        found = catalogue.setup_for(printer, a_job())
        assert isinstance(found, Obstacle)
        assert found.code == "no_profile" and code in found.explanation
    big = a_printer(abilities=type(has)(model="M", nozzle_diameter_mm=0.6, material="PLA"))
    setup = catalogue.setup_for(big, a_job())
    assert isinstance(setup, Setup)
    assert setup.labels[0] == "big@1"


def test_a_job_keeps_the_versions_of_its_time() -> None:
    later = a_profile(QUALITY, version=2, created_at=5_000, settings={"layer_height": "0.1"})
    catalogue = Catalogue([*three_profiles(), later])
    for accepted, height in ((4_999, "0.2"), (5_000, "0.1")):
        found = catalogue.setup_for(a_printer(), a_job(created_at=accepted))
        assert isinstance(found, Setup)
        assert found.settings["layer_height"] == height


def test_a_job_older_than_every_profile_gets_the_first() -> None:
    catalogue = Catalogue([a_profile(kind, created_at=9_000) for kind in ProfileKind])
    assert isinstance(catalogue.setup_for(a_printer(), a_job(created_at=10)), Setup)


def test_a_retired_profile_serves_the_jobs_before_it() -> None:
    retired = [a_profile(PRINTER), a_profile(MATERIAL), a_profile(QUALITY, retired_at=700)]
    catalogue = Catalogue(retired)
    assert isinstance(catalogue.setup_for(a_printer(), a_job(created_at=699)), Setup)
    assert isinstance(catalogue.setup_for(a_printer(), a_job(created_at=700)), Obstacle)
