"""The part of the database's port that the safety check of print files needs."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from printfarm_files import Kind
from printfarm_files.safety import Inspection

from ..domain.job import Job
from ..domain.safety_policy import Override


class SafetyReading(Protocol):
    """Looks."""

    async def jobs_to_judge(
        self, rules: str, limit: int, *, new_only: bool = False, but: Collection[str] = ()
    ) -> list[Job]:
        """Jobs of print files that are not final and whose file was not judged by these rules; the most urgent first.

        ``but``: not those of these files.
        ``new_only``: only those whose file nobody has looked at yet, which is cheaper to ask."""
        ...

    async def overrides_of(self, job_id: str) -> list[Override]:
        """Oldest first, with those that were taken back."""
        ...


class SafetyWriting(Protocol):
    """Changes."""

    async def save_inspection(self, sha256: str, found: Inspection) -> None:
        """What was found in the file, in place of what was found before."""
        ...

    async def put_override(self, override: Override) -> None:
        """Inserts, or replaces, while its job is locked."""
        ...


class Text(Protocol):
    """Plain G-code that was unpacked: invisible until kept."""

    @property
    def sha256(self) -> str: ...

    @property
    def size_bytes(self) -> int: ...

    @property
    def inspection(self) -> Inspection:
        """What the safety check finds in it, with the slicer's word on what it was sliced for."""
        ...

    @property
    def estimated_seconds(self) -> float | None:
        """The slicer's word on one run."""
        ...

    async def keep(self) -> None:
        """As ``Incoming.keep``."""
        ...


class Inspecting(Protocol):
    """What looks at stored files."""

    async def inspect(self, sha256: str, kind: Kind) -> Inspection:
        """What the safety check finds in a whole artifact, in a process of its own with limits; a file for which they do not
        suffice is refused. It is looked at to its end even if who asked goes: who asks again finds what was found. Raises
        NotRead, FileNotFoundError."""
        ...

    async def inspect_result(self, sha256: str) -> Inspection:
        """As ``inspect``, of G-code that a slicer made: no file that a job waits for stands before it."""
        ...

    def unpacked(self, sha256: str, kind: Kind, plate: int) -> AbstractAsyncContextManager[Text]:
        """The G-code of a whole packed artifact as plain text, unpacked and looked at as by ``inspect``; ``plate`` 0 is its
        only one. Gone at the end unless kept. Raises printfarm_files.Refused where it cannot be unpacked; NotRead, StorageFull,
        FileNotFoundError."""
        ...
