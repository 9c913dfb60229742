"""Files in and out over gRPC: whole, hashed, or not at all (bad input 37-40, 54, 76)."""

import asyncio
import os
import resource
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm.model.v1 import artifact_pb2
from printfarm_coordinator.app import artifacts, uploads
from printfarm_coordinator.app.janitor import STALE_BYTES_SECONDS, forget_once
from printfarm_coordinator.app.uploads import MOST_OPEN_UPLOADS
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.limits import LARGEST_CHUNK_BYTES
from tests.support.control_plane import GCODE, HOUR, Client, ControlPlane, eventually, sha256_of, stored_chunks
from tests.support.models import box_3mf, box_stl

BIG = GCODE + b"G1 X1 Y1\n" * 200_000


def stored_files(plane: ControlPlane) -> set[str]:
    """Everything in the folder of artifacts, whatever it is."""
    return {str(path.relative_to(plane.folder / "artifacts")) for path in artifacts_of(plane)}


def artifacts_of(plane: ControlPlane) -> list[Path]:
    return [path for path in (plane.folder / "artifacts").rglob("*") if path.is_file()]


async def begin(client: Client, content: bytes, sha256: str = "", name: str = "big.gcode") -> str:
    request = pb.CreateUploadRequest(size_bytes=len(content), sha256=sha256 or sha256_of(content), display_name=name)
    upload_id: str = (await client(client.artifacts.CreateUpload, request)).upload.upload_id
    return upload_id


async def appended(upload_id: str, offset: int, *chunks: bytes) -> AsyncIterator[pb.AppendUploadRequest]:
    yield pb.AppendUploadRequest(upload_id=upload_id, offset=offset)
    for chunk in chunks:
        yield pb.AppendUploadRequest(chunk=chunk)


async def append(client: Client, upload_id: str, offset: int, *chunks: bytes) -> int:
    answer = await client(client.artifacts.AppendUpload, appended(upload_id, offset, *chunks))
    reached: int = answer.upload.offset
    return reached


async def refused_append(client: Client, upload_id: str, offset: int, *chunks: bytes) -> FarmError:
    return await client.refused(client.artifacts.AppendUpload, appended(upload_id, offset, *chunks))


async def finish(client: Client, upload_id: str) -> pb.Upload:
    answer = await client(client.artifacts.FinishUpload, pb.FinishUploadRequest(upload_id=upload_id))
    upload: pb.Upload = answer.upload
    return upload


async def read(client: Client, sha256: str, offset: int = 0, limit: int = 0) -> bytes:
    request = pb.ReadArtifactRequest(sha256=sha256, offset=offset, limit_bytes=limit)
    return b"".join([answer.chunk async for answer in client.artifacts.ReadArtifact(request, timeout=20)])


async def test_bytes_come_back_as_they_went(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store(BIG, "../weird\u202ename.gcode")
    assert sha256 == sha256_of(BIG)
    found = (await client(client.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=sha256))).artifact
    assert (found.size_bytes, found.display_name) == (len(BIG), "../weirdname.gcode")
    assert await read(client, sha256) == BIG
    assert await read(client, sha256, len(BIG) - 3) == BIG[-3:]
    assert await read(client, sha256, 5, 700_000) == BIG[5:700_005]
    assert await read(client, sha256, len(BIG)) == b""
    assert stored_files(plane) == {f"{sha256[:2]}/{sha256[2:4]}/{sha256}"}


async def test_the_same_bytes_are_the_same_artifact(plane: ControlPlane) -> None:
    client = plane.operator
    first = await client(client.artifacts.StoreArtifact, stored_chunks(GCODE, "first.gcode"))
    again = await client(client.artifacts.StoreArtifact, stored_chunks(GCODE, "second.gcode", sha256_of(GCODE)))
    assert again.artifact == first.artifact
    listed = await client(client.artifacts.ListArtifacts, pb.ListArtifactsRequest())
    assert [found.display_name for found in listed.artifacts] == ["first.gcode"]


