"""The driver of a serial printer. The port is held by a process of its own (``printfarm_serial_host``); this speaks to
that process.

A print goes on when the agent dies, and is found again by its file's name. It does not go on when the host process dies, or
when the computer does: what was streamed stops, is told as failed, and is never taken up again. Hence
``prints_autonomously`` and ``fragile``.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
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
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from . import status, talk
from .area import volume_of
from .dialects import firmware_of
from .framing import TooLong, command_of
from .hosting import Hosting, Line
from .options import Options, options_of

_EMERGENCY_SECONDS = 3.0
# The first answer of a board that is slow to answer.
_START_SECONDS = 90.0
_LEAVE_SECONDS = 30.0
# Marlin's own, in every board that was built without another.
_DEFAULT_UUID = "cede2a2f-41a2-4748-9b12-c55c62f367ff"
_UUID = re.compile(r"^[0-9a-fA-F-]{8,64}$")
CAPABILITIES = Capabilities(can_pause=True, prints_autonomously=True, fragile=True)


class MarlinDriver:
    """The ``Driver`` port over the host process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._hosting = Hosting(options.folder, options.host)
        self._line = Line(self._hosting, options.timeout_seconds)

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        claim = await self._claim()
        if claim.get("is_known") is not True:
            raise ConnectionLost(str(claim.get("why") or "the printer has not answered yet"))
        fields = claim.get("fields")
        machine = identity(fields if isinstance(fields, dict) else {}, self._options)
        if self._options.model and machine.model != self._options.model:
            raise ConnectionLost(
                f"{self._options.host.port} leads to a {machine.model!r}, not to a {self._options.model!r}"
            )
        return machine, CAPABILITIES

    async def _claim(self) -> talk.Message:
        """A claim on a process with these settings. One that prints keeps its own until it is done. Raises ConnectionLost,
        BadReply."""
        self._hosting.prepare()
        try:
            return await self._claim_of_these_settings()
        except BadReply:
            raise
        except OutcomeUnknown as error:
            # A claim moves nothing, and may be repeated.
            raise ConnectionLost(str(error)) from error

    async def _claim_of_these_settings(self) -> talk.Message:
        claim = await self._line.claimed()
        if claim.get("version") == talk.VERSION and claim.get("config") == self._options.host.digest:
            return claim
        if claim.get("is_busy") is True:
            return claim
        await self._line.exchange("leave")
        await self._line.close()
        deadline = asyncio.get_running_loop().time() + _LEAVE_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            # One that is about to leave may still take the connection, and break it.
            with contextlib.suppress(OutcomeUnknown):
                claim = await self._line.claimed()
                if claim.get("config") == self._options.host.digest:
                    return claim
            await asyncio.sleep(0.2)
        raise ConnectionLost("the serial host with the old settings does not leave")

    async def _ask(self, op: str, seconds: float | None = None, **arguments: object) -> talk.Message:
        if not self._line.is_open:
            try:
                await self._claim()
            except BadReply as error:
                raise ConnectionLost(str(error)) from error
        return await self._line.exchange(op, seconds, **arguments)

    async def observe(self) -> Observation:
        try:
            reply = await self._ask("status")
            seen = status.from_json(reply["status"])
        except BadReply:
            raise
        except (KeyError, ValueError) as error:
            raise BadReply("the serial host's status cannot be read") from error
        except (OutcomeUnknown, Refused) as error:
            raise ConnectionLost(str(error)) from error
        if seen.state is ObservedState.OFFLINE:
            raise ConnectionLost(seen.why or "the printer does not answer")
        return status.observation(seen)

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        """Nothing is brought to the printer; but what would not fit through the line is refused before anything starts."""
        why = await asyncio.to_thread(unfit, path)
        if why:
            raise Refused(why)
        sent((await asyncio.to_thread(path.stat)).st_size)

    async def remove_file(self, name: str) -> None:
        """There is none on the printer."""

    async def start(self, path: Path, name: str) -> Handle:
        whole = await asyncio.to_thread(path.absolute)
        reply = await self._ask("start", _START_SECONDS, path=str(whole), name=name)
        number = reply.get("print_number")
        return Handle(1, {"print_number": number if isinstance(number, int) else None})

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        return await self.observe()

    async def pause(self) -> None:
        await self._ask("pause")

    async def resume(self) -> None:
        await self._ask("resume")

    async def cancel(self) -> None:
        await self._ask("cancel")

    async def cool_down(self) -> None:
        await self._ask("cool_down")

    async def emergency_stop(self) -> None:
        line = Line(self._hosting, _EMERGENCY_SECONDS)
        self._hosting.prepare()
        try:
            await line.open()
            await line.exchange("emergency_stop", token=self._hosting.token)
        finally:
            await line.close()

    async def close(self) -> None:
        """Lets go of the printer. A print goes on; an idle printer is cooled down after a while."""
        await self._line.close()


def unfit(path: Path) -> str:
    """Why the file cannot go through the line; empty if it can."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                command_of(raw)
            except TooLong as error:
                return f"line {number}: {error}"
    return ""


def identity(fields: Mapping[str, object], options: Options) -> MachineIdentity:
    """By M115. Marlin's built-in UUID tells nothing."""
    uuid = str(fields.get("UUID", ""))
    is_own = _UUID.match(uuid) is not None and uuid.lower() != _DEFAULT_UUID
    return MachineIdentity(
        model=str(fields.get("MACHINE_TYPE", ""))[:256],
        firmware=firmware_of(fields, options.host.dialect),
        serial_number=uuid if is_own else "",
        volume_mm=options.host.limits.volume_mm or volume_of(fields),
    )


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``marlin``. Options: see ``options``. Raises ValueError."""
    return _opened(MarlinDriver(options_of(config)))


@asynccontextmanager
async def _opened(driver: MarlinDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
