"""The driver of PrusaLink, both dialects: files by PUT, starts by POST on a file that was checked, jobs by their number."""

import asyncio
import codecs
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from printfarm_files import heatshrink

from ...driver import (
    BadReply,
    Capabilities,
    ConnectionLost,
    Driver,
    DriverError,
    Handle,
    MachineIdentity,
    NothingToStop,
    Observation,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from ...driver_options import DriverOptions
from ..http_peer import Answer, Upload, upload_seconds
from . import protocol
from .link import Link, Login, taken
from .memory import BEGIN_SECONDS, Memory, fold

# The slowest Wi-Fi seen is 30 kB/s.
_SLOWEST_UPLOAD = 20_000.0
_STALL_SECONDS = 60.0
# After a start was taken: how long its job's number is looked for. Far shorter than the authority.
_NUMBER_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.3
# The Pi's index lags behind an upload by about a second, and behind a replaced file as well.
_INDEX_LOOKS = 30
# The Pi shows an end for 11 seconds.
_END_SECONDS = 20.0
# A transfer on the Pi that has not moved for so many looks, a second apart, will not end by itself.
_STILL_LOOKS = 4
_PARKING_TRIES = 15
_NO_UPLOAD = frozenset({400, 404, 409, 410, 411, 413, 415, 422, 501, 507})
_NO_START = frozenset({400, 404, 405, 409, 415, 422, 503})
_NO_CHANGE = frozenset({400, 404, 405, 409, 503})


class PrusaLinkDriver:
    """The ``Driver`` port. Between two calls it remembers the last print that it saw: the printer does not."""

    def __init__(self, url: str, login: Login, seconds: float, storage: str, serial_number: str) -> None:
        self._link = Link(url, login, seconds)
        # Emergency: beside a call that hangs, on a way of its own.
        self._emergency = Link(url, login, min(seconds, 5.0))
        self._lock = asyncio.Lock()
        self._storage = storage
        self._serial_number = serial_number
        self._server: protocol.Server | None = None
        self._memory: Memory | None = None
        # When a start was sent whose outcome is not known, or not yet.
        self._start_sent: float | None = None
        self._names: dict[str, str] = {}

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        async with self._lock:
            try:
                server = protocol.server(_told(await self._link.ask("GET", "/api/version")))
                info = _told(await self._link.ask("GET", "/api/v1/info"))
            except DriverError as error:
                raise _unseen(error) from error
        if not server.takes_uploads:
            raise BadReply("the printer's firmware takes no uploads by PUT: update it to 5.1 or newer")
        machine, can = protocol.identity(server, info)
        if not heatshrink.is_installed():
            # What this host cannot look into it does not send: the farm gives it the text within.
            can = replace(can, file_kinds=())
        if self._serial_number and machine.serial_number != self._serial_number:
            raise BadReply(f"the printer at this address is {machine.serial_number or 'nameless'}, another than before")
        self._server, self._serial_number = server, machine.serial_number
        return machine, can

    async def observe(self) -> Observation:
        async with self._lock:
            try:
                return await self._observe(self._link)
            except DriverError as error:
                raise _unseen(error) from error

    async def _observe(self, link: Link) -> Observation:
        look = await self._look(link)
        if look.job is not None:
            self._start_sent = None
        dialect = self._server.dialect if self._server else protocol.Dialect.BUDDY
        self._memory, told = fold(self._memory, look, time.monotonic(), dialect)
        return told

    async def _look(self, link: Link) -> protocol.Look:
        """With the name of the job's file, in the agent's words."""
        look = protocol.look(_told(await link.ask("GET", "/api/v1/status")))
        if look.job is None:
            return look
        known = self._memory
        if known is not None and known.job_id == look.job.job_id and known.ending is None and known.name:
            return replace(look, job=replace(look.job, name=known.name))
        answer = await link.ask("GET", "/api/v1/job")
        told = protocol.job(_told(answer)) if answer.status != 204 else None
        if told is None or told.job_id != look.job.job_id or told.name is None:
            return look
        name = self._names.get(told.name) or protocol.long_name(told.name)
        return replace(look, job=replace(look.job, name=name))

    # -- files

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        size = (await asyncio.to_thread(path.stat)).st_size
        if size == 0:
            raise Refused("the file is empty")
        async with self._lock:
            look = await self._look(self._link)
            if look.job is not None:
                # The Pi would let a file that prints be replaced; Buddy's prints stall while it takes one.
                raise Refused("the printer prints: it takes no file meanwhile")
            if self._is_pi() and not await asyncio.to_thread(_is_utf8, path):
                raise Refused(
                    "the file holds bytes that are no UTF-8: PrusaLink on a Raspberry Pi would stop in its middle"
                )
            where = await self._place(name, size)
            upload = Upload(path, size, sent, _STALL_SECONDS, upload_seconds(size, _SLOWEST_UPLOAD))
            await self._upload(where, upload)
            await self._check_size(where, size)
            await self._wait_for_the_end_to_pass()

    def _is_pi(self) -> bool:
        return self._server is not None and self._server.dialect is protocol.Dialect.PI

    async def _wait_for_the_end_to_pass(self) -> None:
        """While the Pi shows how the last print ended it takes no start. Waited for here, where no authority runs out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                while self._is_pi() and (await self._look(self._link)).native in protocol.ENDED:  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def _upload(self, where: str, upload: Upload) -> None:
        # Not octet-stream: for that the Pi looks into a file that is not there yet, and fails.
        headers = {"Content-Type": "text/x.gcode", "Overwrite": "?1"}
        answer = await self._link.ask("PUT", where, headers=headers, body=upload)
        # The Pi has no words for it.
        has_another = (
            b"transfer" in answer.body.lower() if answer.status == 409 else answer.status == 500 and self._is_pi()
        )
        if has_another and await self._waited_for_another_transfer():
            answer = await self._link.ask("PUT", where, headers=headers, body=upload)
        taken(answer, _NO_UPLOAD)

    async def _waited_for_another_transfer(self) -> bool:
        """Such as an earlier one of ours that was cut off: the printer needs a while to notice. False if there was none.
        Raises Refused for one that does not end: after a write that failed the Pi believes in it until it is restarted."""
        before, still = None, 0
        for waited in range(int(_STALL_SECONDS)):
            answer = await self._link.ask("GET", "/api/v1/transfer")
            if answer.status != 200:
                return waited > 0 or not self._is_pi()
            done = protocol.transferred(answer.json())
            before, still = done, still + 1 if done == before else 0
            if still >= _STILL_LOOKS and self._is_pi():
                break
            await asyncio.sleep(1.0)
        words = "PrusaLink believes that another file is on its way, and takes none meanwhile"
        raise Refused(f"{words}: is somebody sending one? If not, look at its free space, and restart PrusaLink")

    async def _check_size(self, where: str, size: int) -> None:
        """There is no checksum: the size is all that can be compared."""
        for _ in range(_INDEX_LOOKS):
            answer = await self._link.ask("GET", where)
            stored = protocol.file_size(answer.json()) if answer.status == 200 else None
            if stored == size:
                return
            if answer.status != 404 and not self._is_pi():
                break
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        await self._link.ask("DELETE", where)
        if stored is None:
            raise OutcomeUnknown("the printer does not show the file that it took")
        raise Refused(f"the printer stored {stored} of {size} bytes")

    async def remove_file(self, name: str) -> None:
        async with self._lock:
            where = await self._place(name)
            answer = await self._link.ask("DELETE", where)
            is_gone = answer.status == 404 or (answer.status == 500 and await self._has_vanished(where))
        if not is_gone:
            taken(answer, _NO_CHANGE)

    async def _has_vanished(self, where: str) -> bool:
        """The Pi fails over a file that is gone already, for as long as its index still has it."""
        for _ in range(_INDEX_LOOKS if self._is_pi() else 0):
            if (await self._link.ask("GET", where)).status == 404:
                return True
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        return False

    async def _place(self, name: str, size: int = 0) -> str:
        """Where the file lies, or shall lie. Raises Refused if there is no room for it."""
        short = self._known(name)
        found = protocol.storages(_told(await self._link.ask("GET", "/api/v1/storage")))
        fitting = [each for each in found if each.writable and self._storage in ("", each.path)]
        if not fitting:
            raise Refused("the printer has no storage that can be written: is its USB stick in?")
        if fitting[0].free_bytes is not None and fitting[0].free_bytes < size:
            raise Refused(f"the printer's storage is full: {fitting[0].free_bytes} bytes are free, {size} are needed")
        return f"/api/v1/files/{fitting[0].path}/{short}"

    def _known(self, name: str) -> str:
        """The name on the printer; the way back is kept where it cannot be told from there."""
        short = protocol.short_name(name)
        if protocol.long_name(short) != name:
            self._names[short] = name
        return short

    # -- the print

    async def start(self, path: Path, name: str) -> Handle:
        async with self._lock:
            where = await self._ready(name)
            await self._send_start(where)
            self._memory, self._start_sent = Memory(name, None, time.monotonic()), None
            number = await self._find_number(name)
        return Handle(1, {"print_number": number, "serial_number": self._serial_number, "path": where})

    async def _ready(self, name: str) -> str:
        """Where the file lies, on a printer that takes a start. Nothing is sent before."""
        try:
            look = await self._look(self._link)
            where = await self._place(name)
        except Refused:
            raise
        except DriverError as error:
            raise ConnectionLost(str(error)) from error
        if look.job is not None or look.native not in protocol.STARTABLE:
            raise Refused(f"the printer is {look.native.value.lower()}")
        if self._is_pi() and look.native in protocol.ENDED:
            raise Refused("PrusaLink still shows the end of the last print, for some seconds")
        return where

    async def _send_start(self, where: str) -> None:
        self._start_sent = time.monotonic()
        try:
            taken(await self._link.ask("POST", where), _NO_START)
        except (Refused, ConnectionLost):
            self._start_sent = None
            raise

    async def _find_number(self, name: str) -> int | None:
        """The start's answer has none. Not finding it is no failure: the name tells as well."""
        try:
            async with asyncio.timeout(_NUMBER_SECONDS):
                while True:
                    seen = await self._observe(self._link)
                    if seen.file_name == name and seen.print_number is not None:
                        return seen.print_number
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        except (DriverError, TimeoutError):
            return None

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        self._known(name)
        facts = handle.facts if handle else {}
        serial, number = facts.get("serial_number"), facts.get("print_number")
        if serial and self._serial_number and serial != self._serial_number:
            raise BadReply("the printer at this address is another than the one that was started")
        if isinstance(number, int) and (self._memory is None or self._memory.job_id != number):
            # If it is over, the printer tells how, but no longer of what.
            self._memory = Memory(name, number, time.monotonic())
        return await self.observe()

    async def pause(self) -> None:
        await self._change("PUT", "/pause", done=protocol.Native.PAUSED)

    async def resume(self) -> None:
        await self._change("PUT", "/resume", done=protocol.Native.PRINTING)

    async def cancel(self) -> None:
        await self._change("DELETE", "", done=protocol.Native.STOPPED)

    async def _change(self, method: str, what: str, *, done: protocol.Native) -> None:
        """By the job's number: a print that came meanwhile is never touched."""
        async with self._lock:
            await self._observe_quietly()
            known = self._memory
            if known is None or known.ending is not None or known.job_id is None:
                raise Refused("the printer prints nothing of ours")
            if known.name is None or not (protocol.is_runs(known.name) or known.name in self._names.values()):
                raise Refused("the print is somebody else's")
            if method == "DELETE":
                self._memory = replace(known, cancel_asked=True)
            where = f"/api/v1/job/{known.job_id}{what}"
            for _ in range(_PARKING_TRIES):
                answer = await self._link.ask(method, where)
                if answer.status != 409:
                    break
                native = (await self._look(self._link)).native
                if native is done:
                    return
                if native is not protocol.Native.PAUSED:
                    break
                # It says so from the moment it begins to park, and takes no other word until it has. A no moved nothing.
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            taken(answer, _NO_CHANGE)

    async def _observe_quietly(self) -> None:
        try:
            await self._observe(self._link)
        except Refused:
            raise
        except DriverError as error:
            # Only looked, so nothing moved.
            raise ConnectionLost(str(error)) from error

    async def cool_down(self) -> None:
        raise Refused("PrusaLink cannot set temperatures: switch the heaters off at the printer")

    async def emergency_stop(self) -> None:
        look = protocol.look(_told(await self._emergency.ask("GET", "/api/v1/status")))
        if look.job is None:
            if look.native not in protocol.STARTABLE or self._may_begin():
                # Such as Buddy's question before a print: once it is answered it prints.
                raise Refused(f"PrusaLink has nothing to cancel yet, and the printer is {look.native.value.lower()}")
            raise NothingToStop("PrusaLink has no emergency stop, and nothing prints that could be cancelled")
        if self._memory is not None and self._memory.job_id == look.job.job_id:
            self._memory = replace(self._memory, cancel_asked=True)
        taken(await self._emergency.ask("DELETE", f"/api/v1/job/{look.job.job_id}"), _NO_CHANGE)

    def _may_begin(self) -> bool:
        """A start of ours has been taken, or may have been, and does not show."""
        sent = self._start_sent
        return (self._memory is not None and self._memory.begins) or (
            sent is not None and time.monotonic() - sent < BEGIN_SECONDS
        )

    async def close(self) -> None:
        """Lets go of the printer. A print goes on."""
        await self._link.close()
        await self._emergency.close()


def _is_utf8(path: Path) -> bool:
    """The Pi reads a print file as text: a byte that is none ends the thread that prints, and nobody is told."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _told(answer: Answer) -> object:
    """The JSON of a look. Raises ConnectionLost while the server is not ready, BadReply for any other error."""
    if answer.status == 503:
        raise ConnectionLost("PrusaLink is not ready: it starts, is not set up, or has too many clients")
    if answer.status != 200:
        raise BadReply(f"PrusaLink answered {answer.status} to a look")
    told: object = answer.json()
    return told


def _unseen(error: DriverError) -> DriverError:
    """A look that failed is a lost connection, unless what came was no answer."""
    return error if isinstance(error, BadReply) else ConnectionLost(str(error))


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``prusalink``.

    Options: ``url``; ``api_key_file`` (or ``_env``, ``_credential``), else ``user`` ("maker") with ``password_file``;
    ``storage`` (the first that can be written), ``serial_number`` (whichever answers first), ``timeout_seconds`` (15)."""
    options = DriverOptions(config)
    url = options.url("url")
    user = options.text("user", "maker")
    key, password = options.secret("api_key"), options.secret("password")
    secret = key or password
    if secret is None or (key and password):
        raise options.wrong("api_key_file or password_file must name the printer's secret: one of the two")
    login = Login(secret, "" if key else user)
    seconds = options.number("timeout_seconds", 15.0, 0.5, 120.0)
    storage, serial_number = options.text("storage").strip("/"), options.text("serial_number")
    options.finish()
    return _opened(PrusaLinkDriver(url, login, seconds, storage, serial_number))


@asynccontextmanager
async def _opened(driver: PrusaLinkDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
