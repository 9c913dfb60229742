"""Printers, runs, figures, health and the page, over real control services."""

import re

import httpx
import pytest

from printfarm_coordinator.domain.run import Fact
from tests.support.gateway import TestedGateway, gateway_over

pytestmark = pytest.mark.asyncio(loop_scope="module")


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def test_a_run_from_assignment_to_its_sign_off(gateway: TestedGateway) -> None:
    await gateway.plane.add_printer("p1")
    job_id = await gateway.submit(name="one", quantity=2, parts_per_plate=2)
    async with gateway.client() as client:
        assigned = await client.post("/api/v1/printers/p1/assign", json={"job_id": job_id})
        assert assigned.status_code == 202, assigned.text
        run_id = assigned.json()["run_id"]
        again = await client.post("/api/v1/printers/p1/assign", json={"job_id": job_id})
        assert again.status_code == 409
        for path in (f"/api/v1/runs/{run_id}", "/api/v1/printers/p1"):
            assert (await client.get(path)).status_code == 200
        listed = (await client.get("/api/v1/runs", params={"job_id": job_id, "state": "offered"})).json()
        assert [run["run_id"] for run in listed["items"]] == [run_id]
        status = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()
        assert [(run["run_id"], run["printer_id"], run["verified"]) for run in status["runs"]] == [(run_id, "p1", None)]
        early = await client.post(f"/api/v1/runs/{run_id}/verdict", json={"good_parts": 2})
        assert code_of(early) == (409, "ILLEGAL_STATE")
        await gateway.plane.report(run_id, Fact.ACCEPTED)
        cancelled = await client.post(f"/api/v1/runs/{run_id}/cancel", json={"reason": "wrong colour"})
        assert cancelled.status_code == 202
        assert cancelled.json()["state"] in ("cancelled", "cancelling")
        # What this gateway told is what its status says, however shortly before it was asked for.
        status = (await client.get(f"/api/v1/jobs/{job_id}/status")).json()
        assert status["runs"][0]["state"] == cancelled.json()["state"]


async def test_the_gates_of_a_printer(gateway: TestedGateway) -> None:
    await gateway.plane.add_printer("p2")
    async with gateway.client() as client:
        held = (await client.post("/api/v1/printers/p2/hold", json={"reason": "new nozzle"})).json()
        assert (held["gates"]["held"], held["gates"]["hold_reason"]) == (True, "new nozzle")
        assert (await client.post("/api/v1/printers/p2/release")).json()["gates"]["held"] is False
        changed = await client.patch("/api/v1/printers/p2", json={"material": "PETG", "tags": ["b", "a"]})
        assert changed.json()["abilities"]["material"] == "PETG"
        old = await client.patch("/api/v1/printers/p2", json={"name": "x", "version": held["version"] - 1})
        assert old.status_code in (409, 422)
        stopped = await client.post("/api/v1/printers/p2/emergency-stop", json={"reason": "smoke"})
        assert stopped.status_code == 202
        assert stopped.json()["gates"]["emergency_stopped"] is True
        released = await client.post("/api/v1/printers/p2/release")
        assert released.status_code in (200, 409)
    async with gateway.client("admin") as client:
        rows = (await client.get("/api/v1/audit", params={"subject_id": "p2"})).json()["items"]
        assert "smoke" in [row["reason"] for row in rows]
        assert {row["actor"] for row in rows} == {"key/operator"}
        assert all(len(row["hash"]) == 64 for row in rows)


async def test_a_job_is_held_changed_and_released(gateway: TestedGateway) -> None:
    job_id = await gateway.submit(name="held")
    async with gateway.client() as client:
        held = (await client.post(f"/api/v1/jobs/{job_id}/hold", json={"reason": "wait for the customer"})).json()
        assert held["held"] is True
        due = {"due_at": "2030-01-01T01:00:00+01:00", "priority": 7, "version": held["version"]}
        changed = await client.patch(f"/api/v1/jobs/{job_id}", json=due)
        assert changed.json()["due_at"].startswith("2030-01-01T00:00:00")
        assert code_of(await client.patch(f"/api/v1/jobs/{job_id}", json=due)) == (409, "VERSION_CONFLICT")
        cleared = (await client.patch(f"/api/v1/jobs/{job_id}", json={"due_at": None})).json()
        assert (cleared["due_at"], cleared["priority"]) == (None, 7)
        assert (await client.post(f"/api/v1/jobs/{job_id}/release")).json()["held"] is False


async def test_figures(gateway: TestedGateway) -> None:
    await gateway.submit(name="counted")
    async with gateway.client("viewer") as client:
        stats = (await client.get("/api/v1/dashboard/stats")).json()
        assert sum(stats["jobs_by_state"].values()) >= 1
        usage = await client.get("/api/v1/analytics/utilization")
        assert 0 <= usage.json()["utilization"] <= 1
        for query in ("start=x", "end=2200-01-01T00:00:00Z", "start=2026-01-02T00:00:00Z&end=2026-01-01T00:00:00Z"):
            assert (await client.get(f"/api/v1/analytics/utilization?{query}")).status_code == 422
        assert code_of(await client.get("/api/v1/analytics/utilization?printer_id=none")) == (404, "NOT_FOUND")


