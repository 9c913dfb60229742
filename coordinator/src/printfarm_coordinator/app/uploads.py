"""Resumable uploads: bytes in order, durable as far as the offset says, an artifact once they are whole."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ..domain.errors import Invalid, RuleError
from .artifacts import (
    LARGEST_FILE_BYTES,
    Seen,
    check_inside,
    check_print_file,
    check_received,
    check_sha256,
    display_name,
    kept,
)
from .farm import Caller, Farm, transact
from .file_ports import Artifact
from .jobs import missing
from .ports import Received, Upload, Writing

UPLOAD_LIFETIME_US = 24 * 3_600_000_000
MOST_OPEN_UPLOADS = 100
MOST_OPEN_BYTES = 20 << 30


@dataclass(slots=True)
class Uploads:
    """Who touches which upload at this moment: one writer each, and one finisher that a second one waits for."""

    _writing: set[str] = field(default_factory=set)
    _ending: dict[str, asyncio.Lock] = field(default_factory=dict)
    _waiting: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def writer(self, upload_id: str) -> Iterator[None]:
        """Raises UPLOAD_BUSY if somebody else is at it."""
        self.refuse_if_written(upload_id)
        if upload_id in self._ending:
            raise RuleError("UPLOAD_BUSY", "the upload is being finished")
        self._writing.add(upload_id)
        try:
            yield
        finally:
            self._writing.discard(upload_id)

    def refuse_if_written(self, upload_id: str) -> None:
        """Raises UPLOAD_BUSY."""
        if upload_id in self._writing:
            raise RuleError("UPLOAD_BUSY", "somebody else is writing to this upload")

    @contextmanager
    def ender(self, upload_id: str) -> Iterator[asyncio.Lock]:
        """The lock to end it under. Raises UPLOAD_BUSY while somebody writes."""
        self.refuse_if_written(upload_id)
        self._waiting[upload_id] += 1
        try:
            yield self._ending.setdefault(upload_id, asyncio.Lock())
        finally:
            self._waiting[upload_id] -= 1
            if not self._waiting[upload_id]:
                del self._waiting[upload_id], self._ending[upload_id]


@dataclass(frozen=True, slots=True)
class UploadView:
    """An upload with how far it is, and its artifact once it is finished."""

    upload: Upload
    offset: int
    artifact: Artifact | None


async def create_upload(farm: Farm, caller: Caller, size_bytes: int, sha256: str, name: str) -> UploadView:
    """Begins a resumable upload. Raises TOO_LARGE, QUOTA_EXCEEDED, STORAGE_FULL."""
    if size_bytes < 1:
        raise Invalid("size_bytes", "must be 1 or more")
    if size_bytes > LARGEST_FILE_BYTES:
        raise RuleError("TOO_LARGE", f"a file may have at most {LARGEST_FILE_BYTES} bytes", field="size_bytes")
    check_sha256("sha256", sha256)
    free = await farm.blobs.free_bytes()
    upload_id = farm.ids.new()

    async def work(tx: Writing) -> Upload:
        _check_quota(await tx.open_uploads(), caller.name, size_bytes, free)
        ends = tx.now + UPLOAD_LIFETIME_US
        made = Upload(upload_id, size_bytes, sha256, display_name(name), tx.now, ends, client=caller.name)
        await tx.put_upload(made)
        return made

    return UploadView(await transact(farm, "upload", work, caller.request_id), 0, None)


def _check_quota(open_uploads: list[Upload], client: str, size_bytes: int, free: int) -> None:
    mine = [upload for upload in open_uploads if upload.client == client]
    if len(mine) >= MOST_OPEN_UPLOADS:
        raise RuleError("QUOTA_EXCEEDED", f"{MOST_OPEN_UPLOADS} of your uploads are open: finish or delete some")
    if sum(upload.size_bytes for upload in mine) + size_bytes > MOST_OPEN_BYTES:
        raise RuleError("QUOTA_EXCEEDED", f"your open uploads would exceed {MOST_OPEN_BYTES} bytes")
    if size_bytes > free:
        raise RuleError("STORAGE_FULL", "there is no room for a file of that size")


async def view_upload(farm: Farm, upload_id: str) -> UploadView:
    """Raises NOT_FOUND."""
    async with farm.store.read() as look:
        upload = await look.upload(upload_id)
        if upload is None or upload.expires_at <= look.now:
            raise missing("upload", upload_id)
        artifact = await look.artifact(upload.artifact_sha256) if upload.artifact_sha256 else None
    length = upload.size_bytes if artifact else await farm.blobs.part_length(upload_id)
    return UploadView(upload, length, artifact)


async def append_upload(
    farm: Farm, uploads: Uploads, upload_id: str, offset: int, chunks: AsyncIterator[bytes]
) -> UploadView:
    """Appends at the stored length; what came is durable when it returns, also when the sender broke off.

    Raises NOT_FOUND, UPLOAD_BUSY, OFFSET_MISMATCH, TOO_LARGE, StorageFull."""
    with uploads.writer(upload_id):
        view = await view_upload(farm, upload_id)
        if offset != view.offset or view.artifact is not None:
            raise RuleError("OFFSET_MISMATCH", f"the stored length is {view.offset}", offset=str(view.offset))
        await _append(farm, view.upload, offset, chunks)
    await _prolong(farm, upload_id)
    return await view_upload(farm, upload_id)


async def _append(farm: Farm, upload: Upload, at: int, chunks: AsyncIterator[bytes]) -> None:
    wrote = False
    try:
        async for chunk in chunks:
            if at + len(chunk) > upload.size_bytes:
                raise RuleError("TOO_LARGE", f"the upload was declared with {upload.size_bytes} bytes")
            if chunk:
                wrote = True
                await farm.blobs.append_part(upload.upload_id, at, chunk)
                at += len(chunk)
    finally:
        if wrote:
            await farm.blobs.sync_part(upload.upload_id)


async def _prolong(farm: Farm, upload_id: str) -> None:
    async def work(tx: Writing) -> None:
        upload = await tx.upload(upload_id)
        if upload is not None and upload.artifact_sha256 is None:
            await tx.put_upload(replace(upload, expires_at=tx.now + UPLOAD_LIFETIME_US))

    await transact(farm, "upload", work)


async def finish_upload(farm: Farm, uploads: Uploads, upload_id: str) -> UploadView:
    """Size and digest checked, the artifact made. May be repeated, also at the same time: the same answer.

    Raises NOT_FOUND, UPLOAD_BUSY, OFFSET_MISMATCH (bytes are missing), CHECKSUM_MISMATCH, UNSUPPORTED_MEDIA,
    UNSAFE_FILE."""
    with uploads.ender(upload_id) as lock:
        async with lock:
            view = await view_upload(farm, upload_id)
            if view.artifact is not None:
                return view
            received, seen, keep = await _whole(farm, view)
            await kept(farm, received, view.upload.display_name, seen, keep)
            await _mark(farm, view.upload)
            await farm.blobs.drop_part(upload_id)
            return await view_upload(farm, upload_id)


async def _whole(farm: Farm, view: UploadView) -> tuple[Received, Seen, Callable[[], Awaitable[None]]]:
    """The bytes, what was seen of them, and what keeps them under their digest."""
    upload = view.upload
    if view.offset == 0 and (stored := await farm.blobs.receive_kept(upload.sha256)):
        # The same bytes were stored before: they are there, whole, unless they are being deleted.
        kind = check_received(stored, upload.sha256)
        return stored, Seen(kind, await check_print_file(farm, stored, kind)), _nothing
    if view.offset != upload.size_bytes:
        why = f"{view.offset} of {upload.size_bytes} bytes are there"
        raise RuleError("OFFSET_MISMATCH", why, offset=str(view.offset))
    received = await farm.blobs.receive_part(upload.upload_id)
    try:
        kind = check_received(received, upload.sha256)
        plates = await check_inside(farm, upload.sha256, kind, partial(farm.blobs.examine_part, upload.upload_id))
        found = await check_print_file(farm, received, kind)
    except RuleError:
        # Its bytes can never become right: the client begins at 0 again.
        await farm.blobs.drop_part(upload.upload_id)
        raise
    return received, Seen(kind, found, plates), partial(farm.blobs.keep_part, upload.upload_id, upload.sha256)


async def _nothing() -> None:
    """To be kept: it is."""


async def _mark(farm: Farm, upload: Upload) -> None:
    async def work(tx: Writing) -> None:
        await tx.put_upload(replace(upload, artifact_sha256=upload.sha256))

    await transact(farm, "finish_upload", work)


async def delete_upload(farm: Farm, uploads: Uploads, upload_id: str) -> None:
    """Throws an unfinished upload away; the artifact of a finished one stays. May be repeated. Raises UPLOAD_BUSY."""

    async def work(tx: Writing) -> bool:
        if await tx.upload(upload_id) is None:
            return False
        await tx.delete_upload(upload_id)
        return True

    with uploads.ender(upload_id) as lock:
        async with lock:
            if await transact(farm, "delete_upload", work):
                await farm.blobs.drop_part(upload_id)
