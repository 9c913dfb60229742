"""The file that one printer prints for a job: the job's own, or what its model was sliced to for that printer."""

from collections.abc import Callable
from dataclasses import dataclass

from .job import Job
from .printer import Obstacle, Printer
from .run import Run


@dataclass(frozen=True, slots=True)
class PrintFile:
    """``estimated_seconds``: the slicer's word on one run of it; None if it gave none.

    ``packed_kind``: how its G-code is packed, with the ``plate`` of a sliced 3MF and the digest of the G-code within; empty for
    plain text. ``described_by``: the file that tells most of it, if that is another."""

    sha256: str
    estimated_seconds: float | None
    packed_kind: str = ""
    plate: int = 0
    gcode_sha256: str = ""
    described_by: str = ""
    # That one run of it makes; 0 for as many as the job says.
    parts: int = 0

    @property
    def facts_sha256(self) -> str:
        """The file whose facts are its own."""
        return self.described_by or self.sha256


Fit = Callable[[Job, Printer], PrintFile | Obstacle]
# Its G-code has none of the comments: they are kept beside it.
_TELLS_BESIDE = "bgcode"


def own_file(job: Job, printer: Printer) -> PrintFile | Obstacle:
    """The job's own file, as it is or unpacked: as the printer takes it. A model is none."""
    if job.needs_slicing:
        return Obstacle("not_sliced", "it is not sliced for it yet")
    if not job.packed_kind:
        return PrintFile(job.artifact_sha256, job.estimated_seconds)
    if not job.gcode_sha256:
        return Obstacle("checking", "its file is being unpacked and checked before any printer gets it")
    return _packed(job) if job.packed_kind in printer.abilities.file_kinds else _plain(job)


def _packed(job: Job) -> PrintFile:
    described = job.artifact_sha256 if job.packed_kind == _TELLS_BESIDE else job.gcode_sha256
    return PrintFile(
        job.artifact_sha256, job.estimated_seconds, job.packed_kind, job.plate, job.gcode_sha256, described
    )


def _plain(job: Job) -> PrintFile:
    described = job.artifact_sha256 if job.packed_kind == _TELLS_BESIDE else ""
    return PrintFile(job.gcode_sha256, job.estimated_seconds, described_by=described)


def print_file_of(run: Run, job: Job) -> PrintFile:
    """What the run prints. A run from before runs named their file has the job's."""
    if job.gcode_sha256:
        return _plain(job) if run.artifact_sha256 == job.gcode_sha256 else _packed(job)
    if not run.artifact_sha256:
        return PrintFile(job.artifact_sha256, job.estimated_seconds)
    return PrintFile(run.artifact_sha256, run.estimated_seconds)
