"""A slicer's word that it is done proves nothing: the print file is read and measured before anything is printed."""

from dataclasses import dataclass
from pathlib import Path

from printfarm_files import FileFacts, Kind, Refused
from printfarm_files.reading import read_facts

from .engine import DoesNotFit, SlicingFailed, Wanted

SMALLEST_BYTES = 1_024
# Rounding of the slicer's own arrangement.
_SLACK_MM = 0.05
_BAD_WARNINGS = ("prints_nothing", "never_heated")


@dataclass(frozen=True, slots=True)
class Checked:
    """What the file says of one run; None where it says nothing."""

    estimated_seconds: float | None
    filament_grams: float | None


def check_result(path: Path, wanted: Wanted) -> Checked:
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
    _check_bounds(facts, wanted)
    _check_settings(facts, wanted)
    if not facts.estimated_seconds or not facts.layer_count:
        raise _refused("the print file tells neither its time nor its layers")
    grams = facts.weight_g
    return Checked(facts.estimated_seconds, grams if grams else None)


def _check_bounds(facts: FileFacts, wanted: Wanted) -> None:
    printed = facts.bounds_all
    if printed is None:
        raise _refused("no move in the file extrudes anything")
    sides = zip("XYZ", printed.low, printed.high, wanted.room.low, wanted.room.high, strict=True)
    for axis, low, high, least, most in sides:
        if low < least - _SLACK_MM or high > most + _SLACK_MM:
            reach = f"{axis} goes from {low:.1f} to {high:.1f} mm, the room is {least:g} to {most:g} mm"
            raise DoesNotFit("result_refused", f"it does not fit the printer: {reach}")


def _check_settings(facts: FileFacts, wanted: Wanted) -> None:
    """The file must be of the settings that were asked for: a slicer falls back without a word."""
    stated = facts.layer_height_mm
    if stated is None or abs(stated - wanted.layer_height_mm) > 1e-6:
        raise _refused(f"it was sliced with a layer height of {stated} mm, not {wanted.layer_height_mm:g} mm")
    nozzles = [tool.nozzle_mm for tool in facts.tools if tool.nozzle_mm is not None]
    if nozzles and abs(nozzles[0] - wanted.nozzle_mm) > 1e-6:
        raise _refused(f"it was sliced for a {nozzles[0]:g} mm nozzle, not {wanted.nozzle_mm:g} mm")
    materials = [tool.filament_type for tool in facts.tools if tool.filament_type]
    if materials and materials[0].casefold() != wanted.material.casefold():
        raise _refused(f"it was sliced for {materials[0]}, not {wanted.material}")


def _refused(why: str) -> SlicingFailed:
    return SlicingFailed("result_refused", why)
