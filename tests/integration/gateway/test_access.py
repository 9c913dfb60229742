"""Who may do what, how often, and for how long a yes is remembered."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import Request

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_gateway.auth import REMEMBERED_SECONDS, Authenticator
from printfarm_gateway.control_client import ControlClient
from printfarm_gateway.problems import Problem
from printfarm_gateway.ratelimits import RateLimits
from printfarm_gateway.roles import LEAST_ROLE, OPEN, RANK
from printfarm_gateway.tokens import Tokens
from printfarm_rpc.errors import FarmError
from tests.support.gateway import JWT_SECRET, TestedGateway, gateway_over

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWORD = "correct horse battery"


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def filled(path: str) -> str:
    """With ids that nothing has."""
    ids = {"sha256": "0" * 64, "upload_id": "018f0000-0000-7000-8000-000000000000"}
    for name in ("job_id", "run_id", "printer_id", "agent_id", "key_id", "name", *ids):
        path = path.replace("{" + name + "}", ids.get(name, "nothing"))
    return path


@pytest.mark.parametrize("role", [None, *RANK])
async def test_every_route_refuses_who_may_not(gateway: TestedGateway, role: str | None) -> None:
    async with gateway.client(role) as client:
        for (method, path), least in LEAST_ROLE.items():
            if path.endswith("/stream"):
                continue
            answer = await client.request(method, filled(path), json={} if method in ("POST", "PATCH") else None)
            where = f"{method} {path} as {role}: {answer.status_code} {answer.text}"
            if role is None:
                assert answer.status_code == 401, where
            elif RANK[role] < RANK[least]:
                assert answer.status_code == 403, where
            else:
                assert answer.status_code not in (401, 403, 500), where


async def test_what_is_open_is_open(gateway: TestedGateway) -> None:
    async with gateway.client(None) as client:
        for method, path in OPEN:
            answer = await client.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code in (200, 422), path


async def test_who_may_not_is_refused_before_the_body_is_read(gateway: TestedGateway) -> None:
    # The body never comes; the answer does.
    length = ("Content-Type: application/json", "Content-Length: 1000")
    stranger = await gateway.raw(gateway.head("POST", "/api/v1/jobs/receive", *length, role=None))
    viewer = await gateway.raw(gateway.head("POST", "/api/v1/jobs/receive", *length, role="viewer"))
    assert (stranger.status, viewer.status) == (401, 403)


async def test_failed_attempts_shut_a_source_out_but_not_who_was_there_before(gateway: TestedGateway) -> None:
    async with (
        gateway_over(gateway.plane, gateway.keys, failures_per_minute=3) as strict,
        strict.client("viewer") as good,
        strict.client(None) as bad,
    ):
        assert (await good.get("/api/v1/me")).status_code == 200
        for _ in range(3):
            assert code_of(await bad.get("/api/v1/me", headers={"X-API-Key": "pf_guess"})) == (
                401,
                "UNAUTHENTICATED",
            )
        for headers in ({"X-API-Key": "pf_another"}, {}, {"X-API-Key": gateway.keys["admin"]}):
            shut = await bad.get("/api/v1/me", headers=headers)
            assert code_of(shut) == (429, "RATE_LIMITED")
            assert int(shut.headers["retry-after"]) >= 1
        login = await bad.post("/api/v1/auth/token", json={"name": "x", "password": PASSWORD})
        assert code_of(login) == (429, "RATE_LIMITED")
        assert (await good.get("/api/v1/me")).status_code == 200


async def test_wrong_passwords_count_and_say_nothing_of_the_name(gateway: TestedGateway) -> None:
    access = gateway.plane.operator.access
    request = pb.CreateUserRequest(name="wanda", password=PASSWORD, role=pb.ROLE_VIEWER)
    await gateway.plane.operator(access.CreateUser, request)
    async with (
        gateway_over(gateway.plane, gateway.keys, failures_per_minute=4) as strict,
        strict.client(None) as client,
    ):
        seen = []
        for name, password in (
            ("wanda", "not the password"),
            ("nobody", PASSWORD),
            ("wanda'--", PASSWORD),
            ("ä", "x"),
        ):
            answer = await client.post("/api/v1/auth/token", json={"name": name, "password": password})
            seen.append((code_of(answer), answer.json()["detail"]))
        assert len(set(seen)) == 1
        assert seen[0][0] == (401, "UNAUTHENTICATED")
        answer = await client.post("/api/v1/auth/token", json={"name": "wanda", "password": PASSWORD})
        assert code_of(answer) == (429, "RATE_LIMITED")


async def test_attempts_to_log_in_that_come_at_once_are_counted_before_they_are_tried(gateway: TestedGateway) -> None:
    access = gateway.plane.operator.access
    request = pb.CreateUserRequest(name="willi", password=PASSWORD, role=pb.ROLE_VIEWER)
    await gateway.plane.operator(access.CreateUser, request)
    async with (
        gateway_over(gateway.plane, gateway.keys, failures_per_minute=5) as strict,
        strict.client(None) as client,
    ):

        async def log_in(name: str) -> int:
            login = {"name": name, "password": PASSWORD}
            return (await client.post("/api/v1/auth/token", json=login)).status_code

        # Those that succeed count for nothing.
        assert [await log_in("willi") for _ in range(8)] == [200] * 8
        # One password for many names: no name has too many attempts, the source has.
        seen = await asyncio.gather(*(log_in(f"nobody-{number}") for number in range(40)))
        assert (seen.count(401), seen.count(429)) == (5, 35)
        assert await log_in("willi") == 429


async def test_one_key_is_counted_however_many_sources_it_has(gateway: TestedGateway) -> None:
    limits: dict[str, Any] = {"requests_per_minute": 3, "trusted_proxies": "127.0.0.1"}
    async with gateway_over(gateway.plane, gateway.keys, **limits) as strict, strict.client("viewer") as client:
        statuses = [
            (await client.get("/api/v1/me", headers={"X-Forwarded-For": f"10.0.0.{number}"})).status_code
            for number in range(5)
        ]
    assert statuses == [200, 200, 200, 429, 429]


async def test_logging_out_voids_every_token(gateway: TestedGateway) -> None:
    access = gateway.plane.operator.access
    request = pb.CreateUserRequest(name="olaf", password=PASSWORD, role=pb.ROLE_VIEWER)
    await gateway.plane.operator(access.CreateUser, request)
    async with gateway.client(None) as client:
        tokens = (await client.post("/api/v1/auth/token", json={"name": "olaf", "password": PASSWORD})).json()
        headers = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert (await client.post("/api/v1/auth/logout", headers=headers)).status_code == 204
        again = await client.post("/api/v1/auth/refresh", json={"refresh_token": tokens["refresh_token"]})
        assert code_of(again) == (401, "UNAUTHENTICATED")
    async with gateway_over(gateway.plane, gateway.keys) as other, other.client(headers=headers, role=None) as client:
        assert code_of(await client.get("/api/v1/me")) == (401, "UNAUTHENTICATED")
    async with gateway.client("operator") as client:
        assert code_of(await client.post("/api/v1/auth/logout")) == (409, "ILLEGAL_STATE")


async def test_keys_are_shown_once_and_revoked(gateway: TestedGateway) -> None:
    async with gateway.client("admin") as admin:
        made = await admin.post("/api/v1/keys", json={"name": "shop", "role": "operator"})
        assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
        secret, key_id = made.json()["secret"], made.json()["key_id"]
        listed = await admin.get("/api/v1/keys")
        assert secret not in listed.text
        assert key_id in [key["key_id"] for key in listed.json()["items"]]
        assert (await admin.delete(f"/api/v1/keys/{key_id}")).json()["revoked"] is True
    async with gateway.client(headers={"X-API-Key": secret}) as client:
        assert code_of(await client.get("/api/v1/me")) == (401, "UNAUTHENTICATED")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture(loop_scope="module")
async def control(gateway: TestedGateway) -> AsyncGenerator[ControlClient]:
    client = ControlClient(gateway.settings)
    yield client
    await client.close()


def asking(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "printfarm.source": "10.0.0.9"})


async def test_a_revoked_key_is_remembered_for_less_than_5_s(gateway: TestedGateway, control: ControlClient) -> None:
    clock = Clock()
    limits = RateLimits(gateway.settings)
    authenticator = Authenticator(control, Tokens(JWT_SECRET), limits, clock)
    operator = gateway.plane.operator
    made = await operator(operator.access.CreateApiKey, pb.CreateApiKeyRequest(name="brief", role=pb.ROLE_VIEWER))
    request = asking(x_api_key=made.secret)
    assert (await authenticator.principal(request)).name == "key/brief"
    await operator(operator.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
    clock.now += REMEMBERED_SECONDS - 0.01
    assert (await authenticator.principal(request)).name == "key/brief"
    clock.now += 0.02
    assert clock.now < 5
    with pytest.raises(Problem) as refused:
        await authenticator.principal(request)
    assert refused.value.status_code == 401


async def test_a_disabled_user_is_remembered_for_less_than_5_s(gateway: TestedGateway, control: ControlClient) -> None:
    clock, tokens = Clock(), Tokens(JWT_SECRET)
    authenticator = Authenticator(control, tokens, RateLimits(gateway.settings), clock)
    operator = gateway.plane.operator
    await operator(operator.access.CreateUser, pb.CreateUserRequest(name="dora", password=PASSWORD, role=pb.ROLE_ADMIN))
    request = asking(authorization=f"Bearer {tokens.make('dora', 1, 'access')}")
    assert (await authenticator.principal(request)).role == "admin"
    await operator(operator.access.UpdateUser, pb.UpdateUserRequest(name="dora", disabled=True))
    clock.now += REMEMBERED_SECONDS + 0.01
    assert clock.now < 5
    with pytest.raises(Problem):
        await authenticator.principal(request)


async def test_without_a_coordinator_nobody_is_let_in_on_memory_alone(gateway: TestedGateway) -> None:
    clock = Clock()
    control = ControlClient(gateway.settings)
    authenticator = Authenticator(control, Tokens(JWT_SECRET), RateLimits(gateway.settings), clock)
    request = asking(x_api_key=gateway.keys["viewer"])
    await authenticator.principal(request)
    await control.close()
    gone = ControlClient(gateway.settings.model_copy(update={"control_target": "127.0.0.1:1"}))
    authenticator._control = gone
    assert (await authenticator.principal(request)).role == "viewer"
    clock.now += REMEMBERED_SECONDS + 1
    with pytest.raises(FarmError, match="UNAVAILABLE"):
        await authenticator.principal(request)
    await gone.close()


async def test_a_hundred_requests_at_once_with_one_key(gateway: TestedGateway) -> None:
    async with gateway.client("viewer") as client:
        answers = await asyncio.gather(*[client.get("/api/v1/me") for _ in range(100)])
    assert {answer.status_code for answer in answers} == {200}
