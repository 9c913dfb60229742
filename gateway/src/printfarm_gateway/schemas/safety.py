"""What the safety check found in a job's file, and who allowed it."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr

from .base import EXAMPLE_ID, EXAMPLE_SHA256, Strict, example

Answer = Literal["allow", "operator", "admin", "refuse"]


class OverrideOrder(Strict):
    """Why it may be printed all the same. Kept on record."""

    model_config = example({"reason": "MY_PURGE is our own macro, it only purges"})

    reason: Annotated[StrictStr, Field(min_length=1, max_length=500)]


class Finding(BaseModel):
    """``line`` 0 is the file as a whole. ``answer``: what the farm's policy says: it is printed (``allow``), two people of that
    role must allow it, or nobody may (``refuse``). ``firmwares``: for which printers it counts."""

    line: int
    command: str
    rule: str
    text: str
    answer: Answer
    firmwares: list[str]
    allowed_by: list[str]


class Override(BaseModel):
    """One person's word, for one job and one file."""

    override_id: str
    artifact_sha256: str
    rules: int
    actor: str
    role: str
    reason: str
    covers: list[str]
    created_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str


class JobSafety(BaseModel):
    """``checked`` is false while the file is being looked at, and of models. ``needs_override``: printers of the
    ``waiting_firmwares`` get the file when two people have allowed it; those of ``refused_firmwares`` never get it."""

    model_config = example(
        {
            "job_id": EXAMPLE_ID,
            "artifact_sha256": EXAMPLE_SHA256,
            "checked": True,
            "rules": 1,
            "needs_override": True,
            "waiting_firmwares": ["klipper"],
            "refused_firmwares": [],
            "findings": [
                {
                    "line": 12,
                    "command": "MY_PURGE",
                    "rule": "unlisted",
                    "text": "MY_PURGE is not among the commands that print files of this firmware have",
                    "answer": "operator",
                    "firmwares": ["klipper"],
                    "allowed_by": ["key/anna"],
                }
            ],
            "overrides": [
                {
                    "override_id": EXAMPLE_ID,
                    "artifact_sha256": EXAMPLE_SHA256,
                    "rules": 1,
                    "actor": "key/anna",
                    "role": "operator",
                    "reason": "MY_PURGE is our own macro, it only purges",
                    "covers": ["unlisted:MY_PURGE"],
                    "created_at": "2026-11-24T08:00:00Z",
                    "revoked_at": None,
                    "revoked_by": "",
                }
            ],
        }
    )

    job_id: str
    artifact_sha256: str
    checked: bool
    rules: int
    needs_override: bool
    waiting_firmwares: list[str]
    refused_firmwares: list[str]
    findings: list[Finding]
    overrides: list[Override]
