"""``agent.v1`` messages to values and back.

What an agent says of itself is cleaned; what it says of runs is refused if it is wrong.
"""

from google.protobuf.duration_pb2 import Duration

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import printer_pb2, telemetry_pb2
from printfarm_files import Kind
from printfarm_rpc.errors import invalid
from printfarm_rpc.identity import is_name

from ..app.report import AgentEvent, Alarm, EmergencyStopDone, Fact, PrinterSeen
from ..app.sessions import GreetedPrinter, Greeting
from ..domain.desired import Desired, DesiredRun, DesiredState
from ..domain.printer import Abilities, BedState, PrinterState
from ..domain.reports import Report
from ..domain.reunion import LocalStage, PrinterReport
from ..domain.run import EndEvidence
from ..domain.run import Fact as RunFact

MOST_PRINTERS = 500
_OLDEST_SECONDS = 86_400.0
_LONGEST_WORD = 256

PRINTER_STATES = {getattr(telemetry_pb2, f"PRINTER_STATE_{state.name}"): state for state in PrinterState}
BED_STATES = {getattr(printer_pb2, f"BED_STATE_{state.name}"): state for state in BedState}
LOCAL_STAGES = {getattr(pb, f"LOCAL_STAGE_{stage.name}"): stage for stage in LocalStage}
DESIRED_STATES = {state: getattr(pb, f"DESIRED_RUN_STATE_{state.name}") for state in DesiredState}


def duration(seconds: float) -> Duration:
    """Seconds as a Duration."""
    made = Duration()
    made.FromNanoseconds(round(seconds * 1e9))
    return made


def seconds(given: Duration) -> float:
    """A Duration as seconds."""
    return given.seconds + given.nanos / 1e9


def taken_at(age: Duration, now: int) -> int:
    """When a reading or a picture was taken, for display: never in the future, never longer ago than a day. Microseconds."""
    return now - round(min(max(0.0, seconds(age)), _OLDEST_SECONDS) * 1e6)


def printer_state(number: int) -> PrinterState:
    """What is not known is UNKNOWN, never idle."""
    return PRINTER_STATES.get(number, PrinterState.UNKNOWN)


def greeting(agent_id: str, hello: pb.Hello) -> Greeting:
    """Raises FarmError INVALID_ARGUMENT naming the field."""
    if not 1 <= len(hello.boot_id) <= 64:
        raise invalid("hello.boot_id", "must be 1 to 64 characters, new at each start of the agent")
    if not 1 <= len(hello.journal_id) <= 64:
        raise invalid("hello.journal_id", "must be 1 to 64 characters")
    if hello.journal_max_sequence < 0:
        raise invalid("hello.journal_max_sequence", "must not be negative")
    if not 0 <= hello.journal_acknowledged_sequence <= hello.journal_max_sequence:
        raise invalid("hello.journal_acknowledged_sequence", "must be 0 to journal_max_sequence")
    if len(hello.printers) > MOST_PRINTERS:
        raise invalid("hello.printers", f"must be at most {MOST_PRINTERS}")
    printers = tuple(_greeted(said, f"hello.printers[{i}]") for i, said in enumerate(hello.printers))
    if len({p.printer_id for p in printers}) != len(printers):
        raise invalid("hello.printers", "must name each printer once")
    return Greeting(
        agent_id,
        hello.boot_id,
        hello.journal_id,
        hello.journal_max_sequence,
        hello.journal_acknowledged_sequence,
        _word(hello.agent_version),
        _word(hello.hostname),
        hello.draining,
        hello.journal_corrupt,
        printers,
    )


def _greeted(said: pb.PrinterReport, path: str) -> GreetedPrinter:
    if not is_name(said.printer_id):
        raise invalid(f"{path}.printer_id", "must be lower case letters, digits and dashes, at most 63")
    if said.max_epoch < 0:
        raise invalid(f"{path}.max_epoch", "must not be negative")
    if said.emergency_stop_generation < 0:
        raise invalid(f"{path}.emergency_stop_generation", "must not be negative")
    has_run = said.HasField("local_run")
    stage = LOCAL_STAGES.get(said.local_run.stage) if has_run else None
    if has_run and stage is None:
        raise invalid(f"{path}.local_run.stage", "is not known to this coordinator: upgrade it first")
    report = PrinterReport(
        said.max_epoch,
        printer_state(said.observed_state),
        said.local_run.run_id if has_run else None,
        said.local_run.epoch if has_run else 0,
        stage,
        stop_generation=said.emergency_stop_generation,
    )
    return GreetedPrinter(
        said.printer_id,
        _word(said.driver),
        _word(said.name) or said.printer_id,
        abilities(said.abilities),
        BED_STATES.get(said.initial_bed, BedState.UNKNOWN),
        report,
    )


