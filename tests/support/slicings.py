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


def a_profile(kind: ProfileKind, name: str = "", **changes: Any) -> Profile:
    """Version 1, made at the beginning of time."""
    models = ("M",) if kind is ProfileKind.PRINTER else ()
    made = Profile(name or kind.value, 1, kind, "prusaslicer", dict(_OF[kind]), 1, "user/ana", models)
    return replace(made, **{"is_default": kind is ProfileKind.QUALITY} | changes)


def three_profiles() -> list[Profile]:
    """One of each kind: for the model M with a 0.4 mm nozzle, and PLA."""
    return [a_profile(kind) for kind in ProfileKind]


def a_slicing(slicing_id: str = "s1", **changes: Any) -> Slicing:
    """Queued, of the model SHA."""
    key = SlicingKey(SHA, "h" * 64, 2, "prusaslicer", "2.5.0")
    made = Slicing(slicing_id, key, ("printer@1", "material@1", "quality@1"), {"layer_height": "0.2"}, SECOND, SECOND)
    return replace(made, **changes)
