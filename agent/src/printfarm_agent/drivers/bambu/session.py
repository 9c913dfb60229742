"""One MQTT connection to a printer: what it reports adds up, what is asked is answered by its own echo.

Nothing is queued for a later connection: a start that waits in a queue may become a second print. So a session that is not sure
of its connection ends, and the next one is a new client with a new id.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from typing import Any

import aiomqtt

from ...driver import BadReply, ConnectionLost, DriverError, OutcomeUnknown, Refused
from ...secret import Secret
from .. import reading
from .commands import encode
from .report import LONGEST_REPORT, TOO_LONG, Cache, Report, decode
from .tls import PrinterContext, PrinterTls

USER = "bblp"
_KEEPALIVE_SECONDS = 30
# A report's topic, its length and its number stand in the same message.
_TOPIC_BYTES = 256
# paho's: bad user name or password, not authorised; by MQTT 3.1.1 and as version 2 of the library tells them.
_WRONG_CODE = frozenset({4, 5, 134, 135})
_LOG = logging.getLogger(__name__)


class WrongCode(Refused):
    """The access code was not accepted."""


class Session:
    """Open from ``begin`` until ``end``, or until the connection breaks: then ``is_open`` is False."""

    def __init__(self, address: tuple[str, int], code: Secret, tls: PrinterTls, seconds: float) -> None:
        self._address, self._code, self._tls, self._seconds = address, code, tls, seconds
        self._topic = f"device/{tls.serial_number}"
        self._client: aiomqtt.Client | None = None
        self._reader: asyncio.Task[None] | None = None
        self._cache = Cache()
        self._sequence = secrets.randbelow(10_000)
        # By command and sequence: reports count sequences of their own, and other clients theirs.
        self._echoes: dict[tuple[str, str], asyncio.Future[dict[str, Any]]] = {}
        self._news = asyncio.Event()
        self._bad: BadReply | None = None
        self.firmware = ""
        self.model = ""
        self.is_open = False

    @property
    def report(self) -> Report:
        """What all reports so far add up to. Fresh only after ``hear``."""
        return self._cache.report()

    async def begin(self) -> None:
        """Connects, and asks for everything once. Raises WrongCode, ConnectionLost, BadReply."""
        try:
            code = self._code.reveal()
        except ValueError as error:
            raise WrongCode(str(error)) from error
        context = self._tls.context()
        # So that the library holds no message that nobody would read: MQTT allows 256 MiB.
        context.longest_read = LONGEST_REPORT + _TOPIC_BYTES
        client = aiomqtt.Client(
            *self._address,
            username=USER,
            password=code,
            identifier=f"printfarm-{secrets.token_hex(6)}",
            tls_context=context,
            timeout=self._seconds,
            keepalive=_KEEPALIVE_SECONDS,
            clean_session=True,
            logger=_LOG,
        )
        try:
            async with asyncio.timeout(2 * self._seconds):
                await client.__aenter__()
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            raise self._not_connected(error) from error
        self._client, self.is_open = client, True
        self._reader = asyncio.create_task(self._read(client, context))
        try:
            async with asyncio.timeout(self._seconds):
                await client.subscribe(f"{self._topic}/report")
            await self.publish("info", "get_version", qos=0)
            await self.publish("pushing", "pushall", qos=0, version=1, push_target=1)
        except (aiomqtt.MqttError, TimeoutError) as error:
            raise ConnectionLost("the printer's broker did not take the subscription") from error

    def _not_connected(self, error: BaseException) -> DriverError:
        if self._tls.refused:
            return ConnectionLost(self._tls.refused)
        if getattr(getattr(error, "rc", None), "value", getattr(error, "rc", None)) in _WRONG_CODE:
            return WrongCode(f"the printer does not accept {self._code}; it changes with LAN Only and Developer Mode")
        return ConnectionLost("the printer cannot be reached")

    async def _read(self, client: aiomqtt.Client, context: PrinterContext) -> None:
        try:
            async for message in client.messages:
                self._take(bytes(message.payload) if isinstance(message.payload, bytes | bytearray) else b"")
        except aiomqtt.MqttError:
            pass
        finally:
            self.is_open = False
            if context.was_too_long:
                self._bad = BadReply(TOO_LONG)
            self._news.set()
            for waiting in self._echoes.values():
                waiting.cancel()

    def _take(self, payload: bytes) -> None:
        try:
            said = decode(payload)
        except BadReply as error:
            self._bad = error
            self._news.set()
            return
        print_, info = reading.table(said.get("print")), reading.table(said.get("info"))
        for part in (print_, info, reading.table(said.get("system"))):
            waiting = self._echoes.get((str(part.get("command")), str(part.get("sequence_id"))))
            if waiting is not None and not waiting.done():
                waiting.set_result(dict(part))
        if info.get("command") == "get_version":
            self._take_version(info)
        if print_.get("command", "push_status") == "push_status":
            self._cache.take(print_)
        self._news.set()

    def _take_version(self, info: Any) -> None:
        for module in reading.rows(info.get("module"), 64):
            if module.get("name") == "ota":
                self.firmware = reading.text(module.get("sw_ver"), 32)
                self.model = reading.text(module.get("product_name") or module.get("project_name"), 64)

    async def hear(self, seconds: float) -> bool:
        """Waits for the next word of the printer, whatever it says. False if none came. Raises BadReply, ConnectionLost."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        bad, self._bad = self._bad, None
        if bad is not None:
            raise bad
        if not self.is_open:
            raise ConnectionLost("the connection to the printer broke")
        return True

    async def publish(self, top: str, command: str, *, qos: int = 1, **arguments: Any) -> None:
        """Sends, and waits until the broker has it. Raises ConnectionLost before, OutcomeUnknown once it may be there."""
        self._sequence += 1
        await self.send(encode(top, command, self._sequence, **arguments), qos=qos)

    async def ask(self, command: str, sequence: int, payload: bytes) -> dict[str, Any]:
        """Sends with QoS 1, and waits for the printer's echo. Raises as ``send``; OutcomeUnknown without an echo."""
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        key = command, str(sequence)
        self._echoes[key] = waiting
        try:
            await self.send(payload, qos=1)
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(waiting)
        except TimeoutError as error:
            raise OutcomeUnknown("the printer did not answer the command") from error
        except asyncio.CancelledError:
            if waiting.cancelled():
                raise OutcomeUnknown("the connection broke before the printer answered") from None
            raise
        finally:
            del self._echoes[key]
            waiting.cancel()

    async def send(self, payload: bytes, *, qos: int) -> None:
        """As ``publish``. A message whose arrival is not certain ends the session: nothing is sent again by itself."""
        if self._client is None or not self.is_open:
            raise ConnectionLost("the printer is not connected")
        try:
            async with asyncio.timeout(self._seconds):
                await self._client.publish(f"{self._topic}/request", payload, qos=qos)
        except (aiomqtt.MqttError, TimeoutError) as error:
            self.is_open = False
            raise OutcomeUnknown("the command may not have reached the printer") from error

    def next_sequence(self) -> int:
        """For a command whose echo is waited for."""
        self._sequence += 1
        return self._sequence

    async def end(self) -> None:
        """Lets go. May be repeated."""
        client, reader, self._client, self._reader = self._client, self._reader, None, None
        self.is_open = False
        while reader is not None and not reader.done():
            # Once is not always enough: what the library waits in may lose it.
            reader.cancel()
            await asyncio.wait([reader], timeout=1.0)
        if client is not None:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError, OSError):
                async with asyncio.timeout(2.0):
                    await client.__aexit__(None, None, None)


