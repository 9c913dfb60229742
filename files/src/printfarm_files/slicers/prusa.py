"""PrusaSlicer, SuperSlicer and Slic3r; OrcaSlicer and Bambu Studio, which grew from them."""

from dataclasses import replace

from ..comments import Comments, above_zero
from ..facts import FileFacts
from .spelling import Spelling

PRUSA = Spelling(
    seconds=("estimated printing time (normal mode)", "estimated printing time"),
    length=("filament used [mm]",),
    volume_cm3=("filament used [cm3]",),
    weight=("filament used [g]",),
    cost=("filament cost",),
    total_weight=("total filament used [g]",),
    total_cost=("total filament cost",),
    tool_changes=("total toolchanges",),
    layer_count=("total layers count",),
    layer_height=("layer_height",),
    first_layer_height=("first_layer_height",),
    nozzle=("nozzle_diameter",),
    filament_type=("filament_type",),
    filament_name=("filament_settings_id",),
    colour=("filament_colour", "extruder_colour"),
    hotend=("temperature",),
    first_hotend=("first_layer_temperature",),
    bed=("bed_temperature",),
    first_bed=("first_layer_bed_temperature",),
    chamber=("chamber_temperature",),
    printer=("printer_model", "printer_settings_id"),
    flavor=("gcode_flavor",),
    bed_shape=("bed_shape",),
    height=("max_print_height",),
)
BAMBU = Spelling(
    seconds=("estimated printing time (normal mode)", "total estimated time"),
    length=("total filament length [mm]", "filament used [mm]"),
    volume_cm3=("filament used [cm3]",),
    weight=("total filament weight [g]", "filament used [g]"),
    cost=("filament cost",),
    total_weight=("total filament used [g]",),
    total_cost=("total filament cost",),
    tool_changes=("total filament change", "total toolchanges"),
    layer_count=("total layer number", "total layers count"),
    layer_height=("layer_height",),
    first_layer_height=("initial_layer_print_height",),
    nozzle=("nozzle_diameter",),
    filament_type=("filament_type",),
    filament_name=("filament_settings_id",),
    colour=("filament_colour",),
    hotend=("nozzle_temperature",),
    first_hotend=("nozzle_temperature_initial_layer",),
    chamber=("chamber_temperatures", "chamber_temperature"),
    printer=("printer_model", "printer_settings_id"),
    flavor=("gcode_flavor",),
    bed_shape=("printable_area",),
    height=("printable_height",),
)
# Which temperature holds depends on the plate that lies on the bed.
_PLATES = {
    "cool plate": "cool_plate_temp",
    "engineering plate": "eng_plate_temp",
    "high temp plate": "hot_plate_temp",
    "textured pei plate": "textured_plate_temp",
    "supertack plate": "supertack_plate_temp",
    "textured cool plate": "textured_cool_plate_temp",
}


def of_plate(said: Comments, facts: FileFacts) -> FileFacts:
    """The bed's temperatures under OrcaSlicer and Bambu Studio, by the plate that was chosen."""
    key = _PLATES.get((said.text("curr_bed_type") or "").lower())
    if key is None:
        return facts
    bed, first = said.numbers(key), said.numbers(f"{key}_initial_layer")
    return replace(
        facts,
        bed_celsius=above_zero(bed[0]) if bed else None,
        first_layer_bed_celsius=above_zero(first[0]) if first else None,
    )


def total_time(said: Comments) -> str | None:
    """Bambu Studio writes two on one line: ``model printing time: 8m 57s; total estimated time: 15m 42s``."""
    line = said.text("model printing time") or ""
    _, found, rest = line.partition("total estimated time:")
    return rest.strip() if found else None
