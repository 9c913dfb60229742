"""The file that one printer prints for a job: the job's own, or what its model was sliced to for that printer."""

from collections.abc import Callable
from dataclasses import dataclass

from .job import Job
from .printer import Obstacle, Printer
from .run import Run


@dataclass(frozen=True, slots=True)
class PrintFile:
    """``estimated_seconds``: the slicer's word on one run of it; None if it gave none."""

    sha256: str
    estimated_seconds: float | None


Fit = Callable[[Job, Printer], PrintFile | Obstacle]


def own_file(job: Job, _printer: Printer) -> PrintFile | Obstacle:
    """The job's own file. A model is none."""
    if job.needs_slicing:
        return Obstacle("not_sliced", "it is not sliced for it yet")
    return PrintFile(job.artifact_sha256, job.estimated_seconds)


def print_file_of(run: Run, job: Job) -> PrintFile:
    """What the run prints. A run from before runs named their file has the job's."""
    if not run.artifact_sha256:
        return PrintFile(job.artifact_sha256, job.estimated_seconds)
    return PrintFile(run.artifact_sha256, run.estimated_seconds)
