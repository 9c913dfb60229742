"""Files that nobody needs any more: deleted in the database, then on the disk. The row stays, for the jobs that tell of it."""

from collections.abc import Sequence

from ..domain.errors import RuleError
from ..domain.events import AuditEntry, DomainEvent
from ..domain.slicing import not_needed, without_result
from .farm import Caller, Farm, transact
from .file_ports import FileNeed
from .jobs import missing
from .ports import Writing

_MOST_NAMED = 5
_AT_ONCE = 100


async def delete_file(farm: Farm, caller: Caller, sha256: str) -> None:
    """From now on no job can be made of it, and its bytes go. May be repeated. Raises NOT_FOUND, FILE_NEEDED."""

    async def work(tx: Writing) -> bool:
        file = await tx.lock_artifact(sha256)
        if file is None:
            raise missing("file", sha256[:64])
        if file.deleted_at is not None:
            return False
        if needs := await _needs(tx, sha256):
            raise _needed(needs)
        for found in await tx.slicings_to(sha256):
            # Locked as whoever works at it does; its result is no longer there to be printed.
            if (task := await tx.lock_slicing(found.slicing_id)) and task.result_sha256 == sha256:
                await tx.save_slicing(task, without_result(task, tx.now))
        await tx.delete_artifact(sha256)
        await tx.append_events([DomainEvent("file.deleted", sha256, caller.name, {"name": file.display_name})])
        await tx.append_audit([AuditEntry("file.deleted", "file", sha256, caller.name, file.display_name, 0)])
        return True

    if await transact(farm, "delete_file", work, caller.request_id):
        farm.hints.relay.set()
        farm.hints.prepare.set()
        await erase(farm, sha256)


async def _needs(tx: Writing, sha256: str) -> Sequence[FileNeed]:
    """Who needs it. Slicings that nobody works at need nothing where no job needs the model: they are over."""
    while needs := await tx.needs_of_file(sha256):
        held = [need for need in needs if need.what != "slicing"]
        held = held or [need for need in needs if not await _given_up(tx, need.key)]
        if held:
            return needs if held[0].what != "slicing" else held
    return ()


async def _given_up(tx: Writing, slicing_id: str) -> bool:
    task = await tx.lock_slicing(slicing_id)
    if task is None:
        return True
    after = not_needed(task, tx.now)
    await tx.save_slicing(task, after)
    return not after.is_pending


def _needed(needs: Sequence[FileNeed]) -> RuleError:
    named = ", ".join(f"{need.what} {need.key}" for need in needs[:_MOST_NAMED])
    more = f" and {len(needs) - _MOST_NAMED} more" if len(needs) > _MOST_NAMED else ""
    return RuleError("FILE_NEEDED", f"{named}{more} need it: cancel them, or wait for their end")


async def erase(farm: Farm, sha256: str) -> None:
    """The bytes of a deleted file, off the disk. Does nothing if somebody stored it again. May be repeated."""

    async def aside(tx: Writing) -> bool:
        file = await tx.lock_artifact(sha256)
        if file is None or file.deleted_at is None:
            return False
        # Under its lock: whoever stores the same bytes at this moment sees whether they are still there.
        await farm.blobs.set_aside(sha256)
        return True

    async def noted(tx: Writing) -> None:
        file = await tx.lock_artifact(sha256)
        if file is not None and file.deleted_at is not None and await farm.blobs.size(sha256) is None:
            await tx.note_erased(sha256)

    if await transact(farm, "erase_file", aside):
        await farm.blobs.drop_aside(sha256)
        await transact(farm, "file_erased", noted)


async def erase_once(farm: Farm) -> int:
    """Finishes what a crash came between; returns how many were looked at."""
    async with farm.store.read() as look:
        left = await look.files_to_erase(_AT_ONCE)
    for sha256 in left:
        await erase(farm, sha256)
    return len(left)
