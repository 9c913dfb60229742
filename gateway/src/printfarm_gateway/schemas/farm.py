"""The farm as a whole: events, figures, the audit log, its health."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from .base import EXAMPLE_ID, EXAMPLE_SHA256, example
from .costs import COST_SUM_EXAMPLE, CostSum


class Event(BaseModel):
    """A committed fact."""

    model_config = example(
        {
            "position": 1042,
            "type": "run.finished",
            "subject_kind": "run",
            "subject_id": EXAMPLE_ID,
            "subject_sequence": 7,
            "actor": "agent/host-1",
            "data": {"verified": True},
            "created_at": "2026-11-23T09:12:31.5Z",
        }
    )

    position: int
    type: str
    subject_kind: str
    subject_id: str
    subject_sequence: int
    actor: str
    data: dict[str, Any]
    created_at: datetime | None


class Stats(BaseModel):
    """Live figures."""

    model_config = example(
        {
            "jobs_by_state": {"queued": 3, "active": 2, "completed": 118},
            "runs_by_state": {"printing": 2, "finished": 131, "failed": 4},
            "printers_by_state": {"printing": 2, "idle": 1},
            "printers_waiting_for_bed_clear": 1,
            "printers_held": 0,
            "agents_connected": 2,
            "agents_unreachable": 0,
            "runs_unconfirmed": 0,
            "runs_waiting_for_verdict": 1,
            "parts_owed": 14,
            "jobs_at_risk": 1,
            "jobs_overdue": 0,
            "runs_finished_today": 9,
            "runs_failed_today": 1,
            "oldest_waiting_seconds": 420.0,
            "estimated_backlog_seconds": 31077.0,
            "cost_today": COST_SUM_EXAMPLE,
            "as_of": "2026-11-23T09:12:31Z",
        }
    )

    jobs_by_state: dict[str, int]
    runs_by_state: dict[str, int]
    printers_by_state: dict[str, int]
    printers_waiting_for_bed_clear: int
    printers_held: int
    agents_connected: int
    agents_unreachable: int
    runs_unconfirmed: int
    runs_waiting_for_verdict: int
    parts_owed: int
    jobs_at_risk: int
    jobs_overdue: int
    runs_finished_today: int
    runs_failed_today: int
    oldest_waiting_seconds: float
    estimated_backlog_seconds: float
    # Null if the farm reckons no cost.
    cost_today: CostSum | None
    as_of: datetime | None


class PrinterUtilization(BaseModel):
    """Of one printer in the range."""

    printer_id: str
    printing_seconds: float
    known_seconds: float
    utilization: float
    runs_started: int
    runs_finished: int
    runs_failed: int


class Utilization(BaseModel):
    """Of the farm in the range, 0..1."""

    model_config = example(
        {
            "start": "2026-11-22T09:00:00Z",
            "end": "2026-11-23T09:00:00Z",
            "utilization": 0.63,
            "printers": [
                {
                    "printer_id": "p1",
                    "printing_seconds": 54432.0,
                    "known_seconds": 86400.0,
                    "utilization": 0.63,
                    "runs_started": 12,
                    "runs_finished": 11,
                    "runs_failed": 1,
                }
            ],
        }
    )

    start: datetime
    end: datetime
    utilization: float
    printers: list[PrinterUtilization]


class AuditEntry(BaseModel):
    """Who moved or heated what, and why."""

    model_config = example(
        {
            "sequence": 391,
            "created_at": "2026-11-23T09:12:31Z",
            "actor": "user/ana",
            "action": "clear_bed",
            "subject_kind": "printer",
            "subject_id": "p1",
            "reason": "",
            "epoch": 17,
            "request_id": "6f1c0f0e9a2b4b7f8d1e2a3b4c5d6e7f",
            "hash": EXAMPLE_SHA256,
        }
    )

    sequence: int
    created_at: datetime | None
    actor: str
    action: str
    subject_kind: str
    subject_id: str
    reason: str
    epoch: int
    request_id: str
    hash: str


class Health(BaseModel):
    """The service is up."""

    model_config = example({"status": "ok", "version": "0.1.0"})

    status: Literal["ok"]
    version: str


class Component(BaseModel):
    """One part of the farm."""

    component: str
    status: Literal["ok", "degraded", "down", "not_configured"]
    detail: str
    latency_seconds: float


class DetailedHealth(BaseModel):
    """The worst of the components decides."""

    model_config = example(
        {
            "status": "ok",
            "components": [
                {"component": "database", "status": "ok", "detail": "", "latency_seconds": 0.0004},
                {
                    "component": "message_broker",
                    "status": "not_configured",
                    "detail": "in-process bus",
                    "latency_seconds": 0,
                },
            ],
        }
    )

    status: Literal["ok", "degraded", "down"]
    components: list[Component]
