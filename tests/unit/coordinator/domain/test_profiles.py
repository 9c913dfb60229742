"""What a profile may hold, and which profiles are chosen."""

from dataclasses import replace

import pytest

from printfarm_coordinator.domain.errors import Invalid
from printfarm_coordinator.domain.job import Job
from printfarm_coordinator.domain.printer import Obstacle, Printer
from printfarm_coordinator.domain.profile import ProfileKind, check_profile, settings_hash
from printfarm_coordinator.domain.setup import Catalogue, Setup
from printfarm_coordinator.domain.slicer_keys import ENGINES, is_never_taken
from tests.support.slicings import (
    MATERIAL_SETTINGS,
    PRINTER_SETTINGS,
    QUALITY_SETTINGS,
    a_profile,
    profiles_of,
    three_profiles,
)
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
        (a_profile(QUALITY, engine="kiri"), "engine"),
    ):
        with pytest.raises(Invalid) as refused:
            check_profile(wrong)
        assert refused.value.field == field


def test_no_setting_of_any_engine_runs_a_command_or_reaches_a_network() -> None:
    for engine in ENGINES.values():
        for key in engine.rules:
            assert not is_never_taken(key)
            assert not any(
                word in key for word in ("post_process", "host", "api", "script", "path", "file_", "filename", "plugin")
            )


@pytest.mark.parametrize(
    ("engine", "key"),
    [
        ("prusaslicer", "post_process"),
        ("orcaslicer", "post_process"),
        ("orcaslicer", "slicing_pipeline_plugin"),
        ("orcaslicer", "inherits"),
        ("curaengine", "cross_infill_density_image"),
    ],
)
def test_what_runs_or_reads_is_refused_in_so_many_words(engine: str, key: str) -> None:
    profile = a_profile(QUALITY, engine=engine, settings={"layer_height": "0.2", key: "/bin/sh"})
    with pytest.raises(Invalid) as refused:
        check_profile(profile)
    assert refused.value.field == f"settings.{key}" and "is never taken" in str(refused.value)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_its_three_profiles(engine: str) -> None:
    profiles = profiles_of(engine)
    for profile in profiles:
        check_profile(profile)
    found = setup_for(Catalogue(profiles), a_printer(), a_job())
    assert isinstance(found, Setup)
    assert found.engine == engine and found.labels[0].startswith(engine)


@pytest.mark.parametrize(
    ("engine", "kind", "key", "value", "words"),
    [
        ("curaengine", PRINTER, "machine_width", "220mm", "must be a number from 1 to 5000"),
        ("curaengine", PRINTER, "machine_gcode_flavor", "marlin", "must be one of RepRap"),
        ("curaengine", PRINTER, "machine_start_gcode", "M104 S{first_layer_temperature}", "first_layer_temperature"),
        ("curaengine", PRINTER, "machine_start_gcode", "{machine_end_gcode}", "no setting of a profile"),
        ("curaengine", MATERIAL, "material_bed_temperature", "999", "must be a number from 0 to 200"),
        ("curaengine", QUALITY, "support_enable", "1", "must be true or false"),
        ("curaengine", QUALITY, "fill_density", "20%", "not on the list of curaengine settings"),
        ("curaengine", QUALITY, "material_diameter", "1.75", "belongs into a material profile"),
        ("orcaslicer", PRINTER, "printable_area", "220x220", "must be 3 to"),
        ("orcaslicer", PRINTER, "printer_model", "../../job/x", "must have no slash"),
        ("orcaslicer", QUALITY, "sparse_infill_density", "nan", "or a percentage"),
        ("orcaslicer", MATERIAL, "filament_start_gcode", "G28", "not on the list of orcaslicer settings"),
    ],
)
def test_each_engine_names_the_field_and_what_would_be_right(
    engine: str, kind: ProfileKind, key: str, value: str, words: str
) -> None:
    profile = next(each for each in profiles_of(engine) if each.kind is kind)
    with pytest.raises(Invalid) as refused:
        check_profile(replace(profile, settings={**profile.settings, key: value}))
    assert refused.value.field == f"settings.{key}" and words in str(refused.value)


