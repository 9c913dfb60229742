"""The ``Store`` port with several writers at once; time; and a database that does not answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql import postgres_connection
from printfarm_coordinator.adapters.sql import store as sql_store
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.farm import Farm, transact
from printfarm_coordinator.app.ports import (
    AlreadyExists,
    DatabaseUnavailable,
    EnrollmentToken,
    Remembered,
    StaleWrite,
    Store,
    Writing,
)
from printfarm_coordinator.domain.events import AuditEntry, DomainEvent
from tests.support.ports import free_port
from tests.support.postgres import PostgresServer
from tests.support.proxy import FaultProxy
from tests.support.stores import SECOND, a_job, a_printer, a_run, database_url, forward, furnish, offer

Lock = Callable[[Writing], Awaitable[object]]


async def _goes_on(task: "asyncio.Task[object]") -> bool:
    """Whether it does what it should wait with. Time to do so too early, for one that would."""
    return bool((await asyncio.wait([task], timeout=0.2))[0])


async def test_two_writers_at_once_come_out_one_after_the_other(store: Store) -> None:
    await furnish(store)

    async def raise_priority() -> None:
        async with store.write("raise") as tx:
            job = await tx.lock_job("j1")
            assert job is not None
            await asyncio.sleep(0)
            await tx.save_job(job, replace(job, priority=job.priority + 1))

    await asyncio.gather(*[raise_priority() for _ in range(20)])
    async with store.read() as look:
        job = await look.job("j1")
    assert job is not None
    assert (job.priority, job.version) == (23, 21)


async def test_readers_never_wait_for_the_writer(store: Store) -> None:
    await furnish(store)
    async with store.write("long") as tx:
        job = await tx.lock_job("j1")
        assert job is not None
        await tx.save_job(job, replace(job, priority=9))
        async with asyncio.timeout(10), store.read() as look:
            seen = await look.job("j1")
        assert seen is not None
        assert seen.priority == 3


async def test_a_look_sees_one_moment(store: Store) -> None:
    await furnish(store)
    async with store.read() as look:
        before = await look.job("j1")
        assert before is not None
        async with store.write("meanwhile") as tx:
            await tx.save_job(before, replace(before, priority=9))
            await tx.add_printer(a_printer("p2"))
            await tx.append_events([DomainEvent("job.changed", "j1", "user/ana")])
            await tx.position_events(1)
        assert await look.job("j1") == before
        assert await look.printer("p2") is None
        assert len(await look.candidates()) == 1
        assert await look.last_position() == 0
    async with store.read() as look:
        after = await look.job("j1")
        assert after is not None
        assert (after.priority, await look.last_position()) == (9, 1)


def _slice(tx: Writing) -> Awaitable[object]:
    return tx.lock_slice("r1")


def _job(tx: Writing) -> Awaitable[object]:
    return tx.lock_job("j1")


def _printer(tx: Writing) -> Awaitable[object]:
    return tx.lock_printer("p1")


def _agent(tx: Writing) -> Awaitable[object]:
    return tx.lock_agent("a1")


def _token(tx: Writing) -> Awaitable[object]:
    return tx.token("t")


def _cursor(tx: Writing) -> Awaitable[object]:
    return tx.cursor("bus")


@pytest.mark.parametrize(
    ("lock", "other"),
    [
        (_job, _job),
        (_printer, _printer),
        (_slice, _slice),
        (_slice, _job),
        (_slice, _printer),
        (_agent, _agent),
        (_token, _token),
        (_cursor, _cursor),
    ],
)
async def test_a_lock_keeps_other_writers_off(database: SqlStore, lock: Lock, other: Lock) -> None:
    await furnish(database)
    await offer(database, a_run())
    async with database.write("more") as tx:
        await tx.put_token(EnrollmentToken("t", "a1", 9))
        await tx.save_cursor("bus", 3)

    async def second() -> None:
        async with database.write("second") as tx:
            assert await other(tx)

    async with database.write("first") as tx:
        assert await lock(tx)
        waiting = asyncio.create_task(second())
        assert not await _goes_on(waiting)
    await waiting


async def test_two_offers_at_once_make_one_run(database: SqlStore) -> None:
    await furnish(database)
    made = [offer(database, a_run(f"r{number}", epoch=number)) for number in range(1, 4)]
    outcomes = await asyncio.gather(*made, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, AlreadyExists | StaleWrite)]
    assert len(refused) == 2, outcomes
    async with database.read() as look:
        job, printer, runs = await look.job("j1"), await look.printer("p1"), await look.active_runs()
    assert job is not None
    assert printer is not None
    assert [run.run_id for run in runs] == [printer.active_run_id]
    assert job.active_runs == 1


async def test_one_key_one_answer_however_many_write_at_once(database: SqlStore) -> None:
    async def remember(number: int) -> None:
        async with database.write("remember") as tx:
            await tx.remember("key/k1", "order", Remembered("b" * 64, f"j{number}"))

    outcomes = await asyncio.gather(*[remember(number) for number in range(8)], return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [AlreadyExists] * 7
    async with database.write("look") as tx:
        assert await tx.remembered("key/k1", "order") == Remembered("b" * 64, f"j{outcomes.index(None)}")


async def test_a_writer_that_is_cancelled_leaves_no_row_and_no_lock(store: Store) -> None:
    await furnish(store)
    written = asyncio.Event()

    async def never_ends() -> None:
        async with store.write("never") as tx:
            job = await tx.lock_job("j1")
            assert job is not None
            await tx.save_job(job, replace(job, priority=9))
            written.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(never_ends())
    await written.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    async with asyncio.timeout(30), store.write("next") as tx:
        assert await tx.lock_job("j1") == a_job()


async def test_of_two_that_find_no_leader_one_leads(store: Store) -> None:
    async def take(holder: str) -> int | None:
        async with store.write("term") as tx:
            return await tx.take_term(holder, 30 * SECOND)

    async with store.write("term") as tx:
        assert await tx.take_term("a", 30 * SECOND) == 1
        other = asyncio.create_task(take("b"))
        assert not await _goes_on(other)
    assert await other is None


async def test_a_leader_that_has_confirmed_leads_until_its_transaction_ends(database: SqlStore) -> None:
    async with database.write("term") as tx:
        assert await tx.take_term("a", 30 * SECOND) == 1

    async def take_over() -> int | None:
        async with database.write("term") as tx:
            return await tx.take_term("b", 30 * SECOND)

    async with database.write("decision") as tx:
        assert await tx.holds_term("a", 1)
        # Its term lapses while it writes.
        forward(database, 31 * SECOND)
        other = asyncio.create_task(take_over())
        assert not await _goes_on(other)
    assert await other == 2
    async with database.write("late") as tx:
        assert not await tx.holds_term("a", 1)


@pytest.fixture
def farm(database: SqlStore, tmp_path: Path) -> Farm:
    return Farm(database, InProcessBus(), ArtifactFolder(tmp_path / "artifacts"), TimeOrderedIds())


async def test_all_who_tell_of_one_subject_at_once_are_heard(farm: Farm) -> None:
    """An alarm of a run does not lock the run."""

    async def alarm(number: int) -> None:
        async def work(tx: Writing) -> None:
            await tx.append_events([DomainEvent("run.alarm", "r1", "a1", {"n": number})])

        await transact(farm, "alarm", work)

    await asyncio.gather(*[alarm(number) for number in range(4)])
    async with farm.store.write("position") as tx:
        placed = await tx.position_events(9)
    assert [event.subject_sequence for event in placed] == [1, 2, 3, 4]
    assert {event.event.data["n"] for event in placed} == {0, 1, 2, 3}


async def test_who_tells_second_is_told_to_begin_again(postgresql: SqlStore) -> None:
    async def tell() -> None:
        async with postgresql.write("tell") as tx:
            await tx.append_events([DomainEvent("run.alarm", "r1", "a1")])

    async with postgresql.write("first") as tx:
        await tx.append_events([DomainEvent("run.paused", "r1", "a1")])
        second = asyncio.create_task(tell())
        assert not await _goes_on(second)
    with pytest.raises(StaleWrite):
        await second


async def test_the_audit_has_no_gap_however_many_write_at_once(database: SqlStore) -> None:
    async def note(number: int) -> None:
        async with database.write("note") as tx:
            await tx.append_audit([AuditEntry("a", "job", f"j{number}", "user/ana", "", n) for n in range(3)])

    await asyncio.gather(*[note(number) for number in range(6)])
    async with database.read() as look:
        rows = await look.audit(99, None, "")
    assert [row.sequence for row in rows] == list(range(18, 0, -1))
    # Rows of one transaction stay together.
    assert [row.entry.epoch for row in rows] == [2, 1, 0] * 6


async def test_two_that_place_events_at_once_leave_no_gap(database: SqlStore) -> None:
    async with database.write("tell") as tx:
        await tx.append_events([DomainEvent("job.x", f"j{number}", "a") for number in range(20)])

    async def place() -> list[int]:
        async with database.write("position") as tx:
            return [event.position for event in await tx.position_events(7)]

    placed = await asyncio.gather(*[place() for _ in range(4)])
    assert sorted(position for some in placed for position in some) == list(range(1, 21))


async def test_an_event_that_commits_late_is_placed_behind_and_never_lost(postgresql: SqlStore) -> None:
    """The order of their numbers is not the order of their commits."""

    async def place() -> list[str]:
        async with postgresql.write("position") as tx:
            return [event.event.subject_id for event in await tx.position_events(9)]

    async with postgresql.write("slow") as tx:
        await tx.append_events([DomainEvent("job.x", "slow", "a")])
        async with postgresql.write("quick") as quick:
            await quick.append_events([DomainEvent("job.x", "quick", "a")])
        assert await place() == ["quick"]
    assert await place() == ["slow"]
    async with postgresql.read() as look:
        assert [(e.position, e.event.subject_id) for e in await look.events(0, 9)] == [(1, "quick"), (2, "slow")]


async def test_of_two_in_a_ring_one_begins_again(postgresql: SqlStore) -> None:
    await furnish(postgresql)
    async with postgresql.write("more") as tx:
        await tx.add_jobs([a_job("j2")])
    both = asyncio.Barrier(2)

    async def lock(first: str, second: str) -> str:
        async with postgresql.write("ring") as tx:
            await tx.lock_job(first)
            await both.wait()
            await tx.lock_job(second)
            return first

    outcomes = await asyncio.gather(lock("j1", "j2"), lock("j2", "j1"), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StaleWrite", "str"]


async def test_sqlite_syncs_each_commit_and_checks_its_keys(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'farm.db'}")
    found = {}
    async with store.engine.connect() as connection:
        for name in ("journal_mode", "synchronous", "foreign_keys"):
            found[name] = (await connection.execute(sa.text(f"PRAGMA {name}"))).scalar_one()
    await store.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_time_is_the_databases_own(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    store = SqlStore(database_url(request, tmp_path, kind))
    await migrate(store.engine)
    times = []
    for _ in range(3):
        async with store.write("time") as tx:
            times.append(tx.now)
        async with store.read() as look:
            times.append(look.now)
    async with store.engine.connect() as connection:
        # By another way than the store's, in seconds.
        query = "SELECT extract(epoch FROM now())" if kind == "postgresql" else "SELECT strftime('%s', 'now')"
        seconds = int(float((await connection.execute(sa.text(query))).scalar_one()))
    await store.close()
    assert times == sorted(times)
    # Microseconds, as rounded; however long the machine took between the two.
    assert -1 <= seconds - times[-1] // SECOND < 3_600


async def test_a_database_that_does_not_answer_is_said_so(tmp_path: Path) -> None:
    store = SqlStore(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    with pytest.raises(DatabaseUnavailable):
        await store.ping()
    with pytest.raises(DatabaseUnavailable):
        async with store.write("nothing"):
            pass
    await store.close()


class LastWords:
    """A way to the database on which a server's last word arrives, and the end of its connection never does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._words = asyncio.Semaphore(0)
        self._over = asyncio.Event()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            if b"terminating connection" in data:
                self._words.release()
                await self._over.wait()
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        back = asyncio.create_task(self._pump(far_reader, writer))
        with suppress(ConnectionError):
            await self._pump(reader, far_writer)
        await asyncio.gather(back, return_exceptions=True)

    async def come(self, count: int) -> None:
        for _ in range(count):
            await self._words.acquire()
        # To whom they were passed on reads them within some turns of the loop.
        await asyncio.sleep(0.1)

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self._over.set()
            server.close()


