"""What is told of slicing for the metrics, after the commit that made it so."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..domain.job import Job
from ..domain.slicing import Slicing, claim_ended


def _nobody(*_: object) -> None:
    """Where no metrics are kept."""


@dataclass(slots=True)
class SlicingFigures:
    """Who wants to know gives the functions.

    ``observe_claim``: engine, how it ended (see ``claim_ended``), seconds by the database's clock. ``count_file``: a job of a
    model has its first print file; ``hit`` if that was there when the job came, else ``miss``.
    """

    observe_claim: Callable[[str, str, float], None] = field(default=_nobody)
    count_file: Callable[[str], None] = field(default=_nobody)

    def saved(self, before: Slicing, after: Slicing) -> None:
        """A slicing was changed. Of a claim that was made by a release that noted no time, nothing is told."""
        how = claim_ended(before, after)
        if how and before.claimed_at is not None:
            self.observe_claim(before.key.engine, how, (after.updated_at - before.claimed_at) / 1e6)

    def prepared(self, job: Job, task: Slicing) -> None:
        """The job is printed from that slicing's file, or would be."""
        was_there = task.ended_at is not None and task.ended_at <= job.created_at
        self.count_file("hit" if was_there else "miss")
