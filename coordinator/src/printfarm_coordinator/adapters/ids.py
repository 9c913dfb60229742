"""New ids: UUIDv7, sorted by time."""

from uuid6 import uuid7


class TimeOrderedIds:
    """The ``Ids`` port."""

    def new(self) -> str:
        """36 characters."""
        return str(uuid7())
