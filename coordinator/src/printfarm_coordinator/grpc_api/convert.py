"""Values to ``model.v1`` messages, and the few messages that come back. Nothing above this file sees a message of the model."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.control.v1 import access_service_pb2, agent_admin_service_pb2, profile_service_pb2, run_service_pb2
from printfarm.model.v1 import artifact_pb2, event_pb2, job_pb2, printer_pb2, run_pb2, telemetry_pb2
from printfarm.slicer.v1 import slicing_service_pb2
from printfarm_rpc.errors import invalid

from ..app.file_ports import Artifact
from ..app.ports import Agent, ApiKey, Role, StoredEvent, User
from ..app.telemetry import Sample
from ..domain.costing import JobCost
from ..domain.estimate import Outlook
from ..domain.job import Job, JobState, Requirements
from ..domain.printer import Abilities, BedState, Printer, PrinterState, effective_abilities
from ..domain.profile import Profile, ProfileKind
from ..domain.run import Run, RunState
from ..domain.slicing import FAILURES as FAILURE_WORDS
from ..domain.slicing import Slicing, SlicingState
from . import cost_convert
from .agent_convert import duration

E = TypeVar("E", bound=StrEnum)

JOB_STATES = {state: getattr(job_pb2, f"JOB_STATE_{state.name}") for state in JobState}
RUN_STATES = {state: getattr(run_pb2, f"RUN_STATE_{state.name}") for state in RunState}
PRINTER_STATES = {state: getattr(telemetry_pb2, f"PRINTER_STATE_{state.name}") for state in PrinterState}
BED_STATES = {state: getattr(printer_pb2, f"BED_STATE_{state.name}") for state in BedState}
ROLES = {role: getattr(access_service_pb2, f"ROLE_{role.name}") for role in Role}
PROFILE_KINDS = {kind: getattr(profile_service_pb2, f"PROFILE_KIND_{kind.name}") for kind in ProfileKind}
SLICING_STATES = {state: getattr(job_pb2, f"SLICING_STATE_{state.name}") for state in SlicingState}
# What a worker may say; that it fell silent is the farm's own word.
FAILURES = {
    getattr(slicing_service_pb2, f"FAILURE_CODE_{word.upper()}"): word
    for word in FAILURE_WORDS
    if word != "slicer_lost"
}
ARTIFACT_KINDS = {
    "gcode": artifact_pb2.ARTIFACT_KIND_GCODE,
    "stl": artifact_pb2.ARTIFACT_KIND_STL,
    "3mf": artifact_pb2.ARTIFACT_KIND_3MF,
    "bgcode": artifact_pb2.ARTIFACT_KIND_BGCODE,
    "gcode.3mf": artifact_pb2.ARTIFACT_KIND_GCODE_3MF,
}
OUTCOMES = {
    run_service_pb2.RESOLUTION_FINISHED: "finished",
    run_service_pb2.RESOLUTION_FAILED: "failed",
    run_service_pb2.RESOLUTION_NEVER_STARTED: "never_started",
}


def from_number(table: Mapping[E, int], number: int, field: str) -> E:
    """The value of an enum's number. Raises FarmError INVALID_ARGUMENT for unspecified and unknown ones: never a guess."""
    for value, known in table.items():
        if known == number:
            return value
    raise invalid(field, f"must be one of {', '.join(value.value for value in table)}")


def timestamp(at: int | None) -> Timestamp | None:
    """Microseconds as a Timestamp."""
    if at is None:
        return None
    made = Timestamp()
    made.FromMicroseconds(at)
    return made


def microseconds(given: Timestamp, field: str) -> int:
    """A Timestamp as microseconds. Raises FarmError INVALID_ARGUMENT for one outside of 1970 to 2200."""
    at = given.seconds * 1_000_000 + given.nanos // 1_000
    if not (0 <= at <= 7_258_118_400_000_000 and 0 <= given.nanos < 1_000_000_000):
        raise invalid(field, "must be a time between 1970 and 2200")
    return at


def artifact(found: Artifact) -> artifact_pb2.Artifact:
    """An artifact."""
    return artifact_pb2.Artifact(
        sha256=found.sha256,
        size_bytes=found.size_bytes,
        kind=ARTIFACT_KINDS[found.kind],
        display_name=found.display_name,
        create_time=timestamp(found.created_at),
        estimated_seconds=found.estimated_seconds,
        delete_time=timestamp(found.deleted_at),
    )


def requirements(wanted: Requirements) -> job_pb2.Requirements:
    """Requirements; what asks nothing is absent."""
    made = job_pb2.Requirements(tags=wanted.tags, printer_ids=wanted.printer_ids)
    if wanted.min_x_mm or wanted.min_y_mm or wanted.min_z_mm:
        made.min_build_volume.x_mm = wanted.min_x_mm
        made.min_build_volume.y_mm = wanted.min_y_mm
        made.min_build_volume.z_mm = wanted.min_z_mm
    if wanted.nozzle_diameter_mm is not None:
        made.nozzle_diameter_mm = wanted.nozzle_diameter_mm
    if wanted.material is not None:
        made.material = wanted.material
    if wanted.colour is not None:
        made.colour = wanted.colour
    if wanted.printer_model is not None:
        made.printer_model = wanted.printer_model
    return made


