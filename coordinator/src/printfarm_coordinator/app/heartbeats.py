"""Prolongs the leases of many agents in one transaction, then tells their sessions."""

import asyncio
from collections.abc import Callable

import structlog

from .farm import Farm
from .ports import DatabaseUnavailable
from .sessions import extend

_LOG = structlog.get_logger(__name__)
PERIOD_SECONDS = 0.5


class Heartbeats:
    """Gathers heartbeats between two commits. An answer is given only once the lease is prolonged."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[int, Callable[[], None]]] = {}

    def note(self, agent_id: str, connection_epoch: int, prolonged: Callable[[], None]) -> None:
        """A heartbeat came; the newest of an agent is answered."""
        self._waiting[agent_id] = (connection_epoch, prolonged)

    async def flush(self, farm: Farm, lease_us: int) -> int:
        """One transaction for all; returns how many. What came meanwhile waits for the next."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return 0
        try:
            await extend(farm, {agent_id: epoch for agent_id, (epoch, _) in waiting.items()}, lease_us)
        except DatabaseUnavailable:
            self._waiting = waiting | self._waiting
            raise
        for _, prolonged in waiting.values():
            prolonged()
        return len(waiting)

    async def flush_for_ever(self, farm: Farm, lease_us: int) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD_SECONDS)
            try:
                await self.flush(farm, lease_us)
            except DatabaseUnavailable as error:
                _LOG.warning("leases not prolonged: the database does not answer", why=str(error))
