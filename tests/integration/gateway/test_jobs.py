"""Jobs by REST: from the two ways to send one, to its end."""

import hashlib
import json

import pytest

from tests.support.control_plane import GCODE
from tests.support.gateway import TestedGateway

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
    assert (status["file_name"], status["runs"]) == ("a.gcode", [])
    assert status["waiting"]["summary"]
