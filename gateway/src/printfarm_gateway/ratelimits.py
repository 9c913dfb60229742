"""How often one source, or one key, may ask: in Redis if there is one, so that several gateways count together; in this process
if not, or while Redis is away. Logging in is refused while Redis is away: that is where guessing pays."""

import asyncio
import math
import time

import structlog
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from printfarm_rpc.buckets import Bucket
from printfarm_rpc.errors import Code

from .problems import Problem
from .settings import GatewaySettings

_LOG = structlog.get_logger(__name__)
_REDIS_AGAIN_SECONDS = 5.0
_REDIS_SECONDS = 1.0


class _RedisAway(Exception):
    """It does not answer, or not in time."""


class _Shared:
    """The limits in Redis. After a failure it is left alone for a moment: nobody waits for it twice."""

    def __init__(self, url: str) -> None:
        self._storage = RedisStorage(f"async+{url}", implementation="redispy", socket_connect_timeout=_REDIS_SECONDS)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)
        self._away_until = 0.0

    async def take(self, limit: RateLimitItem, *who: str) -> float:
        """Seconds to wait; 0 if it was counted. Raises _RedisAway."""
        return await self._ask(limit, who, 1)

    async def wait(self, limit: RateLimitItem, *who: str) -> float:
        """Seconds to wait, counting nothing. Raises _RedisAway."""
        return await self._ask(limit, who, 0)

    async def give_back(self, limit: RateLimitItem, *who: str) -> None:
        """What was counted a moment ago counts no more. Raises _RedisAway."""
        await self._ask(limit, who, -1)

    async def _ask(self, limit: RateLimitItem, who: tuple[str, ...], cost: int) -> float:
        if time.monotonic() < self._away_until:
            raise _RedisAway
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                counted = self._limiter.hit(limit, *who, cost=cost) if cost else self._limiter.test(limit, *who)
                if await counted:
                    return 0.0
                stats = await self._limiter.get_window_stats(limit, *who)
                return min(60.0, max(1.0, stats.reset_time - time.time()))
        except Exception as error:
            self._away_until = time.monotonic() + _REDIS_AGAIN_SECONDS
            _LOG.warning("Redis is away: rate limits are counted in this process", why=type(error).__name__)
            raise _RedisAway from error

    async def answers(self) -> bool:
        """Whether it is there."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                return bool(await self._storage.check())
        except Exception:
            return False

    async def close(self) -> None:
        """Ends its connections."""
        await self._storage.bridge.storage.aclose()  # type: ignore[attr-defined]


class RateLimits:
    """Two limits: all requests, and failed attempts to say who one is."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._shared = _Shared(settings.redis_url) if settings.redis_url else None
        self._requests = RateLimitItemPerMinute(settings.requests_per_minute)
        self._failures = RateLimitItemPerMinute(settings.failures_per_minute)
        self._local_requests = Bucket(settings.requests_per_minute)
        self._local_failures = Bucket(settings.failures_per_minute)

    async def request(self, *who: str) -> None:
        """Counts a request. Raises Problem 429."""
        if self._shared is not None:
            try:
                _refuse_after(await self._shared.take(self._requests, "request", *who))
            except _RedisAway:
                pass
            else:
                return
        _refuse_after(self._local_requests.take("/".join(who)))

    async def may_try(self, source: str) -> None:
        """Raises Problem 429 if too many attempts of the source failed lately, here or, as far as is known, elsewhere."""
        _refuse_after(self._local_failures.wait(source))
        if self._shared is not None:
            try:
                _refuse_after(await self._shared.wait(self._failures, "failure", source))
            except _RedisAway:
                return

    async def log_in(self, source: str) -> None:
        """Counts an attempt as failed before its outcome is known: however many come at once, no more passwords are tried.

        As ``may_try``, but raises Problem 503 where it cannot be counted with the other gateways."""
        _refuse_after(self._local_failures.take(source))
        if self._shared is None:
            return
        try:
            wait = await self._shared.take(self._failures, "failure", source)
        except _RedisAway as error:
            self._local_failures.give_back(source)
            why = "nobody can log in while Redis is away; keys and tokens work"
            raise Problem(Code.UNAVAILABLE, why, headers={"Retry-After": "5"}) from error
        if wait > 0:
            self._local_failures.give_back(source)
        _refuse_after(wait)

    async def did_not_fail(self, source: str) -> None:
        """The attempt that ``log_in`` counted."""
        self._local_failures.give_back(source)
        if self._shared is not None:
            try:
                await self._shared.give_back(self._failures, "failure", source)
            except _RedisAway:
                return

    async def failed(self, source: str) -> None:
        """Counts an attempt that failed; in this process always, so that losing Redis opens nothing."""
        self._local_failures.take(source)
        if self._shared is not None:
            try:
                await self._shared.take(self._failures, "failure", source)
            except _RedisAway:
                return

    async def condition(self) -> dict[str, object]:
        """The cache as a component of the farm's health."""
        if self._shared is None:
            return {"component": "cache", "status": "not_configured", "detail": "in-process", "latency_seconds": 0.0}
        began = time.monotonic()
        status = "ok" if await self._shared.answers() else "degraded"
        took = round(time.monotonic() - began, 6)
        return {"component": "cache", "status": status, "detail": "Redis", "latency_seconds": took}

    async def close(self) -> None:
        """Ends what is open."""
        if self._shared is not None:
            await self._shared.close()


def _refuse_after(seconds: float) -> None:
    if seconds > 0:
        wait = str(max(1, math.ceil(seconds)))
        raise Problem(Code.RATE_LIMITED, f"wait {wait} s and try again", headers={"Retry-After": wait})