def abilities(said: printer_pb2.Abilities) -> Abilities:
    """What cannot be true of any machine is unknown."""
    volume = said.build_volume
    sides = (volume.x_mm, volume.y_mm, volume.z_mm)
    nozzle = said.nozzle_diameter_mm if said.HasField("nozzle_diameter_mm") else None
    return Abilities(
        model=_word(said.model),
        firmware=_word(said.firmware),
        serial_number=_word(said.serial_number),
        volume_mm=sides if all(0 < side <= 10_000 for side in sides) else None,
        nozzle_diameter_mm=nozzle if nozzle is not None and 0.01 <= nozzle <= 10 else None,
        material=_word(said.material) or None,
        colour=_word(said.colour) or None,
        tags=tuple(_word(tag) for tag in said.tags[:64] if tag),
        can_pause=said.can_pause,
        prints_autonomously=said.prints_autonomously,
        has_camera=said.has_camera,
        fragile=said.fragile,
        most_celsius=_most(said.limits) if said.HasField("limits") else None,
        origin_mm=_origin(said.limits) if said.HasField("limits") else None,
        file_kinds=tuple(kind.value for kind in Kind if kind.is_packed and kind.value in said.file_kinds),
    )


def _most(said: printer_pb2.PrintLimits) -> tuple[float, float, float] | None:
    told = (said.hotend_celsius, said.bed_celsius, said.chamber_celsius)
    return told if all(0 <= most <= 2_000 for most in told) else None


def _origin(said: printer_pb2.PrintLimits) -> tuple[float, float, float] | None:
    corner = (said.origin_x_mm, said.origin_y_mm, said.origin_z_mm)
    return corner if all(abs(side) <= 10_000 for side in corner) else None


def _word(text: str) -> str:
    return "".join(c for c in text if c.isprintable())[:_LONGEST_WORD]


def agent_event(said: pb.AgentEvent, path: str) -> AgentEvent:
    """Raises FarmError INVALID_ARGUMENT where the inbox itself cannot make sense of it."""
    if said.sequence < 1:
        raise invalid(f"{path}.sequence", "must be 1 or more")
    if said.epoch < 0:
        raise invalid(f"{path}.epoch", "must not be negative")
    return AgentEvent(said.sequence, said.printer_id[:64], said.run_id[:64], said.epoch, _fact(said))


def _fact(said: pb.AgentEvent) -> Fact | None:
    """None for a kind of fact that this coordinator does not know."""
    kind = said.WhichOneof("fact")
    if kind == "printer_changed":
        return _printer_seen(said.printer_changed)
    if kind == "emergency_stopped":
        return EmergencyStopDone(said.emergency_stopped.emergency_stop_generation)
    if kind == "alarm":
        return Alarm(_word(said.alarm.code), _word(said.alarm.text))
    if kind is None:
        return None
    fact = RunFact(kind)
    body = getattr(said, kind)
    return Report(
        fact,
        code=_word(getattr(body, "code", "")),
        reason=_word(getattr(body, "reason", "")) or _late(said, fact),
        evidence=_evidence(said.finished) if fact is RunFact.FINISHED else None,
        by_machine=bool(getattr(body, "by_machine", False)),
        lock_printer=bool(getattr(body, "lock_printer", False)),
    )


def _late(said: pb.AgentEvent, fact: RunFact) -> str:
    if fact is not RunFact.LATE_START:
        return ""
    return f"it started {seconds(said.late_start.late_by):.1f} s after its authority ended and was stopped"


def _evidence(said: pb.RunFinished) -> EndEvidence:
    return EndEvidence(said.end_of_file_reached, said.printer_reports_complete, max(0.0, seconds(said.elapsed)))


def _printer_seen(said: pb.PrinterChanged) -> PrinterSeen:
    return PrinterSeen(
        printer_state(said.observed_state),
        abilities(said.abilities) if said.HasField("abilities") else None,
        BED_STATES.get(said.plate_sensor),
    )


def assignment(wanted: Desired) -> pb.Assignment:
    """What is wanted of one printer."""
    printer = wanted.printer
    return pb.Assignment(
        printer_id=printer.printer_id,
        epoch=printer.epoch,
        run=_assigned_run(wanted.run) if wanted.run else None,
        emergency_stop_generation=printer.emergency_generation,
        emergency_stop_released_generation=printer.emergency_released_generation,
        held=printer.held,
    )


def _assigned_run(wanted: DesiredRun) -> pb.AssignedRun:
    run, job, estimate = wanted.run, wanted.job, wanted.file.estimated_seconds
    return pb.AssignedRun(
        run_id=run.run_id,
        job_id=run.job_id,
        epoch=run.epoch,
        desired=DESIRED_STATES[wanted.state],
        artifact_sha256=wanted.file.sha256,
        size_bytes=wanted.size_bytes,
        job_name=job.name,
        estimated_duration=duration(estimate) if estimate else None,
        bed_token=wanted.bed_token,
        may_have_started=wanted.may_have_started,
        packed_kind=wanted.file.packed_kind,
        plate=wanted.file.plate,
        gcode_sha256=wanted.file.gcode_sha256 if wanted.file.packed_kind else "",
    )
