"""Gives committed events their place in the farm's order, and tells the bus (outbox)."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from .farm import Farm, transact
from .leading import Leadership
from .ports import DatabaseUnavailable, StoredEvent, Writing

_LOG = structlog.get_logger(__name__)
Observe = Callable[[Sequence[StoredEvent]], None]
BATCH = 500
# The hint may be lost: the outbox is looked at without one, too.
TICK_SECONDS = 2.0
GATHER_SECONDS = 0.02
BUS_CURSOR = "bus"


async def position_once(farm: Farm, observe: Observe = lambda events: None) -> int:
    """Positions what is new; returns how many. Watchers are woken, and ``observe`` is told, after the commit."""

    async def work(tx: Writing) -> list[StoredEvent]:
        return await tx.position_events(BATCH)

    placed = await transact(farm, "relay", work)
    if placed:
        farm.hints.events_placed()
        observe(placed)
    return len(placed)


async def publish_once(farm: Farm) -> int:
    """Publishes what the bus has not confirmed yet, in order; returns how many. At least once: a crash repeats some."""
    async with farm.store.write("relay_cursor") as tx:
        after = await tx.cursor(BUS_CURSOR)
    async with farm.store.read() as look:
        waiting = await look.events(after, BATCH)
    if not waiting:
        return 0
    await farm.bus.publish(waiting)
    last = waiting[-1].position

    async def work(tx: Writing) -> None:
        await tx.save_cursor(BUS_CURSOR, last)

    await transact(farm, "published", work)
    return len(waiting)


async def relay_for_ever(farm: Farm, leadership: Leadership, observe: Observe) -> None:
    """Positions, until cancelled."""
    while True:
        try:
            async with asyncio.timeout(TICK_SECONDS):
                await farm.hints.relay.wait()
        except TimeoutError:
            pass
        # One commit for what several changes tell; and an offer that a change calls for is written before its event is placed.
        await asyncio.sleep(GATHER_SECONDS)
        farm.hints.relay.clear()
        try:
            while leadership.leads and await position_once(farm, observe) == BATCH:
                pass
        except DatabaseUnavailable as error:
            _LOG.warning("events not positioned: the database does not answer", why=str(error))


async def publish_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Publishes to a broker outside, until cancelled. While it is down, the outbox keeps everything."""
    woken = asyncio.Event()
    forget = farm.hints.watch(woken)
    try:
        while True:
            try:
                while leadership.leads and await publish_once(farm):
                    pass
            except Exception as error:
                _LOG.warning("events not published; they wait", why=str(error))
                await asyncio.sleep(TICK_SECONDS)
            try:
                async with asyncio.timeout(TICK_SECONDS):
                    await woken.wait()
            except TimeoutError:
                pass
            woken.clear()
    finally:
        forget()
