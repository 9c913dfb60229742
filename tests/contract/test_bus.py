"""The ``Bus`` port: in one process, and on a real RabbitMQ that is killed, hung and started again."""

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aio_pika
import pytest
import pytest_asyncio
from aio_pika.abc import AbstractQueue

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.bus.rabbitmq import EXCHANGE, IN_FLIGHT, RabbitBus, open_rabbitmq
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app.farm import Farm, transact
from printfarm_coordinator.app.ports import Bus, StoredEvent, Writing
from printfarm_coordinator.app.relay import position_once, publish_once
from printfarm_coordinator.domain.events import DomainEvent
from tests.support.rabbitmq import RabbitServer

DEADLINE_SECONDS = 30.0
BROKEN = (OSError, aio_pika.exceptions.AMQPError, aio_pika.exceptions.ChannelInvalidStateError)


def events(first: int, count: int, type: str = "run.started") -> list[StoredEvent]:
    return [
        StoredEvent(n, DomainEvent(type, f"r{n}", "agent/a1", {"progress": 0.5, "note": "ü"}), 1, 1_000_000 + n)
        for n in range(first, first + count)
    ]


@asynccontextmanager
async def bound(server: RabbitServer, name: str, pattern: str = "#") -> AsyncGenerator[AbstractQueue]:
    """A durable queue that listens to the farm's events, as a consumer outside has one."""
    connection = await aio_pika.connect(server.url)
    try:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(name, durable=True)
        await queue.bind(exchange, pattern)
        yield queue
    finally:
        await connection.close()


async def taken(queue: AbstractQueue, count: int) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """So many messages, acknowledged; then the queue must be empty."""
    got = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(got) < count:
            message = await queue.get(timeout=DEADLINE_SECONDS, fail=False)
            if message is None:
                await asyncio.sleep(0.02)
                continue
            await message.ack()
            got.append(message)
    assert await queue.get(fail=False) is None
    return got


def positions(messages: list[aio_pika.abc.AbstractIncomingMessage]) -> list[int]:
    return [json.loads(message.body)["position"] for message in messages]


@pytest_asyncio.fixture(params=["inprocess", "rabbitmq"])
async def bus(request: pytest.FixtureRequest) -> AsyncGenerator[Bus]:
    if request.param == "inprocess":
        yield InProcessBus()
        return
    async with open_rabbitmq(request.getfixturevalue("rabbitmq").url) as made:
        yield made


async def test_every_bus_takes_none_one_and_many_events_and_answers(bus: Bus) -> None:
    await bus.ping()
    for count in (0, 1, 3 * IN_FLIGHT + 1):
        await bus.publish(events(1, count))
    await bus.ping()


async def test_events_arrive_in_order_once_with_all_they_say(rabbitmq: RabbitServer) -> None:
    count = 5 * IN_FLIGHT + 3
    async with bound(rabbitmq, "order") as queue, open_rabbitmq(rabbitmq.url) as bus:
        await bus.publish(events(1, count))
        got = await taken(queue, count)
    assert positions(got) == list(range(1, count + 1))
    first = got[0]
    assert (first.message_id, first.routing_key, first.type) == ("1-1000001", "run.started", "run.started")
    assert (first.content_type, first.delivery_mode) == ("application/json", aio_pika.DeliveryMode.PERSISTENT)
    assert json.loads(first.body) == {
        "position": 1,
        "type": "run.started",
        "subject_kind": "run",
        "subject_id": "r1",
        "subject_sequence": 1,
        "actor": "agent/a1",
        "data": {"progress": 0.5, "note": "ü"},
        "created_at_us": 1_000_001,
    }


async def test_a_consumer_may_ask_for_some_types_only(rabbitmq: RabbitServer) -> None:
    async with bound(rabbitmq, "jobs", "job.*") as queue, open_rabbitmq(rabbitmq.url) as bus:
        await bus.publish([*events(1, 2), *events(3, 1, "job.completed"), *events(4, 1)])
        assert positions(await taken(queue, 1)) == [3]


