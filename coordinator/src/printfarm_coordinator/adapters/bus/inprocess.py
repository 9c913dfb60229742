"""The bus of one process. Watchers read the database and are woken by hints; there is nobody else to tell."""

from collections.abc import Sequence

from ...app.ports import StoredEvent


class InProcessBus:
    """The ``Bus`` port, complete: with one process there are no listeners outside."""

    async def publish(self, events: Sequence[StoredEvent]) -> None:
        """Taken."""

    async def ping(self) -> None:
        """Always there."""
