"""The catalogue of bad requests, 41 to 52: models that are posted, and profiles to slice them with. Gateway and coordinator
are in this process: its memory and its loop are theirs."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.support.gateway import TestedGateway
from tests.support.hostile_models import GCODE, HOSTILE, WHOLE, as_bytes
from tests.support.print_files import cube, text_stl
from tests.support.slicings import PRINTER_SETTINGS, QUALITY_SETTINGS

from .test_bad_files import blobs, code_of
from .test_bad_requests import longest_turn, resident_bytes

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def post(gateway: TestedGateway, name: str, content: bytes) -> httpx.Response:
    files = {"file": (name, content), "job": (None, json.dumps({"name": name}), "application/json")}
    async with gateway.client() as client:
        return await client.post("/api/v1/jobs/receive", files=files)  # type: ignore[arg-type]


async def job_ids(gateway: TestedGateway) -> list[str]:
    async with gateway.client() as client:
        return [job["job_id"] for job in (await client.get("/api/v1/jobs?limit=500")).json()["items"]]


@pytest.mark.parametrize("what", HOSTILE)
async def test_41_to_52_a_hostile_model_is_refused_when_it_arrives(gateway: TestedGateway, what: str) -> None:
    make, reason = HOSTILE[what]
    content = as_bytes(make())
    stored, jobs = blobs(gateway), await job_ids(gateway)
    before = resident_bytes()
    posting = asyncio.create_task(post(gateway, "part.3mf", content))
    turn = await longest_turn(posting)
    answer = posting.result()
    assert code_of(answer) == (422, "UNSUPPORTED_MEDIA")
    assert reason in answer.json()["detail"]
    assert [error["field"] for error in answer.json()["errors"]] == ["file"]
    assert (blobs(gateway), await job_ids(gateway)) == (stored, jobs)
    assert resident_bytes() - before < 64 << 20
    assert turn < 2.0


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.gcode", WHOLE, "3mf"),
        ("a.3mf", text_stl(cube()).encode(), "stl"),
        ("a.stl", GCODE + b"M104 S0\n", "gcode"),
        ("a.exe", WHOLE + b"", "3mf"),
    ],
)
async def test_51_the_name_counts_for_nothing(gateway: TestedGateway, name: str, content: bytes, kind: str) -> None:
    sha256 = await gateway.store(content, name)
    async with gateway.client() as client:
        assert (await client.get(f"/api/v1/files/{sha256}")).json()["kind"] == kind


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        ("quality", {**QUALITY_SETTINGS, "layer_height": "0.001"}, "settings.layer_height"),
        ("quality", {**QUALITY_SETTINGS, "layer_height": "1e-9"}, "settings.layer_height"),
        ("quality", {**QUALITY_SETTINGS, "layer_height": "nan"}, "settings.layer_height"),
        ("quality", {**QUALITY_SETTINGS, "post_process": "/bin/id"}, "settings.post_process"),
        ("printer", {**PRINTER_SETTINGS, "max_print_height": "10000"}, "settings.max_print_height"),
        ("printer", {**PRINTER_SETTINGS, "print_host": "10.0.0.1"}, "settings.print_host"),
    ],
)
async def test_52_a_profile_that_asks_for_too_much(
    gateway: TestedGateway, kind: str, settings: dict[str, str], field: str
) -> None:
    body: dict[str, Any] = {"kind": kind, "settings": settings}
    if kind == "printer":
        body["printer_models"] = ["M"]
    async with gateway.client("admin") as client:
        answer = await client.put("/api/v1/profiles/bad", json=body)
        assert code_of(answer) == (422, "INVALID_ARGUMENT")
        assert [error["field"] for error in answer.json()["errors"]] == [field]
        assert (await client.get("/api/v1/profiles/bad")).status_code == 404
