"""Profiles and slicings that tests build on."""

from dataclasses import replace
from typing import Any

from printfarm_coordinator.domain.profile import Profile, ProfileKind
from printfarm_coordinator.domain.slicing import Slicing, SlicingKey

from .stores import SECOND, SHA

PRINTER_SETTINGS = {
    "bed_shape": "0x0,220x0,220x220,0x220",
    "max_print_height": "250",
    "nozzle_diameter": "0.4",
    "gcode_flavor": "marlin",
    "start_gcode": "G28\nM104 S[first_layer_temperature]\nM109 S[first_layer_temperature]",
    "end_gcode": "M104 S0\nM84",
}
MATERIAL_SETTINGS = {
    "filament_type": "PLA",
    "filament_diameter": "1.75",
    "filament_density": "1.24",
    "temperature": "210",
    "first_layer_temperature": "215",
    "bed_temperature": "60",
    "first_layer_bed_temperature": "60",
}
QUALITY_SETTINGS = {"layer_height": "0.2", "fill_density": "15%"}
_OF = {
    ProfileKind.PRINTER: PRINTER_SETTINGS,
    ProfileKind.MATERIAL: MATERIAL_SETTINGS,
    ProfileKind.QUALITY: QUALITY_SETTINGS,
}


# The same printer, material and quality in the words of the other engines.
CURA: dict[ProfileKind, dict[str, str]] = {
    ProfileKind.PRINTER: {
        "machine_width": "220",
        "machine_depth": "220",
        "machine_height": "250",
        "machine_nozzle_size": "0.4",
        "machine_gcode_flavor": "RepRap (Marlin/Sprinter)",
        "machine_heated_bed": "true",
        "machine_start_gcode": "G28\nM104 S{material_print_temperature}\nM109 S{material_print_temperature, 0}",
        "machine_end_gcode": "M104 S0\nM84",
    },
    ProfileKind.MATERIAL: {
        "material_type": "PLA",
        "material_density": "1.24",
        "material_diameter": "1.75",
        "material_print_temperature": "210",
        "material_bed_temperature": "60",
    },
    ProfileKind.QUALITY: {"layer_height": "0.2", "infill_sparse_density": "15", "adhesion_type": "skirt"},
}
ORCA: dict[ProfileKind, dict[str, str]] = {
    ProfileKind.PRINTER: {
        "printable_area": "0x0,220x0,220x220,0x220",
        "printable_height": "250",
        "nozzle_diameter": "0.4",
        "gcode_flavor": "marlin",
        "machine_start_gcode": "G28\nM109 S[nozzle_temperature_initial_layer]",
        "machine_end_gcode": "M104 S0\nM84",
        "machine_max_speed_x": "500,200",
    },
    ProfileKind.MATERIAL: {
        "filament_type": "PLA",
        "filament_diameter": "1.75",
        "filament_density": "1.24",
        "nozzle_temperature": "210",
        "nozzle_temperature_initial_layer": "215",
        "hot_plate_temp": "60",
        "hot_plate_temp_initial_layer": "65",
    },
    ProfileKind.QUALITY: {"layer_height": "0.2", "sparse_infill_density": "15%", "brim_type": "no_brim"},
}
OF_ENGINE = {"prusaslicer": _OF, "curaengine": CURA, "orcaslicer": ORCA}


def merged(engine: str) -> dict[str, str]:
    """A setup's settings."""
    return {key: value for settings in OF_ENGINE[engine].values() for key, value in settings.items()}


def a_profile(kind: ProfileKind, name: str = "", **changes: Any) -> Profile:
    """Version 1, made at the beginning of time."""
    models = ("M",) if kind is ProfileKind.PRINTER else ()
    made = Profile(name or kind.value, 1, kind, "prusaslicer", dict(_OF[kind]), 1, "user/ana", models)
    return replace(made, **{"is_default": kind is ProfileKind.QUALITY} | changes)


def three_profiles() -> list[Profile]:
    """One of each kind: for the model M with a 0.4 mm nozzle, and PLA."""
    return [a_profile(kind) for kind in ProfileKind]


def profiles_of(engine: str) -> list[Profile]:
    """One of each kind, in the words of that engine and named after it."""
    return [
        a_profile(kind, f"{engine}-{kind}", engine=engine, settings=dict(settings))
        for kind, settings in OF_ENGINE[engine].items()
    ]


def a_slicing(slicing_id: str = "s1", **changes: Any) -> Slicing:
    """Queued, of the model SHA."""
    key = SlicingKey(SHA, "h" * 64, 2, "prusaslicer", "2.5.0")
    made = Slicing(slicing_id, key, ("printer@1", "material@1", "quality@1"), {"layer_height": "0.2"}, SECOND, SECOND)
    return replace(made, **changes)
