"""What the gateway tells Prometheus: its own requests, and the farm's figures as the coordinator has them."""

import time
from collections.abc import Awaitable, Callable

from google.protobuf.struct_pb2 import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from printfarm.control.v1 import farm_service_pb2 as pb
from printfarm_rpc.errors import FarmError

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_REFRESH_SECONDS = 1.0
_LONG = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 115200, 230400, 604800)


class Metrics:
    """One registry per gateway."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._refreshed = -_REFRESH_SECONDS
        self._requests = Histogram(
            "printfarm_http_seconds",
            "Requests served.",
            ["method", "route", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.jobs = Counter(
            "printfarm_jobs", "Jobs that entered a state, since this process.", ["state"], registry=registry
        )
        self.job_seconds = Histogram(
            "printfarm_jobs_duration_seconds", "From receipt to end.", ["state"], buckets=_LONG, registry=registry
        )
        self.failures = Counter(
            "printfarm_quality_failures", "Failed runs and rejected plates, by cause.", ["cause"], registry=registry
        )
        self.utilization = Gauge(
            "printfarm_printer_utilization",
            "Share of the last hour in which it printed.",
            ["printer"],
            registry=registry,
        )
        self.jobs_now = Gauge("printfarm_jobs_now", "Jobs by state.", ["state"], registry=registry)
        self.printers_now = Gauge("printfarm_printers_now", "Printers by state.", ["state"], registry=registry)
        self.coordinator = Gauge("printfarm_coordinator_up", "1 if the coordinator answers.", registry=registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def observe_event(self, kind: str, data: Struct) -> None:
        """One committed fact of the farm."""
        subject, _, what = kind.partition(".")
        facts = data.fields
        if subject == "job":
            self.jobs.labels(what).inc()
            if "duration_seconds" in facts and facts["duration_seconds"].WhichOneof("kind") == "number_value":
                self.job_seconds.labels(what).observe(facts["duration_seconds"].number_value)
        elif kind == "run.failed":
            code = facts["code"].string_value if "code" in facts else ""
            self.failures.labels(code or "failed").inc()
        elif kind == "run.verdict" and "rejected_parts" in facts and facts["rejected_parts"].number_value:
            self.failures.labels("rejected").inc()

    def show(self, stats: pb.GetStatsResponse, usage: pb.GetUtilizationResponse) -> None:
        """The farm as it is now; what is no longer there is no longer told."""
        for gauge, counts in ((self.jobs_now, stats.jobs_by_state), (self.printers_now, stats.printers_by_state)):
            gauge.clear()
            for state, count in counts.items():
                gauge.labels(state).set(count)
        self.utilization.clear()
        for printer in usage.printers:
            self.utilization.labels(printer.printer_id).set(printer.utilization)

    async def exposition(self, refresh: Callable[["Metrics"], Awaitable[None]]) -> bytes:
        """The text for Prometheus, after a ``refresh`` of the gauges. Without the coordinator: what is known. Whoever asks too
        often gets what was."""
        if time.monotonic() - self._refreshed >= _REFRESH_SECONDS:
            self._refreshed = time.monotonic()
            try:
                await refresh(self)
                self.coordinator.set(1)
            except FarmError:
                self.coordinator.set(0)
        return generate_latest(self.registry)
