"""The coordinator's messages as the API's JSON: plain dictionaries, made once, written by orjson."""

from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.control.v1 import (
    access_service_pb2,
    agent_admin_service_pb2,
    job_service_pb2,
    profile_service_pb2,
)
from printfarm.model.v1 import event_pb2, job_pb2, printer_pb2, run_pb2, telemetry_pb2

from . import cost_views

JSON = dict[str, Any]


def words(enum: Any, prefix: str) -> dict[int, str]:
    """By number, as the API spells them."""
    return {number: name.removeprefix(prefix).lower() for name, number in enum.items()}


JOB_STATES = words(job_pb2.JobState, "JOB_STATE_")
RUN_STATES = words(run_pb2.RunState, "RUN_STATE_")
PRINTER_STATES = words(telemetry_pb2.PrinterState, "PRINTER_STATE_")
BED_STATES = words(printer_pb2.BedState, "BED_STATE_")
ROLES = words(access_service_pb2.Role, "ROLE_")
REACH = words(agent_admin_service_pb2.AgentReachability, "AGENT_REACHABILITY_")
SLICING_STATES = words(job_pb2.SlicingState, "SLICING_STATE_")
PROFILE_KINDS: dict[Any, str] = words(profile_service_pb2.ProfileKind, "PROFILE_KIND_")
_FINAL_JOBS = {"completed", "failed", "cancelled"}
_FINAL_RUNS = {"finished", "failed", "cancelled", "fenced"}


def moment(message: Message, field: str) -> str | None:
    """RFC 3339 in UTC, or null."""
    if not message.HasField(field):
        return None
    at: Timestamp = getattr(message, field)
    return at.ToJsonString()


def seconds(given: Duration) -> float:
    """As a number."""
    return given.seconds + given.nanos / 1e9


def optional(message: Message, field: str) -> Any:
    """The field, or null."""
    return getattr(message, field) if message.HasField(field) else None


def _optional_seconds(message: Message, field: str) -> float | None:
    return seconds(getattr(message, field)) if message.HasField(field) else None


def thumbnail_url(sha256: str) -> str:
    """Where a file's picture is."""
    return f"/api/v1/files/{sha256}/thumbnail"


def job_state(found: job_pb2.Job) -> str:
    """``cancelling`` while a cancel is wanted and not yet proven."""
    state = JOB_STATES[found.state]
    return "cancelling" if found.cancel_requested and state not in _FINAL_JOBS else state


def job(found: job_pb2.Job) -> JSON:
    """A job."""
    return {
        "job_id": found.job_id,
        "name": found.name,
        "state": job_state(found),
        "held": found.held,
        "hold_reason": found.hold_reason,
        "artifact_sha256": found.artifact.sha256,
        "file_name": found.artifact.display_name,
        "file_deleted_at": moment(found.artifact, "delete_time"),
        "thumbnail_url": None if found.artifact.HasField("delete_time") else thumbnail_url(found.artifact.sha256),
        "quantity": found.quantity,
        "parts_per_plate": found.parts_per_plate or None,
        "fit_plate": found.fit_plate,
        "good_parts": found.good_parts,
        "pending_parts": found.pending_parts,
        "priority": found.priority,
        "due_at": moment(found, "due_time"),
        "requirements": requirements(found.requirements),
        "max_retries": found.max_retries,
        "failed_runs": found.failed_runs,
        "estimated_run_seconds": _optional_seconds(found, "estimated_run_duration"),
        "progress": found.progress,
        "at_risk": found.at_risk,
        "expected_end_at": moment(found, "expected_end_time"),
        "failure_reason": found.failure_reason,
        "client": found.client,
        "created_at": moment(found, "create_time"),
        "updated_at": moment(found, "update_time"),
        "ended_at": moment(found, "end_time"),
        "version": found.version,
        "profile": found.profile or None,
        "slicings": [slicing(each) for each in found.slicings],
        "cost": cost_views.so_far(found.cost) if found.HasField("cost") else None,
        "plate": found.plate or None,
        "gcode_sha256": found.gcode_sha256 or None,
    }


def slicing(found: job_pb2.Slicing) -> JSON:
    """What a job's model is sliced to."""
    return {
        "slicing_id": found.slicing_id,
        "state": SLICING_STATES[found.state],
        "progress": found.progress,
        "profiles": list(found.profiles),
        "engine": found.engine,
        "engine_version": found.engine_version,
        "result_sha256": found.result_sha256 or None,
        "parts": found.parts or None,
        "estimated_run_seconds": _optional_seconds(found, "estimated_run_duration"),
        "filament_grams": optional(found, "filament_grams"),
        "error_code": found.error_code,
        "error": found.error,
        "created_at": moment(found, "create_time"),
        "ended_at": moment(found, "end_time"),
    }


