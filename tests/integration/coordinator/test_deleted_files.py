"""Files are deleted when nothing needs them: the row stays, the bytes go, and none that come in at the same time are lost."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm.control.v1 import farm_service_pb2, job_service_pb2
from printfarm_coordinator.adapters.artifacts import folder
from printfarm_coordinator.app.deleting import erase, erase_once
from printfarm_coordinator.app.farm import transact
from printfarm_coordinator.app.file_ports import FileFilter
from printfarm_coordinator.app.ports import Writing
from printfarm_coordinator.domain.slicing import Slicing, SlicingKey, SlicingState
from printfarm_rpc.errors import Code
from printfarm_rpc.limits import CHUNK_BYTES
from tests.support.control_plane import GCODE, Client, ControlPlane, open_control_plane, sha256_of, stored_chunks

# More than the wire takes before anybody reads it.
BIG = GCODE + b"G1 X1 Y1\n" * (32 * CHUNK_BYTES // 9)


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncGenerator[ControlPlane]:
    async with open_control_plane(tmp_path) as made:
        yield made


def files(plane: ControlPlane) -> list[str]:
    return [path.name for path in (plane.folder / "artifacts").rglob("*") if path.is_file()]


async def delete(client: Client, sha256: str) -> None:
    await client(client.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256=sha256))


async def kept(plane: ControlPlane) -> list[str]:
    async with plane.farm.store.read() as look:
        return [found.sha256 for found in await look.artifacts(FileFilter(9))]


async def read(client: Client, sha256: str) -> bytes:
    request = pb.ReadArtifactRequest(sha256=sha256)
    return b"".join([answer.chunk async for answer in client.artifacts.ReadArtifact(request, timeout=20)])


async def test_a_file_that_nothing_needs_goes_and_its_jobs_tell_of_it(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store()
    job = await client.submit(sha256)
    error = await client.refused(client.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256=sha256))
    assert (error.code, job.job_id in error.detail) == (Code.FILE_NEEDED, True)
    await client(client.jobs.CancelJob, job_service_pb2.CancelJobRequest(job_id=job.job_id))
    await delete(client, sha256)
    # A lost answer is asked for again.
    await delete(client, sha256)
    assert files(plane) == []
    gone = await client.refused(client.artifacts.GetArtifact, pb.GetArtifactRequest(sha256=sha256))
    assert gone.code is Code.NOT_FOUND
    assert await kept(plane) == []
    told = (await client(client.jobs.GetJob, job_service_pb2.GetJobRequest(job_id=job.job_id))).job.artifact
    assert (told.display_name, told.HasField("delete_time")) == ("part.gcode", True)
    request = job_service_pb2.CreateJobRequest(name="n", artifact_sha256=sha256, quantity=1, parts_per_plate=1)
    refused = await client.refused(client.jobs.CreateJob, request)
    assert (refused.code, "was deleted" in refused.detail) == (Code.ARTIFACT_NOT_FOUND, True)
    audit = await client(client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest(subject_id=sha256))
    assert [(entry.action, entry.actor) for entry in audit.entries] == [("file.deleted", "operator/olga")]

    # The same bytes again: the same file, there again.
    assert await client.store(name="again.gcode") == sha256
    assert files(plane) == [sha256]
    assert await read(client, sha256) == GCODE
    assert (await client.submit(sha256)).artifact.display_name == "again.gcode"


async def test_one_that_was_never_there_is_not_found(plane: ControlPlane) -> None:
    client = plane.operator
    error = await client.refused(client.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256="0" * 64))
    assert error.code is Code.NOT_FOUND
    viewer = plane.gateway.acting_for("key/wall", "viewer")
    refused = await viewer.refused(viewer.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256="0" * 64))
    assert refused.code is Code.PERMISSION_DENIED


async def test_a_download_under_way_comes_to_its_end(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store(BIG)
    call = client.artifacts.ReadArtifact(pb.ReadArtifactRequest(sha256=sha256), timeout=20)
    answers = aiter(call)
    received = [(await anext(answers)).chunk]
    await delete(client, sha256)
    received += [answer.chunk async for answer in answers]
    assert b"".join(received) == BIG


async def deleted_but_not_erased(plane: ControlPlane, sha256: str) -> None:
    """As when the coordinator died between the commit and the disk."""

    async def work(tx: Writing) -> None:
        assert await tx.lock_artifact(sha256)
        await tx.delete_artifact(sha256)

    await transact(plane.farm, "test", work)


async def test_what_a_crash_came_between_is_finished(plane: ControlPlane) -> None:
    sha256 = await plane.operator.store()
    await deleted_but_not_erased(plane, sha256)
    assert files(plane) == [sha256]
    assert await erase_once(plane.farm) == 1
    assert files(plane) == []
    assert await erase_once(plane.farm) == 0


async def test_what_was_set_aside_when_a_crash_came_is_thrown_away(plane: ControlPlane) -> None:
    sha256 = await plane.operator.store()
    await deleted_but_not_erased(plane, sha256)
    await plane.farm.blobs.set_aside(sha256)
    assert len(files(plane)) == 1
    assert await erase_once(plane.farm) == 1
    assert files(plane) == []


async def test_a_file_that_came_again_is_not_erased(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store()
    await deleted_but_not_erased(plane, sha256)
    await client.store()
    await erase(plane.farm, sha256)
    assert await erase_once(plane.farm) == 0
    assert await read(client, sha256) == GCODE


def erasing_between(plane: ControlPlane, sha256: str, times: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whenever the new bytes are visible and their row is not written yet, the old ones' deletion comes to the disk."""
    seen: list[int] = []
    move = folder.ArtifactFolder.move
    loop = asyncio.get_running_loop()

    def moved(self: folder.ArtifactFolder, source: Path, name: str) -> None:
        move(self, source, name)
        if len(seen) < times:
            seen.append(1)
            asyncio.run_coroutine_threadsafe(erase(plane.farm, sha256), loop).result(20)

    monkeypatch.setattr(folder.ArtifactFolder, "move", moved)
    return seen


