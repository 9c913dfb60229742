"""OrcaSlicer's settings. Keys and spelling are those of its presets (2.3): lengths in millimetres, speeds in millimetres per
second, temperatures in degrees Celsius. A preset's own words for the three kinds are machine, filament and process.
"""

from collections.abc import Mapping

from .rules import Rule, flags, numbers

_AXES = ("x", "y", "z", "e")
_INFILLS = (
    *("concentric", "zig-zag", "grid", "line", "rectilinear", "alignedrectilinear", "triangles", "tri-hexagon"),
    *("cubic", "adaptivecubic", "quartercubic", "supportcubic", "lightning", "honeycomb", "3dhoneycomb", "gyroid"),
    "crosshatch",
)
_SOLID_INFILLS = ("monotonic", "monotonicline", "rectilinear", "alignedrectilinear", "concentric")

_PRINTER: dict[str, Rule] = {
    "printable_area": Rule("printer", "points", needed=True),
    "printable_height": Rule("printer", "number", 1, 5_000, needed=True),
    "nozzle_diameter": Rule("printer", "number", 0.05, 2, needed=True),
    "gcode_flavor": Rule(
        "printer",
        "choice",
        choices=("marlin", "marlin2", "klipper", "reprapfirmware", "repetier", "smoothie"),
        needed=True,
    ),
    "machine_start_gcode": Rule("printer", "gcode", needed=True),
    "machine_end_gcode": Rule("printer", "gcode", needed=True),
    "before_layer_change_gcode": Rule("printer", "gcode"),
    "layer_change_gcode": Rule("printer", "gcode"),
    # It looks for a file of its own by that name.
    "printer_model": Rule("printer", "name"),
    **numbers("printer", (0, 50), "retraction_length", "retract_restart_extra", "retraction_minimum_travel", "z_hop"),
    **numbers("printer", (0, 1_000), "retraction_speed", "deretraction_speed"),
    **numbers("printer", (0, 1), "min_layer_height", "max_layer_height"),
    **numbers("printer", (-10, 10), "z_offset"),
    **flags("printer", "use_relative_e_distances", "wipe", "retract_when_changing_layer", "silent_mode"),
    **{f"machine_max_speed_{a}": Rule("printer", "number", 0, 2_000, values=2) for a in _AXES},
    **{f"machine_max_acceleration_{a}": Rule("printer", "number", 0, 50_000, values=2) for a in _AXES},
    **{f"machine_max_jerk_{a}": Rule("printer", "number", 0, 200, values=2) for a in _AXES},
    **{
        f"machine_max_acceleration_{what}": Rule("printer", "number", 0, 50_000, values=2)
        for what in ("extruding", "retracting", "travel")
    },
}
_MATERIAL: dict[str, Rule] = {
    "filament_type": Rule("material", "word", needed=True),
    "filament_diameter": Rule("material", "number", 1, 3.5, needed=True),
    "filament_density": Rule("material", "number", 0.1, 25, needed=True),
    "nozzle_temperature": Rule("material", "number", 150, 500, needed=True),
    "nozzle_temperature_initial_layer": Rule("material", "number", 150, 500, needed=True),
    # Whatever plate lies on the bed: the worker says the same for every kind.
    "hot_plate_temp": Rule("material", "number", 0, 200, needed=True),
    "hot_plate_temp_initial_layer": Rule("material", "number", 0, 200, needed=True),
    "default_filament_colour": Rule("material", "colour"),
    "filament_vendor": Rule("material", "word"),
    **numbers("material", (0, 100_000), "filament_cost"),
    **numbers("material", (0.5, 2), "filament_flow_ratio"),
    **numbers("material", (0, 200), "filament_max_volumetric_speed"),
    **numbers("material", (0, 2), "pressure_advance"),
    **numbers("material", (0, 100), "fan_min_speed", "fan_max_speed", "overhang_fan_speed"),
    **numbers(
        "material",
        (0, 1_000),
        "close_fan_the_first_x_layers",
        "full_fan_speed_layer",
        "fan_cooling_layer_time",
        "slow_down_layer_time",
        "slow_down_min_speed",
    ),
    **flags("material", "enable_pressure_advance", "slow_down_for_layer_cooling", "reduce_fan_stop_start_freq"),
}
_QUALITY: dict[str, Rule] = {
    "layer_height": Rule("quality", "number", 0.05, 1, needed=True),
    "initial_layer_print_height": Rule("quality", "number", 0.05, 1),
    "sparse_infill_density": Rule("quality", "percent", 0, 100),
    "sparse_infill_pattern": Rule("quality", "choice", choices=_INFILLS),
    "top_surface_pattern": Rule("quality", "choice", choices=_SOLID_INFILLS),
    "bottom_surface_pattern": Rule("quality", "choice", choices=_SOLID_INFILLS),
    "internal_solid_infill_pattern": Rule("quality", "choice", choices=_SOLID_INFILLS),
    "seam_position": Rule("quality", "choice", choices=("nearest", "aligned", "back", "random")),
    "brim_type": Rule(
        "quality", "choice", choices=("auto_brim", "outer_only", "inner_only", "outer_and_inner", "no_brim")
    ),
    "support_type": Rule("quality", "choice", choices=("normal(auto)", "tree(auto)", "normal(manual)", "tree(manual)")),
    "wall_generator": Rule("quality", "choice", choices=("classic", "arachne")),
    "ironing_type": Rule("quality", "choice", choices=("no ironing", "top", "topmost", "solid")),
    **numbers(
        "quality", (0, 50), "wall_loops", "top_shell_layers", "bottom_shell_layers", "raft_layers", "skirt_loops"
    ),
    **numbers("quality", (0, 50), "brim_width", "brim_object_gap", "skirt_distance", "min_skirt_length"),
    **numbers("quality", (0, 100), "skirt_height", "top_shell_thickness", "bottom_shell_thickness"),
    **numbers("quality", (0, 90), "support_threshold_angle"),
    **numbers("quality", (0, 10), "support_top_z_distance", "support_bottom_z_distance", "support_object_xy_distance"),
    **numbers("quality", (0, 10), "support_interface_top_layers", "support_interface_spacing"),
    **numbers("quality", (0, 360), "infill_direction", "bridge_angle"),
    **numbers("quality", (0, 1), "elefant_foot_compensation", "resolution", "slice_closing_radius"),
    **numbers("quality", (-2, 2), "xy_contour_compensation", "xy_hole_compensation"),
    **numbers("quality", (0.5, 2), "bridge_flow"),
    **numbers(
        "quality",
        (0, 2_000),
        "outer_wall_speed",
        "inner_wall_speed",
        "sparse_infill_speed",
        "internal_solid_infill_speed",
        "top_surface_speed",
        "gap_infill_speed",
        "bridge_speed",
        "support_speed",
        "support_interface_speed",
        "travel_speed",
        "initial_layer_speed",
        "initial_layer_infill_speed",
    ),
    **numbers("quality", (0, 2_000), "small_perimeter_speed", form="percent"),
    **numbers(
        "quality",
        (0, 50_000),
        "default_acceleration",
        "outer_wall_acceleration",
        "inner_wall_acceleration",
        "top_surface_acceleration",
        "initial_layer_acceleration",
        "travel_acceleration",
    ),
    **numbers("quality", (0, 200), "default_jerk"),
    **numbers(
        "quality",
        (0, 5),
        "line_width",
        "initial_layer_line_width",
        "outer_wall_line_width",
        "inner_wall_line_width",
        "sparse_infill_line_width",
        "internal_solid_infill_line_width",
        "top_surface_line_width",
        "support_line_width",
        "infill_wall_overlap",
        form="percent",
    ),
    **flags(
        "quality",
        "enable_support",
        "support_on_build_plate_only",
        "detect_thin_wall",
        "detect_overhang_wall",
        "reduce_crossing_wall",
        "reduce_infill_retraction",
        "spiral_mode",
        "thick_bridges",
        "only_one_wall_top",
        "precise_outer_wall",
        "enable_overhang_speed",
    ),
}
RULES: Mapping[str, Rule] = {**_PRINTER, **_MATERIAL, **_QUALITY}
