"""The part of the database's port that slicing needs: profiles, slicings, workers, rates."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.profile import Profile
from ..domain.slicing import Slicing, SlicingKey

# Name and version.
Engine = tuple[str, str]
# Whoever asked for an estimate comes back within that.
UNASKED_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class SlicerWorker:
    """A worker as it was last heard of. ``engines``: engine -> version. Microseconds by the database's clock."""

    name: str
    engines: dict[str, str]
    seen_at: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Slicings that are not over. ``waiting``: for a worker, those whose worker fell silent included."""

    waiting: int
    running: int


class SlicingReading(Protocol):
    """Looks."""

    async def profiles(self) -> list[Profile]:
        """Every version of every profile, by name and version."""
        ...

    async def slicing(self, slicing_id: str) -> Slicing | None: ...
    async def slicings_of(self, model_sha256s: Sequence[str]) -> list[Slicing]:
        """Of these models, oldest first."""
        ...

    async def slicings_to(self, result_sha256: str) -> list[Slicing]:
        """Whose result it is."""
        ...

    async def claimable_slicings(self, engines: dict[str, str], limit: int) -> list[Slicing]:
        """Queued, or under a lapsed claim, for these engines in these versions: the most urgent first."""
        ...

    async def running_slicings(self) -> list[Slicing]: ...
    async def unwanted_slicings(self, engines: Collection[Engine], closed: Collection[str], limit: int) -> list[str]:
        """Ids of those that nobody works at and nobody waits for. No open job is of their model, which is one of ``closed`` or
        whose slicing has not changed for ``UNASKED_US``; or a worker has their engine, and none has it in that version."""
        ...

    async def slicing_backlog(self) -> Backlog: ...
    async def slicer_workers(self, since: int) -> list[SlicerWorker]:
        """Heard of since."""
        ...


class SlicingWriting(Protocol):
    """Changes."""

    async def add_profile(self, profile: Profile) -> None:
        """A new version. Raises AlreadyExists if another wrote that version first."""
        ...

    async def retire_profile(self, name: str, at: int | None) -> None:
        """All versions of it, or none any more."""
        ...

    async def lock_slicing(self, slicing_id: str) -> Slicing | None: ...
    async def lock_slicing_of(self, key: SlicingKey) -> Slicing | None: ...
    async def add_slicing(self, task: Slicing) -> None:
        """Raises AlreadyExists if one of that key is there."""
        ...

    async def save_slicing(self, before: Slicing, after: Slicing) -> None:
        """Raises StaleWrite if it was changed since."""
        ...

    async def put_slicer_worker(self, worker: SlicerWorker) -> None: ...
