"""What the agent tells Prometheus, read when it is asked for."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from .journal import Journal
from .link.link import Link
from .telemetry import Telemetry
from .worker import PrinterWorker


class AgentCollector(Collector):
    """One agent."""

    def __init__(
        self, workers: Mapping[str, PrinterWorker], link: Link, telemetry: Telemetry, journal: Journal | None
    ) -> None:
        self._workers = workers
        self._link = link
        self._telemetry = telemetry
        self._journal = journal

    def collect(self) -> Iterable[Metric]:
        """Cheap: numbers that are there anyway."""
        figures = self._link.figures
        yield _gauge("connected", "1 while a session with the coordinator is open.", figures.connected)
        yield _counter("connects", "Sessions begun.", figures.connects)
        yield _counter("connect_failures", "Sessions that ended with an error.", figures.failures)
        yield _gauge("events_waiting", "Facts not yet acknowledged.", self._journal.waiting if self._journal else 0)
        yield _gauge("journal_usable", "1 if the journal can be trusted.", self._journal is not None)
        yield _counter("telemetry_samples_sent", "Readings sent.", self._telemetry.sent)
        yield _gauge("loop_lag_seconds", "How late the event loop came at last.", self._link.loop_lag.latest)
        yield self._per_printer("driver_errors", "Failed driver calls.", "driver_errors")
        yield self._per_printer("starts", "Start commands given.", "starts")
        yield self._per_printer("emergency_stops", "Emergency stops tried.", "emergency_stops")
        age = GaugeMetricFamily(
            "printfarm_agent_driver_progress_age_seconds", "Since the driver last came back.", labels=["printer"]
        )
        for printer_id, worker in self._workers.items():
            age.add_metric([printer_id], worker.progress_age)
        yield age

    def _per_printer(self, name: str, text: str, field: str) -> Metric:
        family = CounterMetricFamily(f"printfarm_agent_{name}", text, labels=["printer"])
        for printer_id, worker in self._workers.items():
            family.add_metric([printer_id], getattr(worker.counts, field))
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"printfarm_agent_{name}", text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"printfarm_agent_{name}", text, value=float(value))


def registry_of(collector: AgentCollector) -> CollectorRegistry:
    """A registry of its own: several agents fit in one process."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
