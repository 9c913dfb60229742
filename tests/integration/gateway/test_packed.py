"""Packed G-code (.bgcode, .gcode.3mf) by REST: unpacked once, checked as text, and given to each printer as it takes it."""

import hashlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from printfarm_coordinator.app.judging import Judge
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.sessions import wanted
from printfarm_coordinator.domain.abilities import Abilities
from printfarm_rpc.errors import Code
from tests.support.gateway import TestedGateway
from tests.support.print_files import bgcode, bgcode_block, binary_gcode, sliced_3mf
from tests.unit.files.test_packed import COMMENTS, SOUND

pytestmark = pytest.mark.asyncio(loop_scope="module")
ONE = sliced_3mf({1: SOUND})
TWO = sliced_3mf({1: SOUND, 2: SOUND.replace("X20", "X21")})
BINARY = binary_gcode(SOUND, COMMENTS)
TEXT = hashlib.sha256(SOUND.encode()).hexdigest()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def leads(gateway: TestedGateway) -> AsyncGenerator[Leadership]:
    leadership = Leadership("test")
    await leadership.prolong(gateway.plane.farm)
    yield leadership


async def send(client: httpx.AsyncClient, content: bytes, **fields: Any) -> httpx.Response:
    job = json.dumps({"name": "part", **fields})
    return await client.post("/api/v1/jobs/receive", files={"job": (None, job), "file": ("part", content)})


async def judged(gateway: TestedGateway, leads: Leadership, answer: httpx.Response) -> dict[str, Any]:
    """The job, once its file is unpacked and checked."""
    assert answer.status_code == 202, answer.text
    while await Judge(gateway.plane.farm, leads).once():
        pass
    async with gateway.client() as client:
        found = await client.get(f"/api/v1/jobs/{answer.json()['job_id']}")
    job: dict[str, Any] = found.json()
    return job


@pytest.mark.parametrize(("content", "plate"), [(ONE, 1), (BINARY, None)], ids=["gcode.3mf", "bgcode"])
async def test_a_packed_file_waits_until_it_is_unpacked_and_the_next_job_of_it_does_not(
    gateway: TestedGateway, leads: Leadership, content: bytes, plate: int | None
) -> None:
    async with gateway.client() as client:
        first = await send(client, content)
        assert first.json()["state"] == "preparing"
        job = await judged(gateway, leads, first)
        assert (job["state"], job["plate"], job["gcode_sha256"], job["estimated_run_seconds"]) == (
            "queued",
            plate,
            TEXT,
            100.0,
        )
        assert job["artifact_sha256"] == hashlib.sha256(content).hexdigest()
        text = (await client.get(f"/api/v1/files/{TEXT}/content")).text
        assert text == SOUND
        again = await send(client, content)
        assert again.json()["state"] == "queued"
        for each in (first, again):
            await client.post(f"/api/v1/jobs/{each.json()['job_id']}/cancel")


