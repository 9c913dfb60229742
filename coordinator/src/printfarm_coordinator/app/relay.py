"""Gives committed events their place in the farm's order, and tells the agents' sessions and the bus (outbox)."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
# What a session was told at its commit, it is told again; at most so often.
REMIND_SECONDS = 1.0
BUS_CURSOR = "bus"


@dataclass(slots=True)
class Reminder:
    """Tells the agents' sessions what was committed, whoever committed it and whether or not a hint came (I5, I13).

    Another coordinator may have served the request, its handler may have been cancelled behind its commit, the answer to the
    commit may have been lost: the events were committed with the change, and are placed all the same. A session sends nothing
    twice.
    """

    farm: Farm
    clock: Callable[[], float] = time.monotonic
    # Every event up to here was noted; None: no session knows any yet.
    _position: int | None = None
    _printers: set[str] = field(default_factory=set)
    _told_at: float = -math.inf

    def note(self, placed: Sequence[StoredEvent]) -> None:
        """Events that this process placed just now."""
        if placed[0].position - 1 == self._position:
            self._printers.update(filter(None, map(_printer_of, placed)))
            self._position = placed[-1].position

    async def remind(self) -> None:
        """Sessions look at the printers of which events told."""
        if self.clock() - self._told_at < REMIND_SECONDS:
            return
        async with self.farm.store.read() as look:
            last = await look.last_position()
        if last == self._position:
            self.farm.hints.look_again(self._printers)
        else:
            # Events were placed that this process was not told of.
            self.farm.hints.look_again()
        self._position, self._printers, self._told_at = last, set(), self.clock()

    def forget(self) -> None:
        """Another leads, and has the sessions."""
        self._position = None


def _printer_of(stored: StoredEvent) -> str | None:
    event = stored.event
    named = event.subject_id if event.subject_kind == "printer" else event.data.get("printer_id")
    return named if isinstance(named, str) else None


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
    """Positions, and reminds the sessions, until cancelled."""
    reminder = Reminder(farm)

    def placed(events: Sequence[StoredEvent]) -> None:
        reminder.note(events)
        observe(events)

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
            while leadership.leads and await position_once(farm, placed) == BATCH:
                pass
            if leadership.leads:
                await reminder.remind()
            else:
                reminder.forget()
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
