"""grpc.health.v1: every service by name, NOT_SERVING while the storage does not answer and while draining."""

import asyncio

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health

from ..app.farm import Farm

PERIOD_SECONDS = 2.0
_PING_SECONDS = 5.0


class Health:
    """The state of the services of one listener. Until the first good ping: NOT_SERVING."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self.servicer = health.HealthServicer()
        self._services = ("", *services)
        self._is_draining = False

    async def tell(self, *, serving: bool) -> None:
        """The same for every service."""
        wanted = serving and not self._is_draining
        status = health_pb2.HealthCheckResponse.SERVING if wanted else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in self._services:
            await self.servicer.set(service, status)

    async def drain(self) -> None:
        """NOT_SERVING from now on."""
        self._is_draining = True
        await self.tell(serving=False)


async def watch_storage(farm: Farm, healths: tuple[Health, ...]) -> None:
    """Tells whether the database answers, until cancelled."""
    while True:
        serving = await answers(farm)
        for each in healths:
            await each.tell(serving=serving)
        await asyncio.sleep(PERIOD_SECONDS)


async def answers(farm: Farm) -> bool:
    """The database answers within 5 s."""
    try:
        async with asyncio.timeout(_PING_SECONDS):
            await farm.store.ping()
    except Exception:
        return False
    return True