async def test_each_printer_gets_it_as_it_takes_it(gateway: TestedGateway, leads: Leadership) -> None:
    plane = gateway.plane
    await plane.add_printer("x1", abilities=Abilities(file_kinds=("gcode.3mf",)), driver="bambu")
    await plane.add_printer("mk4", abilities=Abilities(file_kinds=("bgcode",)), driver="prusalink")
    await plane.add_printer("plain", abilities=Abilities())
    given: dict[tuple[str, str], tuple[str, str, int, str]] = {}
    async with gateway.client() as client:
        for name, content in (("zip", TWO), ("binary", BINARY)):
            fields = {"plate": 2} if name == "zip" else {}
            job = await judged(gateway, leads, await send(client, content, quantity=3, **fields))
            for printer_id in ("x1", "mk4", "plain"):
                answer = await client.post(f"/api/v1/printers/{printer_id}/assign", json={"job_id": job["job_id"]})
                assert answer.status_code in (200, 201, 202), answer.text
            async with plane.farm.store.read() as look:
                all_wanted = await wanted(look, "host")
            for each in all_wanted:
                if each.run is not None:
                    file = each.run.file
                    assert each.run.run.artifact_sha256 == file.sha256
                    assert each.run.size_bytes == (len(content) if file.packed_kind else len(SOUND))
                    given[name, each.printer.printer_id] = (
                        file.sha256,
                        file.packed_kind,
                        file.plate,
                        file.gcode_sha256,
                    )
            packed, text = job["artifact_sha256"], job["gcode_sha256"]
            assert given[name, "plain"] == (text, "", 0, "")
            for run in (await client.get(f"/api/v1/jobs/{job['job_id']}/status")).json()["runs"]:
                assert run["artifact_sha256"] == given[name, run["printer_id"]][0]
            takes = "x1" if name == "zip" else "mk4"
            kind = "gcode.3mf" if name == "zip" else "bgcode"
            assert given[name, takes] == (packed, kind, 2 if name == "zip" else 0, text)
            other = "mk4" if name == "zip" else "x1"
            assert given[name, other] == (text, "", 0, "")
            # What a job will print is not deleted under its hands, in neither form.
            for sha256 in (packed, text):
                refused = await client.delete(f"/api/v1/files/{sha256}")
                assert (refused.status_code, refused.json()["code"]) in (
                    (409, "FILE_NEEDED"),
                    (403, "PERMISSION_DENIED"),
                )
            await client.post(f"/api/v1/jobs/{job['job_id']}/cancel")
        shown = (await client.get("/api/v1/printers/x1")).json()
        assert shown["abilities"]["file_kinds"] == ["gcode.3mf"]


@pytest.mark.parametrize(
    ("content", "plate", "why"),
    [
        pytest.param(TWO, None, "must say which plate to print: the file has 1, 2", id="not said"),
        pytest.param(TWO, 3, "the file has no plate 3; it has 1, 2", id="not there"),
        pytest.param(ONE, 2, "the file has no plate 2; it has 1", id="not the only one"),
        pytest.param(BINARY, 1, "is for sliced 3MF files (.gcode.3mf): leave it out", id="of binary G-code"),
        pytest.param(SOUND.encode(), 1, "is for sliced 3MF files (.gcode.3mf): leave it out", id="of plain G-code"),
    ],
)
async def test_a_wrong_plate_is_named(gateway: TestedGateway, content: bytes, plate: int | None, why: str) -> None:
    fields = {} if plate is None else {"plate": plate}
    async with gateway.client() as client:
        answer = await send(client, content, **fields)
        assert (answer.status_code, answer.json()["code"]) == (422, Code.INVALID_ARGUMENT.name), answer.text
        assert answer.json()["errors"] == [{"field": "plate", "fix": why}]
        sha256 = hashlib.sha256(content).hexdigest()
        estimate = await client.post("/api/v1/jobs/estimate", json={"artifact_sha256": sha256, **fields})
        assert (estimate.status_code, estimate.json()["errors"]) == (422, [{"field": "plate", "fix": why}])