@pytest.mark.parametrize(
    ("content", "said", "code"),
    [
        (GCODE, "0" * 64, Code.CHECKSUM_MISMATCH),
        (GCODE, "xyz", Code.INVALID_ARGUMENT),
        (GCODE, sha256_of(GCODE).upper(), Code.INVALID_ARGUMENT),
        (b"PK\x03\x04\x14\0\0\0", "", Code.UNSUPPORTED_MEDIA),
        (b"", "", Code.UNSUPPORTED_MEDIA),
        (GCODE * 4_000 + b"G1 X1\0\n" + GCODE * 4_000, "", Code.UNSUPPORTED_MEDIA),
    ],
    ids=["other bytes", "no digest", "upper case", "zip", "empty", "a NUL in the middle"],
)
async def test_what_is_refused_leaves_nothing(plane: ControlPlane, content: bytes, said: str, code: Code) -> None:
    client = plane.operator
    error = await client.refused(client.artifacts.StoreArtifact, stored_chunks(content, sha256=said))
    assert error.code is code
    assert stored_files(plane) == set()
    listed = await client(client.artifacts.ListArtifacts, pb.ListArtifactsRequest())
    assert not listed.artifacts


async def test_a_model_is_stored_as_what_it_is(plane: ControlPlane) -> None:
    client = plane.operator
    for content, kind in ((box_stl(), artifact_pb2.ARTIFACT_KIND_STL), (box_3mf(), artifact_pb2.ARTIFACT_KIND_3MF)):
        sha256 = await client.store(content, "part.gcode")
        found = (await client(client.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=sha256))).artifact
        assert found.kind == kind


async def test_a_kind_that_there_is_none_of_is_refused(plane: ControlPlane) -> None:
    client = plane.operator
    error = await client.refused(client.artifacts.ListArtifacts, pb.ListArtifactsRequest(kind=99))  # type: ignore[arg-type]
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "kind")


async def test_a_chunk_has_a_cap(plane: ControlPlane) -> None:
    client = plane.operator
    exactly = (GCODE * 20_000)[:LARGEST_CHUNK_BYTES]
    assert await client.store(exactly)

    async def chunks() -> AsyncIterator[pb.StoreArtifactRequest]:
        yield pb.StoreArtifactRequest(chunk=exactly + b"\n")

    error = await client.refused(client.artifacts.StoreArtifact, chunks())
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "chunk")


async def test_a_stream_without_a_message_is_refused(plane: ControlPlane) -> None:
    client = plane.operator

    async def nothing() -> AsyncIterator[pb.StoreArtifactRequest]:
        for never in ():
            yield never

    assert (await client.refused(client.artifacts.StoreArtifact, nothing())).code is Code.INVALID_ARGUMENT
    assert (await client.refused(client.artifacts.AppendUpload, nothing())).code is Code.INVALID_ARGUMENT


async def test_a_file_may_not_grow_without_end(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_FILE_BYTES", 1_000)
    client = plane.operator
    request = pb.CreateUploadRequest(size_bytes=1_001, sha256="0" * 64)
    assert (await client.refused(client.artifacts.CreateUpload, request)).code is Code.TOO_LARGE
    with pytest.raises(Exception, match="TOO_LARGE"):
        await artifacts.store_artifact(plane.farm, "n", "", _endless(), largest=1_000)
    assert stored_files(plane) == set()


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield GCODE


async def test_an_upload_in_pieces(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, BIG)
    assert await append(client, upload_id, 0, BIG[:500_000], BIG[500_000:700_000]) == 700_000
    seen = (await client(client.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id))).upload
    assert (seen.offset, seen.HasField("artifact")) == (700_000, False)
    assert (await client.refused(client.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=seen.sha256))).code is (
        Code.NOT_FOUND
    )
    assert await append(client, upload_id, 700_000, BIG[700_000:1_500_000], BIG[1_500_000:]) == len(BIG)
    done = await finish(client, upload_id)
    assert done.artifact.sha256 == sha256_of(BIG)
    assert await finish(client, upload_id) == done
    assert await read(client, done.sha256) == BIG


async def test_finished_by_many_at_once_the_answer_is_one(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, BIG)
    await append(client, upload_id, 0, *[BIG[at : at + 900_000] for at in range(0, len(BIG), 900_000)])
    answers = await asyncio.gather(*[finish(client, upload_id) for _ in range(8)])
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1


