"""The driver of OctoPrint: REST, each exchange on a connection of its own; the push socket only for a hint.

``observe`` promises a fresh look, so it asks; what a socket told is memory. octorest is not used: it is synchronous, has no
deadlines, drops a base path, and its upload loses ``path`` and ``select`` against OctoPrint 1.11.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

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
from ...secret import Secret
from ..form import content_type, form
from ..http_peer import Answer, HttpPeer, Upload, upload_seconds
from ..reading import table, text
from . import protocol
from .ends import Ends

# A slow host on a slow Wi-Fi takes 200 kB/s.
_SLOWEST_BYTES_PER_SECOND = 100_000.0
# Also for the answer, which waits until the file was hashed and moved.
_STALL_SECONDS = 120.0
# Beyond the file: OctoPrint's own books, its analysis, its log.
_SPARE_BYTES = 16 << 20
_EMERGENCY_SECONDS = 5.0
# The two halves of a look must tell of one moment.
_LOOKS = 4
_NOT_SENT_ON = frozenset({502, 503, 504})
_REFUSALS = frozenset({400, 401, 403, 404, 409, 411, 413, 415})


class OctoPrintDriver:
    """The ``Driver`` port over OctoPrint's REST API."""

    def __init__(self, url: str, key: Secret, folder: str, seconds: float) -> None:
        self._peer = HttpPeer(url, connect_seconds=min(seconds, 5.0), seconds=seconds)
        # Of its own: nothing that hangs can be in its way.
        self._emergency = HttpPeer(url, connect_seconds=min(seconds, _EMERGENCY_SECONDS), seconds=_EMERGENCY_SECONDS)
        self._key = key
        self._folder = folder
        self.ends = Ends(url, key.reveal, seconds)
        self._profile = protocol.Profile()
        # Our last print, or what was meant to be: after a restart OctoPrint shows no job, and the file's record knows.
        self._last = ""
        # What this process saw under way: a print that vanished leaves no record.
        self._seen = ""
        self._cancelled = ""
        # Our stop was written, and no connection has been seen since.
        self._is_stopped = False

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        version = protocol.server_version(await self._look("/api/version"))
        missing = protocol.missing_permissions(await self._look("/api/currentuser"))
        if missing is None:
            raise Refused("OctoPrint does not know the API key: make one for a user in its settings")
        if missing:
            raise Refused(f"the API key's user lacks the permissions {', '.join(missing)}")
        connection = table((await self._look("/api/connection")).get("current"))
        profile_id = text(connection.get("printerProfile"), 128) or "_default"
        profile = await self._look(f"/api/printerprofiles/{quote(profile_id, safe='')}")
        machine, can, self._profile = protocol.identity(version, profile)
        if not self._last:
            # After a restart of both, of the agent and of OctoPrint, only the files' records tell what was printed last.
            folder = await self._look_or(f"/api/files/local/{self._folder}?recursive=true", 404)
            self._last = protocol.last_printed(folder) if folder is not None else ""
        return machine, can

    async def observe(self) -> Observation:
        for _ in range(_LOOKS):
            job = await self._look("/api/job")
            printer = await self._printer()
            again = protocol.printer_text(printer) if printer is not None else protocol.state_text(job)
            if again == protocol.state_text(job):
                break
        if printer is not None:
            self._is_stopped = False
        name = protocol.name_of(job, self._folder)
        file = None
        if not protocol.is_busy(job):
            name, file = await self._printed_last(job, name)
        elif name.startswith("pf-"):
            self._last = self._seen = name
        cancelled = bool(name) and (name == self._cancelled or self.ends.was_cancelled(self._path(name)))
        return protocol.observation(job, printer, name, file, cancelled=cancelled)

    async def _printed_last(self, job: protocol.Json, selected: str) -> tuple[str, protocol.Json | None]:
        """The file whose print ended last, with its record: the selected one, or ours where somebody only selected another."""
        theirs = "" if selected.startswith("pf-") else selected
        ours = self._last if theirs else selected or self._last
        file = await self._record(ours) if ours else None
        if not ours or (ours != self._seen and not protocol.was_printed(file)):
            # A start that was not answered may never have arrived: our own knowledge of it is no print, nor is a selection.
            return theirs, None
        if theirs:
            path = protocol.local_path(job)
            other = await self._look_or(f"/api/files/local/{quote(path)}", 404) if path else None
            if not protocol.ended_later(file, other):
                return theirs, None
        return ours, file

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        size, digest = await asyncio.to_thread(_size_and_sha1, path)
        free = protocol.free_bytes(await self._look("/api/files/local?recursive=false"))
        if free is not None and free < size + _SPARE_BYTES:
            raise Refused(f"OctoPrint's disk has {int(free)} bytes left, and the file has {size}")
        await self._upload(path, name, size, sent)
        file = await self._record(name)
        if file is None or not protocol.is_whole(file, size, digest):
            await self.remove_file(name)
            raise Refused("OctoPrint stored other bytes than were sent")

    async def _upload(self, path: Path, name: str, size: int, sent: Sent) -> None:
        boundary = secrets.token_hex(16)
        before, after = form(boundary, {"path": self._folder}, name)
        seconds = upload_seconds(size, _SLOWEST_BYTES_PER_SECOND)
        upload = Upload(path, size, sent, _STALL_SECONDS, seconds, before, after)
        headers = {"Content-Type": content_type(boundary)}
        answer = await self._ask("POST", "/api/files/local", upload, headers=headers)
        if answer.status == 500:
            raise Refused("OctoPrint could not store the file: its disk may be full")
        _must(answer, 201)
        if not protocol.stored_as(table(answer.json()), self._path(name)):
            raise BadReply("OctoPrint stored the file elsewhere")

    async def remove_file(self, name: str) -> None:
        answer = await self._ask("DELETE", self._file_url(name))
        if answer.status != 404:
            _must(answer, 204)
        if self._last == name:
            self._last = ""
        if self._seen == name:
            self._seen = ""

    async def start(self, path: Path, name: str) -> Handle:
        self._last, self._cancelled, self._is_stopped = name, "", False
        answer = await self._ask("POST", self._file_url(name), {"command": "select", "print": True})
        if answer.status == 409:
            # Its own words are "already printing", also where it has no printer.
            word = ""
            with contextlib.suppress(DriverError):
                word = protocol.state_text(await self._look("/api/job"))
            raise Refused(f"OctoPrint starts nothing now: its printer is {word or 'in no state that it names'}")
        _must(answer, 204)
        return Handle(1, {"path": self._path(name)})

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        self._last = name
        return await self.observe()

    async def pause(self) -> None:
        await self._command({"command": "pause", "action": "pause"})

    async def resume(self) -> None:
        await self._command({"command": "pause", "action": "resume"})

    async def cancel(self) -> None:
        self._cancelled = await self._command({"command": "cancel"})

    async def cool_down(self) -> None:
        targets = {f"tool{index}": 0 for index in range(self._profile.hotends)}
        _must(await self._ask("POST", "/api/printer/tool", {"command": "target", "targets": targets}), 204)
        for heater, has in (("bed", self._profile.bed), ("chamber", self._profile.chamber)):
            if has:
                _must(await self._ask("POST", f"/api/printer/{heater}", {"command": "target", "target": 0}), 204)

    async def emergency_stop(self) -> None:
        # Written at once: M112 jumps OctoPrint's queue, and closes the port behind it.
        answer = await self._ask("POST", "/api/printer/command", {"command": "M112"}, peer=self._emergency)
        if answer.status == 409:
            await self._cannot_stop()
        if answer.status != 204:
            raise OutcomeUnknown(f"OctoPrint answered {answer.status} to the emergency stop")
        self._is_stopped = True

    async def _cannot_stop(self) -> NoReturn:
        """OctoPrint has no connection. That the machine stands still is known only where it was our own stop that closed it."""
        word = protocol.state_text(_read(await self._ask("GET", "/api/job", peer=self._emergency)))
        if self._is_stopped and protocol.is_closed_by_error(word):
            raise NothingToStop("the stop was written before, and OctoPrint closed its connection after it")
        raise Refused(
            f"OctoPrint has no connection to the printer ({word or 'it does not say why'}), so that nothing can reach it: "
            "switch the printer off at its socket, or press Connect in OctoPrint"
        )

    async def close(self) -> None:
        """A print goes on."""
        await self.ends.close()
        await self._peer.close()
        await self._emergency.close()

    # -- one exchange

    async def _command(self, body: Mapping[str, Any]) -> str:
        """To a print of ours, whose name comes back. Raises Refused if it is somebody else's."""
        name = protocol.name_of(await self._look("/api/job"), self._folder)
        if name and not name.startswith("pf-"):
            raise Refused("the print is somebody else's")
        _must(await self._ask("POST", "/api/job", body), 204)
        return name

    async def _look(self, path: str) -> protocol.Json:
        return _read(await self._look_at(path))

    async def _printer(self) -> protocol.Json | None:
        """None while the printer is not operational, which OctoPrint tells as a conflict."""
        return await self._look_or("/api/printer?exclude=sd", 409)

    async def _record(self, name: str) -> protocol.Json | None:
        """What OctoPrint knows of a file of ours; None if it is not there."""
        return await self._look_or(self._file_url(name), 404)

    async def _look_or(self, path: str, nothing: int) -> protocol.Json | None:
        answer = await self._look_at(path)
        return None if answer.status == nothing else _read(answer)

    async def _look_at(self, path: str) -> Answer:
        try:
            return await self._ask("GET", path)
        except BadReply:
            raise
        except OutcomeUnknown as error:
            raise ConnectionLost(str(error)) from error

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Upload | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        peer: HttpPeer | None = None,
    ) -> Answer:
        try:
            key = self._key.reveal()
        except ValueError as error:
            raise ConnectionLost(str(error)) from error
        given = {"X-Api-Key": key, **(headers or {})}
        return await (peer or self._peer).ask(method, path, headers=given, body=body)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _file_url(self, name: str) -> str:
        return f"/api/files/local/{quote(self._path(name))}"


