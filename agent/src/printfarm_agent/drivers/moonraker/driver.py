"""The driver of Moonraker: HTTP, each exchange on a connection of its own.

``observe`` promises a fresh look, so it asks; a subscription by websocket would be memory, and ends whenever Klipper restarts.
"""

import asyncio
import hashlib
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
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
    ObservedState,
    OutcomeUnknown,
    PrinterConfig,
    Refused,
    Sent,
)
from ...driver_options import DriverOptions
from ...secret import Secret
from ..form import content_type, form
from ..http_peer import Answer, HttpPeer, Upload, upload_seconds
from . import protocol
from .absence import Absence
from .queued import Queued

_SLOWEST_BYTES_PER_SECOND = 100_000.0
# The answer to an upload waits until Moonraker has read the file for its metadata: minutes on a slow host.
_READING_SECONDS = 240.0
_SPARE_BYTES = 16 << 20
_EMERGENCY_SECONDS = 5.0
_START_SECONDS = 60.0
# Klipper's configuration with all its macros.
_LONGEST_CONFIG = 16 << 20
# A print that begins sooner after Klipper became ready is missed by Moonraker's history.
_SETTLE_SECONDS = 2.0
# How long the history may take to show a print that began.
_NUMBER_SECONDS = 2.0
_LOOK_SECONDS = 0.2
_HISTORY = "/server/history/list?limit=20&order=desc"
_NEWEST = "/server/history/list?limit=1&order=desc"
_REFUSALS = frozenset({400, 401, 403, 404, 413, 422})