@pytest.mark.parametrize("plate", [0, -1, 10_000, True, "1"])
async def test_a_plate_that_is_no_number_of_one(gateway: TestedGateway, plate: Any) -> None:
    async with gateway.client() as client:
        answer = await send(client, TWO, plate=plate)
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"].endswith("plate")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(sliced_3mf({1: SOUND + "M997\n"}), "line 7: M997 is not allowed", id="flashes, in a zip"),
        pytest.param(binary_gcode(SOUND + "M104 S999\n"), "line 7: M104 asks 999 C", id="too hot, in blocks"),
        pytest.param(
            sliced_3mf({1: SOUND}, {"Metadata/plate_1.gcode.md5": "0" * 32}), "its checksum is wrong", id="damaged"
        ),
        pytest.param(
            bgcode([bgcode_block(1, (b";" + b"x" * 1_022 + b"\n") * 1_024, (0,), 1)] * 4),
            "unpacks to more than",
            id="a bomb in blocks",
        ),
        pytest.param(
            bgcode([bgcode_block(1, SOUND.encode(), (7,))]), "unknown encoding 7", id="an encoding of its own"
        ),
    ],
)
async def test_what_is_within_fails_the_job_with_its_reason(
    gateway: TestedGateway, leads: Leadership, content: bytes, why: str
) -> None:
    async with gateway.client() as client:
        job = await judged(gateway, leads, await send(client, content))
        assert (job["state"], why in job["failure_reason"]) == ("failed", True), job
        estimate = await client.post("/api/v1/jobs/estimate", json={"artifact_sha256": job["artifact_sha256"]})
        assert estimate.status_code == 422 and why in estimate.json()["detail"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        pytest.param(sliced_3mf({1: b"G28\n" * (1 << 20)}), "200 times its size", id="46 zip bomb"),
        pytest.param(BINARY[:-20], "reaches past the end of the file", id="cut off"),
        pytest.param(b"GCDE" + b"\x09\0\0\0\0\0" + BINARY[10:], "version 9", id="another version"),
        pytest.param(BINARY.replace(b"Producer", b"producer"), "its checksum is wrong", id="a block that was changed"),
        pytest.param(ONE[:-30], "cut off", id="a zip without its end"),
        pytest.param(sliced_3mf({1: b""}), "no plate with G-code: slice it first", id="only a project"),
    ],
)
async def test_a_packing_that_is_wrong_is_refused_when_it_comes(
    gateway: TestedGateway, content: bytes, why: str
) -> None:
    async with gateway.client() as client:
        answer = await send(client, content)
        assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_MEDIA"), answer.text
        assert why in answer.json()["detail"]
        digest = hashlib.sha256(content).hexdigest()
        begun = await client.post("/api/v1/uploads", json={"size_bytes": len(content), "sha256": digest, "name": "a"})
        path = begun.headers["location"]
        await client.patch(path, content=content, headers={"Upload-Offset": "0"})
        answer = await client.post(f"{path}/finish")
        assert (answer.status_code, answer.json()["code"]) == (422, "UNSUPPORTED_MEDIA")
        assert (await client.get(f"/api/v1/files/{digest}")).status_code == 404


async def test_a_resumable_upload_knows_its_plates_and_a_dry_run_unpacks_it(
    gateway: TestedGateway, leads: Leadership
) -> None:
    content = sliced_3mf({3: SOUND.replace("X20", "X22"), 4: SOUND.replace("X20", "X23")})
    digest = hashlib.sha256(content).hexdigest()
    async with gateway.client() as client:
        begun = await client.post("/api/v1/uploads", json={"size_bytes": len(content), "sha256": digest, "name": "a"})
        path = begun.headers["location"]
        for at in (0, 700):
            sent = content[at : at + 700] if at == 0 else content[at:]
            await client.patch(path, content=sent, headers={"Upload-Offset": str(at)})
        assert (await client.post(f"{path}/finish")).status_code in (200, 201)
        estimate = (
            await client.post("/api/v1/jobs/estimate", json={"artifact_sha256": digest, "plate": 4, "quantity": 3})
        ).json()
        assert (estimate["plates"], estimate["run_seconds"], estimate["failure"]) == (3, 400.0, "")
        order = {"name": "plate four", "artifact_sha256": digest, "plate": 4}
        made = await client.post("/api/v1/jobs", json=order)
        assert (made.status_code, made.json()["state"]) == (202, "queued"), "the dry run has unpacked it"
        repeated = [
            await client.post("/api/v1/jobs", json=order | {"plate": plate}, headers={"Idempotency-Key": "plates"})
            for plate in (4, 4, 3)
        ]
        assert [each.status_code for each in repeated] == [202, 202, 422], "the plate is part of what was asked"


async def test_people_allow_what_was_found_within(gateway: TestedGateway, leads: Leadership) -> None:
    content = sliced_3mf({1: SOUND + "M117 <b>done</b>\n"})
    async with gateway.client() as ana, gateway.client("admin") as admin:
        job = await judged(gateway, leads, await send(ana, content))
        path = f"/api/v1/jobs/{job['job_id']}/overrides"
        seen = (await ana.get(path)).json()
        assert (seen["checked"], [f["rule"] for f in seen["findings"]], seen["needs_override"]) == (
            True,
            ["markup"],
            True,
        )
        assert (await ana.post(path, json={"reason": "harmless"})).json()["needs_override"] is True
        assert (await admin.post(path, json={"reason": "so it is"})).json()["needs_override"] is False