def requirements_from(said: job_pb2.Requirements) -> Requirements:
    """Requirements as a client said them; the use cases check their ranges."""
    volume = said.min_build_volume
    return Requirements(
        volume.x_mm,
        volume.y_mm,
        volume.z_mm,
        said.nozzle_diameter_mm if said.HasField("nozzle_diameter_mm") else None,
        said.material if said.HasField("material") else None,
        said.colour if said.HasField("colour") else None,
        tuple(said.tags),
        tuple(said.printer_ids),
        said.printer_model if said.HasField("printer_model") else None,
    )


def job(
    found: Job,
    file: Artifact | None,
    view: Outlook,
    slicings: Sequence[Slicing] = (),
    cost: JobCost | None = None,
) -> job_pb2.Job:
    """A job with its outlook, what its model is sliced to, and what it cost so far."""
    estimate = found.estimated_seconds
    return job_pb2.Job(
        job_id=found.job_id,
        name=found.name,
        state=JOB_STATES[found.state],
        cancel_requested=found.cancel_requested,
        artifact=artifact(file) if file else artifact_pb2.Artifact(sha256=found.artifact_sha256),
        quantity=found.quantity,
        parts_per_plate=0 if found.fit_plate and not found.prepared else found.parts_per_plate,
        fit_plate=found.fit_plate,
        good_parts=found.good_parts,
        pending_parts=found.pending_parts,
        priority=found.priority,
        due_time=timestamp(found.due_at),
        requirements=requirements(found.requirements),
        max_retries=found.max_retries,
        failed_runs=found.failed_runs,
        estimated_run_duration=duration(estimate) if estimate is not None else None,
        progress=view.progress,
        at_risk=view.at_risk,
        expected_end_time=timestamp(view.expected_end),
        failure_reason=found.failure_reason,
        client=found.client,
        create_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
        end_time=timestamp(found.ended_at),
        version=found.version,
        held=found.held,
        hold_reason=found.hold_reason,
        profile=found.profile,
        slicings=map(slicing, slicings),
        cost=cost_convert.job_cost(cost) if cost else None,
        plate=found.plate,
        gcode_sha256=found.gcode_sha256,
    )


def slicing(found: Slicing) -> job_pb2.Slicing:
    """A slicing, without its settings and its claim."""
    estimate = found.estimated_seconds
    return job_pb2.Slicing(
        slicing_id=found.slicing_id,
        state=SLICING_STATES[found.state],
        progress=found.progress,
        profiles=found.labels,
        engine=found.key.engine,
        engine_version=found.key.engine_version,
        result_sha256=found.result_sha256 or "",
        parts=found.plate_parts,
        estimated_run_duration=duration(estimate) if estimate is not None else None,
        filament_grams=found.filament_grams,
        error_code=found.error_code,
        error=found.error,
        create_time=timestamp(found.created_at),
        end_time=timestamp(found.ended_at),
    )


def profile(found: Profile) -> profile_service_pb2.Profile:
    """One version of a profile."""
    return profile_service_pb2.Profile(
        name=found.name,
        version=found.version,
        kind=PROFILE_KINDS[found.kind],
        engine=found.engine,
        settings=dict(found.settings),
        printer_models=found.printer_models,
        is_default=found.is_default,
        description=found.description,
        created_by=found.created_by,
        create_time=timestamp(found.created_at),
        retire_time=timestamp(found.retired_at),
    )


def run(found: Run, progress: float) -> run_pb2.Run:
    """A run with its newest progress."""
    verdict = found.verdict
    return run_pb2.Run(
        run_id=found.run_id,
        job_id=found.job_id,
        printer_id=found.printer_id,
        agent_id=found.agent_id,
        epoch=found.epoch,
        state=RUN_STATES[found.state],
        cancel_requested=found.cancel_requested,
        pause_requested=found.pause_requested,
        progress=progress,
        verified=found.verified,
        reason_code=found.reason_code,
        reason=found.reason,
        parts=found.parts,
        verdict=None
        if verdict is None
        else run_pb2.Verdict(
            good_parts=verdict.good_parts,
            reason=verdict.reason,
            actor=verdict.actor,
            create_time=timestamp(verdict.given_at),
        ),
        retry_of=found.retry_of or "",
        create_time=timestamp(found.created_at),
        start_time=timestamp(found.started_at),
        end_time=timestamp(found.ended_at),
        update_time=timestamp(found.updated_at),
        version=found.version,
        artifact_sha256=found.artifact_sha256,
        cost=cost_convert.run_cost(found.cost) if found.cost else None,
    )


