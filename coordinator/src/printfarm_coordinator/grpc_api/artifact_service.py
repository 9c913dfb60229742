"""ArtifactService: bytes in and out, in chunks."""

import asyncio
from collections.abc import AsyncIterator

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm.control.v1 import artifact_service_pb2_grpc as rpc
from printfarm.model.v1 import artifact_pb2
from printfarm_files import Kind, Refused
from printfarm_files.thumbnails import PICTURE_SIZES, PICTURE_VERSION
from printfarm_rpc.errors import Code, FarmError, invalid
from printfarm_rpc.limits import CHUNK_BYTES, LARGEST_CHUNK_BYTES, UNARY_DEADLINE_SECONDS
from printfarm_rpc.serving import Context

from ..app import uploads as cases
from ..app.artifacts import store_artifact
from ..app.deleting import delete_file
from ..app.farm import Caller, Farm
from ..app.file_ports import Artifact, FileFilter
from ..app.jobs import missing
from ..app.ports import NotRead, Role
from ..domain.errors import RuleError
from . import convert, file_convert
from .authorize import caller_of
from .paging import as_many_as_fit, page_size, place, token
from .streams import first_of
from .validate import check_text

_SERVICE = "/printfarm.control.v1.ArtifactService/"
_LOST = "the stored file is missing, or shorter than it should be"
_USUAL_PICTURE = 256
# Less than a caller waits for an answer.
_PICTURE_SECONDS = UNARY_DEADLINE_SECONDS - 3.0