def test_setups_are_of_one_engine_and_the_preferred_is_first() -> None:
    cura = profiles_of("curaengine")
    both = Catalogue([*three_profiles(), *cura]).setups_for(a_printer(), a_job())
    assert not isinstance(both, Obstacle)
    # By name, where none is the default one.
    assert [setup.engine for setup in both] == ["curaengine", "prusaslicer"]
    preferred = [replace(p, is_default=True) if p.kind is PRINTER else p for p in three_profiles()]
    both = Catalogue([*preferred, *cura]).setups_for(a_printer(), a_job())
    assert not isinstance(both, Obstacle)
    assert [setup.engine for setup in both] == ["prusaslicer", "curaengine"]
    # A material of the other engine is none for this one, and the reason says so.
    mixed = [p for p in cura if p.kind is not MATERIAL] + [p for p in three_profiles() if p.kind is MATERIAL]
    missing = Catalogue(mixed).setups_for(a_printer(), a_job())
    assert isinstance(missing, Obstacle) and "no material profile of curaengine is for PLA" in missing.explanation


def setup_for(catalogue: Catalogue, printer: Printer, job: Job) -> Setup | Obstacle:
    """The preferred one."""
    found = catalogue.setups_for(printer, job)
    return found if isinstance(found, Obstacle) else found[0]


def test_a_setup_joins_the_three() -> None:
    found = setup_for(Catalogue(three_profiles()), a_printer(), a_job())
    assert isinstance(found, Setup)
    assert found.labels == ("printer@1", "material@1", "quality@1")
    assert found.settings == PRINTER_SETTINGS | MATERIAL_SETTINGS | QUALITY_SETTINGS
    assert found.settings_hash == settings_hash("prusaslicer", found.settings)


def test_the_job_names_the_quality() -> None:
    draft = a_profile(QUALITY, "draft", is_default=False, settings={"layer_height": "0.3"})
    catalogue = Catalogue([*three_profiles(), draft])
    found = setup_for(catalogue, a_printer(), a_job(profile="draft"))
    assert isinstance(found, Setup)
    assert found.settings["layer_height"] == "0.3"
    assert isinstance(setup_for(catalogue, a_printer(), a_job(profile="fine")), Obstacle)


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
        found = setup_for(catalogue, printer, a_job())
        assert isinstance(found, Obstacle)
        assert found.code == "no_profile" and code in found.explanation
    big = a_printer(abilities=type(has)(model="M", nozzle_diameter_mm=0.6, material="PLA"))
    setup = setup_for(catalogue, big, a_job())
    assert isinstance(setup, Setup)
    assert setup.labels[0] == "big@1"


def test_a_job_keeps_the_versions_of_its_time() -> None:
    later = a_profile(QUALITY, version=2, created_at=5_000, settings={"layer_height": "0.1"})
    catalogue = Catalogue([*three_profiles(), later])
    for accepted, height in ((4_999, "0.2"), (5_000, "0.1")):
        found = setup_for(catalogue, a_printer(), a_job(created_at=accepted))
        assert isinstance(found, Setup)
        assert found.settings["layer_height"] == height


def test_a_job_older_than_every_profile_gets_the_first() -> None:
    catalogue = Catalogue([a_profile(kind, created_at=9_000) for kind in ProfileKind])
    assert isinstance(setup_for(catalogue, a_printer(), a_job(created_at=10)), Setup)


def test_a_retired_profile_serves_the_jobs_before_it() -> None:
    retired = [a_profile(PRINTER), a_profile(MATERIAL), a_profile(QUALITY, retired_at=700)]
    catalogue = Catalogue(retired)
    assert isinstance(setup_for(catalogue, a_printer(), a_job(created_at=699)), Setup)
    assert isinstance(setup_for(catalogue, a_printer(), a_job(created_at=700)), Obstacle)
