"""Events to a RabbitMQ topic exchange, confirmed by the broker."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractExchange

from ...app.ports import StoredEvent

_LOG = structlog.get_logger(__name__)
EXCHANGE = "printfarm.events"
IN_FLIGHT = 32
_CONNECT_SECONDS = 10.0
_PUBLISH_SECONDS = 10.0
_CLOSE_SECONDS = 2.0
_HEARTBEAT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class _Link:
    connection: AbstractConnection
    channel: AbstractChannel
    exchange: AbstractExchange


class RabbitBus:
    """The ``Bus`` port. While the broker is away ``publish`` raises at once: the outbox keeps what was not confirmed.

    Connects when it is first used, and again after any failure: the caller's own repetition is what reconnects. A robust
    connection would do that in the background, and leave publications waiting for it. So a coordinator also starts, and prints
    go on, while the broker is down.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._link: _Link | None = None
        self._opening = asyncio.Lock()

    async def publish(self, events: Sequence[StoredEvent]) -> None:
        """In order; routing key is the event's type. A consumer drops repetitions by the message id."""
        exchange = (await self._ready()).exchange
        try:
            for at in range(0, len(events), IN_FLIGHT):
                # The channel's lock is fair: what is begun first is written first.
                sent = (_publish(exchange, event) for event in events[at : at + IN_FLIGHT])
                for outcome in await asyncio.gather(*sent, return_exceptions=True):
                    if isinstance(outcome, BaseException):
                        raise outcome
        except Exception:
            await self.close()
            raise

    async def ping(self) -> None:
        """Raises unless the broker answers."""
        channel = (await self._ready()).channel
        try:
            await channel.get_exchange(EXCHANGE, ensure=True)
        except Exception:
            await self.close()
            raise

    async def close(self) -> None:
        """Gives the connection up. Never raises: the other side may be gone."""
        link, self._link = self._link, None
        if link is not None:
            await _close(link.connection)

    async def _ready(self) -> _Link:
        async with self._opening:
            if self._link is not None and self._link.connection.is_closed:
                await self.close()
            if self._link is None:
                self._link = await _open(self._url)
            return self._link


async def _open(url: str) -> _Link:
    connection = await aio_pika.connect(url, timeout=_CONNECT_SECONDS, heartbeat=_HEARTBEAT_SECONDS)
    try:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    except BaseException:
        await _close(connection)
        raise
    return _Link(connection, channel, exchange)


async def _close(connection: AbstractConnection) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await connection.close()
    except Exception as error:
        _LOG.debug("the broker's connection was not closed in peace", why=str(error))


async def _publish(exchange: AbstractExchange, event: StoredEvent) -> None:
    # Not mandatory: an event that nobody has bound a queue for is nobody's loss, and must not hold up the others.
    await exchange.publish(_message(event), routing_key=event.event.type, mandatory=False, timeout=_PUBLISH_SECONDS)


def _message_id(stored: StoredEvent) -> str:
    """Of one event for ever: a database restored from a copy gives later events positions that were given before."""
    return f"{stored.position}-{stored.created_at}"


def _message(stored: StoredEvent) -> aio_pika.Message:
    event = stored.event
    body = {
        "position": stored.position,
        "type": event.type,
        "subject_kind": event.subject_kind,
        "subject_id": event.subject_id,
        "subject_sequence": stored.subject_sequence,
        "actor": event.actor,
        "data": dict(event.data),
        "created_at_us": stored.created_at,
    }
    return aio_pika.Message(
        json.dumps(body).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=_message_id(stored),
        type=event.type,
    )


@asynccontextmanager
async def open_rabbitmq(url: str) -> AsyncGenerator[RabbitBus]:
    """A bus to the broker of the URL, which need not be there yet."""
    bus = RabbitBus(url)
    try:
        yield bus
    finally:
        await bus.close()
