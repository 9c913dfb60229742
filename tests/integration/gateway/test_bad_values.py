"""The catalogue of bad requests, 22 to 29: what the farm itself has to refuse, or to do once."""

import asyncio
from collections import Counter

import httpx
import pytest

from printfarm.control.v1 import event_service_pb2
from tests.support.gateway import TestedGateway, gateway_over

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOBS = "/api/v1/jobs"
RECEIVE = f"{JOBS}/receive"
LISTS = [JOBS, "/api/v1/runs", "/api/v1/printers", "/api/v1/agents", "/api/v1/files", "/api/v1/events"]
ADMIN_LISTS = ["/api/v1/audit", "/api/v1/keys", "/api/v1/users"]


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


async def jobs_named(client: httpx.AsyncClient, name: str) -> list[str]:
    answer = await client.get(JOBS, params={"name": name, "limit": 500})
    return [job["job_id"] for job in answer.json()["items"]]


# -- 22: Idempotency-Key


@pytest.mark.parametrize("key", ["k" * 10 * 1024, "k" * 256, "", "a\tb", "caf\xe9"])
async def test_22_a_key_that_is_none(gateway: TestedGateway, key: str) -> None:
    order = {"name": "bad-key", "artifact_sha256": await gateway.store()}
    async with gateway.client() as client:
        answer = await client.post(RECEIVE, json=order, headers=[("Idempotency-Key", key.encode("latin-1"))])  # type: ignore[list-item]
        assert code_of(answer) == (400, "INVALID_ARGUMENT")
        twice = await client.post(RECEIVE, json=order, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
        assert code_of(twice) == (400, "INVALID_ARGUMENT")
        assert await jobs_named(client, "bad-key") == []


async def test_22_the_same_key_answers_the_same_job_and_another_body_is_refused(gateway: TestedGateway) -> None:
    order = {"name": "same-key", "artifact_sha256": await gateway.store()}
    headers = {"Idempotency-Key": "same"}
    async with gateway.client() as client:
        first = await client.post(RECEIVE, json=order, headers=headers)
        second = await client.post(RECEIVE, json={**order, "quantity": 1}, headers=headers)
        assert (first.json()["repeated"], second.json()["repeated"]) == (False, True)
        assert first.json()["job_id"] == second.json()["job_id"]
        other = await client.post(RECEIVE, json={**order, "quantity": 2}, headers=headers)
        assert code_of(other) == (422, "IDEMPOTENCY_MISMATCH")
        assert await jobs_named(client, "same-key") == [first.json()["job_id"]]
        assert (await client.get(f"{JOBS}/{first.json()['job_id']}")).json()["quantity"] == 1
    # Another client's key of the same spelling is another key.
    async with gateway.client("admin") as client:
        assert (await client.post(RECEIVE, json=order, headers=headers)).json()["repeated"] is False


async def test_22_the_same_key_fifty_times_at_once_is_one_job(gateway: TestedGateway) -> None:
    order = {"name": "fifty", "artifact_sha256": await gateway.store()}
    async with gateway.client() as client:
        sent = [client.post(RECEIVE, json=order, headers={"Idempotency-Key": "fifty"}) for _ in range(50)]
        answers = await asyncio.gather(*sent)
        made = await jobs_named(client, "fifty")
    assert len(made) == 1
    assert {answer.json()["job_id"] for answer in answers if answer.status_code == 202} == set(made)
    assert {answer.status_code for answer in answers} <= {202, 409}


# -- 23, 24: pages


@pytest.mark.parametrize("path", LISTS + ADMIN_LISTS)
async def test_23_forged_and_foreign_cursors(gateway: TestedGateway, path: str) -> None:
    for _ in range(2):
        await gateway.submit(name="paged")
    async with gateway.client("admin") as client:
        page = (await client.get("/api/v1/jobs?limit=1")).json()
        foreign = page["next"]
        assert foreign
        cursors = ["forged", "0", "-1", "999999999999", "AAAA", "' OR 1=1--", "%00", "9" * 30, foreign[:-2] + "zz"]
        cursors += [foreign] if path != JOBS else []
        for cursor in cursors:
            answer = await client.get(path, params={"cursor": cursor})
            # A position is a number on purpose: the first one is nobody's secret.
            if path == "/api/v1/events" and cursor == "0":
                assert answer.status_code == 200
                continue
            assert code_of(answer) == (400, "INVALID_ARGUMENT"), (path, cursor)
            assert answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize("path", LISTS + ADMIN_LISTS)
async def test_24_limits_beyond_all_bounds(gateway: TestedGateway, path: str) -> None:
    async with gateway.client("admin") as client:
        for limit in ("1000000000", "0", "-1", "501", "1.5", "ten", "", "9" * 5_000, "1e3"):
            answer = await client.get(path, params={"limit": limit})
            assert code_of(answer) == (422, "INVALID_ARGUMENT"), (path, limit)
            assert answer.json()["errors"][0]["field"] == "limit"
        assert (await client.get(path, params={"limit": 500})).status_code == 200


async def test_pages_follow_each_other_without_gap_or_repetition(gateway: TestedGateway) -> None:
    made = [await gateway.submit(name=f"row-{number}") for number in range(5)]
    found: list[str] = []
    cursor: str | None = ""
    async with gateway.client("viewer") as client:
        while cursor is not None:
            page = (await client.get(JOBS, params={"name": "row-", "limit": 2, "cursor": cursor})).json()
            assert len(page["items"]) <= 2
            found += [job["job_id"] for job in page["items"]]
            cursor = page["next"]
    assert found == made[::-1]


# -- 25, 26: others' things, and filters


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/jobs/{id}"),
        ("GET", "/api/v1/jobs/{id}/status"),
        ("PATCH", "/api/v1/jobs/{id}"),
        ("POST", "/api/v1/jobs/{id}/cancel"),
        ("GET", "/api/v1/runs/{id}"),
        ("POST", "/api/v1/runs/{id}/pause"),
        ("GET", "/api/v1/printers/{id}"),
        ("POST", "/api/v1/printers/{id}/emergency-stop"),
        ("GET", "/api/v1/agents/{id}"),
        ("DELETE", "/api/v1/keys/{id}"),
    ],
)
async def test_25_ids_of_nothing(gateway: TestedGateway, method: str, path: str) -> None:
    odd = [
        "018f0000-0000-7000-8000-000000000000",
        "x",
        "' OR 1=1--",
        "..",
        "%2e%2e%2f",
        "%00",
        "a" * 5_000,
        "%F0%9F%98%80",
    ]
    async with gateway.client("admin") as client:
        for each in odd:
            answer = await client.request(method, path.replace("{id}", each), json={} if method != "GET" else None)
            assert answer.status_code in (404, 405, 422), (each, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


async def test_25_an_upload_of_another_client(gateway: TestedGateway) -> None:
    order = {"size_bytes": 10, "sha256": "0" * 64, "name": "mine.gcode"}
    second = {"X-API-Key": await _second_operator(gateway)}
    async with gateway.client() as mine, gateway.client("admin") as admin, gateway.client(headers=second) as other:
        path = (await mine.post("/api/v1/uploads", json=order)).headers["location"]
        assert (await mine.get(path)).status_code == 200
        assert code_of(await other.get(path)) == (404, "NOT_FOUND")
        written = await other.patch(path, content=b"x", headers={"Upload-Offset": "0"})
        assert code_of(written) == (404, "NOT_FOUND")
        assert code_of(await other.post(f"{path}/finish")) == (404, "NOT_FOUND")
        assert (await other.delete(path)).status_code == 204
        assert (await mine.get(path)).json()["offset"] == 0
        assert (await admin.get(path)).status_code == 200


async def _second_operator(gateway: TestedGateway) -> str:
    async with gateway.client("admin") as client:
        answer = await client.post("/api/v1/keys", json={"name": "second", "role": "operator"})
        return str(answer.json()["secret"])


async def test_26_filters_are_values(gateway: TestedGateway) -> None:
    await gateway.submit(name="there")
    evil = "' OR 1=1--"
    async with gateway.client("admin") as client:
        for path, name in ((JOBS, "state"), ("/api/v1/runs", "state"), ("/api/v1/printers", "state")):
            assert code_of(await client.get(path, params={name: evil})) == (422, "INVALID_ARGUMENT")
        for path, name in (
            (JOBS, "name"),
            (JOBS, "client"),
            ("/api/v1/runs", "job_id"),
            ("/api/v1/runs", "printer_id"),
            ("/api/v1/printers", "agent_id"),
            ("/api/v1/events", "subject_id"),
            ("/api/v1/events", "type"),
            ("/api/v1/audit", "subject_id"),
        ):
            for value in (evil, "%", "_", "*", "(a+)+$" * 8, "\\"):
                answer = await client.get(path, params={name: value})
                assert answer.status_code == 200, (path, name, value, answer.text)
                assert answer.json()["items"] == [], (path, name, value)
            assert code_of(await client.get(path, params={name: "x" * 2_000}))[0] == 422
        assert len((await client.get(JOBS, params={"name": "there"})).json()["items"]) == 1


# -- 27, 28


async def test_27_ranges(gateway: TestedGateway) -> None:
    content = b"; head\n" + b"G1 X1 Y1 F3000\n" * 500
    sha256 = await gateway.store(content)
    path = f"/api/v1/files/{sha256}/content"
    async with gateway.client("viewer") as client:
        whole = await client.get(path)
        assert (whole.status_code, whole.content) == (200, content)
        assert whole.headers["content-disposition"].startswith("attachment;")
        assert whole.headers["content-type"] == "application/octet-stream"
        for asked, first, last in (
            ("0-9", 0, 9),
            ("5-", 5, len(content) - 1),
            ("-7", len(content) - 7, len(content) - 1),
        ):
            part = await client.get(path, headers={"Range": f"bytes={asked}"})
            assert (part.status_code, part.content) == (206, content[first : last + 1])
            assert part.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"
        beyond = await client.get(path, headers={"Range": f"bytes=0-{10**17}"})
        assert (beyond.status_code, beyond.content) == (206, content)
        many = ",".join(["0-0"] * 8_000)
        for bad in (
            f"bytes={many}",
            "bytes=9-5",
            f"bytes={len(content)}-",
            "bytes=-0",
            "bytes=",
            "bytes=-",
            "lines=1-2",
            "x",
        ):
            answer = await client.get(path, headers={"Range": bad})
            assert code_of(answer) == (416, "MALFORMED"), bad
            assert answer.headers["content-range"] == f"bytes */{len(content)}"


async def test_28_what_the_client_says_of_itself_changes_no_limit(gateway: TestedGateway) -> None:
    async with gateway_over(gateway.plane, gateway.keys, requests_per_minute=5) as strict:
        seen = Counter[int]()
        async with strict.client(None) as client:
            for number in range(12):
                spoof = {
                    "X-Forwarded-For": f"10.0.0.{number}",
                    "X-Real-IP": f"10.0.1.{number}",
                    "Forwarded": f"for=10.0.2.{number}",
                    "Host": f"host{number}.example",
                }
                answer = await client.get("/health", headers=spoof)
                seen[answer.status_code] += 1
            assert code_of(answer) == (429, "RATE_LIMITED")
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert seen == {200: 5, 429: 7}


async def test_28_a_known_proxy_is_believed(gateway: TestedGateway) -> None:
    limits = {"requests_per_minute": 1, "trusted_proxies": "127.0.0.1"}
    async with gateway_over(gateway.plane, gateway.keys, **limits) as behind, behind.client(None) as client:
        first = await client.get("/health", headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.1"})
        again = await client.get("/health", headers={"X-Forwarded-For": "7.7.7.7, 10.0.0.1"})
        other = await client.get("/health", headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.2"})
    assert (first.status_code, again.status_code, other.status_code) == (200, 429, 200)


async def test_28_links_do_not_follow_the_host(gateway: TestedGateway) -> None:
    order = {"name": "host", "artifact_sha256": await gateway.store()}
    headers = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher"}
    async with gateway.client(headers=headers) as client:
        made = await client.post(RECEIVE, json=order)
        assert made.headers["location"].startswith("/api/v1/jobs/")
        for path in ("/api/v1/jobs/", "/docs", "/openapi.json", "/"):
            answer = await client.get(path)
            assert "evil.example" not in answer.text + str(answer.headers)
            assert answer.status_code in (200, 404)


# -- 29


async def test_29_cancelled_a_hundred_times_at_once_is_cancelled_once(gateway: TestedGateway) -> None:
    job_id = await gateway.submit(name="cancelled", quantity=3)
    async with gateway.client() as client:
        sent = [client.post(f"{JOBS}/{job_id}/cancel", json={"reason": "enough"}) for _ in range(100)]
        answers = await asyncio.gather(*sent)
        assert {answer.status_code for answer in answers} <= {200, 202}
        assert {answer.json()["state"] for answer in answers} == {"cancelled"}
        assert (await client.get(f"{JOBS}/{job_id}/status")).json()["state"] == "cancelled"
    await gateway.plane.position()
    events = gateway.plane.operator.events
    request = event_service_pb2.ListEventsRequest(subject_id=job_id, page_size=500)
    types = Counter(event.type for event in (await gateway.plane.operator(events.ListEvents, request)).events)
    assert types["job.cancelled"] == 1
    async with gateway.client("admin") as client:
        rows = (await client.get("/api/v1/audit", params={"subject_id": job_id})).json()["items"]
    # Nothing of it had moved or heated: there may be no row, and never a hundred.
    assert len([row for row in rows if "cancel" in row["action"]]) <= 1
