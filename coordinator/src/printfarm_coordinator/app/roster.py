"""How many printers could take a job, as of a moment ago: for estimates shown to people. Decisions read the rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..domain.job import Requirements
from ..domain.printer import Printer, mismatches
from .ports import Reading

FRESH_SECONDS = 2.0


@dataclass(slots=True)
class Roster:
    """The printers whose agents are in reach, read again when they are no longer fresh. ``clock`` in seconds."""

    fresh_seconds: float = FRESH_SECONDS
    clock: Callable[[], float] = time.monotonic
    _read_at: float = float("-inf")
    _printers: tuple[Printer, ...] = ()
    _able: dict[Requirements, int] = field(default_factory=dict)

    async def able(self, look: Reading, wanted: Requirements) -> int:
        """How many meet the requirements; worked out once for jobs that require the same."""
        known = self.known(wanted)
        if known is not None:
            return known
        found = await look.candidates()
        self._read_at, self._able = self.clock(), {}
        self._printers = tuple(candidate.printer for candidate in found if candidate.agent_reachable)
        return self._count(wanted)

    def known(self, wanted: Requirements) -> int | None:
        """As ``able``, without a look; None if it is no longer fresh."""
        return self._count(wanted) if self.clock() - self._read_at < self.fresh_seconds else None

    def _count(self, wanted: Requirements) -> int:
        count = self._able.get(wanted)
        if count is None:
            count = self._able[wanted] = sum(not mismatches(printer, wanted) for printer in self._printers)
        return count
