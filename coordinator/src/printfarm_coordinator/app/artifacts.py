"""Whole files on their way in. Nothing is visible before it is whole, hashed and synced (I17)."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from printfarm_files import Kind, Refused
from printfarm_files.gcode import estimated_seconds
from printfarm_files.kinds import kind_of
from printfarm_files.safety import Inspection

from ..domain.errors import Invalid, RuleError
from .farm import Farm, transact
from .file_ports import Artifact
from .ports import Received, Writing
from .safety import inspect_received, refuse_unsafe

LARGEST_FILE_BYTES = 2 << 30
_LONGEST_NAME = 255
_MOST_KEPT = 3
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a file while it came in. ``found``: what is in it, if it was looked at; ``plates`` of a sliced 3MF."""

    kind: Kind
    found: Inspection | None = None
    plates: tuple[int, ...] | None = None


def display_name(text: str) -> str:
    """Fit to be shown: no control, format, direction or line characters, at most 255. Never used as a path."""
    shown = "".join(c for c in text if unicodedata.category(c) not in _UNSHOWN).strip()
    return shown[:_LONGEST_NAME] or "unnamed"


def check_sha256(field: str, text: str) -> None:
    """Raises Invalid unless it is 64 lower-case hexadecimal digits."""
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise Invalid(field, "must be 64 lower-case hexadecimal digits")


async def store_artifact(
    farm: Farm,
    name: str,
    expected_sha256: str,
    chunks: AsyncIterator[bytes],
    largest: int = LARGEST_FILE_BYTES,
    *,
    inspects: bool = True,
) -> Artifact:
    """A whole file in one go. The same bytes again are the same artifact.

    ``inspects``: a small file that no printer may print is refused.

    Raises TOO_LARGE, CHECKSUM_MISMATCH, UNSUPPORTED_MEDIA, UNSAFE_FILE, StorageFull; then nothing is kept."""
    if expected_sha256:
        check_sha256("sha256", expected_sha256)
    size = 0
    async with farm.blobs.incoming() as incoming:
        async for chunk in chunks:
            size += len(chunk)
            if size > largest:
                raise RuleError("TOO_LARGE", f"a file may have at most {largest} bytes")
            await incoming.write(chunk)
        received = await incoming.received()
        kind = check_received(received, expected_sha256)
        plates = await check_inside(farm, received.sha256, kind, incoming.examine)
        found = await check_print_file(farm, received, kind) if inspects else None
        return await kept(farm, received, name, Seen(kind, found, plates), incoming.keep)


def check_received(received: Received, expected_sha256: str) -> Kind:
    """What the file claims to be. Raises CHECKSUM_MISMATCH, UNSUPPORTED_MEDIA."""
    if expected_sha256 and received.sha256 != expected_sha256:
        raise RuleError("CHECKSUM_MISMATCH", f"the bytes have SHA-256 {received.sha256}", field="sha256")
    try:
        kind = kind_of(received.head, received.tail, received.size_bytes, has_nul=received.has_nul)
    except Refused as error:
        raise RuleError("UNSUPPORTED_MEDIA", error.reason, field="file") from None
    return kind


async def check_inside(
    farm: Farm, sha256: str, kind: Kind, examine: Callable[[Kind], Awaitable[tuple[int, ...] | None]]
) -> tuple[int, ...] | None:
    """Reads a model whole, and goes through the packing of packed G-code, unless the bytes are known.

    Returns the plates of a sliced 3MF, as far as they could be told. Raises UNSUPPORTED_MEDIA with what is wrong with it.
    The worker that slices a model reads it again: no slicer is given what was not read whole where the slicer runs. Packed
    G-code is unpacked, within bounds, when a job needs it."""
    if not (kind.is_model or kind.is_packed):
        return None
    async with farm.store.read() as look:
        if (known := await look.artifact(sha256)) is not None:
            return known.plates
    try:
        return await examine(kind)
    except Refused as error:
        raise RuleError("UNSUPPORTED_MEDIA", error.reason, field="file") from None


async def check_print_file(farm: Farm, received: Received, kind: Kind) -> Inspection | None:
    """What is in a small print file; None of one that is looked at later. Raises UNSAFE_FILE."""
    found = await inspect_received(received, kind) if farm.safety else None
    refuse_unsafe(farm, found)
    return found


async def kept(
    farm: Farm,
    received: Received,
    name: str,
    seen: Seen,
    keep: Callable[[], Awaitable[None]],
) -> Artifact:
    """The artifact, its bytes made visible by ``keep``; once more where those before them were being thrown away."""
    for _ in range(_MOST_KEPT):
        try:
            await keep()
        except FileNotFoundError:
            # A file system without links: what was moved there was thrown away there.
            break
        if artifact := await record(farm, received, name, seen):
            return artifact
    raise RuleError("UNAVAILABLE", "the file is being deleted: send it again")


async def record(farm: Farm, received: Received, name: str, seen: Seen) -> Artifact | None:
    """The artifact of bytes that are kept; the one that is there, if they were known before. None if they are gone again,
    because a file of the same bytes was deleted a moment before."""
    # Many milliseconds for some files: neither the event loop nor the database waits for it.
    is_text = seen.kind is Kind.GCODE
    seconds = await asyncio.to_thread(estimated_seconds, received.head, received.tail) if is_text else None

    async def work(tx: Writing) -> Artifact | None:
        return await put_file(
            farm,
            tx,
            Artifact(
                received.sha256,
                received.size_bytes,
                seen.kind.value,
                display_name(name),
                tx.now,
                seconds,
                inspection=seen.found,
                plates=seen.plates,
            ),
        )

    artifact = await transact(farm, "artifact", work)
    farm.hints.files.set()
    return artifact


async def put_file(farm: Farm, tx: Writing, made: Artifact) -> Artifact | None:
    """The artifact as it is there now; None if its bytes are gone again."""
    await tx.put_artifact(made)
    if known := await tx.artifact(made.sha256):
        if made.inspection is None or known.inspection == made.inspection:
            return known
        # It was there before these rules.
        await tx.save_inspection(made.sha256, made.inspection)
        return replace(known, inspection=made.inspection)
    # It was deleted. Under its lock nobody takes its bytes away any more: they are there, or they are not.
    known = await tx.lock_artifact(made.sha256)
    if known is None or known.deleted_at is None:
        return known
    if await farm.blobs.size(made.sha256) is None:
        return None
    await tx.revive_artifact(made)
    return made
