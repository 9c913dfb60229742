"""Print files that no printer, or not this one, or nobody without two people's word may print. Bad inputs 54 to 64 by REST."""

import hashlib
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import pytest_asyncio

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_coordinator.app.assign import assign_once
from printfarm_coordinator.app.farm import Caller
from printfarm_coordinator.app.jobs import assign_job, explain_job
from printfarm_coordinator.app.judging import Judge
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.domain.abilities import Abilities
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.safety_policy import policy_of
from printfarm_files import Kind
from printfarm_files.inspecting import SMALL_BYTES
from printfarm_files.safety import RULES, Inspection
from printfarm_rpc.errors import Code
from tests.support.gateway import TestedGateway

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOUND = "G28\nM104 S210\nG1 X10 Y10 Z0.2 F3000\nG1 X20 Y10 E1\nM104 S0\n"
LARGE = SOUND + "G1 X11 Y11 E2\n" * (SMALL_BYTES // 14 + 10) + "M104 S0\n"
MARKUP = SOUND + "M117 <b>done</b>\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def leads(gateway: TestedGateway) -> AsyncGenerator[Leadership]:
    leadership = Leadership("test")
    await leadership.prolong(gateway.plane.farm)
    yield leadership


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ben(gateway: TestedGateway) -> str:
    """The key of one more operator."""
    operator = gateway.plane.operator
    request = pb.CreateApiKeyRequest(name="ben", role=pb.ROLE_OPERATOR)
    return str((await operator(operator.access.CreateApiKey, request)).secret)


async def send(client: httpx.AsyncClient, content: str | bytes, **fields: Any) -> httpx.Response:
    job = json.dumps({"name": "part", **fields})
    body = content if isinstance(content, bytes) else content.encode()
    return await client.post("/api/v1/jobs/receive", files={"job": (None, job), "file": ("a.gcode", body)})


async def sent(client: httpx.AsyncClient, content: str | bytes, **fields: Any) -> str:
    answer = await send(client, content, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        pytest.param("G1 X1\b", "has a control character", id="54 control characters"),
        pytest.param("; a\rM104 S999", "M104 asks 999 C", id="54 behind a carriage return"),
        pytest.param("M104 S999", "M104 asks 999 C of the hotend", id="55 hotend"),
        pytest.param("M140 S200", "M140 asks 200 C of the bed", id="55 bed"),
        pytest.param("M109 R999", "M109 asks 999 C", id="55 R"),
        pytest.param("M502", "M502 is not allowed", id="56 settings"),
        pytest.param("M303 E0 S200", "M303 is not allowed", id="56 tuning"),
        pytest.param("M997", "M997 is not allowed", id="57 flashing"),
        pytest.param("M28 a.gco", "M28 is not allowed", id="57 files"),
        pytest.param("M42 P4 S255", "M42 is not allowed", id="57 pins"),
        pytest.param("M112", "M112 is not allowed", id="57 emergency"),
        pytest.param("M211 S0", "M211 is not allowed", id="58 soft end stops"),
        pytest.param("M302 P1", "M302 is not allowed", id="58 cold extrusion"),
        pytest.param("RUN_SHELL_COMMAND CMD=x", "RUN_SHELL_COMMAND is not allowed", id="59 shell"),
        pytest.param("SET_FAN S={printer.x}", "has an expression", id="59 jinja"),
        pytest.param("M118 A1 action:cancel", "M118 with an action for the host", id="60 host action"),
        pytest.param("; @pause", "a comment that tells a host", id="61 host command in a comment"),
        pytest.param("m 1 0 4 s 9 9 9", "M104 asks 999 C", id="62 spaces and lower case"),
        pytest.param("N10 M104S999*33", "M104 asks 999 C", id="62 number and checksum"),
    ],
)
async def test_a_line_that_no_printer_may_run(gateway: TestedGateway, line: str, word: str) -> None:
    before = {path for path in (gateway.plane.folder / "artifacts").rglob("*") if path.is_file()}
    async with gateway.client() as client:
        answer = await send(client, f"G28\n{line}\nG28\n")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, Code.UNSAFE_FILE.name)
    assert [error["field"] for error in problem["errors"]] == ["file"]
    assert problem["errors"][0]["fix"].startswith(f"line 2: {word}")
    assert f"line 2: {word}" in problem["detail"]
    assert {path for path in (gateway.plane.folder / "artifacts").rglob("*") if path.is_file()} == before


