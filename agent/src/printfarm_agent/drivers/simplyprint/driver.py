"""The driver of printers that SimplyPrint manages."""

import asyncio
import contextlib
import os
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
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from ...driver_options import DriverOptions
from ...secret import Secret
from . import protocol
from .account import Account, account
from .memory import FARM_PREFIX, FOREIGN_BED, Memory, adopt, fold, needs_newest, needs_record

API_URL, FILES_URL = "https://api.simplyprint.io", "https://files.simplyprint.io"
KEY_VARIABLE = "SIMPLYPRINT_API_KEY"
# "Other": some organisations want a reason.
_REASON = {"reason": 6, "comment": "cancelled by PrintFarm"}
_LIST_DAYS_PAGE = 25
_CLEAR_LOOKS = 5


class SimplyPrintDriver:
    """The ``Driver`` port for one printer of an account."""

    def __init__(self, cloud: Account, number: int) -> None:
        self._cloud, self._number = cloud, number
        cloud.enter()
        self._lock = asyncio.Lock()
        self._memory: Memory | None = None
        self._looked_back = False
        # The printer's newest job, while its bed waits to be cleared: asked once.
        self._newest: int | None = None

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        async with self._lock:
            try:
                await self._cloud.call("account/Test", method="GET", reads=True)
                row = await self._cloud.printer(self._number, urgent=True)
            except DriverError as error:
                raise _unseen(error) from error
        return protocol.identity(row), Capabilities(can_pause=True, prints_autonomously=True)

    async def observe(self) -> Observation:
        async with self._lock:
            try:
                return await self._observe()
            except DriverError as error:
                raise _unseen(error) from error

    async def _observe(self, *, urgent: bool = False) -> Observation:
        row = await self._cloud.printer(self._number, urgent=urgent)
        self._memory = adopt(self._memory, row)
        if self._memory is None and row.job is None and not self._looked_back:
            # What an earlier process started may have ended since. The name belongs to one run alone.
            last = next(iter(await self._recent()), None)
            self._looked_back = True
            if last is not None and last.name.startswith(FARM_PREFIX):
                self._memory = Memory(last.name, last.number, last.uid)
        record = await self._record() if needs_record(self._memory, row) else None
        self._memory, told = fold(self._memory, row, record)
        if not needs_newest(self._memory, row):
            self._newest = None
            return told
        if self._newest is None:
            self._newest = await self._newest_job()
        self._memory, told = fold(self._memory, row, None, self._newest)
        return told

    async def _newest_job(self) -> int | None:
        """Numbers only grow."""
        return max((job.number for job in await self._recent()), default=None)

    async def _record(self) -> protocol.Job | None:
        """Our job's own. Its long name is looked up in the printer's list, once."""
        known = self._memory
        assert known is not None
        if not known.uid:
            found = next((job for job in await self._recent() if job.number == known.number), None)
            if found is None or not found.uid:
                return found
            known = self._memory = replace(known, uid=found.uid)
        said = await self._cloud.call("jobs/GetDetails", method="GET", query={"id": known.uid}, reads=True)
        return protocol.details(said, known.number, known.uid)

    async def _recent(self) -> list[protocol.Job]:
        body = {"page": 1, "page_size": _LIST_DAYS_PAGE, "printer_ids": [self._number]}
        return protocol.jobs(await self._cloud.call("jobs/GetPaginatedPrintJobs", body=body, reads=True))

    # -- files

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        size = (await asyncio.to_thread(path.stat)).st_size
        if not name.isascii() or '"' in name or not name.isprintable():
            raise Refused("the file's name may hold printable ASCII alone")
        async with self._lock:
            self._cloud.uploads.pop(name, None)
            self._cloud.uploads[name] = await self._cloud.upload(path, name, size, sent)

    async def remove_file(self, name: str) -> None:
        # Temporary: the cloud throws it away after a day, and has no documented way to do it sooner.
        self._cloud.uploads.pop(name, None)

    # -- the print

    async def start(self, path: Path, name: str) -> Handle:
        async with self._lock:
            file_id = self._cloud.uploads.get(name)
            if file_id is None:
                raise Refused("the file was not brought to SimplyPrint")
            try:
                await self._make_ready()
            except Refused:
                raise
            except DriverError as error:
                # The start was not sent.
                raise ConnectionLost(str(error)) from error
            # Everything in the body, the printer too. One printer a call: what part of several means is not documented.
            said = await self._cloud.call("printers/actions/CreateJob", body={"pid": self._number, "file_id": file_id})
            numbers = protocol.started_jobs(said)
            if not numbers:
                raise OutcomeUnknown(
                    "SimplyPrint wants this start to be approved in its panel; nothing has started yet"
                )
            self._memory = Memory(name, numbers[0])
        return Handle(1, {"print_number": numbers[0], "printer": self._number})

    async def _make_ready(self) -> None:
        """A fresh look. Our own last job's bed was cleared, or nobody would start: the cloud is told so."""
        row = await self._cloud.printer(self._number, urgent=True)
        if needs_newest(self._memory, row):
            assert self._memory is not None
            if await self._newest_job() != self._memory.number:
                raise Refused(FOREIGN_BED)
            await self._act("ClearBed", {"success": True})
            for _ in range(_CLEAR_LOOKS):
                row = await self._cloud.printer(self._number, urgent=True)
                if row.state == "operational":
                    break
        if row.state != "operational" or not row.usable or row.job is not None:
            raise Refused(f"the printer is {row.state or 'in a state that nobody knows'}")

    async def _act(self, action: str, body: dict[str, object] | None = None, *, urgent: bool = False) -> None:
        query = {"pid": str(self._number)}
        await self._cloud.call(f"printers/actions/{action}", query=query, body=body or {}, urgent=urgent)

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        number = handle.facts.get("print_number") if handle else None
        async with self._lock:
            if self._memory is None or self._memory.name != name:
                try:
                    self._memory = await self._find(name, number if isinstance(number, int) else None) or self._memory
                except DriverError as error:
                    raise _unseen(error) from error
        return await self.observe()

    async def _find(self, name: str, number: int | None) -> Memory | None:
        """By its number, else by its name among the printer's last jobs."""
        if number is not None:
            return Memory(name, number)
        found = next((job for job in await self._recent() if job.name == name), None)
        return Memory(name, found.number, found.uid) if found is not None else None

    async def pause(self) -> None:
        async with self._lock:
            if await self._ours("pausing", "paused"):
                await self._act("Pause")

    async def resume(self) -> None:
        async with self._lock:
            if await self._ours("resuming", "printing"):
                await self._act("Resume")

    async def cancel(self) -> None:
        async with self._lock:
            if await self._ours("cancelling"):
                assert self._memory is not None
                self._memory = replace(self._memory, cancel_asked=True)
                await self._act("Cancel", dict(_REASON))

    async def _ours(self, *already: str) -> bool:
        """True if our job is on the printer, and not yet as wanted. Raises Refused if it is not."""
        try:
            row = await self._cloud.printer(self._number, urgent=True)
        except Refused:
            raise
        except DriverError as error:
            raise ConnectionLost(str(error)) from error
        self._memory = adopt(self._memory, row)
        known = self._memory
        if row.job is None or known is None or known.ending is not None or row.job.number != known.number:
            raise Refused("the printer prints nothing of ours")
        if not known.name.startswith(FARM_PREFIX):
            raise Refused("the print is somebody else's")
        return row.state not in already

    async def cool_down(self) -> None:
        async with self._lock:
            row = await self._cloud.printer(self._number, urgent=True)
            if row.state in protocol.AT_WORK:
                raise Refused(f"the printer is {row.state}")
            # What is not named stays as it is: M104 alone means the tool in use.
            hotends = [heater for heater in row.heaters if heater.name.startswith("hotend")]
            tools = [f"M104 T{place} S0" for place in range(len(hotends))] if len(hotends) > 1 else ["M104 S0"]
            await self._act("SendGcode", {"gcode": [*tools, "M140 S0"]})

    async def emergency_stop(self) -> None:
        # There is none: M112 goes through the cloud and the printer's link. A cancel follows, for those who may send no G-code,
        # and where the first call came to nothing. One of the two must have been taken.
        was_taken = False
        with contextlib.suppress(DriverError):
            await self._act("SendGcode", {"gcode": ["M112"]}, urgent=True)
            was_taken = True
        try:
            await self._act("Cancel", dict(_REASON), urgent=True)
        except DriverError:
            if not was_taken:
                raise

    async def close(self) -> None:
        """Lets go. A print goes on."""
        await self._cloud.leave()


