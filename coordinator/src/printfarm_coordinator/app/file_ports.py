"""The part of the database's port that stored files need: what is kept of them, and what was read from them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from printfarm_files.safety import Inspection

from ..domain.file_facts import StoredFacts


@dataclass(frozen=True, slots=True)
class Artifact:
    """An immutable file, named by its SHA-256. ``deleted_at``: its bytes are no longer kept, the row is a record.

    ``inspection``: what the safety check found in a file of plain G-code; None before that, and of other files. ``plates``: of
    a sliced 3MF, those that hold G-code; None where nobody could say when it came in, and of other files."""

    sha256: str
    size_bytes: int
    kind: str
    display_name: str
    created_at: int
    estimated_seconds: float | None = None
    deleted_at: int | None = None
    inspection: Inspection | None = None
    plates: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """The G-code of a packed file as plain text, an artifact of its own. ``plate`` is 0 where there are none.

    ``estimated_seconds``: what the packed file says of one run; the text alone may not."""

    packed_sha256: str
    plate: int
    gcode_sha256: str
    estimated_seconds: float | None


@dataclass(frozen=True, slots=True)
class FileFilter:
    """``after`` is the (created_at, sha256) of the last file of the page before. Newest first. What is empty asks nothing.

    ``slicer`` and ``printer_model`` are parts of the words, ``material`` a whole word; letters of any case.
    """

    limit: int
    after: tuple[int, str] | None = None
    name_contains: str = ""
    kind: str = ""
    slicer: str = ""
    printer_model: str = ""
    material: str = ""


@dataclass(frozen=True, slots=True)
class FileNeed:
    """What keeps a file from being deleted: ``what`` is job, run or slicing."""

    what: str
    key: str


class FileReading(Protocol):
    """Looks."""

    async def artifact(self, sha256: str) -> Artifact | None:
        """None also if it was deleted."""
        ...

    async def unpacked(self, packed_sha256: str, plate: int) -> UnpackedFile | None:
        """None if nobody has unpacked it yet, or the text was deleted since."""
        ...

    async def artifacts_named(self, sha256s: Sequence[str]) -> list[Artifact]:
        """Deleted ones, too: jobs keep what they tell of their files."""
        ...

    async def artifacts(self, wanted: FileFilter) -> list[Artifact]:
        """None that was deleted."""
        ...

    async def file_facts(self, sha256s: Sequence[str]) -> dict[str, StoredFacts]:
        """Of those files that were read, by SHA-256."""
        ...

    async def unread_files(self, reader_version: int, limit: int, but: Collection[str] = ()) -> list[Artifact]:
        """Files that no reader of that version, or a newer one, has read yet; the newest first, none that was deleted."""
        ...

    async def needs_of_file(self, sha256: str) -> list[FileNeed]:
        """Open jobs of it, active runs and slicings of it, and open jobs of a model that was sliced to it: the first of each,
        by kind and id."""
        ...

    async def files_to_erase(self, limit: int) -> list[str]:
        """Deleted, and not known to be gone from the disk."""
        ...


class FileWriting(Protocol):
    """Changes."""

    async def hold_artifact(self, sha256: str) -> Artifact | None:
        """As ``artifact``; and nobody deletes it until this transaction ends."""
        ...

    async def lock_artifact(self, sha256: str) -> Artifact | None:
        """A deleted one, too."""
        ...

    async def delete_artifact(self, sha256: str) -> None:
        """The locked file, from now on deleted."""
        ...

    async def revive_artifact(self, artifact: Artifact) -> None:
        """The locked file, deleted before, is there again, as a new one."""
        ...

    async def note_erased(self, sha256: str) -> None:
        """The bytes of the locked, deleted file are gone."""
        ...

    async def put_artifact(self, artifact: Artifact) -> None:
        """Does nothing if it is there: artifacts are immutable."""
        ...

    async def put_unpacked(self, found: UnpackedFile) -> None:
        """Inserts, or replaces: the same file unpacks to the same text."""
        ...

    async def put_file_facts(self, found: StoredFacts) -> None:
        """Replaces what was read before, but for what a newer reader found. Nothing for a file that is not there."""
        ...
