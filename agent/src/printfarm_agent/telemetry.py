"""Readings on their way up: the newest of each printer, and a short memory for when the way is blocked. Droppable."""

import asyncio
from collections import deque

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import telemetry_pb2
from printfarm_rpc.limits import MESSAGE_BYTES, SAMPLES_PER_BATCH, TELEMETRY_RING

FLUSH_SECONDS = 0.3
# A batch that is too large ends its stream: one that is nearly so is sent without the rest.
_FULL_BYTES = MESSAGE_BYTES * 3 // 4


class Telemetry:
    """Bounded by ``TELEMETRY_RING`` samples a printer; what is pushed out is counted and told."""

    def __init__(self) -> None:
        self._rings: dict[str, deque[tuple[float, telemetry_pb2.TelemetrySample]]] = {}
        self.dropped = 0
        self.sent = 0
        self.urgent = asyncio.Event()

    def put(self, printer_id: str, at: float, sample: telemetry_pb2.TelemetrySample, *, urgent: bool) -> None:
        """A reading at a moment of the monotonic clock. ``urgent`` does not wait for the next flush."""
        ring = self._rings.setdefault(printer_id, deque(maxlen=TELEMETRY_RING))
        if len(ring) == TELEMETRY_RING:
            self.dropped += 1
        ring.append((at, sample))
        if urgent:
            self.urgent.set()

    def take(self, now: float) -> pb.StreamTelemetryRequest | None:
        """The next batch over all printers, oldest first; None if there is nothing."""
        batch, size = pb.StreamTelemetryRequest(), 0
        for ring in self._rings.values():
            while ring and len(batch.samples) < SAMPLES_PER_BATCH and size < _FULL_BYTES:
                at, sample = ring.popleft()
                size += sample.ByteSize()
                sample.age.FromNanoseconds(round(max(0.0, now - at) * 1e9))
                batch.samples.append(sample)
        if not batch.samples:
            return None
        batch.dropped, self.dropped = self.dropped, 0
        self.sent += len(batch.samples)
        return batch
