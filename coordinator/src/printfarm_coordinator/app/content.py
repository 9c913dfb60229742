"""What is printed of a file: itself where it is plain G-code, else the G-code that it packs, unpacked once for all jobs."""

from dataclasses import dataclass

from printfarm_files import Kind
from printfarm_files.safety import Inspection

from .artifacts import display_name, put_file
from .farm import Farm, transact
from .file_ports import Artifact, UnpackedFile
from .ports import NotRead, Reading, Writing
from .safety import inspected, is_current


@dataclass(frozen=True, slots=True)
class Content:
    """What is printed of a file, and checked: the file itself, or the G-code that it packs. ``estimated_seconds``: the slicer's
    word on one run of it."""

    text: Artifact
    found: Inspection
    estimated_seconds: float | None


async def content_of(farm: Farm, file: Artifact, plate: int) -> Content:
    """Looked at, and unpacked, now unless that was done by the rules of this release.

    Raises NotRead, StorageFull, FileNotFoundError; printfarm_files.Refused where a file cannot be unpacked."""
    if not Kind(file.kind).is_packed:
        return Content(file, await inspected(farm, file), file.estimated_seconds)
    async with farm.store.read() as look:
        known = await known_content(look, file, plate)
    return known or await _unpacked(farm, file, plate)


async def known_content(look: Reading, file: Artifact, plate: int) -> Content | None:
    """As ``content_of``, if it was done before; None if not."""
    if not Kind(file.kind).is_packed:
        found = file.inspection
        return Content(file, found, file.estimated_seconds) if found is not None and is_current(found) else None
    known = await look.unpacked(file.sha256, plate)
    text = await look.artifact(known.gcode_sha256) if known else None
    if known is None or text is None or text.inspection is None or not is_current(text.inspection):
        return None
    return Content(text, text.inspection, known.estimated_seconds)


async def _unpacked(farm: Farm, file: Artifact, plate: int) -> Content:
    """The G-code of a packed file becomes an artifact of its own: what is checked is what is printed, and has a digest."""
    async with farm.blobs.unpacked(file.sha256, Kind(file.kind), plate) as text:
        await text.keep()

        async def work(tx: Writing) -> Artifact | None:
            name = display_name(f"{file.display_name} (plate {plate})" if plate else file.display_name)
            made = Artifact(
                text.sha256,
                text.size_bytes,
                Kind.GCODE.value,
                name,
                tx.now,
                text.estimated_seconds,
                inspection=text.inspection,
            )
            kept = await put_file(farm, tx, made)
            if kept is not None:
                await tx.put_unpacked(UnpackedFile(file.sha256, plate, text.sha256, text.estimated_seconds))
            return kept

        kept = await transact(farm, "unpacked", work)
    if kept is None:
        raise NotRead("the text that it unpacks to is being deleted")
    farm.hints.files.set()
    return Content(kept, text.inspection, text.estimated_seconds)
