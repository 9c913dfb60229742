"""Files, what is known of them, and uploads, as the API's JSON. What is unknown is null."""

from typing import Any

from google.protobuf.message import Message

from printfarm.control.v1 import artifact_service_pb2
from printfarm.model.v1 import artifact_pb2, file_facts_pb2

from .views import JSON, moment, optional, thumbnail_url, words

FACTS_STATES = words(file_facts_pb2.FactsState, "FACTS_STATE_")
_FACTS = (
    *(
        "slicer",
        "slicer_version",
        "printer_model",
        "gcode_flavor",
        "estimated_seconds",
        "layer_count",
        "layer_height_mm",
    ),
    *(
        "first_layer_height_mm",
        "filament_length_mm",
        "filament_weight_g",
        "filament_cost",
        "tool_changes",
        "bed_celsius",
    ),
    *("first_layer_bed_celsius", "chamber_celsius", "needs_person", "triangles", "volume_mm3", "watertight"),
)
_TOOL = (
    *("filament_type", "filament_name", "colour", "length_mm", "volume_mm3", "weight_g", "cost", "nozzle_mm"),
    *("hotend_celsius", "first_layer_hotend_celsius"),
)


def artifact(found: artifact_pb2.Artifact) -> JSON:
    """A stored file, with what was read from it."""
    state = FACTS_STATES[found.facts_state]
    return {
        "sha256": found.sha256,
        "size_bytes": found.size_bytes,
        "kind": artifact_pb2.ArtifactKind.Name(found.kind).removeprefix("ARTIFACT_KIND_").lower().replace("_", "."),
        "name": found.display_name,
        "created_at": moment(found, "create_time"),
        "estimated_seconds": optional(found, "estimated_seconds"),
        "facts_state": "pending" if state == "unspecified" else state,
        "facts_reason": found.facts_reason or None,
        "facts": facts(found.facts) if found.HasField("facts") else None,
        "thumbnail_url": thumbnail_url(found.sha256) if _may_be_drawn(found, state) else None,
    }


def _may_be_drawn(found: artifact_pb2.Artifact, state: str) -> bool:
    if state == "unreadable":
        return False
    told = found.facts
    return state != "known" or told.HasField("bounds") or told.HasField("model_bounds")


def facts(found: file_facts_pb2.FileFacts) -> JSON:
    """What a file says of itself."""
    return {
        **_told(found, _FACTS),
        "tools": [{"index": tool.index, **_told(tool, _TOOL)} for tool in found.tools],
        "bounds": box(found.bounds) if found.HasField("bounds") else None,
        "model_bounds": box(found.model_bounds) if found.HasField("model_bounds") else None,
        "sliced_for": box(found.sliced_for) if found.HasField("sliced_for") else None,
        "objects": list(found.objects),
        "plates": list(found.plates),
        "warnings": [{"code": warned.code, "text": warned.text} for warned in found.warnings],
        "read_at": moment(found, "read_time"),
    }


def _told(found: Message, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: optional(found, name) for name in names}


def box(found: file_facts_pb2.Box) -> JSON:
    """A box by its corners."""
    low, high = ({"x_mm": corner.x_mm, "y_mm": corner.y_mm, "z_mm": corner.z_mm} for corner in (found.low, found.high))
    return {"low": low, "high": high}


def upload(found: artifact_service_pb2.Upload) -> JSON:
    """A resumable upload."""
    return {
        "upload_id": found.upload_id,
        "size_bytes": found.size_bytes,
        "offset": found.offset,
        "sha256": found.sha256,
        "name": found.display_name,
        "expires_at": moment(found, "expire_time"),
        "artifact": artifact(found.artifact) if found.HasField("artifact") else None,
    }