class ArtifactServicer(rpc.ArtifactServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._uploads = cases.Uploads()

    async def CreateUpload(self, request: pb.CreateUploadRequest, context: Context) -> pb.CreateUploadResponse:
        caller = caller_of(_SERVICE + "CreateUpload", context, request)
        view = await cases.create_upload(self._farm, caller, request.size_bytes, request.sha256, request.display_name)
        return pb.CreateUploadResponse(upload=await self._upload(view))

    async def GetUpload(self, request: pb.GetUploadRequest, context: Context) -> pb.GetUploadResponse:
        caller = caller_of(_SERVICE + "GetUpload", context, request)
        return pb.GetUploadResponse(upload=await self._upload(await self._own(caller, request.upload_id)))

    async def AppendUpload(
        self, request_iterator: AsyncIterator[pb.AppendUploadRequest], context: Context
    ) -> pb.AppendUploadResponse:
        caller = caller_of(_SERVICE + "AppendUpload", context)
        first = check_text(await first_of(request_iterator))
        await self._own(caller, first.upload_id)
        if first.offset < 0:
            raise invalid("offset", "must not be negative")
        chunks = _append_chunks(first, request_iterator)
        view = await cases.append_upload(self._farm, self._uploads, first.upload_id, first.offset, chunks)
        return pb.AppendUploadResponse(upload=await self._upload(view))

    async def FinishUpload(self, request: pb.FinishUploadRequest, context: Context) -> pb.FinishUploadResponse:
        caller = caller_of(_SERVICE + "FinishUpload", context, request)
        await self._own(caller, request.upload_id)
        view = await cases.finish_upload(self._farm, self._uploads, request.upload_id)
        return pb.FinishUploadResponse(upload=await self._upload(view))

    async def DeleteUpload(self, request: pb.DeleteUploadRequest, context: Context) -> pb.DeleteUploadResponse:
        caller = caller_of(_SERVICE + "DeleteUpload", context, request)
        try:
            await self._own(caller, request.upload_id)
        except RuleError:
            # Gone, or another's: to this caller it is the same, and there is nothing to throw away.
            return pb.DeleteUploadResponse()
        await cases.delete_upload(self._farm, self._uploads, request.upload_id)
        return pb.DeleteUploadResponse()

    async def StoreArtifact(
        self, request_iterator: AsyncIterator[pb.StoreArtifactRequest], context: Context
    ) -> pb.StoreArtifactResponse:
        caller_of(_SERVICE + "StoreArtifact", context)
        first = check_text(await first_of(request_iterator))
        chunks = _store_chunks(first, request_iterator)
        made = await store_artifact(self._farm, first.display_name, first.sha256, chunks)
        return pb.StoreArtifactResponse(artifact=convert.artifact(made))

    async def GetArtifact(self, request: pb.GetArtifactRequest, context: Context) -> pb.GetArtifactResponse:
        caller_of(_SERVICE + "GetArtifact", context, request)
        return pb.GetArtifactResponse(artifact=await self._file(await self._artifact(request.sha256)))

    async def ListArtifacts(self, request: pb.ListArtifactsRequest, context: Context) -> pb.ListArtifactsResponse:
        caller_of(_SERVICE + "ListArtifacts", context, request)
        size = page_size(request.page_size)
        after = place("artifacts", request.page_token)
        wanted = FileFilter(
            limit=size + 1,
            after=(int(after[0]), str(after[1])) if after else None,
            name_contains=request.name_contains,
            kind=_kind(request.kind),
            slicer=request.slicer_contains,
            printer_model=request.printer_model_contains,
            material=request.material,
        )
        async with self._farm.store.read() as look:
            found = await look.artifacts(wanted)
            stored = await look.file_facts([artifact.sha256 for artifact in found])
        files = [file_convert.file(artifact, stored.get(artifact.sha256)) for artifact in found[:size]]
        page = files[: as_many_as_fit(files)]
        last = found[len(page) - 1] if len(page) < len(found) else None
        following = token("artifacts", last.created_at, last.sha256) if last else ""
        return pb.ListArtifactsResponse(artifacts=page, next_page_token=following)

    async def GetThumbnail(self, request: pb.GetThumbnailRequest, context: Context) -> pb.GetThumbnailResponse:
        caller_of(_SERVICE + "GetThumbnail", context, request)
        size = request.size or _USUAL_PICTURE
        if size not in PICTURE_SIZES:
            raise invalid("size", f"must be one of {', '.join(map(str, PICTURE_SIZES))}")
        found = await self._artifact(request.sha256)
        try:
            async with asyncio.timeout(_PICTURE_SECONDS):
                png = await self._farm.blobs.picture(found.sha256, Kind(found.kind), size)
        except Refused as error:
            raise FarmError(Code.NO_PICTURE, error.reason) from None
        except (NotRead, TimeoutError):
            raise FarmError(Code.UNAVAILABLE, "the picture is not drawn yet: ask again", retry_after="2") from None
        except FileNotFoundError:
            raise FarmError(Code.UNAVAILABLE, _LOST) from None
        return pb.GetThumbnailResponse(png=png, version=str(PICTURE_VERSION))

    async def DeleteArtifact(self, request: pb.DeleteArtifactRequest, context: Context) -> pb.DeleteArtifactResponse:
        caller = caller_of(_SERVICE + "DeleteArtifact", context, request)
        await delete_file(self._farm, caller, request.sha256)
        return pb.DeleteArtifactResponse()

    async def ReadArtifact(
        self, request: pb.ReadArtifactRequest, context: Context
    ) -> AsyncIterator[pb.ReadArtifactResponse]:
        caller_of(_SERVICE + "ReadArtifact", context, request)
        found = await self._artifact(request.sha256)
        if not 0 <= request.offset <= found.size_bytes or request.limit_bytes < 0:
            raise invalid("offset", f"must be 0 to {found.size_bytes}, and limit_bytes not negative")
        end = found.size_bytes
        if request.limit_bytes:
            end = min(end, request.offset + request.limit_bytes)
        offset = request.offset
        if offset == end:
            return
        try:
            # Held open: who reads it to its end is not disturbed by who deletes it.
            async with self._farm.blobs.opened(found.sha256) as file:
                while offset < end:
                    if not (chunk := await file.read(offset, min(CHUNK_BYTES, end - offset))):
                        raise FarmError(Code.UNAVAILABLE, _LOST)
                    yield pb.ReadArtifactResponse(chunk=chunk)
                    offset += len(chunk)
        except FileNotFoundError:
            raise FarmError(Code.UNAVAILABLE, _LOST) from None

    async def _own(self, caller: Caller, upload_id: str) -> cases.UploadView:
        """Another client's upload is not told from none. Raises NOT_FOUND."""
        view = await cases.view_upload(self._farm, upload_id)
        if caller.role is not Role.ADMIN and view.upload.client != caller.name:
            raise missing("upload", upload_id)
        return view

    async def _artifact(self, sha256: str) -> Artifact:
        async with self._farm.store.read() as look:
            found = await look.artifact(sha256)
        if found is None:
            raise missing("artifact", sha256[:64])
        return found

    async def _upload(self, view: cases.UploadView) -> pb.Upload:
        upload = view.upload
        return pb.Upload(
            upload_id=upload.upload_id,
            size_bytes=upload.size_bytes,
            offset=view.offset,
            sha256=upload.sha256,
            display_name=upload.display_name,
            expire_time=convert.timestamp(upload.expires_at),
            artifact=await self._file(view.artifact) if view.artifact else None,
        )

    async def _file(self, found: Artifact) -> artifact_pb2.Artifact:
        async with self._farm.store.read() as look:
            stored = await look.file_facts([found.sha256])
        return file_convert.file(found, stored.get(found.sha256))


def _kind(asked: int) -> str:
    """As stored; empty for any. Raises FarmError INVALID_ARGUMENT for one that there is none of."""
    if not asked:
        return ""
    for kind, number in convert.ARTIFACT_KINDS.items():
        if number == asked:
            return kind
    raise invalid("kind", f"must be one of {', '.join(convert.ARTIFACT_KINDS)}")


async def _append_chunks(
    first: pb.AppendUploadRequest, rest: AsyncIterator[pb.AppendUploadRequest]
) -> AsyncIterator[bytes]:
    yield _checked(first.chunk)
    async for request in rest:
        yield _checked(request.chunk)


async def _store_chunks(
    first: pb.StoreArtifactRequest, rest: AsyncIterator[pb.StoreArtifactRequest]
) -> AsyncIterator[bytes]:
    yield _checked(first.chunk)
    async for request in rest:
        yield _checked(request.chunk)


def _checked(chunk: bytes) -> bytes:
    if len(chunk) > LARGEST_CHUNK_BYTES:
        raise invalid("chunk", f"must be at most {LARGEST_CHUNK_BYTES} bytes")
    return chunk