async def test_bytes_that_come_while_the_same_are_erased_are_not_lost(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = plane.operator
    sha256 = await client.store()
    await deleted_but_not_erased(plane, sha256)
    seen = erasing_between(plane, sha256, 2, monkeypatch)
    assert await client.store() == sha256
    assert len(seen) == 2
    assert await read(client, sha256) == GCODE
    assert await erase_once(plane.farm) == 0
    assert files(plane) == [sha256]


async def test_an_upload_that_ends_while_the_same_bytes_are_erased_is_not_lost(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = plane.operator
    sha256 = await client.store()
    order = pb.CreateUploadRequest(size_bytes=len(GCODE), sha256=sha256_of(GCODE), display_name="n.gcode")
    upload_id = (await client(client.artifacts.CreateUpload, order)).upload.upload_id

    async def appended() -> Any:
        yield pb.AppendUploadRequest(upload_id=upload_id, offset=0, chunk=GCODE)

    await client(client.artifacts.AppendUpload, appended())
    await deleted_but_not_erased(plane, sha256)
    seen = erasing_between(plane, sha256, 1, monkeypatch)
    done = await client(client.artifacts.FinishUpload, pb.FinishUploadRequest(upload_id=upload_id))
    assert (done.upload.artifact.sha256, len(seen)) == (sha256, 1)
    assert await read(client, sha256) == GCODE
    # Nothing is left of the upload but its file.
    assert files(plane) == [sha256]
    again = await client(client.artifacts.FinishUpload, pb.FinishUploadRequest(upload_id=upload_id))
    assert again.upload == done.upload


async def test_without_links_the_sender_is_asked_to_send_again(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    client = plane.operator
    sha256 = await client.store()
    assert await read(client, sha256) == GCODE
    await deleted_but_not_erased(plane, sha256)
    erasing_between(plane, sha256, 1, monkeypatch)
    error = await client.refused(client.artifacts.StoreArtifact, stored_chunks(GCODE))
    assert error.code is Code.UNAVAILABLE
    assert await kept(plane) == []
    assert await client.store() == sha256
    assert await read(client, sha256) == GCODE


async def test_a_slicing_whose_print_file_was_deleted_is_made_again(plane: ControlPlane) -> None:
    client = plane.operator
    model, result = "1" * 64, await client.store()
    key = SlicingKey(model, "h", 1, "prusaslicer", "2.5")

    async def sliced(tx: Writing) -> None:
        file = await tx.artifact(result)
        assert file is not None
        await tx.put_artifact(replace(file, sha256=model, kind="stl"))
        done = Slicing("s1", key, (), {}, 1, 1, state=SlicingState.DONE, result_sha256=result, ended_at=1)
        await tx.add_slicing(done)

    await transact(plane.farm, "test", sliced)
    await delete(client, result)
    async with plane.farm.store.read() as look:
        task = await look.slicing("s1")
    assert task is not None
    assert (task.state, task.error_code, task.result_sha256) == (SlicingState.FAILED, "result_deleted", None)