async def test_64_a_file_that_ends_while_it_prints(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        answer = await send(client, "G28\nM104 S210\nG1 X10 E1 F1500\n")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["fix"].startswith(
        "line 3: the file ends while it extrudes, with the hotend at 210 C"
    )


async def test_the_first_findings_are_told_and_all_are_counted(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        answer = await send(client, SOUND + "M997\n" * 25)
    problem = answer.json()
    assert [error["fix"][:8] for error in problem["errors"]] == [f"line {n}: "[:8] for n in range(6, 16)]
    assert problem["detail"].endswith("and 22 more")


async def test_what_is_found_in_an_endless_line_is_told_in_part(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        answer = await send(client, SOUND + ("@" + "A" * 20_000 + "\n") * 3)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, Code.UNSAFE_FILE.name)
    assert [error["fix"][:8] for error in problem["errors"]] == ["line 6: ", "line 7: ", "line 8: "]
    assert max(len(error["fix"]) for error in problem["errors"]) <= 300


async def test_a_resumable_upload_is_refused_when_it_is_whole(gateway: TestedGateway) -> None:
    content = b"G28\nM997 ; resumable\n"
    async with gateway.client() as client:
        digest = hashlib.sha256(content).hexdigest()
        begun = await client.post("/api/v1/uploads", json={"size_bytes": len(content), "sha256": digest, "name": "a"})
        path = begun.headers["location"]
        await client.patch(path, content=content, headers={"Upload-Offset": "0"})
        answer = await client.post(f"{path}/finish")
        assert (answer.status_code, answer.json()["code"]) == (422, Code.UNSAFE_FILE.name)
        assert (await client.get(f"/api/v1/files/{digest}")).status_code == 404


async def test_a_large_file_is_looked_at_behind_its_answer(gateway: TestedGateway, leads: Leadership) -> None:
    """54, too: a line of 10 MB."""
    farm = gateway.plane.farm
    endless = SOUND.encode() + b"; " + b"x" * 10_000_000 + b"\n"
    async with gateway.client() as client:
        good, bad = await sent(client, LARGE), await sent(client, LARGE.replace("X11", "X12", 1) + "M997\n")
        long = await sent(client, endless)
        for job_id in (good, bad, long):
            status = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()
            assert status["state"] == "preparing"
            assert status["waiting"]["summary"].startswith(("Its file is being checked", "No agent has declared"))
            found = (await client.get(f"/api/v1/jobs/{job_id}/overrides")).json()
            assert (found["checked"], found["findings"]) == (False, [])
        while await Judge(farm, leads).once():
            pass
        states = [(await client.get(f"/api/v1/jobs/{job_id}")).json() for job_id in (good, bad, long)]
        assert [job["state"] for job in states] == ["queued", "failed", "failed"]
        assert "line 4698: M997 is not allowed in a print file: it flashes the firmware" in states[1]["failure_reason"]
        assert "line 6: longer than 65536 bytes" in states[2]["failure_reason"]
        # What is known is told at once.
        again = await send(client, LARGE.replace("X11", "X12", 1) + "M997\n")
        assert (again.status_code, again.json()["code"]) == (422, Code.UNSAFE_FILE.name)
        assert (await send(client, LARGE)).json()["state"] == "queued"
    assert await Judge(farm, leads).once() == 0


async def test_names_of_a_file_as_long_as_its_lines_hold_nobody_up(gateway: TestedGateway, leads: Leadership) -> None:
    endless = SOUND.encode() + b"".join(b"A%b%d\n" % (b"B" * 2_500, n) for n in range(1_900)) + b"M104 S0\n"
    async with gateway.client() as client:
        first = await sent(client, endless, priority=100)
        behind = await sent(client, LARGE.replace("X11", "X13", 1))
        while await Judge(gateway.plane.farm, leads).once():
            pass
        states = [(await client.get(f"/api/v1/jobs/{job_id}")).json()["state"] for job_id in (first, behind)]
        assert states == ["queued", "queued"]
        seen = (await client.get(f"/api/v1/jobs/{first}/overrides")).json()
        assert seen["needs_override"] is True
        assert len(seen["findings"]) < 300
        asked = {"artifact_sha256": seen["artifact_sha256"]}
        assert (await client.post("/api/v1/jobs/estimate", json=asked)).status_code == 200
        await client.post(f"/api/v1/jobs/{first}/cancel")


class _OneFailing:
    """Stored files, one of which a reader makes a mistake with."""

    def __init__(self, blobs: Any, failing: str) -> None:
        self._blobs, self._failing = blobs, failing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._blobs, name)

    async def inspect(self, sha256: str, kind: Kind) -> Inspection:
        if sha256 == self._failing:
            raise ValueError("nobody has thought of it")
        found: Inspection = await self._blobs.inspect(sha256, kind)
        return found


async def test_a_file_that_nobody_has_thought_of_holds_up_no_other(gateway: TestedGateway, leads: Leadership) -> None:
    odd = LARGE.replace("X11", "X14", 1)
    farm = gateway.plane.farm
    failing = replace(farm, blobs=_OneFailing(farm.blobs, hashlib.sha256(odd.encode()).hexdigest()))
    async with gateway.client() as client:
        first = await sent(client, odd, priority=100)
        behind = await sent(client, LARGE.replace("X11", "X15", 1))
        await Judge(failing, leads).once()
        states = [(await client.get(f"/api/v1/jobs/{job_id}")).json()["state"] for job_id in (first, behind)]
        assert states == ["preparing", "queued"]
        await Judge(farm, leads).once()
        assert (await client.get(f"/api/v1/jobs/{first}")).json()["state"] == "queued"


async def test_63_a_file_for_another_printer_says_why_on_each(gateway: TestedGateway, leads: Leadership) -> None:
    plane = gateway.plane
    made = {
        "mk3": Abilities(model="MK3S", nozzle_diameter_mm=0.4, material="PLA", volume_mm=(250.0, 210.0, 210.0)),
        "mk3-big": Abilities(model="MK3S", nozzle_diameter_mm=0.6, material="PETG", volume_mm=(250.0, 210.0, 210.0)),
        "ender": Abilities(model="Ender-3", nozzle_diameter_mm=0.6, material="PETG", most_celsius=(200.0, 60.0, 0.0)),
        "small": Abilities(model="MK3S", volume_mm=(100.0, 100.0, 100.0)),
    }
    for printer_id, abilities in made.items():
        await plane.add_printer(printer_id, abilities=abilities)
    told = "; printer_model = MK3S\n; nozzle_diameter = 0.6\n; filament_type = PETG\n; filament used [mm] = 100\n"
    content = f"; generated by PrusaSlicer 2.5.0\n{SOUND.replace('X20', 'X200')}{told}"
    async with gateway.client() as client:
        job_id = await sent(client, content)
        waiting = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()["waiting"]
        codes: dict[str, set[str]] = {}
        for reason in waiting["reasons"]:
            codes.setdefault(reason["printer_id"], set()).add(reason["code"])
        assert waiting["eligible_printer_ids"] == ["mk3-big"]
        assert codes == {
            "mk3": {"nozzle", "material"},
            "ender": {"printer_model", "temperature"},
            "small": {"exceeds_volume"},
        }
        # The client knows better: then the file's own word is not asked.
        wanted = {"nozzle_diameter_mm": 0.4, "material": "PLA", "printer_model": "MK3S"}
        changed = await client.patch(f"/api/v1/jobs/{job_id}", json={"requirements": wanted})
        assert changed.json()["requirements"]["printer_model"] == "MK3S"
        waiting = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()["waiting"]
        assert waiting["eligible_printer_ids"] == ["mk3"]
        # A dry run says the same.
        asked = {"artifact_sha256": changed.json()["artifact_sha256"]}
        estimate = (await client.post("/api/v1/jobs/estimate", json=asked)).json()
        assert estimate["able_printer_ids"] == ["mk3-big"]
        await client.post(f"/api/v1/jobs/{job_id}/cancel")


async def test_two_people_allow_what_was_found_and_it_is_on_record(
    gateway: TestedGateway, leads: Leadership, ben: str
) -> None:
    plane, farm = gateway.plane, gateway.plane.farm
    await plane.add_printer("p-over")
    async with gateway.client() as ana, gateway.client("viewer") as viewer, gateway.client("admin") as admin:
        job_id = await sent(ana, MARKUP, quantity=2)
        path = f"/api/v1/jobs/{job_id}/overrides"
        status = (await ana.get(f"/api/v1/jobs/{job_id}/status")).json()
        assert status["state"] == "queued"
        why = {r["printer_id"]: r["code"] for r in status["waiting"]["reasons"]}
        assert why["p-over"] == "needs_override"
        seen = (await viewer.get(path)).json()
        [finding] = seen["findings"]
        assert (finding["line"], finding["command"], finding["rule"], finding["answer"]) == (
            6,
            "M117",
            "markup",
            "operator",
        )
        assert (seen["checked"], seen["needs_override"], finding["allowed_by"]) == (True, True, [])
        assert (await viewer.post(path, json={"reason": "looks fine"})).status_code == 403
        assert (await ana.post(path, json={"reason": " "})).status_code == 422
        assert (await ana.post(path, json={})).status_code == 422

        # One person, twice, is one person.
        for _ in range(2):
            seen = (await ana.post(path, json={"reason": "bold is harmless"})).json()
        assert (seen["needs_override"], seen["findings"][0]["allowed_by"]) == (True, ["key/operator"])
        assert len(seen["overrides"]) == 1
        refused = await ana.post("/api/v1/printers/p-over/assign", json={"job_id": job_id})
        assert (refused.status_code, refused.json()["code"]) == (409, "PRINTER_NOT_ELIGIBLE")

        async with gateway.client(None, {"X-API-Key": ben}) as second:
            seen = (await second.post(path, json={"reason": "seen on the display"})).json()
            assert (seen["needs_override"], seen["findings"][0]["allowed_by"]) == (False, ["key/ben", "key/operator"])
            # Until a run starts, a word can be taken back: what was offered is, too.
            assigned = await ana.post("/api/v1/printers/p-over/assign", json={"job_id": job_id})
            assert assigned.status_code in (200, 201, 202), assigned.text
            mine = seen["overrides"][1]["override_id"]
            foreign = await ana.delete(f"{path}/{mine}")
            assert foreign.status_code == 403
            seen = (await second.delete(f"{path}/{mine}")).json()
            assert (seen["needs_override"], seen["overrides"][1]["revoked_by"]) == (True, "key/ben")
            assert (await second.delete(f"{path}/{mine}")).status_code == 200
            assert (await second.delete(f"{path}/{job_id}")).status_code == 404
            [run] = (await ana.get(f"/api/v1/jobs/{job_id}/status")).json()["runs"]
            assert run["state"] == "cancelled"
        seen = (await admin.post(path, json={"reason": "I looked at it"})).json()
        assert seen["needs_override"] is False
        eligible = (await ana.get(f"/api/v1/jobs/{job_id}/status")).json()["waiting"]["eligible_printer_ids"]
        assert "p-over" in eligible

        # The same file in another job is another question.
        other = await sent(ana, MARKUP)
        assert (await ana.get(f"/api/v1/jobs/{other}/overrides")).json()["needs_override"] is True
        rows = (await admin.get(f"/api/v1/audit?subject_id={job_id}&limit=50")).json()["items"]
    sha256 = seen["artifact_sha256"]
    told = [(row["action"], row["actor"]) for row in rows if row["action"].startswith("job.override")]
    assert told == [
        ("job.override", "key/admin"),
        ("job.override_revoked", "key/ben"),
        ("job.override", "key/ben"),
        ("job.override", "key/operator"),
    ]
    reason = next(row["reason"] for row in rows if row["actor"] == "key/operator" and row["action"] == "job.override")
    assert reason == f"bold is harmless [file {sha256}, rules {RULES}: line 6 markup M117]"
    assert await assign_once(farm, leads) == [], "no agent is attached"


async def test_other_rules_judge_again_before_anything_is_offered(gateway: TestedGateway, leads: Leadership) -> None:
    farm = gateway.plane.farm
    async with gateway.client() as client:
        job_id = await sent(client, MARKUP, name="again")
        printer = (await gateway.plane.add_printer("p-again")).printer_id
        lax = replace(farm, safety=policy_of("markup=allow"))
        good = await sent(client, SOUND, name="good")
        assert [o.code for o in (await explain_job(farm, good)).reasons[printer]] == []
        assert [o.code for o in (await explain_job(lax, good)).reasons[printer]] == ["checking"]
        with pytest.raises(RuleError, match="being checked"):
            await assign_job(lax, Caller("ana", Role.OPERATOR), good, printer, "")
        assert await Judge(lax, leads).once(new_only=True) == 0
        assert await Judge(lax, leads).once() > 0
        assert printer in (await explain_job(lax, job_id)).eligible
        # And back: what was allowed by the policy is asked again.
        while await Judge(farm, leads).once():
            pass
        waiting = (await explain_job(farm, job_id)).reasons[printer]
        assert [o.code for o in waiting] == ["needs_override"]
        await client.post(f"/api/v1/jobs/{job_id}/cancel")


async def test_what_nobody_may_or_need_allow(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        job_id = await sent(client, SOUND + "M600\n")
        path = f"/api/v1/jobs/{job_id}/overrides"
        seen = (await client.get(path)).json()
        assert [(f["rule"], f["answer"]) for f in seen["findings"]] == [("needs_person", "allow")]
        assert seen["needs_override"] is False
        answer = await client.post(path, json={"reason": "why not"})
        assert (answer.status_code, answer.json()["code"]) == (409, "ILLEGAL_STATE")
        assert (await client.get("/api/v1/jobs/none/overrides")).status_code == 404
        await client.post(f"/api/v1/jobs/{job_id}/cancel")
        assert (await client.post(path, json={"reason": "too late"})).status_code == 409
