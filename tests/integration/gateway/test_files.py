"""Files over REST: what they tell of themselves, their pictures, their end."""

import json
from typing import Any

import httpx
import pytest

from printfarm_coordinator.app.facts import FactsReader
from tests.integration.coordinator.test_file_facts import PRINT_FILE
from tests.support.gateway import TestedGateway
from tests.support.models import box_stl

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def read_all(gateway: TestedGateway) -> None:
    """What the coordinator does in the background."""
    while await FactsReader(gateway.plane.farm).read_once():
        pass


async def get(gateway: TestedGateway, path: str, role: str = "viewer", **headers: str) -> httpx.Response:
    async with gateway.client(role, headers) as client:
        return await client.get(f"/api/v1{path}")


async def test_facts_come_soon_after_the_file(gateway: TestedGateway) -> None:
    sha256 = await gateway.store(PRINT_FILE, "<b>bracket</b>.gcode")
    fresh = (await get(gateway, f"/files/{sha256}")).json()
    assert (fresh["facts_state"], fresh["facts"], fresh["facts_reason"]) == ("pending", None, None)
    await read_all(gateway)
    known = (await get(gateway, f"/files/{sha256}")).json()
    assert known["facts_state"] == "known"
    facts = known["facts"]
    assert (facts["slicer"], facts["printer_model"], facts["estimated_seconds"]) == ("PrusaSlicer", "MK4", 3720)
    first, second = facts["tools"]
    assert (first["filament_type"], first["weight_g"], first["length_mm"]) == ("PLA", 4.45, 1491.16)
    # What the file does not say is null, never 0.
    assert (second["filament_type"], second["weight_g"], second["nozzle_mm"]) == ("PETG", None, None)
    assert (facts["triangles"], facts["bed_celsius"], facts["watertight"]) == (None, None, None)
    assert facts["bounds"] == {
        "low": {"x_mm": 10.0, "y_mm": 10.0, "z_mm": 0.2},
        "high": {"x_mm": 40.0, "y_mm": 40.0, "z_mm": 0.2},
    }
    assert known["thumbnail_url"] == f"/api/v1/files/{sha256}/thumbnail"


async def test_files_are_looked_for_by_what_they_tell(gateway: TestedGateway) -> None:
    model = await gateway.store(box_stl(11, 12, 13), "model.stl")
    sliced = await gateway.store(PRINT_FILE + b"; nozzle_diameter = 0.4\n", "sliced.gcode")
    await read_all(gateway)

    async def found(query: str) -> set[str]:
        answer = await get(gateway, f"/files?limit=500&{query}")
        assert answer.status_code == 200, answer.text
        return {item["sha256"] for item in answer.json()["items"]}

    for query in (
        "slicer=prusa",
        "printer_model=mk4",
        "material=pla",
        "slicer=PRUSA&material=PLA&name=sliced&kind=gcode",
    ):
        assert {model, sliced} & await found(query) == {sliced}, query
    for query in ("material=pl", "slicer=cura", "printer_model=MK4S", "material=PLA&kind=stl"):
        assert not {model, sliced} & await found(query), query
    listed = {item["sha256"]: item for item in (await get(gateway, "/files?name=model.stl")).json()["items"]}
    facts = listed[model]["facts"]
    assert (facts["triangles"], facts["watertight"], facts["volume_mm3"]) == (12, True, pytest.approx(11 * 12 * 13))
    assert facts["model_bounds"]["high"] == {"x_mm": 11.0, "y_mm": 12.0, "z_mm": 13.0}


