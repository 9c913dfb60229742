"""Which coordinator leads: it alone serves agents, assigns, judges silence and orders events (I20)."""

import asyncio
from collections.abc import Callable

import structlog

from .farm import Farm, transact
from .ports import DatabaseUnavailable, StaleWrite, Writing

_LOG = structlog.get_logger(__name__)
TERM_US = 30_000_000
PROLONG_SECONDS = 7.0


class Leadership:
    """This process's hold on the term. Every decision is written under ``confirm``, never under what was true before."""

    def __init__(self, holder: str, on_change: Callable[[bool], None] = lambda leads: None) -> None:
        self.holder = holder
        self.term: int | None = None
        self._is_present = False
        self._on_change = on_change

    @property
    def leads(self) -> bool:
        """As far as this process knows; only ``confirm`` proves it."""
        return self.term is not None

    async def confirm(self, tx: Writing) -> bool:
        """Inside a writing transaction: the term is still ours until it ends."""
        return self.term is not None and await tx.holds_term(self.holder, self.term)

    async def prolong(self, farm: Farm) -> bool:
        """Takes the term if it is free, prolongs it if it is ours. True if we lead.

        The term of a leader whose process is gone is not waited for: its lock has just come to us.
        """
        is_present = await farm.store.take_presence()
        is_heir = is_present and not self._is_present

        async def work(tx: Writing) -> int | None:
            return await tx.take_term(self.holder, TERM_US, inherit=is_heir)

        before = self.term
        self.term = await transact(farm, "term", work)
        self._is_present = is_present and self.leads
        if is_present and not self.leads:
            # We slept, and somebody else leads by now: the lock is theirs to have.
            await farm.store.let_presence_go()
        if self.term != before:
            _LOG.info("leadership", term=self.term, before=before)
            self._on_change(self.leads)
        return self.leads

    async def give_up(self, farm: Farm) -> None:
        """Ends the term now, for an orderly stop: a standby need not wait for it to lapse."""
        if self.term is None:
            return

        async def work(tx: Writing) -> None:
            if await tx.holds_term(self.holder, self.term or 0):
                await tx.take_term(self.holder, 0)

        await transact(farm, "term", work)
        self._is_present = False
        await farm.store.let_presence_go()
        self.term = None
        self._on_change(False)


async def lead_for_ever(farm: Farm, leadership: Leadership) -> None:
    """Keeps the term, or waits for it, until cancelled."""
    while True:
        try:
            await leadership.prolong(farm)
        except (DatabaseUnavailable, StaleWrite) as error:
            _LOG.warning("term not prolonged", why=str(error))
        await asyncio.sleep(PROLONG_SECONDS)
