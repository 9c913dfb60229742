"""The driver of the virtual printer: one connection for the work, a fresh one for each emergency stop."""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from ...driver import (
    BadReply,
    Capabilities,
    ConnectionLost,
    Driver,
    Handle,
    MachineIdentity,
    Observation,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from . import protocol

_CHUNK_BYTES = 128 * 1024
_EMERGENCY_SECONDS = 3.0
_OPTIONS = {"address", "timeout_seconds", "upload_timeout_seconds"}


class _Line:
    """One connection. After a lost or late answer it is thrown away: what comes later could be taken for another's."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._host, self._port, self._seconds = host, port, seconds
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._number = 0

    async def ask(self, op: str, seconds: float | None = None, **arguments: object) -> protocol.Reply:
        """Raises ConnectionLost if nothing was sent, OutcomeUnknown if the answer did not come, BadReply, Refused."""
        reader, writer = await self._open()
        self._number += 1
        try:
            async with asyncio.timeout(seconds or self._seconds):
                writer.write(protocol.encode(self._number, op, **arguments))
                await writer.drain()
                line = await reader.readline()
            if not line.endswith(b"\n"):
                raise OutcomeUnknown("the printer closed the connection before it answered")
            return protocol.decode(line, self._number)
        except Refused:
            raise
        except TimeoutError as error:
            await self.close()
            raise OutcomeUnknown(f"no answer within {seconds or self._seconds:g} s") from error
        except ValueError as error:
            await self.close()
            raise BadReply("the printer sent a line without end") from error
        except OSError as error:
            await self.close()
            raise OutcomeUnknown(f"the connection broke: {error.strerror or type(error).__name__}") from error
        except BaseException:
            await self.close()
            raise

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None:
            reader, writer = self._streams
            if not (reader.at_eof() or writer.is_closing()):
                return self._streams
            await self.close()
        try:
            async with asyncio.timeout(self._seconds):
                self._streams = await asyncio.open_connection(self._host, self._port, limit=protocol.LONGEST_REPLY)
        except (OSError, TimeoutError) as error:
            raise ConnectionLost(f"{self._host}:{self._port} does not answer") from error
        return self._streams

    async def close(self) -> None:
        """The next question opens anew."""
        if self._streams is None:
            return
        _, writer = self._streams
        self._streams = None
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class VirtualDriver:
    """The ``Driver`` port over the virtual printer's protocol."""

    def __init__(self, host: str, port: int, seconds: float, upload_seconds: float) -> None:
        self._address = (host, port)
        self._line = _Line(host, port, seconds)
        self._upload_seconds = upload_seconds

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        return protocol.identity(await self._line.ask("hello"))

    async def observe(self) -> Observation:
        try:
            return protocol.observation(await self._line.ask("status"))
        except BadReply:
            raise
        except OutcomeUnknown as error:
            raise ConnectionLost(str(error)) from error

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        size = (await asyncio.to_thread(path.stat)).st_size
        try:
            async with asyncio.timeout(self._upload_seconds):
                await self._line.ask("upload_begin", name=name, size=size)
                digest = await self._send(path, name, sent)
                stored = await self._line.ask("upload_end", seconds=30.0, name=name)
        except TimeoutError as error:
            raise OutcomeUnknown(f"the file was not there within {self._upload_seconds:g} s") from error
        if stored.get("sha256") != digest:
            await self.remove_file(name)
            raise Refused("the printer stored other bytes than were sent")

    async def _send(self, path: Path, name: str, sent: Sent) -> str:
        digest, total = hashlib.sha256(), 0
        with path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                digest.update(chunk)
                data = base64.b64encode(chunk).decode()
                await self._line.ask("upload_chunk", seconds=30.0, name=name, data=data)
                total += len(chunk)
                sent(total)
        return digest.hexdigest()

    async def remove_file(self, name: str) -> None:
        await self._line.ask("delete", name=name)

    async def start(self, path: Path, name: str) -> Handle:
        reply = await self._line.ask("start", name=name)
        number = reply.get("print_number")
        return Handle(1, {"print_number": number if isinstance(number, int) else None})

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        return await self.observe()

    async def pause(self) -> None:
        await self._line.ask("pause")

    async def resume(self) -> None:
        await self._line.ask("resume")

    async def cancel(self) -> None:
        await self._line.ask("cancel")

    async def cool_down(self) -> None:
        await self._line.ask("cool_down")

    async def emergency_stop(self) -> None:
        line = _Line(*self._address, _EMERGENCY_SECONDS)
        try:
            await line.ask("emergency_stop")
        finally:
            await line.close()

    async def close(self) -> None:
        """Lets go of the printer. A print goes on."""
        await self._line.close()


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``virtual``. Options: ``address``, ``timeout_seconds`` (5), ``upload_timeout_seconds`` (600)."""
    options = config.options
    if unknown := set(options) - _OPTIONS:
        raise ValueError(f"printer {config.printer_id}: unknown key {sorted(unknown)[0]}; there are {sorted(_OPTIONS)}")
    host, _, port = str(options.get("address", "")).rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"printer {config.printer_id}: address must be host:port")
    seconds = float(options.get("timeout_seconds", 5.0))
    upload_seconds = float(options.get("upload_timeout_seconds", 600.0))
    return _opened(VirtualDriver(host, int(port), seconds, upload_seconds))


@asynccontextmanager
async def _opened(driver: VirtualDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