@pytest.mark.parametrize("offset", [-1, -(1 << 63), 1, 99, 101, 1 << 62])
async def test_an_offset_that_is_not_the_stored_length_changes_nothing(plane: ControlPlane, offset: int) -> None:
    client = plane.operator
    upload_id = await begin(client, BIG)
    await append(client, upload_id, 0, BIG[:100])
    error = await refused_append(client, upload_id, offset, b"X" * 50)
    assert error.code is (Code.INVALID_ARGUMENT if offset < 0 else Code.OFFSET_MISMATCH)
    if offset >= 0:
        assert error.facts["offset"] == "100"
    assert await append(client, upload_id, 100, b"") == 100


async def test_more_bytes_than_declared_are_refused_and_those_before_stay(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, GCODE)
    assert (await refused_append(client, upload_id, 0, GCODE[:10], GCODE)).code is Code.TOO_LARGE
    await append(client, upload_id, 10, GCODE[10:])
    assert (await finish(client, upload_id)).artifact.size_bytes == len(GCODE)


async def test_a_short_upload_cannot_be_finished(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, BIG)
    await append(client, upload_id, 0, BIG[:1_000])
    error = await client.refused(client.artifacts.FinishUpload, pb.FinishUploadRequest(upload_id=upload_id))
    assert (error.code, error.facts["offset"]) == (Code.OFFSET_MISMATCH, "1000")


async def test_a_flipped_bit_is_found_and_the_upload_begins_again(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, GCODE)
    flipped = bytes([GCODE[0] ^ 1]) + GCODE[1:]
    await append(client, upload_id, 0, flipped)
    error = await client.refused(client.artifacts.FinishUpload, pb.FinishUploadRequest(upload_id=upload_id))
    assert error.code is Code.CHECKSUM_MISMATCH
    assert stored_files(plane) == set()
    assert await append(client, upload_id, 0, GCODE) == len(GCODE)
    assert (await finish(client, upload_id)).artifact.sha256 == sha256_of(GCODE)


async def test_one_writer_at_a_time_and_what_a_broken_one_brought_stays(plane: ControlPlane) -> None:
    client, other = plane.operator, plane.gateway.acting_for("key/k", "admin")
    upload_id = await begin(client, BIG)
    release = asyncio.Event()

    async def slowly() -> AsyncIterator[pb.AppendUploadRequest]:
        yield pb.AppendUploadRequest(upload_id=upload_id, chunk=BIG[:100_000])
        await release.wait()

    slow = client.artifacts.AppendUpload(slowly())

    async def has_come() -> bool:
        seen = await other(other.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id))
        return bool(seen.upload.offset == 100_000)

    await eventually(has_come)
    assert (await refused_append(other, upload_id, 100_000, b"x")).code is Code.UPLOAD_BUSY
    ending = pb.FinishUploadRequest(upload_id=upload_id)
    assert (await other.refused(other.artifacts.FinishUpload, ending)).code is Code.UPLOAD_BUSY
    leaving = pb.DeleteUploadRequest(upload_id=upload_id)
    assert (await other.refused(other.artifacts.DeleteUpload, leaving)).code is Code.UPLOAD_BUSY
    slow.cancel()
    release.set()

    async def is_free() -> bool:
        request = appended(upload_id, 100_000, BIG[100_000:1_000_000], BIG[1_000_000:])
        try:
            await other(other.artifacts.AppendUpload, request)
        except FarmError as error:
            if error.code is not Code.UPLOAD_BUSY:
                raise
            return False
        return True

    await eventually(is_free)
    assert (await finish(other, upload_id)).artifact.sha256 == sha256_of(BIG)


async def test_a_crash_between_the_move_and_the_row_is_mended_by_repeating(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, BIG)
    await append(client, upload_id, 0, *[BIG[at : at + 900_000] for at in range(0, len(BIG), 900_000)])
    await plane.farm.blobs.keep_part(upload_id, sha256_of(BIG))
    assert (await finish(client, upload_id)).artifact.size_bytes == len(BIG)


