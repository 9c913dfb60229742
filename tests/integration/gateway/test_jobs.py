"""Jobs by REST: from the two ways to send one, to its end."""

import hashlib
import json

import pytest

from tests.support.control_plane import GCODE
from tests.support.gateway import TestedGateway
from tests.support.slicings import QUALITY_SETTINGS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_job_with_its_file_is_accepted(gateway: TestedGateway) -> None:
    job = {"name": "bracket", "quantity": 3, "parts_per_plate": 2, "priority": 5, "due_at": "2030-01-01T00:00:00Z"}
    files = {"job": (None, json.dumps(job), "application/json"), "file": ("a.gcode", GCODE)}
    async with gateway.client() as client:
        answer = await client.post("/api/v1/jobs/receive", files=files)
        assert answer.status_code == 202, answer.text
        receipt = answer.json()
        assert receipt["artifact_sha256"] == hashlib.sha256(GCODE).hexdigest()
        assert answer.headers["location"] == f"/api/v1/jobs/{receipt['job_id']}/status"
        status = (await client.get(answer.headers["location"])).json()
    assert (status["job_id"], status["state"]) == (receipt["job_id"], receipt["state"])
    assert (status["quantity"], status["good_parts"], status["progress"]) == (3, 0, 0.0)
    assert (status["file_name"], status["runs"], status["run_count"]) == ("a.gcode", [], 0)
    assert status["waiting"]["summary"]


async def test_profiles_come_in_pages_and_versions_before_a_number(gateway: TestedGateway) -> None:
    body = {"kind": "quality", "engine": "prusaslicer", "settings": QUALITY_SETTINGS}
    async with gateway.client("admin") as client:
        for height in ("0.1", "0.2", "0.3"):
            for name in ("paged-a", "paged-b"):
                made = await client.put(
                    f"/api/v1/profiles/{name}", json=body | {"settings": QUALITY_SETTINGS | {"layer_height": height}}
                )
                assert made.status_code == 200, made.text
        first = (await client.get("/api/v1/profiles?limit=1")).json()
        second = (await client.get("/api/v1/profiles", params={"limit": 1, "cursor": first["next"]})).json()
        assert [page["items"][0]["name"] for page in (first, second)] == ["paged-a", "paged-b"]
        assert second["next"] is None
        assert (await client.get("/api/v1/profiles?cursor=forged")).status_code == 400
        versions = (await client.get("/api/v1/profiles/paged-a?before=3")).json()["versions"]
        assert [each["version"] for each in versions] == [1, 2]
        assert (await client.get("/api/v1/profiles/paged-a?before=-1")).status_code == 422