async def test_a_long_list_is_cut_where_an_answer_has_its_limit(
    gateway: TestedGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    from printfarm_coordinator.grpc_api import paging

    for content in (PRINT_FILE, PRINT_FILE + b"; another\n"):
        await gateway.store(content)
    await read_all(gateway)
    whole = [item["sha256"] for item in (await get(gateway, "/files?limit=500")).json()["items"]]
    monkeypatch.setattr(paging, "PAGE_BYTES", 1)
    found: list[str] = []
    path: str | None = "/files?limit=500"
    pages = 0
    while path:
        page = (await get(gateway, path)).json()
        found += [item["sha256"] for item in page["items"]]
        path = f"/files?limit=500&cursor={page['next']}" if page["next"] else None
        pages += 1
    assert found == whole
    assert pages > 1


async def test_a_picture_is_a_png_that_is_fetched_once(gateway: TestedGateway) -> None:
    sha256 = await gateway.store(PRINT_FILE)
    first = await get(gateway, f"/files/{sha256}/thumbnail?size=64")
    assert first.status_code == 200, first.text
    assert (first.headers["content-type"], first.headers["x-content-type-options"]) == ("image/png", "nosniff")
    assert first.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert int.from_bytes(first.content[16:20]) == 64
    tag = first.headers["etag"]
    again = await get(gateway, f"/files/{sha256}/thumbnail?size=64", **{"If-None-Match": f'"other", {tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = await get(gateway, f"/files/{sha256}/thumbnail?size=32", **{"If-None-Match": tag})
    assert (other.status_code, int.from_bytes(other.content[16:20])) == (200, 32)
    usual = await get(gateway, f"/files/{sha256}/thumbnail")
    assert int.from_bytes(usual.content[16:20]) == 256


@pytest.mark.parametrize("size", ["33", "0", "-1", "64.5", "big", ""])
async def test_a_size_that_there_is_none_of_is_refused_by_name(gateway: TestedGateway, size: str) -> None:
    sha256 = await gateway.store(PRINT_FILE)
    refused = await get(gateway, f"/files/{sha256}/thumbnail?size={size}")
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == ["size"]


async def test_what_cannot_be_drawn_is_a_problem(gateway: TestedGateway) -> None:
    sha256 = await gateway.store(b"G28\nM84\n")
    refused = await get(gateway, f"/files/{sha256}/thumbnail")
    assert (refused.status_code, refused.json()["code"]) == (404, "NO_PICTURE")
    assert (await get(gateway, f"/files/{'0' * 64}/thumbnail")).json()["code"] == "NOT_FOUND"
    assert (await get(gateway, f"/files/{sha256}")).json()["thumbnail_url"] is not None
    # Who has read it does not send anybody to look.
    await read_all(gateway)
    assert (await get(gateway, f"/files/{sha256}")).json()["thumbnail_url"] is None


async def test_a_file_is_deleted_when_nothing_needs_it(gateway: TestedGateway) -> None:
    sha256 = await gateway.store(PRINT_FILE + b"; deleted\n", "gone.gcode")
    job_id = await gateway.submit(artifact_sha256=sha256)
    async with gateway.client() as client:
        needed = await client.delete(f"/api/v1/files/{sha256}")
        assert (needed.status_code, needed.json()["code"]) == (409, "FILE_NEEDED")
        assert f"job {job_id}" in needed.json()["detail"]
        await client.post(f"/api/v1/jobs/{job_id}/cancel")
        for _ in range(2):
            assert (await client.delete(f"/api/v1/files/{sha256}")).status_code == 204
        for path in ("", "/content", "/thumbnail"):
            assert (await client.get(f"/api/v1/files/{sha256}{path}")).status_code == 404
        refused = await client.post("/api/v1/jobs/receive", json={"name": "n", "artifact_sha256": sha256})
        assert (refused.status_code, refused.json()["code"]) == (422, "ARTIFACT_NOT_FOUND")
        assert "deleted" in refused.json()["detail"]
    job: dict[str, Any] = (await get(gateway, f"/jobs/{job_id}")).json()
    assert (job["file_name"], job["thumbnail_url"]) == ("gone.gcode", None)
    assert job["file_deleted_at"] is not None
    # The same file, sent again, is there again, and its facts with it.
    async with gateway.client() as client:
        form = {
            "job": (None, json.dumps({"name": "n"}), "application/json"),
            "file": ("back.gcode", PRINT_FILE + b"; deleted\n"),
        }
        made = await client.post("/api/v1/jobs/receive", files=form)
        assert (made.status_code, made.json()["artifact_sha256"]) == (202, sha256)
    job = (await get(gateway, f"/jobs/{made.json()['job_id']}")).json()
    assert (job["file_name"], job["file_deleted_at"]) == ("back.gcode", None)


async def test_a_viewer_deletes_nothing(gateway: TestedGateway) -> None:
    sha256 = await gateway.store(PRINT_FILE)
    async with gateway.client("viewer") as client:
        assert (await client.delete(f"/api/v1/files/{sha256}")).status_code == 403
        assert (await client.get(f"/api/v1/files/{sha256}")).status_code == 200