def abilities(has: Abilities) -> printer_pb2.Abilities:
    """Abilities; what is unknown is absent."""
    made = printer_pb2.Abilities(
        model=has.model,
        firmware=has.firmware,
        serial_number=has.serial_number,
        nozzle_diameter_mm=has.nozzle_diameter_mm,
        material=has.material or "",
        colour=has.colour or "",
        tags=has.tags,
        can_pause=has.can_pause,
        prints_autonomously=has.prints_autonomously,
        has_camera=has.has_camera,
        fragile=has.fragile,
        file_kinds=has.file_kinds,
    )
    if has.most_celsius is not None:
        made.limits.hotend_celsius, made.limits.bed_celsius, made.limits.chamber_celsius = has.most_celsius
        made.limits.origin_x_mm, made.limits.origin_y_mm, made.limits.origin_z_mm = has.origin_mm or (0.0, 0.0, 0.0)
    if has.volume_mm is not None:
        made.build_volume.x_mm, made.build_volume.y_mm, made.build_volume.z_mm = has.volume_mm
    return made


def printer(found: Printer, *, reachable: bool, latest: Sample | None, now: int) -> printer_pb2.Printer:
    """A printer with its newest reading."""
    bed = found.bed
    return printer_pb2.Printer(
        printer_id=found.printer_id,
        name=found.name,
        agent_id=found.agent_id,
        driver=found.driver,
        abilities=abilities(effective_abilities(found)),
        bed=printer_pb2.Bed(
            state=BED_STATES[bed.state],
            run_id=bed.run_id or "",
            actor=bed.actor,
            update_time=timestamp(bed.updated_at) if bed.updated_at else None,
        ),
        gates=printer_pb2.Gates(
            held=found.held,
            hold_reason=found.hold_reason,
            hold_actor=found.hold_actor,
            emergency_stopped=found.emergency_stopped,
            locked=found.locked,
            lock_reason=found.lock_reason,
        ),
        observed_state=PRINTER_STATES[found.observed_state],
        agent_reachable=reachable,
        epoch=found.epoch,
        active_run_id=found.active_run_id or "",
        latest=sample(latest, now) if latest else None,
        create_time=timestamp(found.created_at),
        update_time=timestamp(found.updated_at),
        version=found.version,
    )


def sample(found: Sample, now: int) -> telemetry_pb2.TelemetrySample:
    """A reading; its age by this process's clock."""
    made = telemetry_pb2.TelemetrySample(
        printer_id=found.printer_id,
        state=PRINTER_STATES[found.state],
        run_id=found.run_id,
        progress=found.progress,
        layer=found.layer,
        layer_count=found.layer_count,
        elapsed=duration(found.elapsed_seconds) if found.elapsed_seconds is not None else None,
        remaining=duration(found.remaining_seconds) if found.remaining_seconds is not None else None,
        heaters=[
            telemetry_pb2.HeaterReading(name=h.name, current_celsius=h.current, target_celsius=h.target)
            for h in found.heaters
        ],
        age=duration(max(0.0, (now - found.at) / 1e6)),
        message=found.message,
    )
    if found.position_mm is not None:
        made.position.x_mm, made.position.y_mm, made.position.z_mm = found.position_mm
    return made


def event(found: StoredEvent) -> event_pb2.Event:
    """A committed fact."""
    data = Struct()
    data.update(dict(found.event.data))
    return event_pb2.Event(
        position=found.position,
        type=found.event.type,
        subject_kind=found.event.subject_kind,
        subject_id=found.event.subject_id,
        subject_sequence=found.subject_sequence,
        data=data,
        create_time=timestamp(found.created_at),
        actor=found.event.actor,
    )


def agent(found: Agent, printer_ids: list[str]) -> agent_admin_service_pb2.Agent:
    """An agent with its printers."""
    reach = agent_admin_service_pb2.AGENT_REACHABILITY_UNREACHABLE
    if found.reachable:
        reach = agent_admin_service_pb2.AGENT_REACHABILITY_CONNECTED
    elif not found.connection_epoch:
        reach = agent_admin_service_pb2.AGENT_REACHABILITY_NEVER_SEEN
    return agent_admin_service_pb2.Agent(
        agent_id=found.agent_id,
        reachability=reach,
        version=found.version,
        hostname=found.hostname,
        printer_ids=printer_ids,
        draining=found.draining or found.wants_drain,
        revoked=found.revoked,
        locked=found.locked,
        connection_epoch=found.connection_epoch,
        last_heartbeat_time=timestamp(found.last_heartbeat_at),
        certificate_expire_time=timestamp(found.certificate_expires_at or None),
        create_time=timestamp(found.created_at),
    )


def api_key(found: ApiKey) -> access_service_pb2.ApiKey:
    """A key without its secret."""
    return access_service_pb2.ApiKey(
        key_id=found.key_id,
        name=found.name,
        role=ROLES[found.role],
        prefix=found.prefix,
        create_time=timestamp(found.created_at),
        expire_time=timestamp(found.expires_at),
        last_use_time=timestamp(found.last_used_at),
        revoked=found.revoked,
    )


def user(found: User) -> access_service_pb2.User:
    """A person without the password's hash."""
    return access_service_pb2.User(
        name=found.name,
        role=ROLES[found.role],
        disabled=found.disabled,
        create_time=timestamp(found.created_at),
        generation=found.generation,
    )
