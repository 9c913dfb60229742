"""Stored files, and resumable uploads."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm.model.v1 import artifact_pb2
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.limits import CHUNK_BYTES

from .. import file_views, schemas
from ..bodies import in_pieces
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, header_of, page, problems
from ..problems import Problem, wrong_field
from ..routes import FarmRoute

router = APIRouter(prefix="/api/v1", tags=["files"], route_class=FarmRoute)
_OFFSETS = {
    name: {"description": what, "required": True, "schema": {"type": "integer", "minimum": 0}}
    for name, what in {"Upload-Offset": "the stored length", "Upload-Length": "the whole length"}.items()
}
Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256, 64 hexadecimal digits")]
UploadId = Annotated[str, Path(pattern=r"^[0-9a-f-]{36}$")]
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_OFFSET: dict[str, Any] = {
    "parameters": [
        {
            "name": "Upload-Offset",
            "in": "header",
            "required": True,
            "schema": {"type": "integer", "minimum": 0},
            "description": "where these bytes begin: the stored length",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}


@router.get("/files", response_model=schemas.Page[schemas.Artifact], responses=problems(), summary="List files")
async def list_files(
    control: Control,
    who: Who,
    limit: Limit = 50,
    cursor: Cursor = "",
    name: Annotated[str, Query(max_length=200, description="part of the name")] = "",
    kind: Annotated[schemas.FileKind | None, Query(description="by content")] = None,
    slicer: Annotated[str, Query(max_length=200, description="part of the slicer's name")] = "",
    printer_model: Annotated[str, Query(max_length=200, description="part of the printer model it is sliced for")] = "",
    material: Annotated[
        str, Query(max_length=100, description="filament that a tool prints it with, such as PLA")
    ] = "",
) -> Response:
    """Newest first, with what they tell of themselves. A page may hold fewer than `limit`, and go on."""
    number = artifact_pb2.ArtifactKind.Value(
        f"ARTIFACT_KIND_{kind.upper().replace('.', '_')}" if kind else "ARTIFACT_KIND_UNSPECIFIED"
    )
    request = pb.ListArtifactsRequest(
        page_size=limit,
        page_token=cursor,
        name_contains=name,
        kind=number,
        slicer_contains=slicer,
        printer_model_contains=printer_model,
        material=material,
    )
    try:
        found = await control.call(control.artifacts.ListArtifacts, request, who)
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([file_views.artifact(artifact) for artifact in found.artifacts], found.next_page_token)


@router.get("/files/{sha256}", response_model=schemas.Artifact, responses=problems(404), summary="Show a file's facts")
async def show_file(sha256: Digest, control: Control, who: Who) -> Response:
    """Its size, kind and name, and what it says of itself, once it was read: soon after it came."""
    found = await control.call(control.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=sha256), who)
    return answer(file_views.artifact(found.artifact))


@router.delete("/files/{sha256}", status_code=204, responses=problems(404, 409), summary="Delete a file")
async def delete_file(sha256: Digest, control: Control, who: Who) -> Response:
    """If nothing needs it: no open job, no run, no slicing. Jobs that are over keep its name. May be repeated."""
    await control.call(control.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256=sha256), who)
    return Response(None, 204)


@router.get(
    "/files/{sha256}/thumbnail",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "As it was, by its `ETag`."},
        **problems(404),
    },
    openapi_extra={"parameters": [header_of("If-None-Match", "the `ETag` of what is there already")]},
    summary="A picture of a file",
)
async def show_thumbnail(
    request: Request,
    sha256: Digest,
    control: Control,
    who: Who,
    size: Annotated[schemas.PictureSize, Query(description="pixels, wide and high")] = schemas.PictureSize.LARGE,
) -> Response:
    """A PNG: the file's own picture made anew, else the model or the path of the nozzle. Drawn at the first look, which waits
    for it; 503 with `Retry-After` if that takes long, 404 `NO_PICTURE` if nothing can be drawn."""
    asked = pb.GetThumbnailRequest(sha256=sha256, size=int(size))
    found = await control.call(control.artifacts.GetThumbnail, asked, who)
    tag = f'"{sha256}-{int(size)}-{found.version}"'
    headers = {"ETag": tag, "Cache-Control": "private, max-age=86400"}
    if tag in {each.strip() for each in request.headers.get("if-none-match", "")[:1_000].split(",")}:
        return Response(None, 304, headers)
    return Response(found.png, 200, headers, "image/png")


@router.get(
    "/files/{sha256}/content",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        206: {
            "description": "A part.",
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        },
        **problems(404, 416),
    },
    openapi_extra={
        "parameters": [header_of("Range", "one range of bytes, as `bytes=0-1023`, `bytes=1024-` or `bytes=-10`")]
    },
    summary="Download a file",
)
async def read_file(request: Request, sha256: Digest, control: Control, who: Who) -> Response:
    """One range may be asked for."""
    found = (await control.call(control.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=sha256), who)).artifact
    first, last = _range(request.headers.get("range"), found.size_bytes)
    asked = pb.ReadArtifactRequest(sha256=sha256, offset=first, limit_bytes=last - first + 1)

    async def content() -> AsyncIterator[bytes]:
        if last >= first:
            async for chunk in control.stream(control.artifacts.ReadArtifact, asked, who):
                yield chunk.chunk

    partial = "range" in request.headers
    headers = {
        "Content-Length": str(last - first + 1),
        "Content-Disposition": _disposition(found.display_name),
        "ETag": f'"{sha256}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    if partial:
        headers["Content-Range"] = f"bytes {first}-{last}/{found.size_bytes}"
    return StreamingResponse(content(), 206 if partial else 200, headers, "application/octet-stream")


def _disposition(name: str) -> str:
    """To be saved, never shown; the name once for those who read only ASCII, once as it is."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".-") or "file"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _range(header: str | None, size: int) -> tuple[int, int]:
    """First and last byte. Raises Problem 416 for what is no single range of this file."""
    if header is None:
        return 0, size - 1
    found = _RANGE.fullmatch(header[:64])
    refused = Problem(
        Code.MALFORMED, "ask for one range within the file", status=416, headers={"Content-Range": f"bytes */{size}"}
    )
    if found is None or not (found[1] or found[2]):
        raise refused
    first = int(found[1]) if found[1] else max(0, size - int(found[2]))
    last = min(int(found[2]), size - 1) if found[1] and found[2] else size - 1
    if not 0 <= first <= last:
        raise refused
    return first, last


