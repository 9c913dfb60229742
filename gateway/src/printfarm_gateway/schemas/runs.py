"""Runs: single physical prints."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictBool, StrictInt
from pydantic.config import JsonDict

from .base import EXAMPLE_ID, EXAMPLE_SHA256, Reason, Strict, example
from .costs import RunCost

RunState = Literal[
    "offered",
    "accepted",
    "authorised",
    "starting",
    "printing",
    "paused",
    "finishing",
    "unconfirmed",
    "cancelling",
    "finished",
    "failed",
    "cancelled",
    "fenced",
]


RUN_EXAMPLE: JsonDict = {
    "run_id": EXAMPLE_ID,
    "job_id": EXAMPLE_ID,
    "printer_id": "p1",
    "agent_id": "host-1",
    "epoch": 17,
    "state": "printing",
    "progress": 0.42,
    "parts": 4,
    "verified": None,
    "reason_code": "",
    "reason": "",
    "pause_requested": False,
    "verdict": None,
    "retry_of": None,
    "artifact_sha256": EXAMPLE_SHA256,
    "cost": None,
    "created_at": "2026-11-23T08:00:00Z",
    "started_at": "2026-11-23T08:00:09Z",
    "ended_at": None,
    "version": 6,
}


class VerdictOrder(Strict):
    """Good parts of those on the plate. Clears the bed unless told not to."""

    model_config = example({"good_parts": 3, "reason": "one came off the plate"})

    good_parts: Annotated[StrictInt, Field(ge=0, le=10_000)]
    reason: Reason = ""
    clear_bed: StrictBool = True


class ResolveOrder(Strict):
    """What became of an unconfirmed run, by a person's word."""

    model_config = example({"outcome": "failed", "reason": "looked at the machine: it stands still at layer 12"})

    outcome: Literal["finished", "failed", "never_started"]
    reason: Reason = ""


class Verdict(BaseModel):
    """A word on a finished run."""

    good_parts: int
    reason: str
    actor: str
    given_at: datetime | None


class Run(BaseModel):
    """One physical print."""

    model_config = example(RUN_EXAMPLE)

    run_id: str
    job_id: str
    printer_id: str
    agent_id: str
    epoch: int
    state: RunState
    progress: float
    parts: int
    verified: bool | None
    reason_code: str
    reason: str
    pause_requested: bool
    verdict: Verdict | None
    retry_of: str | None
    # The file it prints: the job's, or what the job's model was sliced to. Null for runs from before files were noted.
    artifact_sha256: str | None
    # Once it has ended. Null also if it never started, or if the farm reckoned no cost then.
    cost: RunCost | None
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    version: int