async def test_an_upload_is_forgotten_24_hours_after_its_last_byte(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, GCODE)
    plane.clock.forward(23 * HOUR)
    await append(client, upload_id, 0, GCODE[:10])
    plane.clock.forward(23 * HOUR)
    await append(client, upload_id, 10, GCODE[10:20])
    plane.clock.forward(24 * HOUR + 1)
    assert (await refused_append(client, upload_id, 20, b"x")).code is Code.NOT_FOUND
    [part] = artifacts_of(plane)
    assert await forget_once(plane.farm) == 1
    assert part.exists()
    long_ago = part.stat().st_mtime - STALE_BYTES_SECONDS - 60
    os.utime(part, (long_ago, long_ago))
    assert await forget_once(plane.farm) == 1
    assert not part.exists()


async def test_deleted_means_gone_and_may_be_repeated(plane: ControlPlane) -> None:
    client = plane.operator
    upload_id = await begin(client, GCODE)
    await append(client, upload_id, 0, GCODE[:10])
    for key in (upload_id, upload_id, "../../etc/passwd"):
        await client(client.artifacts.DeleteUpload, pb.DeleteUploadRequest(upload_id=key))
    assert stored_files(plane) == set()
    assert (await client.refused(client.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id))).code is (
        Code.NOT_FOUND
    )


async def test_each_client_has_a_quota_of_open_uploads(plane: ControlPlane) -> None:
    client, other = plane.operator, plane.gateway.acting_for("key/k", "operator")
    begun = [await begin(client, GCODE) for _ in range(MOST_OPEN_UPLOADS)]
    request = pb.CreateUploadRequest(size_bytes=1, sha256="0" * 64)
    assert (await client.refused(client.artifacts.CreateUpload, request)).code is Code.QUOTA_EXCEEDED
    await begin(other, GCODE)
    await client(client.artifacts.DeleteUpload, pb.DeleteUploadRequest(upload_id=begun[0]))
    await begin(client, GCODE)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateUploadRequest(size_bytes=0, sha256="0" * 64), "size_bytes"),
        (pb.CreateUploadRequest(size_bytes=-1, sha256="0" * 64), "size_bytes"),
        (pb.CreateUploadRequest(size_bytes=1, sha256=""), "sha256"),
        (pb.CreateUploadRequest(size_bytes=1, sha256="../" * 21 + "x"), "sha256"),
        (pb.CreateUploadRequest(size_bytes=1, sha256="0" * 64, display_name="a\0"), "display_name"),
    ],
)
async def test_uploads_that_cannot_be(plane: ControlPlane, request_: pb.CreateUploadRequest, field: str) -> None:
    client = plane.operator
    error = await client.refused(client.artifacts.CreateUpload, request_)
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, field)


@pytest.mark.parametrize("offset", [-1, len(GCODE) + 1, 1 << 62])
async def test_reading_outside_of_the_file(plane: ControlPlane, offset: int) -> None:
    client = plane.operator
    sha256 = await client.store(GCODE)
    with pytest.raises(Exception, match="offset"):
        await read(client, sha256, offset)
    with pytest.raises(Exception, match="no artifact"):
        await read(client, "../../../etc/passwd")


@pytest.fixture
def small_files() -> Iterator[int]:
    """No file of this process may grow beyond 1 MiB more than the database may need: the kernel says EFBIG."""
    limit = 1 << 20
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_full_disk_leaves_nothing_half_visible(plane: ControlPlane, small_files: int) -> None:
    client = plane.operator
    assert len(BIG) > small_files
    error = await client.refused(client.artifacts.StoreArtifact, stored_chunks(BIG))
    assert error.code is Code.STORAGE_FULL
    assert stored_files(plane) == set()
    upload_id = await begin(client, BIG)
    assert (await refused_append(client, upload_id, 0, BIG[:600_000], BIG[600_000:1_200_000])).code is (
        Code.STORAGE_FULL
    )
    kept = (await client(client.artifacts.GetUpload, pb.GetUploadRequest(upload_id=upload_id))).upload.offset
    assert 600_000 <= kept <= small_files
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    assert await append(client, upload_id, kept, BIG[kept : kept + 900_000], BIG[kept + 900_000 :]) == len(BIG)
    assert (await finish(client, upload_id)).artifact.sha256 == sha256_of(BIG)