_END_ALL_OTHERS = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


async def test_a_server_that_has_said_its_last_word_does_not_answer(postgresql: SqlStore) -> None:
    """It was read and the connection's end was not, as when a process wakes up: asyncpg has an error of its own for it."""
    url = postgresql.engine.url
    assert url.port is not None
    words = LastWords(url.port)
    async with words.served() as port, asyncio.timeout(60):
        store = SqlStore(url.set(port=port).render_as_string(hide_password=False))
        await store.ping()
        assert await store.take_presence()
        async with store.write("before"):
            pass
        async with postgresql.engine.connect() as connection:
            ended = (await connection.execute(sa.text(_END_ALL_OTHERS))).scalar_one()
        await words.come(ended)
        with pytest.raises(DatabaseUnavailable):
            await store.ping()
        # It is not used again; neither is the one that held the lock.
        await store.ping()
        async with store.write("after"):
            pass
        assert await store.take_presence()
        await store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A statement is waited for a second, a rollback half of one."""
    monkeypatch.setattr(sql_store, "ANSWER_SECONDS", 1.0)
    monkeypatch.setattr(postgres_connection, "UNDO_SECONDS", 0.5)


async def test_a_server_whose_host_vanished_is_not_waited_for(postgresql: SqlStore, impatient: None) -> None:
    """It sends no reset: whatever comes to it is swallowed, whether its connection was in use or lay ready."""
    url = postgresql.engine.url
    with FaultProxy(f"{url.host}:{url.port}") as proxy:
        store = SqlStore(url.set(port=proxy.port).render_as_string(hide_password=False))
        assert await store.take_presence()
        await asyncio.gather(*(store.ping() for _ in range(5)))
        async with asyncio.timeout(60):
            with pytest.raises(DatabaseUnavailable):
                await _vanishes_at_the_commit(store, proxy)
            for call in (store.ping, store.take_presence):
                with pytest.raises(DatabaseUnavailable):
                    await call()
        proxy.weather.hole_up = proxy.weather.hole_down = False
        await store.ping()
        async with asyncio.timeout(60):
            while not await store.take_presence():  # noqa: ASYNC110 - the server's doing
                await asyncio.sleep(0.05)
        # Stopped while nothing answers.
        proxy.weather.hole_up = proxy.weather.hole_down = True
        async with asyncio.timeout(60):
            await store.close()


async def _vanishes_at_the_commit(store: SqlStore, proxy: FaultProxy) -> None:
    async with store.write("lost"):
        proxy.weather.hole_up = proxy.weather.hole_down = True


async def test_connections_that_lay_ready_are_given_up_with_the_one_that_was_cut_off(
    postgresql: SqlStore, impatient: None
) -> None:
    """Each of them would cost its next user as long."""
    url = postgresql.engine.url
    with FaultProxy(f"{url.host}:{url.port}") as proxy:
        store = SqlStore(url.set(port=proxy.port).render_as_string(hide_password=False))
        await asyncio.gather(*(store.ping() for _ in range(5)))
        assert proxy.open_connections == 5
        proxy.weather.hole_up = proxy.weather.hole_down = True
        with pytest.raises(DatabaseUnavailable):
            await store.ping()
        async with asyncio.timeout(30):
            while proxy.open_connections:  # noqa: ASYNC110 - another thread's doing
                await asyncio.sleep(0.05)
        await store.close()


async def test_a_migration_may_take_longer_than_a_statement(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_store, "ANSWER_SECONDS", 0.05)
    store = SqlStore(postgres.database())
    async with store.engine.begin() as first:
        await first.execute(sa.text("SELECT pg_advisory_xact_lock(7303)"))
        second = asyncio.create_task(migrate(store.engine))
        assert not await _goes_on(second)
    await second
    await store.close()


async def test_a_look_that_is_cancelled_anywhere_leaves_a_connection_that_writes(postgresql: SqlStore) -> None:
    await furnish(postgresql)

    async def look() -> None:
        async with postgresql.read() as seen:
            await seen.job("j1")

    for milliseconds in range(12):
        task = asyncio.create_task(look())
        await asyncio.wait([task], timeout=milliseconds / 4_000)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        async with postgresql.write("after") as tx:
            assert await tx.lock_job("j1") is not None