class MoonrakerDriver:
    """The ``Driver`` port over Moonraker's HTTP API."""

    def __init__(self, url: str, key: Secret | None, folder: str, seconds: float) -> None:
        connect = min(seconds, 5.0)
        self._peer = HttpPeer(url, connect_seconds=connect, seconds=seconds)
        # Commands that wait in Klipper's queue, and the stop that must not: neither may be in another's way.
        self._queue_peer = HttpPeer(url, connect_seconds=connect, seconds=seconds)
        self._emergency = HttpPeer(url, connect_seconds=connect, seconds=_EMERGENCY_SECONDS)
        self._queued = Queued()
        self._key = key
        self._folder = folder
        self._names: tuple[str, ...] = ()
        # When Klipper was seen to become ready; long ago if it was from the first look on.
        self._ready_at: float | None = 0.0
        # Our last print, or what was meant to be: after a restart Klipper shows none, and Moonraker's history knows.
        self._last = ""
        self._estimates: tuple[str, protocol.Estimate] = ("", protocol.Estimate())
        # At the last look our print was under way, and not paused.
        self._was_printing = False
        self._absence = Absence()

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        server = protocol.result((await self._look("/server/info")).json())
        if server.get("klippy_state") in ("disconnected", "startup"):
            raise ConnectionLost("Moonraker answers, and Klipper is not there yet")
        printer = protocol.result((await self._look("/printer/info")).json())
        objects = await self._query(("toolhead", "configfile"), longest=_LONGEST_CONFIG)
        if not self._last:
            last = protocol.last_path(protocol.result((await self._look(_NEWEST)).json()))
            self._last = last.removeprefix(f"{self._folder}/") if last.startswith(f"{self._folder}/pf-") else ""
        return protocol.identity(server, printer, objects)

    async def observe(self) -> Observation:
        try:
            seen = await self._klipper()
        except _NoKlipper as gone:
            self._names, self._ready_at, self._was_printing = (), None, False
            return Observation(ObservedState.OFFLINE, message=str(gone))
        path = protocol.file_path(seen)
        past = None if path or not self._last else await self._past(self._last)
        # A start that was not answered may never have arrived: our own knowledge of it is no print.
        known = self._last if past is not None else ""
        name = protocol.name_in(self._folder, path) if path else known
        if name.startswith("pf-"):
            self._last = name
        self._was_printing = protocol.printing(seen) == "printing" and name.startswith("pf-")
        return protocol.observation(seen, name, past, await self._estimate(path))

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        size, digest = await asyncio.to_thread(_size_and_sha256, path)
        free = await self._free_bytes()
        if free is not None and free < size + _SPARE_BYTES:
            raise Refused(f"the printer's disk has {int(free)} bytes left, and the file has {size}")
        boundary = secrets.token_hex(16)
        fields = {"root": "gcodes", "path": self._folder, "checksum": digest}
        before, after = form(boundary, fields, name)
        whole = upload_seconds(size, _SLOWEST_BYTES_PER_SECOND, _READING_SECONDS)
        upload = Upload(path, size, sent, _READING_SECONDS, whole, before, after)
        answer = await self._ask(
            "POST", "/server/files/upload", upload, headers={"Content-Type": content_type(boundary)}
        )
        if answer.status == 422:
            raise Refused("other bytes arrived than were sent")
        if answer.status == 500:
            raise Refused("Moonraker could not store the file: its disk may be full")
        _must(answer, 201)
        if not protocol.stored_as(answer.json(), self._path(name)):
            raise BadReply("Moonraker stored the file elsewhere")

    async def _free_bytes(self) -> float | None:
        """None if Moonraker does not tell, as before our folder exists."""
        path = f"/server/files/directory?path={quote(f'gcodes/{self._folder}', safe='')}&extended=true"
        answer = await self._look_at(path)
        return protocol.free_bytes(protocol.result(answer.json())) if answer.status == 200 else None

    async def remove_file(self, name: str) -> None:
        answer = await self._ask("DELETE", f"/server/files/gcodes/{quote(self._path(name))}")
        if answer.status not in (400, 404):
            _must(answer, 200)
        if self._last == name:
            self._last = ""

    async def start(self, path: Path, name: str) -> Handle:
        await self._settle()
        seen = await self._ready()
        if protocol.printing(seen) != "paused" and protocol.is_paused_by_macro(seen):
            # Somebody paused while nothing printed: the next pause would be taken for a second one, and do nothing.
            _must(await self._ask("POST", "/printer/gcode/script", {"script": "CLEAR_PAUSE"}), 200)
        whole, self._last = self._path(name), name
        answer = await self._ask("POST", "/printer/print/start", {"filename": whole}, seconds=_START_SECONDS)
        _must(answer, 200)
        return Handle(1, {"path": whole, "print_number": await self._number(whole)})

    async def _settle(self) -> None:
        clock = asyncio.get_running_loop().time
        if self._ready_at is not None:
            await asyncio.sleep(max(0.0, self._ready_at + _SETTLE_SECONDS - clock()))

    async def _number(self, whole: str) -> int | None:
        """The history's, which comes a moment later; a print that is known without it is ours all the same."""
        try:
            async with asyncio.timeout(_NUMBER_SECONDS):
                while True:
                    found = protocol.past_of(protocol.result((await self._look(_HISTORY)).json()), whole)
                    if found is not None:
                        return found.number
                    await asyncio.sleep(_LOOK_SECONDS)
        except (TimeoutError, OutcomeUnknown, ConnectionLost, Refused):
            return None

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        self._last = name
        return await self.observe()

    async def _goes_on(self) -> bool:
        """Our print, by Moonraker's history, which answers at once: Klipper answers a look in steps of 250 ms. False says
        nothing."""
        if not self._was_printing:
            return False
        try:
            newest = protocol.result((await self._look(_NEWEST)).json())
        except (BadReply, Refused):
            return False
        return protocol.is_under_way(newest, self._path(self._last))

    async def pause(self) -> None:
        if await self._goes_on():
            await self._queue("pause", "/printer/print/pause")
            return
        word = protocol.printing(await self._ours())
        if word == "paused":
            return
        if word != "printing":
            # Klipper would note the pause, and ignore the next one.
            raise Refused("nothing is printed")
        await self._queue("pause", "/printer/print/pause")

    async def resume(self) -> None:
        seen = await self._ours()
        word = protocol.printing(seen)
        if word == "printing":
            return
        if word != "paused":
            raise Refused("nothing is paused")
        if protocol.is_paused_by_macro(seen):
            await self._queue("resume", "/printer/print/resume")
        else:
            # RESUME answers ok to a pause by M25, and does nothing.
            await self._queue("resume", "/printer/gcode/script", {"script": "M24"})

    async def cancel(self) -> None:
        if await self._goes_on():
            await self._queue("cancel", "/printer/print/cancel", then="TURN_OFF_HEATERS")
            return
        seen = await self._ours()
        word = protocol.printing(seen)
        if word not in ("printing", "paused"):
            raise Refused("nothing is printed")
        if word == "printing" or protocol.is_paused_by_macro(seen):
            await self._queue("cancel", "/printer/print/cancel", then="TURN_OFF_HEATERS")
        else:
            # CANCEL_PRINT answers ok to a pause by M25, and does nothing.
            script = {"script": "SDCARD_RESET_FILE\nTURN_OFF_HEATERS"}
            await self._queue("cancel", "/printer/gcode/script", script)

    async def cool_down(self) -> None:
        await self._queue("cool_down", "/printer/gcode/script", {"script": "TURN_OFF_HEATERS"})

    async def emergency_stop(self) -> None:
        # Not M112, which Moonraker would queue behind whatever runs.
        try:
            answer = await self._ask("POST", "/printer/emergency_stop", peer=self._emergency)
        except DriverError:
            self._absence.ends()
            raise
        if answer.status == 503:
            if self._absence.lasts(asyncio.get_running_loop().time()):
                raise NothingToStop("Klipper has been gone for a while: its board has stopped by itself")
            raise Refused("Moonraker is not connected to Klipper, so that nothing can reach it now")
        self._absence.ends()
        if answer.status != 200:
            raise OutcomeUnknown(f"Moonraker answered {answer.status} to the emergency stop")

    async def close(self) -> None:
        """A print goes on, and so does what waits in Klipper's queue."""
        await self._queued.close()
        for peer in (self._peer, self._queue_peer, self._emergency):
            await peer.close()

    # -- looks

    async def _klipper(self) -> protocol.Json:
        """What Klipper says of itself now. Raises _NoKlipper."""
        if not self._names:
            answer = await self._look_at("/printer/objects/list")
            if answer.status == 503:
                raise _NoKlipper("Moonraker answers, and Klipper is not connected")
            self._names = protocol.names(protocol.result(_read(answer).json()))
        seen = await self._query(self._names)
        self._absence.ends()
        if protocol.printing(seen) and self._ready_at is None:
            self._ready_at = asyncio.get_running_loop().time()
        elif not protocol.printing(seen):
            self._names, self._ready_at = (), None
        return seen

    async def _query(self, names: tuple[str, ...], longest: int = 1 << 20) -> protocol.Json:
        body = {"objects": dict.fromkeys(names)}
        answer = await self._look_at("/printer/objects/query", body, longest=longest)
        if answer.status == 503:
            raise _NoKlipper("Moonraker answers, and Klipper is not connected")
        return protocol.status(_read(answer).json())

    async def _ready(self) -> protocol.Json:
        """A look before a command. Raises Refused if Klipper takes none."""
        try:
            seen = await self._query(("webhooks", "print_stats", "pause_resume"))
        except _NoKlipper as gone:
            raise Refused(str(gone)) from gone
        if not protocol.printing(seen):
            raise Refused("Klipper is not ready")
        return seen

    async def _ours(self) -> protocol.Json:
        """The same, before a command to a print. Raises Refused if it is somebody else's."""
        seen = await self._ready()
        name = protocol.name_in(self._folder, protocol.file_path(seen))
        if protocol.printing(seen) in ("printing", "paused") and not name.startswith("pf-"):
            raise Refused("the print is somebody else's")
        return seen

    async def _past(self, name: str) -> protocol.Past | None:
        return protocol.past_of(protocol.result((await self._look(_HISTORY)).json()), self._path(name))

    async def _estimate(self, path: str) -> protocol.Estimate:
        """Once for each file: it does not change."""
        if path and self._estimates[0] != path:
            answer = await self._look_at(f"/server/files/metadata?filename={quote(path, safe='')}")
            found = protocol.estimate(protocol.result(answer.json())) if answer.status == 200 else protocol.Estimate()
            self._estimates = (path, found)
        return self._estimates[1] if path else protocol.Estimate()

    async def _look(self, path: str) -> Answer:
        return _read(await self._look_at(path))

    async def _look_at(self, path: str, body: Mapping[str, Any] | None = None, longest: int = 1 << 20) -> Answer:
        try:
            return await self._ask("POST" if body else "GET", path, body, longest=longest)
        except BadReply:
            raise
        except OutcomeUnknown as error:
            raise ConnectionLost(str(error)) from error

    # -- one exchange

    async def _queue(self, kind: str, path: str, body: Mapping[str, Any] | None = None, then: str = "") -> None:
        """A command that Klipper carries out when it comes to it: after a heater was waited for, minutes later."""

        async def exchange() -> None:
            _must(await self._ask("POST", path, body, peer=self._queue_peer, seconds=Queued.LONGEST_SECONDS), 200)
            if then:
                script = {"script": then}
                _must(await self._ask("POST", "/printer/gcode/script", script, peer=self._queue_peer), 200)

        await self._queued.put(kind, exchange)

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | Upload | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        peer: HttpPeer | None = None,
        seconds: float | None = None,
        longest: int = 1 << 20,
    ) -> Answer:
        given = dict(headers or {})
        if self._key is not None:
            try:
                given["X-Api-Key"] = self._key.reveal()
            except ValueError as error:
                raise ConnectionLost(str(error)) from error
        asked = peer or self._peer
        return await asked.ask(method, path, headers=given, body=body, seconds=seconds, longest=longest)

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"


