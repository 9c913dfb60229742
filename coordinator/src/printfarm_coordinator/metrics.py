"""What the coordinator tells Prometheus. Counters follow the committed events, gauges the database."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from .app.farm import Farm
from .app.ports import StoredEvent
from .app.workshop import WORKER_ALIVE_US
from .domain.printer import PrinterState

_LONG = (60, 300, 900, 1800, 3600, 7200, 14400, 28800, 57600, 115200, 230400, 604800)
_SLICING = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 900, 1800)
_SHORT = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """One registry per coordinator, so that several fit in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.jobs = Counter("printfarm_jobs", "Jobs that entered a state.", ["state"], registry=registry)
        self.job_seconds = Histogram(
            "printfarm_jobs_duration_seconds", "From receipt to end.", ["state"], buckets=_LONG, registry=registry
        )
        self.runs = Counter("printfarm_runs", "Runs that entered a state.", ["state"], registry=registry)
        self.failures = Counter(
            "printfarm_quality_failures", "Failed runs and rejected plates, by cause.", ["cause"], registry=registry
        )
        self.dispatch = Histogram(
            "printfarm_dispatch_latency_seconds",
            "From the offer to the start at the printer.",
            buckets=_SHORT,
            registry=registry,
        )
        self.decision = Histogram(
            "printfarm_assignment_decision_seconds", "One round of assignment.", buckets=_SHORT, registry=registry
        )
        self.utilization = Gauge(
            "printfarm_printer_utilization",
            "1 while the printer has a run that prints.",
            ["printer"],
            registry=registry,
        )
        self.queue = Gauge("printfarm_queue_depth", "Jobs that wait for a printer.", registry=registry)
        self.printers = Gauge("printfarm_printers", "Printers by what is seen of them.", ["state"], registry=registry)
        self.agents = Gauge("printfarm_agent_sessions", "Agents with an open stream.", registry=registry)
        self.at_risk = Gauge("printfarm_jobs_overdue", "Open jobs beyond their due time.", registry=registry)
        self.leads = Gauge("printfarm_leads", "1 while this coordinator leads.", registry=registry)
        self.brake = Gauge("printfarm_brake", "1 while nothing is concluded from silence.", registry=registry)
        self.lag = Gauge("printfarm_loop_lag_seconds", "How late the event loop came at last.", registry=registry)
        self.samples = Counter("printfarm_telemetry_samples", "Samples, by fate.", ["fate"], registry=registry)
        self.rpcs = Histogram(
            "printfarm_rpc_seconds", "Calls served.", ["method", "code"], buckets=_SHORT, registry=registry
        )
        self.restarts = Counter("printfarm_task_restarts", "Background tasks begun again.", ["task"], registry=registry)
        self.slicings = Gauge(
            "printfarm_slicings",
            "Slicings that wait for a worker, or run under its claim.",
            ["state"],
            registry=registry,
        )
        self.slicers = Gauge("printfarm_slicer_workers", "Slicer workers heard of lately.", registry=registry)
        self.slicing_seconds = Histogram(
            "printfarm_slicing_seconds",
            "From a worker's claim to how it ended: done, or the failure's code.",
            ["engine", "outcome"],
            buckets=_SLICING,
            registry=registry,
        )
        self.slicing_cache = Counter(
            "printfarm_slicing_cache",
            "Jobs of models that got a print file; hit: it was there when the job came.",
            ["result"],
            registry=registry,
        )
        for result in ("hit", "miss"):
            # There from the beginning, so that a ratio of them is.
            self.slicing_cache.labels(result)
        self._counted = {"taken": 0, "refused": 0, "dropped": 0}

    def observe_events(self, events: Iterable[StoredEvent]) -> None:
        """Each committed event once, as this coordinator positions it."""
        for stored in events:
            kind, _, what = stored.event.type.partition(".")
            if kind == "job":
                self._job(what, stored)
            elif kind == "run":
                self._run(what, stored)

    def _job(self, what: str, stored: StoredEvent) -> None:
        self.jobs.labels(what).inc()
        seconds = stored.event.data.get("duration_seconds")
        if isinstance(seconds, int | float):
            self.job_seconds.labels(what).observe(seconds)

    def _run(self, what: str, stored: StoredEvent) -> None:
        data = stored.event.data
        self.runs.labels(what).inc()
        if what == "failed":
            self.failures.labels(str(data.get("code") or "failed")).inc()
        elif what == "verdict" and data.get("rejected_parts"):
            self.failures.labels("rejected").inc()
        since = data.get("seconds_since_offer")
        if isinstance(since, int | float):
            self.dispatch.observe(since)

    def observe_rpc(self, method: str, code: str, seconds: float) -> None:
        """For the Guard."""
        self.rpcs.labels(method, code).observe(seconds)

    def observe_claim(self, engine: str, outcome: str, seconds: float) -> None:
        """For the slicing figures."""
        self.slicing_seconds.labels(engine, outcome).observe(seconds)

    def count_file(self, result: str) -> None:
        """For the slicing figures."""
        self.slicing_cache.labels(result).inc()

    async def refresh(self, farm: Farm) -> None:
        """The gauges, from one look."""
        async with farm.store.read() as look:
            backlog, printers, now = await look.job_backlog(), await look.printers(), look.now
            printing = {run.printer_id for run in await look.active_runs() if run.started_at is not None}
            slicings, workers = await look.slicing_backlog(), await look.slicer_workers(now - WORKER_ALIVE_US)
        self.queue.set(backlog.idle_jobs)
        self.at_risk.set(backlog.overdue)
        for state in PrinterState:
            self.printers.labels(state.value).set(sum(p.observed_state is state for p in printers))
        for printer in printers:
            self.utilization.labels(printer.printer_id).set(printer.printer_id in printing)
        self.slicings.labels("waiting").set(slicings.waiting)
        self.slicings.labels("running").set(slicings.running)
        self.slicers.set(len(workers))
        self.agents.set(len(farm.hints.sessions()))
        self.brake.set(farm.vigilance.brake.is_on(now))
        for fate in self._counted:
            total = int(getattr(farm.latest, fate))
            self.samples.labels(fate).inc(total - self._counted[fate])
            self._counted[fate] = total
