"""Pictures of files: drawn in a process of its own, once, and kept."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from printfarm.control.v1 import artifact_service_pb2 as pb
from printfarm_coordinator.adapters.artifacts import pictures
from printfarm_coordinator.adapters.artifacts.pictures import Pictures
from printfarm_coordinator.adapters.artifacts.reader import FileReader
from printfarm_coordinator.app.ports import NotRead
from printfarm_files import Kind, Refused
from printfarm_rpc.errors import Code
from tests.integration.coordinator.test_file_facts import PRINT_FILE
from tests.support.control_plane import ControlPlane, open_control_plane
from tests.support.models import box_3mf, box_stl

PNG = b"\x89PNG\r\n\x1a\n"


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncGenerator[ControlPlane]:
    async with open_control_plane(tmp_path) as made:
        yield made


def drawn(plane: ControlPlane) -> list[Path]:
    return [path for path in (plane.folder / "artifacts" / "pictures").rglob("*") if path.is_file()]


async def test_every_kind_has_a_picture_in_the_size_that_is_asked_for(plane: ControlPlane) -> None:
    client = plane.operator
    for content in (PRINT_FILE, box_stl(), box_3mf()):
        sha256 = await client.store(content)
        request = pb.GetThumbnailRequest(sha256=sha256, size=64)
        png = (await client(client.artifacts.GetThumbnail, request)).png
        assert (png[:8], int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (PNG, 64, 64)
        # Drawn once: whatever becomes of the file, it is there.
        (plane.folder / "artifacts" / sha256[:2] / sha256[2:4] / sha256).write_bytes(b"")
        assert (await client(client.artifacts.GetThumbnail, request)).png == png
    assert len(drawn(plane)) == 3


async def test_what_cannot_be_drawn_says_so(plane: ControlPlane) -> None:
    client = plane.operator
    nothing = await client.store(b"G28\nM84\n")
    for _ in range(2):
        error = await client.refused(client.artifacts.GetThumbnail, pb.GetThumbnailRequest(sha256=nothing))
        assert (error.code, error.detail) == (Code.NO_PICTURE, "nothing in the file can be drawn")
    unknown = await client.refused(client.artifacts.GetThumbnail, pb.GetThumbnailRequest(sha256="0" * 64))
    assert unknown.code is Code.NOT_FOUND
    odd = await client.refused(client.artifacts.GetThumbnail, pb.GetThumbnailRequest(sha256=nothing, size=100))
    assert (odd.code, odd.fields[0].field) == (Code.INVALID_ARGUMENT, "size")


async def test_pictures_go_with_their_file(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store(box_stl())
    for size in (32, 64):
        await client(client.artifacts.GetThumbnail, pb.GetThumbnailRequest(sha256=sha256, size=size))
    assert len(drawn(plane)) == 2
    await client(client.artifacts.DeleteArtifact, pb.DeleteArtifactRequest(sha256=sha256))
    assert drawn(plane) == []
    error = await client.refused(client.artifacts.GetThumbnail, pb.GetThumbnailRequest(sha256=sha256, size=32))
    assert error.code is Code.NOT_FOUND


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    path.write_bytes(box_stl())
    return path


async def test_two_that_ask_at_once_have_it_drawn_once(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawings: list[int] = []
    entered, go_on = asyncio.Event(), asyncio.Event()
    picture = FileReader.picture

    async def counted(self: FileReader, path: Path, kind: Kind, size: int) -> bytes:
        drawings.append(size)
        entered.set()
        await go_on.wait()
        return await picture(self, path, kind, size)

    monkeypatch.setattr(FileReader, "picture", counted)
    kept = Pictures(tmp_path / "pictures")
    asking = [asyncio.ensure_future(kept.picture(model, "a" * 64, Kind.STL, 32)) for _ in range(2)]
    await entered.wait()
    # One goes: what is being drawn is for the other, and for whoever comes next.
    asking[0].cancel()
    monkeypatch.setattr(pictures, "MOST_WAITING", 1)
    with pytest.raises(NotRead):
        await kept.picture(model, "b" * 64, Kind.STL, 32)
    go_on.set()
    assert (await asking[1]).startswith(PNG)
    assert await kept.picture(model, "a" * 64, Kind.STL, 32) == await asking[1]
    assert drawings == [32]
    await kept.close()


async def test_a_picture_that_a_crash_cut_off_is_drawn_anew(tmp_path: Path, model: Path) -> None:
    kept = Pictures(tmp_path / "pictures")
    png = await kept.picture(model, "a" * 64, Kind.STL, 32)
    [path] = (tmp_path / "pictures").glob("*/*")
    for torn in (b"", png[:100], b"\0" * len(png)):
        path.write_bytes(torn)
        assert await kept.picture(model, "a" * 64, Kind.STL, 32) == png
    await kept.close()


async def test_a_picture_that_cannot_be_kept_is_shown(tmp_path: Path, model: Path) -> None:
    # The folder would lie below a file.
    kept = Pictures(model / "pictures")
    assert (await kept.picture(model, "a" * 64, Kind.STL, 32)).startswith(PNG)
    await kept.close()


async def test_old_pictures_are_dropped(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Pictures(tmp_path / "pictures")
    await kept.picture(model, "a" * 64, Kind.STL, 32)
    assert kept.drop_old() == 0
    monkeypatch.setattr(pictures, "KEPT_SECONDS", -60.0)
    assert kept.drop_old() == 1
    assert not list((tmp_path / "pictures").glob("*/*"))
    await kept.close()


async def test_a_model_that_is_broken_has_no_picture(tmp_path: Path, model: Path) -> None:
    kept = Pictures(tmp_path / "pictures")
    with pytest.raises(Refused):
        await kept.picture(model, "a" * 64, Kind.THREE_MF, 32)
    with pytest.raises(FileNotFoundError):
        await kept.picture(tmp_path / "gone", "b" * 64, Kind.STL, 32)
    await kept.close()
