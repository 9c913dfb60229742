"""The driver of Duet boards, standalone and with an SBC."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from ...driver import (
    BadReply,
    Capabilities,
    ConnectionLost,
    Driver,
    DriverError,
    Handle,
    MachineIdentity,
    Observation,
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from ...driver_options import DriverOptions
from ...secret import Secret
from .link import Link, NotNow, Sbc, Standalone
from .memory import Memory, fold
from .model import Look, identity, look, path_of

_LOOK_AGAIN_SECONDS = 0.25
# For a look after which an end is believed.
_SURE_SECONDS = 0.6
# Far shorter than the authority: the start was taken, only its sign is looked for.
_BEGIN_SECONDS = 5.0
_PARK_SECONDS = 45.0
_EMERGENCY_SECONDS = 3.0
_EMERGENCY_TRIES = 20
# So that they fit into the board's buffer of 255 bytes.
_LINES_AT_ONCE = 12
_TOO_LATE = "cannot set file to print"


class DuetDriver:
    """The ``Driver`` port. Nothing that waits is ever sent: one channel serves all clients, and an M25 would wait behind it."""

    def __init__(self, url: str, password: Secret | None, seconds: float) -> None:
        self._url, self._password, self._seconds = url, password, seconds
        self._lock = asyncio.Lock()
        # It remembers that there was no place for us.
        self._standalone = Standalone(url, password, seconds)
        self._link: Link | None = None
        self._is_sbc: bool | None = None
        self._serial_number = ""
        self._memory: Memory | None = None

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        async with self._lock:
            try:
                machine = identity(await (await self._opened_link()).model())
            except DriverError as error:
                raise _unseen(error) from error
        if self._serial_number and machine.serial_number != self._serial_number:
            raise BadReply("the board at this address is another than before")
        self._serial_number = machine.serial_number
        return machine, Capabilities(can_pause=True, prints_autonomously=True)

    async def _opened_link(self) -> Link:
        if self._link is None:
            self._link = await self._new_link(self._standalone, self._seconds)
        return self._link

    async def _new_link(self, standalone: Standalone, seconds: float) -> Link:
        """Whichever server answers. Once known it does not change."""
        if not self._is_sbc:
            await standalone.connect()
            self._is_sbc = standalone.is_emulated
            if not self._is_sbc:
                return standalone
        sbc = Sbc(self._url, self._password, seconds)
        try:
            await sbc.connect()
        except BaseException:
            await sbc.close()
            raise
        return sbc

    async def observe(self) -> Observation:
        async with self._lock:
            try:
                return await self._observe()
            except DriverError as error:
                raise _unseen(error) from error

    async def _observe(self) -> Observation:
        seen = await self._look()
        self._memory, told = fold(self._memory, seen, time.monotonic())
        return told

    async def _look(self) -> Look:
        return look(await (await self._opened_link()).model())

    # -- files

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        target, size = _path(name), (await asyncio.to_thread(path.stat)).st_size
        async with self._lock:
            seen = await self._look()
            if seen.file_name == name:
                # A standalone board says that it took the file, and keeps the old one.
                raise Refused("the printer prints this very file")
            if seen.free_bytes is not None and seen.free_bytes < size:
                raise Refused(f"the printer's card is full: {seen.free_bytes} bytes are free, {size} are needed")
            link = await self._opened_link()
            await link.upload(path, target, size, sent)
            stored = await link.size(target)
            if stored != size:
                await link.delete(target)
                raise Refused(f"the printer stored {stored or 0} of {size} bytes")

    async def remove_file(self, name: str) -> None:
        async with self._lock:
            await (await self._opened_link()).delete(_path(name))

    # -- the print

    async def start(self, path: Path, name: str) -> Handle:
        target = _path(name)
        async with self._lock:
            seen, link = await self._ready()
            # To this very command: then it is certain.
            said = await link.start(target)
            if _TOO_LATE in said.lower():
                raise Refused("a file is already being printed")
            _find_no_file(said, name)
            if not await self._has_begun(link, name):
                raise OutcomeUnknown("the start was sent, and the printer shows no print")
        return Handle(1, {"serial_number": self._serial_number, "path": target, "up_time": seen.up_time})

    async def _ready(self) -> tuple[Look, Link]:
        """A look at a printer that takes a start. Nothing is sent before."""
        try:
            seen = await self._look()
            link = await self._opened_link()
            # What is left of an earlier try, or of another client.
            await link.reply()
        except Refused:
            raise
        except DriverError as error:
            raise ConnectionLost(str(error)) from error
        if seen.status != "idle" or seen.file_name is not None or seen.faults:
            raise Refused(f"the printer is {seen.status or 'in a state that nobody knows'}")
        return seen, link

    async def _has_begun(self, link: Link, name: str) -> bool:
        """The command was taken. Whether it was carried out, the model tells; a reply only if it names our file, as any other
        may be to somebody else's command. Raises Refused."""
        end = time.monotonic() + _BEGIN_SECONDS
        while time.monotonic() < end:
            reply = ""
            with contextlib.suppress(DriverError):
                seen = await self._look()
                is_over = seen.last is not None and seen.last.name == name and bool(seen.last.duration)
                if seen.file_name == name or is_over:
                    self._memory = Memory(
                        name, time.monotonic(), begun=True, up_time=seen.up_time, progress=seen.progress
                    )
                    return True
                if seen.file_name is not None:
                    return False
                reply = await link.reply()
            _find_no_file(reply, name)
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return False

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        serial = handle.facts.get("serial_number") if handle else None
        if serial and self._serial_number and serial != self._serial_number:
            raise BadReply("the board at this address is another than the one that was started")
        if handle is not None and (self._memory is None or self._memory.name != name):
            up_time = handle.facts.get("up_time")
            known = float(up_time) if isinstance(up_time, int | float) else None
            self._memory = Memory(name, time.monotonic(), begun=True, up_time=known)
        told = await self.observe()
        if told.state is ObservedState.FINISHING:
            # One look is not enough to believe that a print is over.
            await asyncio.sleep(_SURE_SECONDS)
            told = await self.observe()
        return told

    async def pause(self) -> None:
        async with self._lock:
            seen = await self._ours()
            if seen.status not in ("paused", "pausing"):
                await (await self._opened_link()).code("M25")

    async def resume(self) -> None:
        async with self._lock:
            seen = await self._ours()
            if seen.status == "pausing":
                raise Refused("the printer has not come to its pause yet")
            if seen.status == "paused":
                await (await self._opened_link()).code("M24")

    async def cancel(self) -> None:
        async with self._lock:
            seen = await self._ours()
            assert self._memory is not None
            self._memory = replace(self._memory, cancel_asked=True)
            link = await self._opened_link()
            if seen.status not in ("paused", "pausing"):
                await link.code("M25")
            # Only a paused print can be cancelled: before, the word is lost and it prints on.
            end = time.monotonic() + _PARK_SECONDS
            while (seen := await self._look()).status != "paused":
                if seen.file_name is None:
                    return
                if time.monotonic() > end:
                    raise OutcomeUnknown("the printer has not come to the pause that a cancel needs")
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            await link.code("M0")

    async def _ours(self) -> Look:
        """A look at our own running print. Raises Refused if there is none."""
        try:
            seen = await self._look()
        except Refused:
            raise
        except DriverError as error:
            raise ConnectionLost(str(error)) from error
        self._memory, _ = fold(self._memory, seen, time.monotonic())
        if seen.file_name is None:
            raise Refused("the printer prints nothing")
        if not seen.file_name.startswith("pf-"):
            raise Refused("the print is somebody else's")
        return seen

    async def cool_down(self) -> None:
        async with self._lock:
            seen = await self._look()
            if seen.status != "idle":
                raise Refused(f"the printer is {seen.status}")
            link = await self._opened_link()
            # What is not named keeps its target.
            lines = [f"G10 P{number} S0 R0" for number in seen.tools] + ["M140 S0"]
            if any(heater.name.startswith("chamber") for heater in seen.heaters):
                lines.append("M141 S0")
            for begin in range(0, len(lines), _LINES_AT_ONCE):
                await link.code("\n".join(lines[begin : begin + _LINES_AT_ONCE]))

    async def emergency_stop(self) -> None:
        standalone = self._standalone.beside(_EMERGENCY_SECONDS)
        link: Link = standalone
        try:
            if self._is_sbc is not False:
                link = await self._new_link(standalone, _EMERGENCY_SECONDS)
            for _ in range(_EMERGENCY_TRIES):
                try:
                    # It acts while it is received, but only if the buffer has room for it.
                    await link.code("M112")
                except (Refused, NotNow):
                    await asyncio.sleep(0.05)
                else:
                    return
            raise OutcomeUnknown("the printer's buffer has no room for the emergency stop")
        finally:
            await link.close()
            await standalone.close()

    async def close(self) -> None:
        """Lets go of the printer, and of the place it keeps for us. A print goes on."""
        if self._link is not None:
            await self._link.close()
        await self._standalone.close()


def _path(name: str) -> str:
    try:
        return path_of(name)
    except ValueError as error:
        raise Refused(str(error)) from error


def _find_no_file(reply: str, name: str) -> None:
    if name in reply and "not found" in reply:
        raise Refused("the printer does not find the file")


def _unseen(error: DriverError) -> DriverError:
    return error if isinstance(error, BadReply) else ConnectionLost(str(error))


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``duet``.

    Options: ``url``; ``password_file`` (or ``_env``, ``_credential``) if the printer has one; ``timeout_seconds`` (8)."""
    options = DriverOptions(config)
    url, password = options.url("url"), options.secret("password")
    seconds = options.number("timeout_seconds", 8.0, 0.5, 120.0)
    options.finish()
    return _opened(DuetDriver(url, password, seconds))


@asynccontextmanager
async def _opened(driver: DuetDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
