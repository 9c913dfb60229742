"""``parts_per_plate`` chosen to fit, by REST: for models, and for nothing else."""

import hashlib
import json
from typing import Any

import pytest

from printfarm_coordinator.app.farm import transact
from printfarm_coordinator.app.ports import Writing
from printfarm_coordinator.app.slicing_ports import SlicerWorker
from tests.support.gateway import TestedGateway
from tests.support.models import box_stl
from tests.unit.files.test_packed import SOUND

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_gcode_has_the_parts_that_it_has(gateway: TestedGateway) -> None:
    fix = "fit is for models: say how many parts this G-code makes"
    async with gateway.client() as client:
        job = json.dumps({"name": "part", "parts_per_plate": "fit"})
        answer = await client.post("/api/v1/jobs/receive", files={"job": (None, job), "file": ("a", SOUND.encode())})
        assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "parts_per_plate", "fix": fix}])
        sha256 = hashlib.sha256(SOUND.encode()).hexdigest()
        asked = {"artifact_sha256": sha256, "parts_per_plate": "fit"}
        answer = await client.post("/api/v1/jobs/estimate", json=asked)
        assert (answer.status_code, answer.json()["errors"]) == (422, [{"field": "parts_per_plate", "fix": fix}])


@pytest.mark.parametrize("wrong", ["FIT", "2", 0, -1, 10_001, 1.5, True, None, ["fit"]])
async def test_what_is_neither_a_number_nor_fit(gateway: TestedGateway, wrong: Any) -> None:
    async with gateway.client() as client:
        asked = {"artifact_sha256": "a" * 64, "name": "part", "parts_per_plate": wrong}
        answer = await client.post("/api/v1/jobs", json=asked)
    assert answer.status_code == 422
    assert all("parts_per_plate" in error["field"] for error in answer.json()["errors"])


async def test_a_model_waits_without_a_number_until_a_plate_was_filled(gateway: TestedGateway) -> None:
    farm = gateway.plane.farm

    async def work(tx: Writing) -> None:
        await tx.put_slicer_worker(SlicerWorker("bench", {"prusaslicer": "2.5.0"}, tx.now))

    await transact(farm, "worker", work)
    async with gateway.client() as client:
        job = json.dumps({"name": "part", "quantity": 7, "parts_per_plate": "fit"})
        answer = await client.post("/api/v1/jobs/receive", files={"job": (None, job), "file": ("a.stl", box_stl())})
        assert answer.status_code == 202, answer.text
        found = (await client.get(f"/api/v1/jobs/{answer.json()['job_id']}")).json()
    assert (found["state"], found["parts_per_plate"], found["fit_plate"]) == ("preparing", None, True)
