"""The part of the database's port that costs need: rates, which only grow in number."""

from collections.abc import Sequence
from typing import Protocol

from ..domain.costing import CostTally
from ..domain.file_facts import StoredFacts
from ..domain.rate import Rate


class RateReading(Protocol):
    """Looks."""

    async def rates(self) -> list[Rate]:
        """All, the oldest of each time first."""
        ...

    async def rates_and_facts(self, at: int, sha256: str) -> tuple[list[Rate], StoredFacts | None]:
        """Those valid from that time or before, in no order; and, if there are any, what was read from the file."""
        ...

    async def costs_of_jobs(self, job_ids: Sequence[str], currency: str) -> dict[str, CostTally]:
        """What the ended runs of each job cost; a job without any is left out."""
        ...

    async def costs_since(self, since: int, currency: str) -> dict[str, CostTally]:
        """By final state: what the runs cost that ended since."""
        ...


class RateWriting(Protocol):
    """Changes."""

    async def add_rate(self, rate: Rate) -> None: ...
