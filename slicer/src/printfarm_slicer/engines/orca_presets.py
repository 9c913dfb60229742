"""Which of OrcaSlicer's presets a setting belongs to: in another one it is ignored without a word."""

from collections.abc import Mapping

MACHINE, FILAMENT, PROCESS = "machine", "filament", "process"
_AXES = ("x", "y", "z", "e")

# Kind -> key -> whether it is a list, of one value for each extruder, mode or corner. Every filament's setting is one.
KINDS: Mapping[str, Mapping[str, bool]] = {
    MACHINE: {
        **dict.fromkeys(
            (
                *("gcode_flavor", "machine_start_gcode", "machine_end_gcode", "before_layer_change_gcode"),
                *("layer_change_gcode", "printer_model", "printable_height", "use_relative_e_distances"),
                *("silent_mode", "z_offset"),
            ),
            False,
        ),
        **dict.fromkeys(
            (
                *("printable_area", "nozzle_diameter", "retraction_length", "retract_restart_extra", "z_hop", "wipe"),
                *("retraction_minimum_travel", "retraction_speed", "deretraction_speed", "min_layer_height"),
                *("max_layer_height", "retract_when_changing_layer"),
                *(f"machine_max_{what}_{axis}" for what in ("speed", "acceleration", "jerk") for axis in _AXES),
                *(f"machine_max_acceleration_{what}" for what in ("extruding", "retracting", "travel")),
            ),
            True,
        ),
    },
    FILAMENT: dict.fromkeys(
        (
            *("filament_type", "filament_diameter", "filament_density", "filament_cost", "filament_vendor"),
            *("filament_flow_ratio", "filament_max_volumetric_speed", "default_filament_colour"),
            *(
                "nozzle_temperature",
                "nozzle_temperature_initial_layer",
                "hot_plate_temp",
                "hot_plate_temp_initial_layer",
            ),
            *("enable_pressure_advance", "pressure_advance", "fan_min_speed", "fan_max_speed", "overhang_fan_speed"),
            *("close_fan_the_first_x_layers", "full_fan_speed_layer", "fan_cooling_layer_time"),
            *("slow_down_layer_time", "slow_down_min_speed", "slow_down_for_layer_cooling"),
            "reduce_fan_stop_start_freq",
        ),
        True,
    ),
    PROCESS: dict.fromkeys(
        (
            *("layer_height", "initial_layer_print_height", "resolution", "slice_closing_radius", "spiral_mode"),
            *("sparse_infill_density", "sparse_infill_pattern", "top_surface_pattern", "bottom_surface_pattern"),
            *("internal_solid_infill_pattern", "seam_position", "brim_type", "brim_width", "brim_object_gap"),
            *("support_type", "wall_generator", "ironing_type", "wall_loops", "top_shell_layers"),
            *("bottom_shell_layers", "top_shell_thickness", "bottom_shell_thickness", "raft_layers", "skirt_loops"),
            *("skirt_distance", "skirt_height", "min_skirt_length", "support_threshold_angle"),
            *("support_top_z_distance", "support_bottom_z_distance", "support_object_xy_distance"),
            *("support_interface_top_layers", "support_interface_spacing", "infill_direction", "bridge_angle"),
            *("elefant_foot_compensation", "xy_contour_compensation", "xy_hole_compensation", "bridge_flow"),
            *("outer_wall_speed", "inner_wall_speed", "sparse_infill_speed", "internal_solid_infill_speed"),
            *("top_surface_speed", "gap_infill_speed", "bridge_speed", "support_speed", "support_interface_speed"),
            *("travel_speed", "initial_layer_speed", "initial_layer_infill_speed", "small_perimeter_speed"),
            *("default_acceleration", "outer_wall_acceleration", "inner_wall_acceleration"),
            *("top_surface_acceleration", "initial_layer_acceleration", "travel_acceleration", "default_jerk"),
            *("line_width", "initial_layer_line_width", "outer_wall_line_width", "inner_wall_line_width"),
            *("sparse_infill_line_width", "internal_solid_infill_line_width", "top_surface_line_width"),
            *("support_line_width", "infill_wall_overlap", "enable_support", "support_on_build_plate_only"),
            *("detect_thin_wall", "detect_overhang_wall", "reduce_crossing_wall", "reduce_infill_retraction"),
            *("thick_bridges", "only_one_wall_top", "precise_outer_wall", "enable_overhang_speed"),
        ),
        False,
    ),
}
