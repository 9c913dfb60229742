"""Rows to values and back. Nothing above this file sees a row."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache, lru_cache
from typing import Any

from ...app.ports import Agent, ApiKey, Role, StoredAudit, StoredEvent, Upload, User
from ...domain.cost import RunCost
from ...domain.events import AuditEntry, DomainEvent
from ...domain.file_asks import FileAsks
from ...domain.job import Job, JobState, Requirements
from ...domain.printer import Abilities, Bed, BedState, Overrides, Printer, PrinterState
from ...domain.run import Run, RunState, Verdict

Row = Mapping[str, Any]
# More than a large farm has of printers and of kinds of jobs.
_REMEMBERED = 4_096


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples; ours are the only lists."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def _own_fields(kind: type, row: Row) -> dict[str, Any]:
    given = row if isinstance(row, dict) else dict(row)
    return {name: given[name] for name in _names(kind) if name in given}


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def job_row(job: Job) -> dict[str, Any]:
    """A job as columns."""
    values = {name: getattr(job, name) for name in _names(Job)}
    return values | {"state": job.state.value, "requirements": _as_written(job.requirements)}


@lru_cache(maxsize=_REMEMBERED)
def _as_written(nested: Requirements | Abilities | Overrides) -> dict[str, Any]:
    """Jobs require what others do, and a printer's abilities stay as they are. Nobody changes the dict: it is written down."""
    return asdict(nested)


def job_from(row: Row) -> Job:
    """A job from its columns."""
    values = _own_fields(Job, row)
    return Job(**values | {"state": JobState(row["state"]), "requirements": _requirements_from(row["requirements"])})


def _requirements_from(values: Mapping[str, Any]) -> Requirements:
    # A job of an earlier release knows nothing of its file: it is looked at before the job goes on.
    file = FileAsks(**_tuples(values.get("file") or {}))
    return Requirements(**_tuples(values) | {"file": file})


def run_row(run: Run) -> dict[str, Any]:
    """A run as columns."""
    verdict = run.verdict
    values = {name: getattr(run, name) for name in _names(Run) if name != "verdict"}
    return values | {
        "state": run.state.value,
        "unconfirmed_from": run.unconfirmed_from and run.unconfirmed_from.value,
        "verdict_good_parts": verdict and verdict.good_parts,
        "verdict_reason": verdict and verdict.reason,
        "verdict_actor": verdict and verdict.actor,
        "verdict_at": verdict and verdict.given_at,
        "cost": run.cost and asdict(run.cost),
    }


def run_from(row: Row) -> Run:
    """A run from its columns."""
    verdict = None
    if row["verdict_good_parts"] is not None:
        verdict = Verdict(row["verdict_good_parts"], row["verdict_reason"], row["verdict_actor"], row["verdict_at"])
    before = row["unconfirmed_from"]
    values = _own_fields(Run, row)
    return Run(
        **values
        | {
            "state": RunState(row["state"]),
            "unconfirmed_from": RunState(before) if before else None,
            "verdict": verdict,
            "cost": RunCost(**_tuples(row["cost"])) if row["cost"] else None,
        }
    )


def printer_row(printer: Printer) -> dict[str, Any]:
    """A printer as columns."""
    nested = {"abilities", "overrides", "bed"}
    values = {name: getattr(printer, name) for name in _names(Printer) if name not in nested}
    bed = printer.bed
    return values | {
        "abilities": _as_written(printer.abilities),
        "overrides": _as_written(printer.overrides),
        "observed_state": printer.observed_state.value,
        "bed_state": bed.state.value,
        "bed_token": bed.token,
        "bed_run_id": bed.run_id,
        "bed_actor": bed.actor,
        "bed_updated_at": bed.updated_at,
    }


def printer_from(row: Row) -> Printer:
    """A printer from its columns."""
    values = _own_fields(Printer, row)
    bed = Bed(BedState(row["bed_state"]), row["bed_token"], row["bed_run_id"], row["bed_actor"], row["bed_updated_at"])
    return Printer(
        **values
        | {
            "abilities": Abilities(**_tuples(row["abilities"])),
            "overrides": Overrides(**_tuples(row["overrides"])),
            "observed_state": PrinterState(row["observed_state"]),
            "bed": bed,
        }
    )


def agent_from(row: Row) -> Agent:
    """An agent from its columns."""
    return Agent(**_own_fields(Agent, row))


def event_from(row: Row) -> StoredEvent:
    """An event from its columns."""
    event = DomainEvent(row["type"], row["subject_id"], row["actor"], row["data"])
    return StoredEvent(row["position"], event, row["subject_sequence"], row["created_at"])


def audit_from(row: Row) -> StoredAudit:
    """An audit row from its columns."""
    entry = AuditEntry(**_own_fields(AuditEntry, row))
    return StoredAudit(row["sequence"], entry, row["request_id"], row["created_at"], row["hash"])


def upload_from(row: Row) -> Upload:
    """An upload from its columns."""
    return Upload(**_own_fields(Upload, row))


def api_key_from(row: Row) -> ApiKey:
    """A key from its columns."""
    return ApiKey(**_own_fields(ApiKey, row) | {"role": Role(row["role"])})


def user_from(row: Row) -> User:
    """A user from its columns."""
    return User(**_own_fields(User, row) | {"role": Role(row["role"])})
