"""The part of the database's port that stored files need: what is kept of them, and what was read from them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..domain.file_facts import StoredFacts


@dataclass(frozen=True, slots=True)
class Artifact:
    """An immutable file, named by its SHA-256. ``deleted_at``: its bytes are no longer kept, the row is a record."""

    sha256: str
    size_bytes: int
    kind: str
    display_name: str
    created_at: int
    estimated_seconds: float | None = None
    deleted_at: int | None = None


class FileReading(Protocol):
    """Looks."""

    async def artifact(self, sha256: str) -> Artifact | None:
        """None also if it was deleted."""
        ...

    async def artifacts_named(self, sha256s: Sequence[str]) -> list[Artifact]:
        """Deleted ones, too: jobs keep what they tell of their files."""
        ...

    async def artifacts(
        self, limit: int, after: tuple[int, str] | None, *, name_contains: str = "", kind: str = ""
    ) -> list[Artifact]:
        """Newest first, after a creation time and digest; none that was deleted. Empty filters ask nothing."""
        ...

    async def file_facts(self, sha256s: Sequence[str]) -> dict[str, StoredFacts]:
        """Of those files that were read, by SHA-256."""
        ...

    async def unread_files(self, reader_version: int, limit: int, but: Collection[str] = ()) -> list[Artifact]:
        """Files that no reader of that version, or a newer one, has read yet; the newest first, none that was deleted."""
        ...


class FileWriting(Protocol):
    """Changes."""

    async def put_artifact(self, artifact: Artifact) -> None:
        """Does nothing if it is there: artifacts are immutable."""
        ...

    async def put_file_facts(self, found: StoredFacts) -> None:
        """Replaces what was read before, but for what a newer reader found. Nothing for a file that is not there."""
        ...