class Backoff:
    """When a printer may be tried again: 1, 2, 4 .. 30 seconds, with jitter; after a wrong code not before it is mended."""

    WRONG_CODE_SECONDS = 600.0

    def __init__(self, first_seconds: float) -> None:
        self._first = first_seconds
        self._failures = 0
        self._until = 0.0
        self._wrong: tuple[str, float] | None = None

    def check(self, code: Secret) -> None:
        """Raises ConnectionLost while it is too early: the printers have few places, and lock them to who asks too often."""
        now = time.monotonic()
        if self._wrong is not None:
            text, until = self._wrong
            if now < until and _revealed(code) == text:
                raise ConnectionLost(f"the printer does not accept {code}; mend it, and it is tried at once")
            self._wrong = None
        if now < self._until:
            raise ConnectionLost(f"the printer cannot be reached; tried again in {self._until - now:.0f} s")

    def failed(self) -> None:
        """Another try ended without a connection."""
        pause = min(30.0, self._first * 2.0 ** min(self._failures, 8))
        self._failures += 1
        self._until = time.monotonic() + pause * (0.75 + 0.5 * secrets.randbelow(1000) / 1000)

    def refused(self, code: Secret) -> None:
        """The code was not accepted."""
        self._wrong = (_revealed(code), time.monotonic() + self.WRONG_CODE_SECONDS)

    def succeeded(self) -> None:
        """It is connected."""
        self._failures, self._until = 0, 0.0


def _revealed(code: Secret) -> str:
    try:
        return code.reveal()
    except ValueError:
        return ""