class _NoKlipper(ConnectionLost):
    """Moonraker answers without Klipper behind it."""


def _read(answer: Answer) -> Answer:
    """A look that was answered."""
    if answer.status in (502, 504):
        raise ConnectionLost("Moonraker does not answer behind its proxy")
    if answer.status == 503:
        raise ConnectionLost("Moonraker answers, and Klipper is not connected")
    if answer.status in (401, 403):
        raise Refused("Moonraker denies it: the API key is missing or wrong")
    if answer.status != 200:
        raise BadReply(f"Moonraker answered {answer.status}")
    return answer


def _must(answer: Answer, wanted: int) -> None:
    """A command was taken. Raises Refused for a no, OutcomeUnknown for what is neither."""
    if answer.status == wanted:
        return
    if answer.status in _REFUSALS or (answer.status == 503 and protocol.was_not_sent(_reason(answer))):
        raise Refused(f"Moonraker says no ({answer.status}): {_reason(answer)}")
    raise OutcomeUnknown(f"Moonraker answered {answer.status}")


def _reason(answer: Answer) -> str:
    try:
        return protocol.error_text(answer.json())
    except BadReply:
        return "without a reason"


def _size_and_sha256(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return file.tell(), digest.hexdigest()


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``moonraker``. Options: ``url``, ``api_key_file`` (or ``_env``, ``_credential``; none for a trusted
    client), ``folder`` ("printfarm"), ``timeout_seconds`` (10)."""
    options = DriverOptions(config)
    url = options.url("url")
    key = options.secret("api_key")
    folder = options.text("folder", "printfarm")
    if not folder.isascii() or not folder.replace("-", "").replace("_", "").isalnum():
        raise options.wrong("folder must be one name of letters, digits, dashes and underscores")
    seconds = options.number("timeout_seconds", 10.0, 0.5, 120.0)
    options.finish()
    return _opened(MoonrakerDriver(url, key, folder, seconds))


@asynccontextmanager
async def _opened(driver: MoonrakerDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