def _unseen(error: DriverError) -> DriverError:
    return error if isinstance(error, BadReply) else ConnectionLost(str(error))


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``simplyprint``.

    Options: ``company_id``, ``printer_id``; ``api_key_file`` (or ``_env``, ``_credential``; else SIMPLYPRINT_API_KEY);
    ``poll_seconds`` (15, once for the whole account), ``timeout_seconds`` (20), ``api_url``, ``files_url``."""
    options = DriverOptions(config)
    company = options.integer("company_id", 0, 0, 1 << 53)
    number = options.integer("printer_id", 0, 0, 1 << 53)
    if not company or not number:
        raise options.wrong("company_id and printer_id must be the numbers that SimplyPrint's panel shows")
    key = options.secret("api_key")
    if key is None and os.environ.get(KEY_VARIABLE):
        key = Secret("api_key_env", KEY_VARIABLE)
    if key is None:
        raise options.wrong(f"api_key_file is missing: a file that holds the key (or set {KEY_VARIABLE})")
    api_url, files_url = options.url("api_url", API_URL), options.url("files_url", FILES_URL)
    seconds = options.number("timeout_seconds", 20.0, 0.5, 120.0)
    poll_seconds = options.number("poll_seconds", 15.0, 0.02, 300.0)
    options.finish()
    for key_name, url in (("api_url", api_url), ("files_url", files_url)):
        if not url.startswith("https://") and not url.startswith("http://127.0.0.1:"):
            raise options.wrong(f"{key_name} must begin with https://: the key goes there")
    return _opened(company, number, key, api_url, files_url, seconds, poll_seconds)


@asynccontextmanager
async def _opened(
    company: int, number: int, key: Secret, api_url: str, files_url: str, seconds: float, poll_seconds: float
) -> AsyncGenerator[Driver]:
    driver = SimplyPrintDriver(account(company, key, api_url, files_url, seconds, poll_seconds), number)
    try:
        yield driver
    finally:
        await driver.close()