async def test_a_durable_queue_keeps_events_through_a_kill_and_the_bus_comes_back(rabbitmq: RabbitServer) -> None:
    async with open_rabbitmq(rabbitmq.url) as bus:
        async with bound(rabbitmq, "kept") as queue:
            await bus.publish(events(1, 100))
            unread = await queue.get(no_ack=False)
            assert unread is not None
        rabbitmq.kill()
        with pytest.raises(BROKEN):
            await bus.publish(events(101, 1))
        with pytest.raises(BROKEN):
            await bus.ping()
        await asyncio.to_thread(rabbitmq.start)
        await bus.ping()
        await bus.publish(events(101, 1))
        async with bound(rabbitmq, "kept") as queue:
            got = await taken(queue, 101)
    assert sorted(positions(got)) == list(range(1, 102))
    # It was handed out before the kill and never acknowledged: the consumer drops repetitions by its id.
    assert [message.redelivered for message in got if positions([message]) == [1]] == [True]


async def test_an_event_keeps_its_id_and_one_of_a_restored_database_has_another(rabbitmq: RabbitServer) -> None:
    [event] = events(7, 1)
    later = replace(event, created_at=event.created_at + 3_600_000_000)
    async with bound(rabbitmq, "restored") as queue, open_rabbitmq(rabbitmq.url) as bus:
        await bus.publish([event, event, later])
        ids = [message.message_id for message in await taken(queue, 3)]
    assert ids[0] == ids[1] != ids[2]


async def test_a_bus_may_be_opened_before_its_broker_is_there(rabbitmq: RabbitServer) -> None:
    rabbitmq.kill()
    async with open_rabbitmq(rabbitmq.url) as bus:
        with pytest.raises(OSError):
            await bus.publish(events(1, 1))
        await asyncio.to_thread(rabbitmq.start)
        await bus.publish(events(1, 1))


async def test_a_deleted_exchange_is_made_again(rabbitmq: RabbitServer) -> None:
    async with open_rabbitmq(rabbitmq.url) as bus:
        await bus.publish(events(1, 1))
        connection = await aio_pika.connect(rabbitmq.url)
        async with connection:
            await (await connection.channel()).exchange_delete(EXCHANGE)
        with pytest.raises(BROKEN):
            await bus.publish(events(2, 1))
        async with bound(rabbitmq, "again") as queue:
            await bus.publish(events(2, 1))
            assert positions(await taken(queue, 1)) == [2]


async def test_a_broker_that_hangs_holds_nobody_for_ever(
    rabbitmq: RabbitServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("printfarm_coordinator.adapters.bus.rabbitmq._PUBLISH_SECONDS", 0.5)
    async with bound(rabbitmq, "hung") as queue, open_rabbitmq(rabbitmq.url) as bus:
        await bus.publish(events(1, 1))
        rabbitmq.signal(signal.SIGSTOP)
        try:
            with pytest.raises(TimeoutError):
                await bus.publish(events(2, 3))
        finally:
            rabbitmq.signal(signal.SIGCONT)
        # Whether the broker took them is not known: they are published again, and some may come twice.
        await bus.publish(events(2, 3))
        seen: list[int] = []
        async with asyncio.timeout(DEADLINE_SECONDS):
            while set(seen) != {1, 2, 3, 4}:
                if (message := await queue.get(fail=False)) is not None:
                    await message.ack()
                    seen += positions([message])
        assert seen[:2] == [1, 2]


async def test_the_outbox_keeps_what_the_broker_did_not_confirm(rabbitmq: RabbitServer, tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'farm.db'}")
    await migrate(store.engine)
    bus = RabbitBus(rabbitmq.url)
    farm = Farm(store, bus, ArtifactFolder(tmp_path / "artifacts"), TimeOrderedIds())

    async def happen(*subjects: str) -> None:
        async def work(tx: Writing) -> None:
            await tx.append_events([DomainEvent("run.started", subject, "agent/a1") for subject in subjects])

        await transact(farm, "test", work)
        await position_once(farm)

    try:
        async with bound(rabbitmq, "outbox") as queue:
            await happen("r1", "r2")
            assert await publish_once(farm) == 2
            assert positions(await taken(queue, 2)) == [1, 2]
        rabbitmq.kill()
        await happen("r3", "r4")
        with pytest.raises(BROKEN):
            await publish_once(farm)
        await asyncio.to_thread(rabbitmq.start)
        # A queue of its own: what was acknowledged just before a kill may come again.
        async with bound(rabbitmq, "outbox-after") as queue:
            assert await publish_once(farm) == 2
            assert positions(await taken(queue, 2)) == [3, 4]
            assert await publish_once(farm) == 0
    finally:
        await bus.close()
        await store.close()
