"""A slicer's word that it is done proves nothing: the print file is read and measured before anything is printed."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from printfarm_files import Bounds, FileFacts, Kind, Refused
from printfarm_files.reading import read_facts

from .engine import SlicingFailed

SMALLEST_BYTES = 1_024
# Rounding of the slicer's own arrangement.
_SLACK_MM = 0.05
_BAD_WARNINGS = ("prints_nothing", "never_heated")
# Setting -> the fact that the file states of it.
_STATED = {"layer_height": "layer_height_mm"}


@dataclass(frozen=True, slots=True)
class Checked:
    """What the file says of one run; None where it says nothing."""

    estimated_seconds: float | None
    filament_grams: float | None


def check_result(path: Path, settings: Mapping[str, str]) -> Checked:
    """Raises SlicingFailed ``result_refused`` naming what is wrong."""
    if not path.is_file() or path.stat().st_size < SMALLEST_BYTES:
        raise _refused("the slicer wrote no print file")
    try:
        facts = read_facts(path, Kind.GCODE)
    except Refused as error:
        raise _refused(f"the slicer's file cannot be read: {error.reason}") from None
    found = next((each for each in facts.warnings if each.code in _BAD_WARNINGS), None)
    if found is not None:
        raise _refused(found.text)
    _check_bounds(facts, settings)
    _check_settings(facts, settings)
    if not facts.estimated_seconds or not facts.layer_count:
        raise _refused("the print file tells neither its time nor its layers")
    grams = facts.weight_g
    return Checked(facts.estimated_seconds, grams if grams else None)


def _check_bounds(facts: FileFacts, settings: Mapping[str, str]) -> None:
    printed = facts.bounds_all
    if printed is None:
        raise _refused("no move in the file extrudes anything")
    room = bed_room(settings)
    sides = zip("XYZ", printed.low, printed.high, room.low, room.high, strict=True)
    for axis, low, high, least, most in sides:
        if low < least - _SLACK_MM or high > most + _SLACK_MM:
            reach = f"{axis} goes from {low:.1f} to {high:.1f} mm, the room is {least:g} to {most:g} mm"
            raise _refused(f"it does not fit the printer: {reach}")


def bed_room(settings: Mapping[str, str]) -> Bounds:
    """The box that the profile says can be printed in."""
    corners = [corner.split("x") for corner in settings["bed_shape"].split(",")]
    xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
    return Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), float(settings["max_print_height"])))


def _check_settings(facts: FileFacts, settings: Mapping[str, str]) -> None:
    """The file must be of the settings that were asked for: a slicer falls back without a word."""
    for key, name in _STATED.items():
        stated = getattr(facts, name)
        if stated is None or abs(stated - float(settings[key])) > 1e-6:
            raise _refused(f"it was sliced with {key} {stated}, not {settings[key]}")
    nozzles = [tool.nozzle_mm for tool in facts.tools if tool.nozzle_mm is not None]
    if nozzles and abs(nozzles[0] - float(settings["nozzle_diameter"])) > 1e-6:
        raise _refused(f"it was sliced for a {nozzles[0]:g} mm nozzle, not {settings['nozzle_diameter']} mm")
    materials = [tool.filament_type for tool in facts.tools if tool.filament_type]
    if materials and materials[0].casefold() != settings["filament_type"].casefold():
        raise _refused(f"it was sliced for {materials[0]}, not {settings['filament_type']}")


def _refused(why: str) -> SlicingFailed:
    return SlicingFailed("result_refused", why)
