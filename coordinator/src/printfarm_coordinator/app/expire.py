"""Judges silence: whose lease ran out, and when the fault may be ours (I10, I19)."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from ..domain.silence import Brake, ClockWatch, Lease, braked, expired, is_mass_silence, since_clock_was_set
from ..domain.slicing import begun_anew
from .farm import Farm, transact
from .leading import Leadership
from .ports import DatabaseUnavailable, Reading, Writing
from .sessions import lose_agent
from .slicing import CLAIM_US

_LOG = structlog.get_logger(__name__)
PERIOD_SECONDS = 2.0
SLOW_SECONDS = 5.0


async def expire_once(farm: Farm, leadership: Leadership, lease_us: int, beat_us: int) -> list[str]:
    """Declares agents unreachable whose lease ran out; none while the brake is on. Returns those declared."""
    vigilance = farm.vigilance
    began = time.monotonic()
    async with farm.store.read() as look:
        now = look.now
        leases = [Lease(a.agent_id, a.lease_expires_at) for a in await look.agents() if a.reachable]
    gone = vigilance.lately_declared({lease.agent_id for lease in leases}, now)
    if time.monotonic() - began > SLOW_SECONDS or vigilance.take_lag() > SLOW_SECONDS:
        _pull(farm, now, lease_us, "the coordinator or its database was slow")
    elif not vigilance.brake.is_on(now) and is_mass_silence([*leases, *gone], now, beat_us):
        _pull(farm, now, lease_us, "many agents fell silent at once")
    if vigilance.brake.is_on(now) or vigilance.grace.is_on(now):
        return []
    declared = []
    for lease in expired(leases, now):
        if await _declare(farm, leadership, lease.agent_id):
            vigilance.declared[lease.agent_id] = lease
            farm.hints.end_session(lease.agent_id, "its lease ran out")
            declared.append(lease.agent_id)
    if declared:
        farm.hints.relay.set()
    return declared


def _pull(farm: Farm, now: int, lease_us: int, why: str) -> None:
    if not farm.vigilance.brake.is_on(now):
        _LOG.warning("brake pulled: no agent is declared unreachable, nothing is offered", why=why)
    farm.vigilance.brake = braked(farm.vigilance.brake, now, lease_us)


async def _declare(farm: Farm, leadership: Leadership, agent_id: str) -> bool:
    async def work(tx: Writing) -> bool:
        if not await leadership.confirm(tx):
            return False
        agent = await tx.lock_agent(agent_id)
        # A heartbeat may have come between the look and the lock.
        if agent is None or not agent.reachable or agent.lease_expires_at > tx.now:
            return False
        await lose_agent(tx, agent, "silence")
        return True

    return await transact(farm, "expire", work)


async def notice_clock(farm: Farm, watch: ClockWatch, lease_us: int, clock: Callable[[], float]) -> bool:
    """After the database's clock was set, every lease, every claim and the brake begin anew in its new time. True if it was.

    The first look has none to compare with: what the rows hold of the future tells that the clock was set back meanwhile."""
    before, seen = clock(), watch.last
    async with farm.store.read() as look:
        now = look.now
        is_ahead = seen is None and await _knows_the_future(look, lease_us)
    after = clock()
    # A slow look says nothing: its own duration would be taken for a jump.
    if after - before > SLOW_SECONDS / 2 or not (abs(watch.jump(now, after)) > SLOW_SECONDS or is_ahead):
        return False
    farm.vigilance.brake = farm.vigilance.grace = Brake()
    farm.vigilance.declared.clear()
    _pull(farm, now, lease_us, "the database's clock was set")
    try:
        await transact(farm, "clock", lambda tx: _begin_anew(tx, lease_us))
    except DatabaseUnavailable:
        # The next look notices it again.
        watch.last = seen
        raise
    return True


async def _knows_the_future(look: Reading, lease_us: int) -> bool:
    latest = [agent.lease_expires_at - lease_us for agent in await look.agents() if agent.reachable]
    latest += [run.authorised_at or 0 for run in await look.active_runs()]
    latest += [task.claim_expires_at - CLAIM_US for task in await look.running_slicings()]
    # What was written since this look began is a little later than it.
    return any(at > look.now + SLOW_SECONDS * 1e6 for at in latest)


async def _begin_anew(tx: Writing, lease_us: int) -> None:
    for known in await tx.agents():
        agent = await tx.lock_agent(known.agent_id)
        if agent is not None and agent.reachable:
            await tx.put_agent(replace(agent, lease_expires_at=tx.now + lease_us))
    for run in await tx.active_runs():
        if (run.authorised_at or 0) > tx.now and (held := await tx.lock_slice(run.run_id)):
            await tx.save_slice(held, since_clock_was_set(held, tx.now))
    for waiting in await tx.running_slicings():
        if task := await tx.lock_slicing(waiting.slicing_id):
            await tx.save_slicing(task, begun_anew(task, tx.now, CLAIM_US))


async def _begin_term(farm: Farm, lease_us: int) -> None:
    async with farm.store.read() as look:
        farm.vigilance.grace = braked(Brake(), look.now, lease_us)


async def expire_for_ever(
    farm: Farm, leadership: Leadership, lease_us: int, beat_us: int, clock: Callable[[], float] = time.monotonic
) -> None:
    """Until cancelled. In a new term nobody is declared for two leases: agents were still on their way to this process."""
    watch = ClockWatch()
    begun: int | None = None
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        term = leadership.term
        if term is None:
            continue
        try:
            if term != begun:
                await _begin_term(farm, lease_us)
                watch, begun = ClockWatch(), term
            await notice_clock(farm, watch, lease_us, clock)
            await expire_once(farm, leadership, lease_us, beat_us)
        except DatabaseUnavailable as error:
            _LOG.warning("silence not judged: the database does not answer", why=str(error))
            farm.vigilance.note_lag(SLOW_SECONDS * 2)
