"""The farm's committed events, to whoever follows them: in order, each at least once, none left out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ..domain.errors import Invalid, RuleError
from .farm import Farm
from .ports import DatabaseUnavailable, StoredEvent

BATCH = 200
HEARTBEAT_SECONDS = 10.0
# Another coordinator may have positioned events: without a hint, look this often.
_TICK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Event types, or their beginnings such as ``run.``; empty asks for all."""

    types: tuple[str, ...] = ()
    subject_id: str = ""

    def takes(self, stored: StoredEvent) -> bool:
        """Whether the event is asked for."""
        if self.subject_id and stored.event.subject_id != self.subject_id:
            return False
        return not self.types or stored.event.type.startswith(self.types)


@dataclass(frozen=True, slots=True)
class Progress:
    """Everything up to ``position`` was sent; ``event`` is absent in a heartbeat."""

    position: int
    event: StoredEvent | None = None


async def begin_at(farm: Farm, after: int) -> int:
    """Resolves -1 ("only new ones") and 0 ("from the first that is kept").

    Raises Invalid for a position that was never given, RuleError POSITION_EXPIRED where events in between are no longer kept.
    """
    async with farm.store.read() as look:
        last, forgotten = await look.last_position(), await look.forgotten_position()
    if after == -1:
        return last
    if after == 0:
        return forgotten
    if 0 < after < forgotten:
        raise RuleError("POSITION_EXPIRED", f"events up to {forgotten} are no longer kept: read the lists anew")
    if not 0 <= after <= last:
        raise Invalid("after_position", f"must be -1 to {last}, the newest position")
    return after


async def watch(farm: Farm, after: int, wanted: EventFilter) -> AsyncIterator[Progress]:
    """Until the caller ends it. Reads in small batches: a slow caller costs no memory."""
    woken = asyncio.Event()
    loop = asyncio.get_running_loop()
    forget = farm.hints.watch(woken)
    try:
        position = await begin_at(farm, after)
        told = loop.time()
        yield Progress(position)
        while True:
            woken.clear()
            found = await _after(farm, position)
            for stored in found:
                position = stored.position
                if wanted.takes(stored):
                    yield Progress(position, stored)
                    told = loop.time()
            if len(found) < BATCH:
                await _wait(woken)
            if loop.time() - told >= HEARTBEAT_SECONDS:
                yield Progress(position)
                told = loop.time()
    finally:
        forget()


async def _after(farm: Farm, position: int) -> Sequence[StoredEvent]:
    try:
        async with farm.store.read() as look:
            return await look.events(position, BATCH)
    except DatabaseUnavailable:
        return ()


async def _wait(woken: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(_TICK_SECONDS):
            await woken.wait()
    except TimeoutError:
        return
