"""What is known of a file as messages. What is unknown is absent."""

from printfarm.model.v1 import artifact_pb2, file_facts_pb2
from printfarm_files import Bounds, FileFacts, Tool

from ..app.file_ports import Artifact
from ..domain.file_facts import FactsState, StoredFacts, state_of
from . import convert

FACTS_STATES = {state: getattr(file_facts_pb2, f"FACTS_STATE_{state.name}") for state in FactsState}
_SAME = (
    *("slicer", "slicer_version", "printer_model", "gcode_flavor", "estimated_seconds", "tool_changes", "layer_count"),
    *("layer_height_mm", "first_layer_height_mm", "bed_celsius", "first_layer_bed_celsius", "chamber_celsius"),
    *("objects", "needs_person", "triangles", "volume_mm3", "plates"),
)
_OF_TOOL = (
    *("index", "filament_type", "filament_name", "colour", "length_mm", "volume_mm3", "weight_g", "cost", "nozzle_mm"),
    *("hotend_celsius", "first_layer_hotend_celsius"),
)


def file(found: Artifact, stored: StoredFacts | None) -> artifact_pb2.Artifact:
    """A file with what was read from it."""
    made = convert.artifact(found)
    made.facts_state = FACTS_STATES[state_of(stored)]
    if stored is None:
        return made
    made.facts_reason = stored.reason
    if stored.facts is not None:
        made.facts.CopyFrom(facts(stored.facts))
        made.facts.read_time.FromMicroseconds(stored.read_at)
        if not made.HasField("estimated_seconds") and stored.facts.estimated_seconds is not None:
            made.estimated_seconds = stored.facts.estimated_seconds
    return made


def facts(found: FileFacts) -> file_facts_pb2.FileFacts:
    """Facts, with the sums over all tools."""
    return file_facts_pb2.FileFacts(
        **{name: getattr(found, name) for name in _SAME},
        tools=map(_tool, found.tools),
        filament_length_mm=found.length_mm,
        filament_weight_g=found.weight_g,
        filament_cost=found.cost,
        sliced_for=_box(found.bed_mm),
        bounds=_box(found.bounds_all),
        model_bounds=_box(found.bounds_model),
        watertight=found.is_watertight,
        warnings=[file_facts_pb2.FileWarning(code=warned.code, text=warned.text) for warned in found.warnings],
    )


def _tool(found: Tool) -> file_facts_pb2.FileTool:
    return file_facts_pb2.FileTool(**{name: getattr(found, name) for name in _OF_TOOL})


def _box(found: Bounds | None) -> file_facts_pb2.Box | None:
    if found is None:
        return None
    low, high = (file_facts_pb2.Corner(x_mm=x, y_mm=y, z_mm=z) for x, y, z in (found.low, found.high))
    return file_facts_pb2.Box(low=low, high=high)
