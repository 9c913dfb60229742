"""CuraEngine's settings. Keys, units and spelling are those of Cura's ``fdmprinter`` definitions (4.13): lengths in
millimetres, speeds in millimetres per second, temperatures in degrees Celsius, shares in percent without a sign.

``material_type`` and ``material_density`` (grams per cubic centimetre) are the farm's own: Cura keeps them beside its settings.
"""

from collections.abc import Mapping
from dataclasses import replace

from .rules import Rule, flags, numbers

_PRINTER: dict[str, Rule] = {
    "machine_width": Rule("printer", "number", 1, 5_000, needed=True),
    "machine_depth": Rule("printer", "number", 1, 5_000, needed=True),
    "machine_height": Rule("printer", "number", 1, 5_000, needed=True),
    "machine_nozzle_size": Rule("printer", "number", 0.05, 2, needed=True),
    "machine_gcode_flavor": Rule(
        "printer",
        "choice",
        choices=("RepRap (Marlin/Sprinter)", "RepRap (RepRap)", "Repetier"),
        needed=True,
    ),
    "machine_start_gcode": Rule("printer", "template", needed=True),
    "machine_end_gcode": Rule("printer", "template", needed=True),
    "machine_name": Rule("printer", "word"),
    "retraction_combing": Rule("printer", "choice", choices=("off", "all", "no_outer_surfaces", "noskin", "infill")),
    **flags(
        "printer",
        "machine_center_is_zero",
        "machine_heated_bed",
        "relative_extrusion",
        "retraction_enable",
        "retract_at_layer_change",
        "retraction_hop_enabled",
        form="truth",
    ),
    **numbers("printer", (0, 50), "retraction_amount", "retraction_hop", "retraction_min_travel"),
    **numbers("printer", (0.1, 1_000), "retraction_speed", "retraction_retract_speed", "retraction_prime_speed"),
    **numbers("printer", (0, 1_000), "retraction_count_max", "retraction_extrusion_window"),
    **numbers("printer", (0, 5_000), "gantry_height"),
    **numbers("printer", (1, 2_000), *(f"machine_max_feedrate_{axis}" for axis in "xyze")),
    **numbers("printer", (1, 50_000), "machine_acceleration", *(f"machine_max_acceleration_{axis}" for axis in "xyze")),
    **numbers("printer", (0, 200), "machine_max_jerk_xy", "machine_max_jerk_z", "machine_max_jerk_e"),
}
_MATERIAL: dict[str, Rule] = {
    "material_type": Rule("material", "word", needed=True),
    # Without it nobody knows the weight.
    "material_density": Rule("material", "number", 0.1, 25, needed=True),
    # Cura's own default is 2.85 mm.
    "material_diameter": Rule("material", "number", 1, 3.5, needed=True),
    "material_print_temperature": Rule("material", "number", 150, 500, needed=True),
    "material_bed_temperature": Rule("material", "number", 0, 200, needed=True),
    **numbers(
        "material",
        (150, 500),
        "material_print_temperature_layer_0",
        "material_initial_print_temperature",
        "material_final_print_temperature",
    ),
    **numbers("material", (0, 200), "material_bed_temperature_layer_0", "build_volume_temperature"),
    **numbers("material", (50, 200), "material_flow", "material_flow_layer_0"),
    **numbers("material", (0, 100), "cool_fan_speed", "cool_fan_speed_min", "cool_fan_speed_max", "cool_fan_speed_0"),
    **numbers(
        "material",
        (0, 1_000),
        "cool_fan_full_layer",
        "cool_fan_full_at_height",
        "cool_min_layer_time",
        "cool_min_layer_time_fan_speed_max",
        "cool_min_speed",
    ),
    **flags("material", "cool_fan_enabled", "cool_lift_head", form="truth"),
}
_SKINS = ("lines", "concentric", "zigzag")
_INFILLS = (
    *("grid", "lines", "triangles", "trihexagon", "cubic", "cubicsubdiv", "tetrahedral"),
    *("quarter_cubic", "concentric", "zigzag", "gyroid", "lightning"),
)
_QUALITY: dict[str, Rule] = {
    "layer_height": Rule("quality", "number", 0.05, 1, needed=True),
    "layer_height_0": Rule("quality", "number", 0.05, 1),
    "infill_pattern": Rule("quality", "choice", choices=_INFILLS),
    "top_bottom_pattern": Rule("quality", "choice", choices=_SKINS),
    "top_bottom_pattern_0": Rule("quality", "choice", choices=_SKINS),
    "ironing_pattern": Rule("quality", "choice", choices=("concentric", "zigzag")),
    "z_seam_type": Rule("quality", "choice", choices=("back", "shortest", "random", "sharpest_corner")),
    "adhesion_type": Rule("quality", "choice", choices=("skirt", "brim", "raft", "none")),
    "support_structure": Rule("quality", "choice", choices=("normal", "tree")),
    "support_type": Rule("quality", "choice", choices=("buildplate", "everywhere")),
    "support_pattern": Rule(
        "quality", "choice", choices=("lines", "grid", "triangles", "concentric", "zigzag", "gyroid")
    ),
    "support_interface_pattern": Rule(
        "quality", "choice", choices=("lines", "grid", "triangles", "concentric", "zigzag")
    ),
    "slicing_tolerance": Rule("quality", "choice", choices=("middle", "exclusive", "inclusive")),
    **numbers(
        "quality",
        (0.05, 5),
        "line_width",
        "wall_line_width",
        "wall_line_width_0",
        "wall_line_width_x",
        "skin_line_width",
        "infill_line_width",
        "skirt_brim_line_width",
        "support_line_width",
    ),
    **numbers("quality", (50, 200), "initial_layer_line_width_factor"),
    **numbers("quality", (0, 100), "wall_thickness", "top_bottom_thickness", "top_thickness", "bottom_thickness"),
    **numbers("quality", (0, 1_000), "wall_line_count", "top_layers", "bottom_layers", "initial_bottom_layers"),
    **numbers("quality", (0, 100), "infill_sparse_density", "infill_overlap", "support_infill_rate"),
    **numbers("quality", (0, 100), "support_interface_density", "gradual_infill_steps", "min_infill_area"),
    **numbers("quality", (-2, 2), "xy_offset", "xy_offset_layer_0", "hole_xy_offset"),
    **numbers("quality", (0, 89), "support_angle", "support_tree_angle"),
    **numbers("quality", (0, 10), "support_z_distance", "support_xy_distance", "support_interface_height"),
    **numbers("quality", (0, 100), "brim_width", "skirt_gap", "skirt_line_count", "raft_margin", "raft_surface_layers"),
    **numbers("quality", (0, 5), "brim_gap", "raft_airgap"),
    **numbers("quality", (0, 10_000), "skirt_brim_minimal_length"),
    **numbers("quality", (0.01, 2), "meshfix_maximum_resolution", "meshfix_maximum_travel_resolution"),
    **numbers("quality", (0.001, 1), "meshfix_maximum_deviation"),
    **numbers(
        "quality",
        (0.1, 2_000),
        "speed_print",
        "speed_infill",
        "speed_wall",
        "speed_wall_0",
        "speed_wall_x",
        "speed_topbottom",
        "speed_support",
        "speed_travel",
        "speed_layer_0",
        "speed_print_layer_0",
        "speed_travel_layer_0",
        "skirt_brim_speed",
        "speed_ironing",
        "speed_z_hop",
    ),
    **numbers("quality", (0, 1_000), "speed_slowdown_layers"),
    **numbers(
        "quality",
        (1, 50_000),
        "acceleration_print",
        "acceleration_infill",
        "acceleration_wall",
        "acceleration_wall_0",
        "acceleration_wall_x",
        "acceleration_topbottom",
        "acceleration_support",
        "acceleration_travel",
        "acceleration_layer_0",
    ),
    **numbers("quality", (0.1, 200), "jerk_print", "jerk_travel", "jerk_layer_0"),
    **flags(
        "quality",
        "acceleration_enabled",
        "alternate_extra_perimeter",
        "brim_outside_only",
        "infill_before_walls",
        "ironing_enabled",
        "ironing_only_highest_layer",
        "jerk_enabled",
        "magic_fuzzy_skin_enabled",
        "magic_spiralize",
        "meshfix_union_all",
        "optimize_wall_printing_order",
        "outer_inset_first",
        "skin_monotonic",
        "support_brim_enable",
        "support_enable",
        "support_interface_enable",
        "travel_avoid_other_parts",
        "travel_retract_before_outer_wall",
        "zig_zaggify_infill",
        form="truth",
    ),
}
_ALL = {**_PRINTER, **_MATERIAL, **_QUALITY}
# What start and end code may have in braces: the worth of any setting but code.
_PLACES = tuple(sorted(key for key, rule in _ALL.items() if rule.form != "template"))
RULES: Mapping[str, Rule] = {
    key: replace(rule, choices=_PLACES) if rule.form == "template" else rule for key, rule in _ALL.items()
}