async def test_agents_and_their_tokens(gateway: TestedGateway) -> None:
    async with gateway.client("admin") as client:
        made = await client.post("/api/v1/agents/new-host/enrollment-token")
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        assert made.json()["ca_sha256"] == gateway.plane.authority.fingerprint
        assert (await client.post("/api/v1/agents/Bad%20Name/enrollment-token")).status_code == 422


async def test_health_and_metrics(gateway: TestedGateway) -> None:
    await gateway.plane.add_printer("p3")
    async with gateway.client(None) as client:
        assert (await client.get("/health")).json()["status"] == "ok"
        detailed = (await client.get("/health/detailed")).json()
        names = [component["component"] for component in detailed["components"]]
        assert {"database", "message_broker", "cache", "agents", "printers", "storage", "coordinator"} <= set(names)
        assert len(names) == len(set(names))
        text = (await client.get("/metrics")).text
    for name in (
        "printfarm_jobs_total",
        "printfarm_jobs_duration_seconds",
        "printfarm_printer_utilization",
        "printfarm_quality_failures_total",
        "printfarm_http_seconds_bucket",
    ):
        assert f"# HELP {name.removesuffix('_bucket')}" in text, name
    assert "printfarm_coordinator_up 1.0" in text
    assert 'printfarm_printer_utilization{printer="p3"}' in text


async def test_without_a_coordinator_everything_says_so(gateway: TestedGateway) -> None:
    async with (
        gateway_over(gateway.plane, gateway.keys, control_target="127.0.0.1:1") as alone,
        alone.client() as client,
    ):
        assert (await client.get("/health")).status_code == 200
        for method, path in (
            ("GET", "/api/v1/jobs"),
            ("POST", "/api/v1/jobs/receive"),
            ("GET", "/api/v1/events/stream"),
        ):
            answer = await client.request(method, path)
            assert code_of(answer) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) >= 1
        detailed = (await client.get("/health/detailed")).json()
        assert detailed["status"] == "down"
        assert {"component": "coordinator", "status": "down"}.items() <= detailed["components"][0].items()
        metrics = await client.get("/metrics")
        assert "printfarm_coordinator_up 0.0" in metrics.text


async def test_every_error_is_a_problem_document(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("GET", "/api/v1/jobs/", 404),
            ("DELETE", "/api/v1/jobs", 405),
            ("POST", "/health", 405),
            ("PUT", "/docs", 405),
            ("GET", "/docs-assets/nothing.js", 404),
        ):
            answer = await client.request(method, path)
            assert answer.status_code == status
            body = answer.json()
            assert set(body) >= {"type", "title", "status", "detail", "instance", "code", "request_id"}
            assert code_of(answer)[0] == body["status"] == status
            if status == 405:
                assert answer.headers["allow"]


async def test_request_ids_go_along_and_come_back(gateway: TestedGateway) -> None:
    async with gateway.client() as client:
        sane = await client.get("/api/v1/me", headers={"X-Request-ID": "order-4711_a"})
        assert sane.headers["x-request-id"] == "order-4711_a"
        for odd in ("a b", "x" * 65, "", "<script>", "a\tb"):
            given = await client.get("/api/v1/me", headers={"X-Request-ID": odd})
            assert re.fullmatch(r"[0-9a-f]{32}", given.headers["x-request-id"])


async def test_the_page_and_the_documentation_need_nothing_from_elsewhere(gateway: TestedGateway) -> None:
    async with gateway.client(None) as client:
        for path in (
            "/",
            "/page.js",
            "/page-cards.js",
            "/page-dom.js",
            "/page.css",
            "/docs",
            "/redoc",
            "/openapi.json",
        ):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert not re.search(r"https?:(?!//www\.w3\.org)", policy)
            assert not re.search(r"""(?:src|href)=["'](?:https?:)?//""", answer.text), path
            for asset in re.findall(r"""(?:src|href)=["'](/[^"']+)""", answer.text):
                assert (await client.get(asset)).status_code == 200, asset
        page = await client.get("/")
        assert "unsafe" not in page.headers["content-security-policy"]
        scripts = [(await client.get(f"/page{part}.js")).text for part in ("", "-cards", "-dom")]
        for way_to_markup in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "localStorage",
        ):
            assert way_to_markup not in "".join(scripts)


async def test_no_answer_lets_another_site_in(gateway: TestedGateway) -> None:
    async with gateway.client(headers={"Origin": "http://evil.example"}) as client:
        for answer in (await client.get("/api/v1/me"), await client.options("/api/v1/me")):
            assert not [name for name in answer.headers if name.startswith("access-control-")]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
