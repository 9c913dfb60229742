"""Agents and their enrolment."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, StrictBool

from .base import Reason, Strict, example


class DrainOrder(Strict):
    """Nothing new (drain), or again something."""

    model_config = example({"drain": True, "reason": "the host is updated tonight"})

    drain: StrictBool = True
    reason: Reason = ""


# What an empty body stands for.
DRAIN = DrainOrder()


class Agent(BaseModel):
    """The process beside a group of printers."""

    model_config = example(
        {
            "agent_id": "host-1",
            "reachability": "connected",
            "version": "0.1.0",
            "hostname": "pi-rack-2",
            "printer_ids": ["p1", "p2"],
            "draining": False,
            "revoked": False,
            "locked": False,
            "last_heartbeat_at": "2026-11-23T09:12:31Z",
            "certificate_expires_at": "2026-11-24T02:00:00Z",
            "created_at": "2026-11-01T08:00:00Z",
        }
    )

    agent_id: str
    reachability: Literal["connected", "unreachable", "never_seen"]
    version: str
    hostname: str
    printer_ids: list[str]
    draining: bool
    revoked: bool
    locked: bool
    last_heartbeat_at: datetime | None
    certificate_expires_at: datetime | None
    created_at: datetime | None


class EnrollmentToken(BaseModel):
    """Shown once."""

    model_config = example({"token": "pft_...", "expires_at": "2026-11-23T08:10:00Z", "ca_sha256": "0" * 64})

    token: str
    expires_at: datetime | None
    ca_sha256: str