def estimate(found: job_service_pb2.EstimateJobResponse) -> JSON:
    """What a job would need."""
    run_seconds, grams = _optional_seconds(found, "run_duration"), optional(found, "run_filament_grams")
    return {
        "plates": found.plates,
        "parts_per_plate": found.parts_per_plate or None,
        "preparing": found.preparing,
        "run_seconds": run_seconds,
        "run_filament_grams": grams,
        "total_seconds": None if run_seconds is None else run_seconds * found.plates,
        "total_filament_grams": None if grams is None else grams * found.plates,
        "slicings": [slicing(each) for each in found.slicings],
        "able_printer_ids": list(found.able_printer_ids),
        "reasons": [waiting_reason(each) for each in found.reasons],
        "failure": found.failure,
        "cost": cost_views.estimate(found.cost) if found.HasField("cost") else None,
    }


def profile(found: profile_service_pb2.Profile) -> JSON:
    """One version of a profile."""
    return {
        "name": found.name,
        "version": found.version,
        "kind": PROFILE_KINDS[found.kind],
        "engine": found.engine,
        "settings": dict(found.settings),
        "printer_models": list(found.printer_models),
        "is_default": found.is_default,
        "description": found.description,
        "created_by": found.created_by,
        "created_at": moment(found, "create_time"),
        "retired_at": moment(found, "retire_time"),
    }


def requirements(found: job_pb2.Requirements) -> JSON:
    """Requirements."""
    volume = found.min_build_volume
    has_volume = found.HasField("min_build_volume")
    return {
        "min_build_volume": {"x_mm": volume.x_mm, "y_mm": volume.y_mm, "z_mm": volume.z_mm} if has_volume else None,
        "nozzle_diameter_mm": optional(found, "nozzle_diameter_mm"),
        "material": optional(found, "material"),
        "colour": optional(found, "colour"),
        "tags": list(found.tags),
        "printer_ids": list(found.printer_ids),
        "printer_model": optional(found, "printer_model"),
    }


def status(found: job_service_pb2.GetJobResponse, waiting: job_service_pb2.ExplainJobResponse | None) -> JSON:
    """A job with its runs, and why it waits."""
    runs = [run(each) for each in found.runs]
    cost = cost_views.job_cost(found.cost) if found.HasField("cost") else None
    told = {"runs": runs, "run_count": found.run_count}
    return {**job(found.job), **told, "waiting": explanation(waiting) if waiting else None, "cost": cost}


def explanation(found: job_service_pb2.ExplainJobResponse) -> JSON:
    """Why a job waits."""
    return {
        "summary": found.summary,
        "waiting_seconds": seconds(found.waiting_for),
        "eligible_printer_ids": list(found.eligible_printer_ids),
        "reasons": [waiting_reason(each) for each in found.reasons],
    }


def waiting_reason(found: job_pb2.WaitingReason) -> JSON:
    """Why one printer does not take a job."""
    return {"printer_id": found.printer_id, "code": found.code, "explanation": found.explanation}


def run(found: run_pb2.Run) -> JSON:
    """A run."""
    state = RUN_STATES[found.state]
    if found.cancel_requested and state not in _FINAL_RUNS:
        state = "cancelling"
    verdict = found.verdict if found.HasField("verdict") else None
    return {
        "run_id": found.run_id,
        "job_id": found.job_id,
        "printer_id": found.printer_id,
        "agent_id": found.agent_id,
        "epoch": found.epoch,
        "state": state,
        "progress": found.progress,
        "parts": found.parts,
        "verified": optional(found, "verified"),
        "reason_code": found.reason_code,
        "reason": found.reason,
        "pause_requested": found.pause_requested,
        "verdict": None
        if verdict is None
        else {
            "good_parts": verdict.good_parts,
            "reason": verdict.reason,
            "actor": verdict.actor,
            "given_at": moment(verdict, "create_time"),
        },
        "retry_of": found.retry_of or None,
        "artifact_sha256": found.artifact_sha256 or None,
        "cost": cost_views.run_cost(found.cost) if found.HasField("cost") else None,
        "created_at": moment(found, "create_time"),
        "started_at": moment(found, "start_time"),
        "ended_at": moment(found, "end_time"),
        "version": found.version,
    }


