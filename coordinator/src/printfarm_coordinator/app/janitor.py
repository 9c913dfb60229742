"""Forgets what is no longer owed to anybody, and keeps the progress of runs for after a restart."""

import asyncio

import structlog

from .deleting import erase_once
from .farm import Farm, transact
from .ports import DatabaseUnavailable, Writing
from .relay import BUS_CURSOR
from .uploads import UPLOAD_LIFETIME_US

_LOG = structlog.get_logger(__name__)
HOUR_SECONDS = 3_600.0
PROGRESS_SECONDS = 10.0
# Rows of uploads go first, then their bytes: no upload is shown that lost what it had.
STALE_BYTES_SECONDS = UPLOAD_LIFETIME_US / 1e6 + 2 * HOUR_SECONDS
EVENTS_AT_ONCE = 1_000
# I8: an idempotency key is remembered for at least 7 days.
KEPT_US = 8 * 24 * 3_600_000_000


async def forget_once(farm: Farm) -> int:
    """Deletes idempotency keys, tokens and uploads that are over, and bytes of no upload; returns how many."""

    async def work(tx: Writing) -> int:
        return await tx.forget_before(tx.now - KEPT_US)

    rows = await transact(farm, "forget", work)
    return rows + await farm.blobs.drop_stale(STALE_BYTES_SECONDS)


async def forget_events_once(farm: Farm, kept_us: int, *, has_broker: bool) -> int:
    """Deletes events that were kept long enough, and told to the broker if there is one; returns how many."""

    async def work(tx: Writing) -> int:
        told = await tx.cursor(BUS_CURSOR) if has_broker else None
        return await tx.forget_events(tx.now - kept_us, told, EVENTS_AT_ONCE)

    total = forgotten = await transact(farm, "forget_events", work)
    while forgotten == EVENTS_AT_ONCE:
        forgotten = await transact(farm, "forget_events", work)
        total += forgotten
    return total


async def note_key_uses_once(farm: Farm) -> int:
    """One transaction for all keys that were used; returns how many."""
    used = frozenset(farm.key_uses)

    async def work(tx: Writing) -> None:
        await tx.note_key_uses(used)

    if used:
        await transact(farm, "key_uses", work)
        farm.key_uses.difference_update(used)
    return len(used)


async def keep_progress_once(farm: Farm) -> int:
    """One transaction for all active runs; returns how many had news."""
    async with farm.store.read() as look:
        active = await look.active_runs()
    news = {}
    for run in active:
        progress = farm.latest.progress_of(run.printer_id, run.run_id)
        if progress is not None and abs(progress - run.progress) >= 0.001:
            news[run.run_id] = progress

    async def work(tx: Writing) -> None:
        await tx.save_progress(news)

    if news:
        await transact(farm, "progress", work)
    return len(news)


async def tidy_for_ever(farm: Farm, events_kept_us: int, *, has_broker: bool) -> None:
    """Until cancelled."""
    elapsed = HOUR_SECONDS
    while True:
        try:
            await keep_progress_once(farm)
            await note_key_uses_once(farm)
            if elapsed >= HOUR_SECONDS:
                elapsed = 0.0
                await erase_once(farm)
                await forget_once(farm)
                await forget_events_once(farm, events_kept_us, has_broker=has_broker)
        except DatabaseUnavailable as error:
            _LOG.warning("not tidied: the database does not answer", why=str(error))
        await asyncio.sleep(PROGRESS_SECONDS)
        elapsed += PROGRESS_SECONDS
