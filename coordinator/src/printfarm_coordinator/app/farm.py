"""What every use case works with."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from ..domain.safety_policy import Policy
from ..domain.silence import MASS_SILENCE_WINDOW_US, Brake, Lease
from .frames import Frames
from .ports import Blobs, Bus, Ids, Role, StaleWrite, Store, Writing
from .roster import Roster
from .slicing_figures import SlicingFigures
from .telemetry import Latest
from .together import Together

_LOG = structlog.get_logger(__name__)
T = TypeVar("T")
MOST_TRIES = 8


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a use case runs: a principal, and the request it made."""

    name: str
    role: Role
    request_id: str = ""


class Session(Protocol):
    """An agent's open stream, as the use cases may touch it: without waiting, after their commit."""

    connection_epoch: int
    printer_ids: frozenset[str]

    def look_at(self, printer_id: str) -> None:
        """Something wanted of the printer may have changed."""
        ...

    def end(self, code: str, why: str) -> None:
        """Ends the stream with a code of the catalogue."""
        ...


@dataclass(slots=True)
class Vigilance:
    """What this process knows of its own slowness, and of whom silence made unreachable (I19).

    ``grace``: in a new term, the silence before it was ours.
    """

    brake: Brake = field(default_factory=Brake)
    grace: Brake = field(default_factory=Brake)
    worst_lag: float = 0.0
    # Agent id -> the lease that ran out.
    declared: dict[str, Lease] = field(default_factory=dict)

    def note_lag(self, seconds: float) -> None:
        """The event loop, or the database, was late by so much."""
        self.worst_lag = max(self.worst_lag, seconds)

    def take_lag(self) -> float:
        """The worst since the last look, in seconds."""
        worst, self.worst_lag = self.worst_lag, 0.0
        return worst

    def lately_declared(self, reachable: Collection[str], now: int) -> Collection[Lease]:
        """The leases of those declared in the last minute that are not back. Forgets the others."""
        since = now - MASS_SILENCE_WINDOW_US
        self.declared = {
            agent_id: lease
            for agent_id, lease in self.declared.items()
            if agent_id not in reachable and lease.expires_at > since
        }
        return self.declared.values()


class Hints:
    """Wakes whoever waits for work, after a commit. A lost hint costs delay, never truth."""

    def __init__(self) -> None:
        self.assign = asyncio.Event()
        self.relay = asyncio.Event()
        self.prepare = asyncio.Event()
        # A file came in.
        self.files = asyncio.Event()
        # A job came in whose file nobody has looked at.
        self.judge = asyncio.Event()
        self._slicers: set[asyncio.Event] = set()
        self._watchers: set[asyncio.Event] = set()
        self._sessions: dict[str, Session] = {}

    def printer_changed(self, agent_id: str, printer_id: str) -> None:
        """Something wanted of a printer may have changed: its agent's session looks again."""
        self.relay.set()
        self.assign.set()
        self.prepare.set()
        if session := self._sessions.get(agent_id):
            session.look_at(printer_id)

    def look_again(self, printer_ids: Collection[str] | None = None) -> None:
        """Every session looks at those printers that are its own; without a word which, at all of them."""
        for session in self._sessions.values():
            for printer_id in (
                session.printer_ids if printer_ids is None else session.printer_ids.intersection(printer_ids)
            ):
                session.look_at(printer_id)

    def job_changed(self) -> None:
        """Parts may be owed."""
        self.relay.set()
        self.assign.set()
        self.prepare.set()

    def events_placed(self) -> None:
        """New events have their positions."""
        for watcher in self._watchers:
            watcher.set()

    def watch(self, watcher: asyncio.Event) -> Callable[[], None]:
        """Sets the event whenever new events have their positions, until the returned function is called."""
        self._watchers.add(watcher)
        return lambda: self._watchers.discard(watcher)

    def slicing_changed(self) -> None:
        """There may be something to slice."""
        for waiting in self._slicers:
            waiting.set()

    def watch_slicing(self, waiting: asyncio.Event) -> Callable[[], None]:
        """Sets the event whenever there may be something to slice, until the returned function is called."""
        self._slicers.add(waiting)
        return lambda: self._slicers.discard(waiting)

    def attach(self, agent_id: str, session: Session) -> None:
        """The session of an agent. A newer one takes its place, and the older is ended."""
        older = self._sessions.get(agent_id)
        self._sessions[agent_id] = session
        if older is not None and older is not session:
            older.end("STALE_CONNECTION", "a newer connection of this agent took over")

    def detach(self, agent_id: str, session: Session) -> None:
        """Forgets the session, unless a newer one is there."""
        if self._sessions.get(agent_id) is session:
            del self._sessions[agent_id]

    def is_attached(self, agent_id: str) -> bool:
        """The agent said Hello to this process, and its stream is open."""
        return agent_id in self._sessions

    def end_session(self, agent_id: str, why: str, code: str = "STALE_CONNECTION") -> None:
        """Ends the agent's stream: it must say Hello again, and may be turned away then. ``code`` is of the catalogue."""
        if session := self._sessions.pop(agent_id, None):
            session.end(code, why)

    def session(self, agent_id: str) -> Session | None:
        """The agent's open session."""
        return self._sessions.get(agent_id)

    def sessions(self) -> dict[str, Session]:
        """Agent id -> its open session."""
        return dict(self._sessions)


@dataclass(frozen=True, slots=True)
class Farm:
    """The ports, and the hints between use cases."""

    store: Store
    bus: Bus
    blobs: Blobs
    ids: Ids
    hints: Hints = field(default_factory=Hints)
    latest: Latest = field(default_factory=Latest)
    roster: Roster = field(default_factory=Roster)
    frames: Frames = field(default_factory=Frames)
    vigilance: Vigilance = field(default_factory=Vigilance)
    slicing: SlicingFigures = field(default_factory=SlicingFigures)
    # ISO 4217; empty if the farm reckons no cost.
    currency: str = ""
    # Which findings of print files people may overrule. None: files are not looked at; for what has no files.
    safety: Policy | None = None
    submissions: Together[Any, Any] = field(default_factory=Together)
    # Ids of keys used since the janitor last wrote that down.
    key_uses: set[str] = field(default_factory=set)


async def transact(farm: Farm, name: str, work: Callable[[Writing], Awaitable[T]], request_id: str = "") -> T:
    """Runs ``work`` in a writing transaction, whole again where another writer came first. ``work`` has no other effect."""
    for attempt in range(1, MOST_TRIES):
        try:
            async with farm.store.write(name, request_id) as tx:
                return await work(tx)
        except StaleWrite as error:
            _LOG.info("transaction repeated", name=name, attempt=attempt, why=str(error))
            # Spread in time, so that two that met once do not meet again.
            await asyncio.sleep(random.uniform(0.0, 0.005 * 2**attempt))
    async with farm.store.write(name, request_id) as tx:
        return await work(tx)
