"""When a job will probably be done. An estimate for people: no decision rests on it."""

import math
from dataclasses import dataclass

from .job import Job, parts_owed
from .run import Run


@dataclass(frozen=True, slots=True)
class Outlook:
    """``expected_end`` in microseconds; None where nothing can be said."""

    progress: float
    expected_end: int | None
    at_risk: bool


def outlook(job: Job, active: list[tuple[Run, float]], eligible_printers: int, now: int) -> Outlook:
    """``active``: the job's active runs, each with its progress 0..1. The slicer's estimate is taken at its word.

    Parts that are printed and wait for a verdict count as done: progress tells how much is printed, not how much was good.

    What is owed goes in waves over the printers that can take it, after the longest of the runs under way.
    """
    waiting = job.pending_parts - sum(run.parts for run, _ in active)
    done = job.good_parts + max(0, waiting) + sum(run.parts * progress for run, progress in active)
    progress = 1.0 if job.good_parts >= job.quantity else max(0.0, min(1.0, done / job.quantity))
    end = None if job.state.is_final else _expected_end(job, active, eligible_printers, now)
    late = end is not None and job.due_at is not None and end > job.due_at
    overdue = job.due_at is not None and not job.state.is_final and now > job.due_at
    return Outlook(progress, end, late or overdue)


def _expected_end(job: Job, active: list[tuple[Run, float]], eligible_printers: int, now: int) -> int | None:
    if job.estimated_seconds is None or job.held:
        return None
    plates = math.ceil(parts_owed(job) / job.parts_per_plate)
    printers = max(eligible_printers, len(active))
    if plates and not printers:
        return None
    running = max((job.estimated_seconds * (1.0 - progress) for _, progress in active), default=0.0)
    waves = math.ceil(plates / printers) if plates else 0
    return now + round((running + waves * job.estimated_seconds) * 1e6)
