"""Rate limits in Redis: counted together, and without it still counted, only logging in is refused."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from printfarm.control.v1 import access_service_pb2 as pb
from tests.conftest import need
from tests.support.gateway import TestedGateway, gateway_over
from tests.support.redis import RedisServer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    need("redis")
    server = RedisServer()
    server.start()
    yield server
    server.close()


async def cache(gateway: TestedGateway) -> str:
    """What health says of it."""
    async with gateway.client(None) as client:
        components = (await client.get("/health/detailed")).json()["components"]
    return {component["component"]: component["status"] for component in components}["cache"]


async def becomes(gateway: TestedGateway, status: str) -> None:
    async with asyncio.timeout(60):
        while await cache(gateway) != status:
            continue


async def test_two_gateways_count_together_and_go_on_alone_when_redis_is_gone(
    gateway: TestedGateway, redis: RedisServer
) -> None:
    limits = {"redis_url": redis.url, "requests_per_minute": 20, "trusted_proxies": "127.0.0.1"}
    async with (
        gateway_over(gateway.plane, gateway.keys, **limits) as one,
        gateway_over(gateway.plane, gateway.keys, **limits) as two,
        one.client(None) as first,
        two.client(None) as second,
    ):
        await becomes(one, "ok")
        here = {"X-Forwarded-For": "10.1.1.1"}
        for _ in range(10):
            assert (await first.get("/health", headers=here)).status_code == 200
            assert (await second.get("/health", headers=here)).status_code == 200
        refused = await second.get("/health", headers=here)
        assert refused.status_code == 429
        assert 1 <= int(refused.headers["retry-after"]) <= 60

        redis.kill()
        there = {"X-Forwarded-For": "10.1.1.2"}
        assert [(await first.get("/health", headers=there)).status_code for _ in range(25)].count(200) == 20
        login = {"name": "nobody", "password": "correct horse battery"}
        shut = await second.post("/api/v1/auth/token", json=login, headers={"X-Forwarded-For": "10.1.1.3"})
        assert (shut.status_code, shut.json()["code"]) == (503, "UNAVAILABLE")
        by_key = {"X-Forwarded-For": "10.1.1.3", "X-API-Key": gateway.keys["viewer"]}
        assert (await second.get("/api/v1/me", headers=by_key)).status_code == 200


async def test_attempts_to_log_in_at_once_are_counted_at_both(gateway: TestedGateway, redis: RedisServer) -> None:
    access = gateway.plane.operator.access
    wanted = {"name": "rita", "password": "correct horse battery"}
    await gateway.plane.operator(access.CreateUser, pb.CreateUserRequest(**wanted, role=pb.ROLE_VIEWER))
    limits = {"redis_url": redis.url, "failures_per_minute": 6}
    async with (
        gateway_over(gateway.plane, gateway.keys, **limits) as one,
        gateway_over(gateway.plane, gateway.keys, **limits) as two,
        one.client(None) as first,
        two.client(None) as second,
    ):
        await becomes(one, "ok")
        for client in (first, second) * 4:
            assert (await client.post("/api/v1/auth/token", json=wanted)).status_code == 200
        guesses = [{"name": f"nobody-{number}", "password": "correct horse battery"} for number in range(24)]
        turns = zip(guesses, (first, second) * 12, strict=True)
        asked = [client.post("/api/v1/auth/token", json=guess) for guess, client in turns]
        seen = [answer.status_code for answer in await asyncio.gather(*asked)]
        assert (seen.count(401), seen.count(429)) == (6, 18)


async def test_redis_comes_back(gateway: TestedGateway, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("printfarm_gateway.ratelimits._REDIS_AGAIN_SECONDS", 0.0)
    async with gateway_over(gateway.plane, gateway.keys, redis_url=redis.url) as one, one.client(None) as client:
        await becomes(one, "ok")
        redis.kill()
        await becomes(one, "degraded")
        login = {"name": "nobody", "password": "correct horse battery"}
        assert (await client.post("/api/v1/auth/token", json=login)).status_code == 503
        redis.start()
        await becomes(one, "ok")
        assert (await client.post("/api/v1/auth/token", json=login)).status_code == 401


async def test_a_redis_that_hangs_holds_nobody_up_for_long(gateway: TestedGateway, redis: RedisServer) -> None:
    async with gateway_over(gateway.plane, gateway.keys, redis_url=redis.url) as one, one.client("viewer") as client:
        await becomes(one, "ok")
        redis.signal(signal.SIGSTOP)
        answers = [(await client.get("/api/v1/me")).status_code for _ in range(20)]
        redis.signal(signal.SIGCONT)
        assert answers == [200] * 20