def _read(answer: Answer) -> protocol.Json:
    """The JSON object of a look that was answered."""
    if answer.status in _NOT_SENT_ON:
        raise ConnectionLost("OctoPrint does not answer behind its proxy")
    if answer.status in (401, 403):
        raise Refused("OctoPrint denies it: the API key is wrong, or its user lacks a permission")
    if answer.status != 200:
        raise BadReply(f"OctoPrint answered {answer.status}")
    found = answer.json()
    if not isinstance(found, dict):
        raise BadReply("OctoPrint answered something else")
    return found


def _must(answer: Answer, wanted: int) -> None:
    """A command was taken. Raises Refused for a no, OutcomeUnknown for what is neither."""
    if answer.status == wanted:
        return
    if answer.status in _REFUSALS:
        raise Refused(f"OctoPrint says no ({answer.status}): {_reason(answer)}")
    raise OutcomeUnknown(f"OctoPrint answered {answer.status}")


def _reason(answer: Answer) -> str:
    try:
        return text(table(answer.json()).get("error")) or "without a reason"
    except BadReply:
        return "without a reason"


def _size_and_sha1(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha1")
        return file.tell(), digest.hexdigest()


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``octoprint``. Options: ``url``, ``api_key_file`` (or ``_env``, ``_credential``), ``folder``
    ("printfarm"), ``timeout_seconds`` (10)."""
    options = DriverOptions(config)
    url = options.url("url")
    key = options.needed_secret("api_key")
    folder = options.text("folder", "printfarm")
    if not folder.isascii() or not folder.replace("-", "").replace("_", "").isalnum():
        raise options.wrong("folder must be one name of letters, digits, dashes and underscores")
    seconds = options.number("timeout_seconds", 10.0, 0.5, 120.0)
    options.finish()
    return _opened(OctoPrintDriver(url, key, folder, seconds))


@asynccontextmanager
async def _opened(driver: OctoPrintDriver) -> AsyncGenerator[Driver]:
    listening = asyncio.create_task(driver.ends.run())
    try:
        yield driver
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        await driver.close()
