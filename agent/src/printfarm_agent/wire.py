"""The agent's values as ``agent.v1`` messages, and what the coordinator wants as values."""

from typing import Any

from google.protobuf.duration_pb2 import Duration

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import printer_pb2, telemetry_pb2

from .driver import Capabilities, MachineIdentity, Observation, ObservedState
from .execution import Desire, Event, LocalRun, Stage, Wanted, WantedRun
from .limits import Limits

STAGES = {stage: getattr(pb, f"LOCAL_STAGE_{stage.name}") for stage in Stage}
PRINTER_STATES: dict[str, telemetry_pb2.PrinterState.ValueType] = {
    state.value: getattr(telemetry_pb2, f"PRINTER_STATE_{state.name}") for state in ObservedState
} | {"busy_external": telemetry_pb2.PRINTER_STATE_BUSY_EXTERNAL}
DESIRES = {getattr(pb, f"DESIRED_RUN_STATE_{desire.name}"): desire for desire in Desire}
BEDS = {
    "clear": printer_pb2.BED_STATE_CLEAR,
    "occupied": printer_pb2.BED_STATE_OCCUPIED,
    "unknown": printer_pb2.BED_STATE_UNKNOWN,
}


def duration(seconds: float) -> Duration:
    """Seconds as a Duration."""
    made = Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def seconds(given: Duration) -> float:
    """A Duration as seconds."""
    return given.seconds + given.nanos / 1e9


def agent_event(printer_id: str, event: Event) -> pb.AgentEvent:
    """Without its sequence, which the journal gives."""
    made = pb.AgentEvent(printer_id=printer_id, run_id=event.run_id, epoch=event.epoch)
    body = getattr(made, event.kind)
    body.SetInParent()
    if event.kind == "printer_changed":
        _printer_changed(body, event.data)
        return made
    for name, value in event.data.items():
        if name in ("elapsed", "late_by"):
            getattr(body, name).CopyFrom(duration(max(0.0, value)))
        else:
            setattr(body, name, value[:500] if isinstance(value, str) else value)
    return made


def _printer_changed(body: pb.PrinterChanged, data: Any) -> None:
    body.observed_state = PRINTER_STATES[data["observed_state"]]
    plate = data.get("plate_occupied")
    if plate is not None:
        body.plate_sensor = BEDS["occupied" if plate else "clear"]
    if data.get("abilities"):
        body.abilities.ParseFromString(data["abilities"])


def wanted(said: pb.Assignment) -> Wanted:
    """What the coordinator wants of one printer. Raises ValueError for a wish that this agent does not know: never guessed."""
    run = said.run if said.HasField("run") else None
    return Wanted(
        said.epoch,
        _wanted_run(run) if run else None,
        said.held,
        said.emergency_stop_generation,
        said.emergency_stop_released_generation,
    )


def _wanted_run(said: pb.AssignedRun) -> WantedRun:
    if said.desired not in DESIRES:
        raise ValueError(f"desired state {said.desired} is not known to this agent: upgrade it")
    has_estimate = said.HasField("estimated_duration")
    return WantedRun(
        said.run_id,
        said.job_id,
        said.epoch,
        DESIRES[said.desired],
        said.artifact_sha256,
        said.size_bytes,
        said.bed_token,
        said.may_have_started,
        seconds(said.estimated_duration) if has_estimate else None,
        said.packed_kind,
        said.plate,
        said.gcode_sha256,
    )


def local_run(run: LocalRun | None) -> pb.LocalRun | None:
    """The journalled run, for Hello."""
    if run is None or run.stage is Stage.DONE:
        return None
    return pb.LocalRun(run_id=run.run_id, epoch=run.epoch, stage=STAGES[run.stage])


def abilities(
    machine: MachineIdentity, can: Capabilities, tags: tuple[str, ...], said: dict[str, Any], limits: Limits
) -> printer_pb2.Abilities:
    """What the machine says of itself, with what the host's configuration adds; the configuration wins."""
    made = printer_pb2.Abilities(
        model=machine.model,
        firmware=machine.firmware,
        serial_number=machine.serial_number,
        nozzle_diameter_mm=said.get("nozzle_diameter_mm") or machine.nozzle_diameter_mm,
        material=said.get("material") or machine.material or "",
        colour=said.get("colour") or machine.colour or "",
        tags=tags,
        can_pause=can.can_pause,
        prints_autonomously=can.prints_autonomously,
        has_camera=can.has_camera,
        fragile=can.fragile,
        file_kinds=can.file_kinds,
        limits=printer_pb2.PrintLimits(
            hotend_celsius=limits.hotend_celsius,
            bed_celsius=limits.bed_celsius,
            chamber_celsius=limits.chamber_celsius,
            origin_x_mm=limits.origin_mm[0],
            origin_y_mm=limits.origin_mm[1],
            origin_z_mm=limits.origin_mm[2],
        ),
    )
    volume = said.get("volume_mm") or machine.volume_mm
    if volume:
        made.build_volume.x_mm, made.build_volume.y_mm, made.build_volume.z_mm = volume
    return made


def sample(printer_id: str, run_id: str, shown: str, seen: Observation) -> telemetry_pb2.TelemetrySample:
    """A reading, without its age."""
    made = telemetry_pb2.TelemetrySample(
        printer_id=printer_id,
        state=PRINTER_STATES[shown],
        run_id=run_id,
        progress=seen.progress,
        layer=seen.layer,
        layer_count=seen.layer_count,
        elapsed=None if seen.elapsed_seconds is None else duration(seen.elapsed_seconds),
        remaining=None if seen.remaining_seconds is None else duration(seen.remaining_seconds),
        message=seen.message[:256],
    )
    for heater in seen.heaters:
        made.heaters.add(name=heater.name, current_celsius=heater.current, target_celsius=heater.target)
    if seen.position_mm is not None:
        made.position.x_mm, made.position.y_mm, made.position.z_mm = seen.position_mm
    return made
