"""Whether each part of the farm works."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from ..domain.printer import PrinterState
from .farm import Farm

_SECONDS = 3.0
_LITTLE_ROOM = 1 << 30


@dataclass(frozen=True, slots=True)
class Condition:
    """``status``: "ok", "degraded", "down" or "not_configured"."""

    component: str
    status: str
    detail: str = ""
    seconds: float = 0.0


async def conditions(farm: Farm, *, has_broker: bool) -> list[Condition]:
    """All components, each within 3 s."""
    broker = _asked("message_broker", farm.bus.ping) if has_broker else _absent("message_broker", "in-process bus")
    found = await asyncio.gather(_asked("database", farm.store.ping), broker, _storage(farm))
    return [*found, *await _population(farm, found[0])]


async def _absent(component: str, detail: str) -> Condition:
    return Condition(component, "not_configured", detail)


async def _asked(component: str, ask: Callable[[], Awaitable[None]]) -> Condition:
    began = time.monotonic()
    try:
        async with asyncio.timeout(_SECONDS):
            await ask()
    except Exception as error:
        # The text of an error may carry addresses: only its kind is told.
        return Condition(component, "down", type(error).__name__, time.monotonic() - began)
    return Condition(component, "ok", "", time.monotonic() - began)


async def _storage(farm: Farm) -> Condition:
    free = await farm.blobs.free_bytes()
    status = "ok" if free > _LITTLE_ROOM else "degraded"
    return Condition("storage", status, f"{free / 1e9:.1f} GB free")


async def _population(farm: Farm, database: Condition) -> list[Condition]:
    if database.status != "ok":
        return [Condition(name, "down", "the database does not answer") for name in ("agents", "printers")]
    async with farm.store.read() as look:
        agents = [agent for agent in await look.agents() if not agent.revoked]
        printers = await look.printers()
    reachable = sum(agent.reachable for agent in agents)
    troubled = {PrinterState.OFFLINE, PrinterState.ERROR, PrinterState.UNKNOWN}
    fine = sum(p.observed_state not in troubled and not p.locked for p in printers)
    return [_share("agents", reachable, len(agents), "connected"), _share("printers", fine, len(printers), "usable")]


def _share(component: str, good: int, total: int, word: str) -> Condition:
    status = "ok" if good == total else "degraded" if good else "down"
    return Condition(component, status, f"{good} of {total} {word}")
