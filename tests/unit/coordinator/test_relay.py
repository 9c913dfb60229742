"""What is wanted of a printer reaches its agent's session, whatever became of the hint behind the commit (I5, I13)."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import pytest_asyncio

from printfarm_coordinator.app import relay
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.leading import Leadership
from printfarm_coordinator.app.ports import DatabaseUnavailable, Role, StoredEvent, Writing
from printfarm_coordinator.app.printers import emergency_stop
from printfarm_coordinator.app.runs import cancel_run
from tests.support.memory_store import MemoryStore
from tests.support.stores import a_printer, a_run, furnish, offer

ANA = Caller("user/ana", Role.OPERATOR)


class Session:
    """An agent's stream that notes at what it was told to look."""

    connection_epoch = 1

    def __init__(self, *printer_ids: str) -> None:
        self.printer_ids = frozenset(printer_ids)
        self.looked: list[str] = []
        self.told = asyncio.Event()

    def look_at(self, printer_id: str) -> None:
        self.looked.append(printer_id)
        self.told.set()

    def end(self, code: str, why: str) -> None:
        raise AssertionError(code)

    async def is_told(self) -> list[str]:
        """At what, since it was last asked."""
        async with asyncio.timeout(5):
            await self.told.wait()
        looked, self.looked = self.looked, []
        self.told.clear()
        return looked


class LosesAnswers(MemoryStore):
    """Commits the transactions of that name, and does not live to say so."""

    def __init__(self) -> None:
        super().__init__()
        self.lost: dict[str, BaseException] = {}

    def write(self, name: str, request_id: str = "") -> AbstractAsyncContextManager[Writing]:
        return self._write_and_lose(name, request_id)

    @asynccontextmanager
    async def _write_and_lose(self, name: str, request_id: str) -> AsyncGenerator[Writing]:
        async with super().write(name, request_id) as tx:
            yield tx
        if error := self.lost.pop(name, None):
            raise error


class Coordinator:
    """The leader's relay, and one agent's session with two printers."""

    def __init__(self) -> None:
        self.store = LosesAnswers()
        self.farm = Farm(self.store, None, None, None)  # type: ignore[arg-type]
        self.session = Session("p1", "p2")
        self.placed: list[str] = []

    def observe(self, events: Sequence[StoredEvent]) -> None:
        self.placed += [stored.event.type for stored in events]


@pytest_asyncio.fixture
async def coordinator(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Coordinator]:
    for name, seconds in (("TICK_SECONDS", 0.02), ("GATHER_SECONDS", 0.0), ("REMIND_SECONDS", 0.02)):
        monkeypatch.setattr(relay, name, seconds, raising=False)
    made = Coordinator()
    await furnish(made.store, a_printer(), a_printer("p2"))
    await offer(made.store, a_run())
    leadership = Leadership("here")
    await leadership.prolong(made.farm)
    made.farm.hints.attach("a1", made.session)
    running = asyncio.create_task(relay.relay_for_ever(made.farm, leadership, made.observe))
    # What was before: a new relay has every session look at everything.
    assert sorted(await made.session.is_told()) == ["p1", "p2"]
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_another_coordinator_committed_is_told(coordinator: Coordinator) -> None:
    elsewhere = Farm(coordinator.store, None, None, None)  # type: ignore[arg-type]
    await emergency_stop(elsewhere, ANA, "p1", "smoke")
    assert set(await coordinator.session.is_told()) == {"p1"}
    await cancel_run(elsewhere, ANA, "r1", "not wanted")
    assert set(await coordinator.session.is_told()) == {"p1"}


@pytest.mark.parametrize("error", [asyncio.CancelledError, lambda: DatabaseUnavailable("gone")])
async def test_a_handler_that_ends_behind_its_commit_is_no_hole(
    coordinator: Coordinator, error: Callable[[], BaseException]
) -> None:
    coordinator.store.lost["emergency_stop"] = ended = error()
    with pytest.raises(type(ended)):
        await emergency_stop(coordinator.farm, ANA, "p2", "smoke")
    assert set(await coordinator.session.is_told()) == {"p2"}


async def test_events_that_were_placed_without_an_answer_are_told_of(coordinator: Coordinator) -> None:
    coordinator.store.lost |= {"emergency_stop": DatabaseUnavailable("gone"), "relay": DatabaseUnavailable("gone")}
    with pytest.raises(DatabaseUnavailable):
        await emergency_stop(coordinator.farm, ANA, "p2", "smoke")
    assert "p2" in await coordinator.session.is_told()
    # Nobody heard what was placed: nobody but the sessions.
    assert "printer.emergency_stop_requested" not in coordinator.placed


async def test_a_printer_is_told_of_to_the_session_that_has_it_and_not_again_and_again(
    coordinator: Coordinator,
) -> None:
    other = Session("p3")
    coordinator.farm.hints.attach("a2", other)
    elsewhere = Farm(coordinator.store, None, None, None)  # type: ignore[arg-type]
    await emergency_stop(elsewhere, ANA, "p1", "smoke")
    assert await coordinator.session.is_told() == ["p1"]
    await asyncio.sleep(0.2)
    assert (coordinator.session.looked, other.looked) == ([], [])