def printer(found: printer_pb2.Printer) -> JSON:
    """A printer."""
    bed, gates = found.bed, found.gates
    return {
        "printer_id": found.printer_id,
        "name": found.name,
        "agent_id": found.agent_id,
        "driver": found.driver,
        "state": PRINTER_STATES[found.observed_state],
        "agent_reachable": found.agent_reachable,
        "active_run_id": found.active_run_id or None,
        "abilities": _abilities(found.abilities),
        "bed": {
            "state": BED_STATES[bed.state],
            "run_id": bed.run_id or None,
            "actor": bed.actor,
            "updated_at": moment(bed, "update_time"),
        },
        "gates": {
            "held": gates.held,
            "hold_reason": gates.hold_reason,
            "hold_actor": gates.hold_actor,
            "emergency_stopped": gates.emergency_stopped,
            "locked": gates.locked,
            "lock_reason": gates.lock_reason,
        },
        "epoch": found.epoch,
        "latest": _reading(found.latest) if found.HasField("latest") else None,
        "created_at": moment(found, "create_time"),
        "updated_at": moment(found, "update_time"),
        "version": found.version,
    }


def _abilities(found: printer_pb2.Abilities) -> JSON:
    return {
        "model": found.model,
        "firmware": found.firmware,
        "serial_number": found.serial_number,
        "build_volume": _sides(found.build_volume) if found.HasField("build_volume") else None,
        "nozzle_diameter_mm": optional(found, "nozzle_diameter_mm"),
        "material": found.material or None,
        "colour": found.colour or None,
        "tags": list(found.tags),
        "can_pause": found.can_pause,
        "prints_autonomously": found.prints_autonomously,
        "has_camera": found.has_camera,
        "fragile": found.fragile,
        "file_kinds": list(found.file_kinds),
    }


def _sides(found: printer_pb2.BuildVolume | telemetry_pb2.Position) -> JSON:
    return {"x_mm": found.x_mm, "y_mm": found.y_mm, "z_mm": found.z_mm}


def _reading(found: telemetry_pb2.TelemetrySample) -> JSON:
    return {
        "state": PRINTER_STATES[found.state],
        "run_id": found.run_id or None,
        "progress": optional(found, "progress"),
        "layer": optional(found, "layer"),
        "layer_count": optional(found, "layer_count"),
        "elapsed_seconds": _optional_seconds(found, "elapsed"),
        "remaining_seconds": _optional_seconds(found, "remaining"),
        "heaters": [{"name": h.name, "current": h.current_celsius, "target": h.target_celsius} for h in found.heaters],
        "position": _sides(found.position) if found.HasField("position") else None,
        "age_seconds": seconds(found.age),
        "message": found.message,
    }


def agent(found: agent_admin_service_pb2.Agent) -> JSON:
    """An agent."""
    return {
        "agent_id": found.agent_id,
        "reachability": REACH[found.reachability],
        "version": found.version,
        "hostname": found.hostname,
        "printer_ids": list(found.printer_ids),
        "draining": found.draining,
        "revoked": found.revoked,
        "locked": found.locked,
        "last_heartbeat_at": moment(found, "last_heartbeat_time"),
        "certificate_expires_at": moment(found, "certificate_expire_time"),
        "created_at": moment(found, "create_time"),
    }


def event(found: event_pb2.Event) -> JSON:
    """A committed fact."""
    return {
        "position": found.position,
        "type": found.type,
        "subject_kind": found.subject_kind,
        "subject_id": found.subject_id,
        "subject_sequence": found.subject_sequence,
        "actor": found.actor,
        "data": _whole_numbers(MessageToDict(found.data)),
        "created_at": moment(found, "create_time"),
    }


def _whole_numbers(value: Any) -> Any:
    """The schema's free form has only floating point numbers; 17.0 is 17 to everybody else."""
    if isinstance(value, dict):
        return {key: _whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def api_key(found: access_service_pb2.ApiKey) -> JSON:
    """A key without its secret."""
    return {
        "key_id": found.key_id,
        "name": found.name,
        "role": ROLES[found.role],
        "prefix": found.prefix,
        "created_at": moment(found, "create_time"),
        "expires_at": moment(found, "expire_time"),
        "last_used_at": moment(found, "last_use_time"),
        "revoked": found.revoked,
    }


def user(found: access_service_pb2.User) -> JSON:
    """A person."""
    return {
        "name": found.name,
        "role": ROLES[found.role],
        "disabled": found.disabled,
        "created_at": moment(found, "create_time"),
    }
