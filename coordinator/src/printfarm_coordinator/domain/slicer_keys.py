"""The settings that a profile may have, per engine: an allow-list with limits.

What is not here is refused: above all whatever runs a command (``post_process``), talks to a network (``print_host`` and its
kin) or names a file. Keys and spelling of PrusaSlicer are those of its own ``--save`` (2.5); lengths in millimetres, speeds in
millimetres per second, temperatures in degrees Celsius.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")
_POINT = re.compile(r"-?\d{1,5}(?:\.\d{1,4})?x-?\d{1,5}(?:\.\d{1,4})?")
_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LONGEST_TEXT = 16_384
MOST_POINTS = 256


@dataclass(frozen=True, slots=True)
class Rule:
    """What one setting may be. ``form``: number, percent (or number), flag, choice, word, gcode, points, colour."""

    kind: str
    form: str
    least: float = -math.inf
    most: float = math.inf
    choices: tuple[str, ...] = ()
    needed: bool = False
    # How many values, separated by commas.
    values: int = 1


def wrong_value(rule: Rule, text: str) -> str:
    """Why the value cannot be taken, naming what would be right; empty if it can."""
    if "\0" in text or len(text) > LONGEST_TEXT:
        return f"must be at most {LONGEST_TEXT} characters without NUL"
    if rule.form != "gcode" and any(ord(c) < 32 for c in text):
        return "must be one line"
    return _CHECKS[rule.form](rule, text)


def _number(rule: Rule, text: str) -> str:
    parts = text.split(",")
    if 1 <= len(parts) <= rule.values and all(_in_range(rule, part) for part in parts):
        return ""
    return f"must be a number from {rule.least:g} to {rule.most:g}"


def _in_range(rule: Rule, text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and rule.least <= float(text) <= rule.most


def _percent(rule: Rule, text: str) -> str:
    if text.endswith("%"):
        within = _NUMBER.fullmatch(text[:-1]) is not None and 0 <= float(text[:-1]) <= 1_000
        return "" if within else "must be 0% to 1000%"
    return _number(rule, text) and f"must be a number from {rule.least:g} to {rule.most:g}, or a percentage"


def _flag(_rule: Rule, text: str) -> str:
    return "" if text in ("0", "1") else "must be 0 or 1"


def _choice(rule: Rule, text: str) -> str:
    return "" if text in rule.choices else f"must be one of {', '.join(rule.choices)}"


def _word(_rule: Rule, text: str) -> str:
    fits = 1 <= len(text) <= 100 and text.isprintable() and not set(text) & set(',;"\\')
    return "" if fits else "must be 1 to 100 printable characters without comma, semicolon, quote or backslash"


def _gcode(_rule: Rule, text: str) -> str:
    return "" if all(c == "\n" or c.isprintable() for c in text) else "must be lines of printable text"


def _points(_rule: Rule, text: str) -> str:
    points = text.split(",")
    fits = 3 <= len(points) <= MOST_POINTS and all(_POINT.fullmatch(point) for point in points)
    return "" if fits else f"must be 3 to {MOST_POINTS} corners such as 0x0,250x0,250x210,0x210"


def _colour(_rule: Rule, text: str) -> str:
    return "" if _COLOUR.fullmatch(text) else "must be a colour such as #FF8000"


_CHECKS = {
    "number": _number,
    "percent": _percent,
    "flag": _flag,
    "choice": _choice,
    "word": _word,
    "gcode": _gcode,
    "points": _points,
    "colour": _colour,
}


def _numbers(kind: str, limits: tuple[float, float], *keys: str, form: str = "number") -> dict[str, Rule]:
    return {key: Rule(kind, form, *limits) for key in keys}


def _flags(kind: str, *keys: str) -> dict[str, Rule]:
    return {key: Rule(kind, "flag") for key in keys}


_AXES = ("x", "y", "z", "e")
_FILLS = (
    "rectilinear",
    "alignedrectilinear",
    "grid",
    "triangles",
    "stars",
    "cubic",
    "line",
    "concentric",
    "honeycomb",
    "3dhoneycomb",
    "gyroid",
    "adaptivecubic",
    "supportcubic",
    "lightning",
)
_SOLID_FILLS = ("rectilinear", "monotonic", "monotoniclines", "alignedrectilinear", "concentric")

_PRINTER: dict[str, Rule] = {
    "bed_shape": Rule("printer", "points", needed=True),
    "max_print_height": Rule("printer", "number", 1, 5_000, needed=True),
    "nozzle_diameter": Rule("printer", "number", 0.05, 2, needed=True),
    "gcode_flavor": Rule(
        "printer", "choice", choices=("marlin", "marlin2", "klipper", "reprapfirmware", "smoothie"), needed=True
    ),
    "start_gcode": Rule("printer", "gcode", needed=True),
    "end_gcode": Rule("printer", "gcode", needed=True),
    "before_layer_gcode": Rule("printer", "gcode"),
    "layer_gcode": Rule("printer", "gcode"),
    "printer_model": Rule("printer", "word"),
    "printer_variant": Rule("printer", "word"),
    "machine_limits_usage": Rule("printer", "choice", choices=("emit_to_gcode", "time_estimate_only", "ignore")),
    **_numbers("printer", (0, 50), "retract_length", "retract_lift", "retract_before_travel", "retract_restart_extra"),
    **_numbers("printer", (0, 1_000), "retract_speed", "deretract_speed"),
    **_numbers("printer", (0, 1), "min_layer_height", "max_layer_height"),
    **_numbers("printer", (-10, 10), "z_offset"),
    **_flags("printer", "use_relative_e_distances", "wipe", "retract_layer_change", "silent_mode", "remaining_times"),
    **{f"machine_max_feedrate_{a}": Rule("printer", "number", 0, 2_000, values=2) for a in _AXES},
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
    # Without it the slicer tells no weight.
    "filament_density": Rule("material", "number", 0.1, 25, needed=True),
    "temperature": Rule("material", "number", 150, 500, needed=True),
    "first_layer_temperature": Rule("material", "number", 150, 500, needed=True),
    "bed_temperature": Rule("material", "number", 0, 200, needed=True),
    "first_layer_bed_temperature": Rule("material", "number", 0, 200, needed=True),
    "filament_colour": Rule("material", "colour"),
    "filament_vendor": Rule("material", "word"),
    **_numbers("material", (0, 100_000), "filament_cost"),
    **_numbers("material", (0.5, 2), "extrusion_multiplier"),
    **_numbers("material", (0, 200), "filament_max_volumetric_speed"),
    **_numbers("material", (0, 100), "min_fan_speed", "max_fan_speed", "bridge_fan_speed"),
    **_numbers(
        "material",
        (0, 1_000),
        "disable_fan_first_layers",
        "full_fan_speed_layer",
        "fan_below_layer_time",
        "slowdown_below_layer_time",
        "min_print_speed",
    ),
    **_flags("material", "cooling", "fan_always_on"),
}
_QUALITY: dict[str, Rule] = {
    "layer_height": Rule("quality", "number", 0.05, 1, needed=True),
    "first_layer_height": Rule("quality", "percent", 0.05, 1),
    "fill_density": Rule("quality", "percent", 0, 100),
    "fill_pattern": Rule("quality", "choice", choices=_FILLS),
    "top_fill_pattern": Rule("quality", "choice", choices=_SOLID_FILLS),
    "bottom_fill_pattern": Rule("quality", "choice", choices=_SOLID_FILLS),
    "seam_position": Rule("quality", "choice", choices=("random", "nearest", "aligned", "rear")),
    "brim_type": Rule("quality", "choice", choices=("no_brim", "outer_only", "inner_only", "outer_and_inner")),
    "support_material_style": Rule("quality", "choice", choices=("grid", "snug")),
    "support_material_pattern": Rule("quality", "choice", choices=("rectilinear", "rectilinear-grid", "honeycomb")),
    "perimeter_generator": Rule("quality", "choice", choices=("classic", "arachne")),
    "ironing_type": Rule("quality", "choice", choices=("top", "topmost", "solid")),
    **_numbers("quality", (0, 50), "perimeters", "top_solid_layers", "bottom_solid_layers", "raft_layers", "skirts"),
    **_numbers("quality", (0, 50), "brim_width", "brim_separation", "skirt_distance", "min_skirt_length"),
    **_numbers("quality", (0, 100), "skirt_height", "infill_every_layers", "solid_infill_below_area"),
    **_numbers("quality", (0, 90), "support_material_threshold"),
    **_numbers("quality", (0, 10), "support_material_contact_distance", "support_material_interface_layers"),
    **_numbers("quality", (0, 10), "support_material_spacing", "support_material_interface_spacing"),
    **_numbers("quality", (0, 10), "top_solid_min_thickness", "bottom_solid_min_thickness"),
    **_numbers("quality", (0, 360), "fill_angle", "bridge_angle"),
    **_numbers("quality", (0, 1), "elefant_foot_compensation", "resolution", "slice_closing_radius"),
    **_numbers("quality", (-2, 2), "xy_size_compensation"),
    **_numbers("quality", (0.5, 2), "bridge_flow_ratio"),
    **_numbers(
        "quality",
        (0, 2_000),
        "perimeter_speed",
        "infill_speed",
        "bridge_speed",
        "gap_fill_speed",
        "support_material_speed",
        "travel_speed",
        "travel_speed_z",
        "max_print_speed",
    ),
    **_numbers(
        "quality",
        (0, 2_000),
        "external_perimeter_speed",
        "small_perimeter_speed",
        "solid_infill_speed",
        "top_solid_infill_speed",
        "support_material_interface_speed",
        "first_layer_speed",
        form="percent",
    ),
    **_numbers(
        "quality",
        (0, 50_000),
        "default_acceleration",
        "perimeter_acceleration",
        "external_perimeter_acceleration",
        "infill_acceleration",
        "bridge_acceleration",
        "first_layer_acceleration",
    ),
    **_numbers(
        "quality",
        (0, 5),
        "extrusion_width",
        "first_layer_extrusion_width",
        "perimeter_extrusion_width",
        "external_perimeter_extrusion_width",
        "infill_extrusion_width",
        "solid_infill_extrusion_width",
        "top_infill_extrusion_width",
        "support_material_extrusion_width",
        "infill_overlap",
        "infill_anchor",
        "infill_anchor_max",
        "support_material_xy_spacing",
        form="percent",
    ),
    **_flags(
        "quality",
        "support_material",
        "support_material_auto",
        "support_material_buildplate_only",
        "avoid_crossing_perimeters",
        "extra_perimeters",
        "ensure_vertical_shell_thickness",
        "external_perimeters_first",
        "gap_fill_enabled",
        "infill_first",
        "ironing",
        "only_retract_when_crossing_perimeters",
        "overhangs",
        "spiral_vase",
        "thick_bridges",
        "thin_walls",
    ),
}
ENGINES: Mapping[str, Mapping[str, Rule]] = {"prusaslicer": {**_PRINTER, **_MATERIAL, **_QUALITY}}
