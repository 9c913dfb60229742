"""Cura: its Marlin header, and the ``START_OF_HEADER`` one of Ultimaker's machines."""

import re
from dataclasses import replace

from ..comments import Comments, above_zero, plausible_seconds
from ..facts import Bounds, FileFacts, Tool
from .spelling import Spelling, elapsed, shown

# It says little of material and nozzle; what the farm's own slicer worker adds is in PrusaSlicer's words.
CURA = Spelling(
    length=("Filament used",),
    length_unit_mm=1000.0,
    weight=("filament used [g]",),
    nozzle=("nozzle_diameter",),
    filament_type=("filament_type",),
    bed_shape=("bed_shape",),
    height=("max_print_height",),
    layer_count=("LAYER_COUNT",),
    layer_height=("Layer height",),
    printer=("TARGET_MACHINE.NAME",),
    flavor=("FLAVOR",),
    bed=("BUILD_PLATE.INITIAL_TEMPERATURE",),
    chamber=("BUILD_VOLUME.TEMPERATURE",),
)
# What its command line leaves in the header when nobody fills it in.
_UNFILLED_SECONDS = 6666.0
_UNFILLED_MM = 1e6


_HEATING = (
    ("hotend", ("M104", "M109"), r"M10[49]"),
    ("bed", ("M140", "M190"), r"M1[49]0"),
    ("chamber", ("M141", "M191"), r"M1[49]1"),
)


def completed(said: Comments, facts: FileFacts) -> FileFacts:
    """What Cura writes in ways of its own; what its command line leaves unfilled is thrown out."""
    return replace(
        facts,
        estimated_seconds=_seconds(said),
        tools=_trains(said) or _without_unfilled(facts.tools),
        bounds_model=_bounds(said),
    )


def _seconds(said: Comments) -> float | None:
    written = said.number("TIME", "PRINT.TIME")
    if written is not None and written != _UNFILLED_SECONDS:
        return plausible_seconds(written)
    return elapsed(said)


def _without_unfilled(tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
    """No print uses no filament at all."""
    return tools if any(tool.length_mm for tool in tools) else ()


def _trains(said: Comments) -> tuple[Tool, ...]:
    """The extruders of Ultimaker's header. Volumes are in cubic millimetres."""
    made = []
    for index in range(16):
        train = f"EXTRUDER_TRAIN.{index}."
        nozzle, volume = said.number(train + "NOZZLE.DIAMETER"), said.number(train + "MATERIAL.VOLUME_USED")
        if nozzle is None and volume is None:
            continue
        made.append(
            Tool(
                index,
                filament_name=shown(said.text(train + "MATERIAL.NAME", train + "MATERIAL.GUID")),
                volume_mm3=volume if volume is not None and 0 <= volume < 1e12 else None,
                nozzle_mm=above_zero(nozzle),
                first_layer_hotend_celsius=above_zero(said.number(train + "INITIAL_TEMPERATURE")),
            )
        )
    return tuple(made)


def _bounds(said: Comments) -> Bounds | None:
    """Of the model: skirt and purge line are not in it."""
    for low, high in (("MIN{}", "MAX{}"), ("PRINT.SIZE.MIN.{}", "PRINT.SIZE.MAX.{}")):
        lows = [said.number(low.format(axis)) for axis in "XYZ"]
        highs = [said.number(high.format(axis)) for axis in "XYZ"]
        sides = [(a, b) for a, b in zip(lows, highs, strict=True) if a is not None and b is not None]
        if len(sides) == 3 and all(-_UNFILLED_MM < a <= b < _UNFILLED_MM for a, b in sides):
            (x0, x1), (y0, y1), (z0, z1) = sides
            return Bounds((x0, y0, z0), (x1, y1, z1))
    return None


def temperatures(said: Comments) -> dict[str, float]:
    """What the start code asks for, where no comment says it: the first of each kind of command."""
    found: dict[str, float] = {}
    for name, words, pattern in _HEATING:
        if not any(word in said.head for word in words):
            continue
        command = re.compile(rf"^[ \t]{{0,8}}{pattern}\b[^;\r\n]{{0,40}}?[SR](\d{{1,4}}(?:\.\d{{1,4}})?)", re.M)
        for match in command.finditer(said.head):
            if above_zero(float(match[1])):
                found[name] = float(match[1])
                break
    return found
