"""Readings of ``agent.v1``: looked at as they come, read when somebody asks."""

from printfarm.model.v1 import telemetry_pb2

from ..app.telemetry import Heater, Sample
from ..domain.printer import PrinterState
from .agent_convert import PRINTER_STATES, seconds, taken_at

LONGEST_MESSAGE = 256
MOST_HEATERS = 8
# Beyond what any printer reaches; what lies outside is a broken sensor or a liar (bad input 74, 89).
COLDEST, HOTTEST = -100.0, 1_000.0
FARTHEST_MM = 100_000.0
LONGEST_SECONDS = 366 * 86_400.0


def is_plausible(said: telemetry_pb2.TelemetrySample) -> bool:
    """Every number is finite and in a range that a printer can have. What is absent is zero here, which all ranges hold."""
    for heater in said.heaters:
        if not (COLDEST <= heater.current_celsius <= HOTTEST and COLDEST <= heater.target_celsius <= HOTTEST):
            return False
    at = said.position
    return (
        0.0 <= said.progress <= 1.0
        and abs(at.x_mm) <= FARTHEST_MM
        and abs(at.y_mm) <= FARTHEST_MM
        and abs(at.z_mm) <= FARTHEST_MM
        and 0.0 <= seconds(said.elapsed) <= LONGEST_SECONDS
        and 0.0 <= seconds(said.remaining) <= LONGEST_SECONDS
    )


def sample(said: telemetry_pb2.TelemetrySample, now: int) -> Sample:
    """One plausible reading; ``now`` in microseconds by this process's clock, for display."""
    position = said.position
    return Sample(
        said.printer_id,
        PRINTER_STATES.get(said.state, PrinterState.UNKNOWN),
        taken_at(said.age, now),
        said.run_id,
        said.progress if said.HasField("progress") else None,
        said.layer if said.HasField("layer") else None,
        said.layer_count if said.HasField("layer_count") else None,
        seconds(said.elapsed) if said.HasField("elapsed") else None,
        seconds(said.remaining) if said.HasField("remaining") else None,
        tuple(Heater(h.name[:32], h.current_celsius, h.target_celsius) for h in said.heaters[:MOST_HEATERS]),
        (position.x_mm, position.y_mm, position.z_mm) if said.HasField("position") else None,
        said.message[:LONGEST_MESSAGE],
    )