@router.post(
    "/uploads",
    status_code=201,
    response_model=schemas.Upload,
    responses=problems(413, 507),
    summary="Begin a resumable upload",
)
async def create_upload(order: schemas.UploadOrder, control: Control, who: Who) -> Response:
    """Then PATCH the bytes in pieces, and finish it. An upload that nobody touches for 24 h is forgotten."""
    request = pb.CreateUploadRequest(size_bytes=order.size_bytes, sha256=order.sha256, display_name=order.name[:1_000])
    made = (await control.call(control.artifacts.CreateUpload, request, who)).upload
    return answer(file_views.upload(made), 201, {"Location": f"/api/v1/uploads/{made.upload_id}", "Upload-Offset": "0"})


@router.get("/uploads/{upload_id}", response_model=schemas.Upload, responses=problems(404), summary="Show an upload")
async def show_upload(upload_id: UploadId, control: Control, who: Who) -> Response:
    """How far it is."""
    found = (await control.call(control.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id), who)).upload
    return answer(file_views.upload(found), headers={"Upload-Offset": str(found.offset), "Cache-Control": "no-store"})


@router.head(
    "/uploads/{upload_id}",
    response_class=Response,
    responses={200: {"headers": _OFFSETS}, **problems(404)},
    summary="Where to go on",
)
async def head_upload(upload_id: UploadId, control: Control, who: Who) -> Response:
    """`Upload-Offset` is the stored length."""
    found = (await control.call(control.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id), who)).upload
    headers = {
        "Upload-Offset": str(found.offset),
        "Upload-Length": str(found.size_bytes),
        "Cache-Control": "no-store",
    }
    return Response(None, 200, headers)


@router.patch(
    "/uploads/{upload_id}",
    response_model=schemas.Upload,
    responses=problems(404, 408, 409, 413, 507),
    openapi_extra=_OFFSET,
    summary="Append bytes",
)
async def append_upload(request: Request, upload_id: UploadId, control: Control, who: Who) -> Response:
    """From `Upload-Offset`, at most 64 MiB at once. What came is durable when it answers, and when it breaks off."""
    given = request.headers.get("upload-offset", "")
    if not given.isdecimal() or len(given) > 18:
        raise wrong_field("Upload-Offset", "must be the stored length, 0 or more", 400)

    failure: list[Problem] = []
    requests = _pieces(request, upload_id, int(given), failure)
    found = (await control.send(control.artifacts.AppendUpload, requests, who)).upload
    if failure:
        raise failure[0]
    return answer(file_views.upload(found), headers={"Upload-Offset": str(found.offset)})


async def _pieces(
    request: Request, upload_id: str, offset: int, failure: list[Problem]
) -> AsyncIterator[pb.AppendUploadRequest]:
    """Ends in order however the body ends, so that what came is kept; what was wrong with the body is in ``failure``."""
    yield pb.AppendUploadRequest(upload_id=upload_id, offset=offset)
    try:
        async for piece in in_pieces(request.stream(), CHUNK_BYTES):
            yield pb.AppendUploadRequest(chunk=piece)
    except Problem as problem:
        failure.append(problem)
    except ClientDisconnect:
        return


@router.post(
    "/uploads/{upload_id}/finish",
    response_model=schemas.Upload,
    responses=problems(404, 409, 507),
    summary="Check the digest and make the file",
)
async def finish_upload(upload_id: UploadId, control: Control, who: Who) -> Response:
    """May be repeated: the same answer."""
    request = pb.FinishUploadRequest(upload_id=upload_id)
    found = (await control.call(control.artifacts.FinishUpload, request, who, seconds=300.0)).upload
    return answer(file_views.upload(found))


@router.delete("/uploads/{upload_id}", status_code=204, responses=problems(409), summary="Throw an upload away")
async def delete_upload(upload_id: UploadId, control: Control, who: Who) -> Response:
    """A finished one leaves its file. 409 `UPLOAD_BUSY` while somebody writes; may be repeated."""
    await control.call(control.artifacts.DeleteUpload, pb.DeleteUploadRequest(upload_id=upload_id), who)
    return Response(None, 204)
