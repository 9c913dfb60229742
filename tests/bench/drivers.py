"""Drivers against bare clients of the same protocol: how fast a file gets to the printer, and how soon a command takes effect.

OctoPrint and Moonraker with Klipper are the real servers; the Bambu printer has a real Mosquitto and a real FTPS server;
PrusaLink and Duet are emulated, in a process of their own.
"""

import asyncio
import contextlib
import ftplib
import json
import os
import socket
import ssl
import tempfile
import time
import zipfile
import zlib
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiomqtt
import httpx
import serial

from printfarm_agent.driver import ConnectionLost, Driver, ObservedState, PrinterConfig
from tests.conformance.rigs.bambu import BambuRig
from tests.conformance.rigs.moonraker import MoonrakerRig
from tests.conformance.rigs.octoprint import OctoPrintRig
from tests.support.bambu_emulator import CODE, SERIAL, BambuEmulator
from tests.support.fake_marlin import FakeMarlin
from tests.support.klipper import KlipperServer
from tests.support.machine import Machine, Phase, gcode
from tests.support.octoprint import OctoPrintServer
from tests.support.serial_host import SerialHost

from .figures import Compared, at_least, at_most, compare_async, tell
from .many import Emulated

_BYTES = 16 << 20
_ROUNDS = 3
_PATIENCE = 60.0
_LOOK_SECONDS = 0.005
_RATE, _TIME, _STOP = at_least(0.6), at_most(1.5), at_most(3.0)
Call = Callable[[], Awaitable[object]]
Options = Mapping[str, str | int | float | bool]


def _read(path: Path) -> bytes:
    return path.read_bytes()


class Http:
    """Over httpx, a connection kept open."""

    def __init__(self, options: Options, header: str = "X-Api-Key") -> None:
        self._header = {header: Path(str(options["api_key_file"])).read_text()} if "api_key_file" in options else {}
        self.client = httpx.AsyncClient(base_url=str(options["url"]), headers=self._header, timeout=_PATIENCE)

    async def ask(self, method: str, path: str, **request: Any) -> Any:
        answer = await self.client.request(method, path, **request)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def form(self, path: str, file: Path, name: str, fields: dict[str, str]) -> None:
        await self.ask("POST", path, files={"file": (name, _read(file))}, data=fields)

    async def close(self) -> None:
        await self.client.aclose()


class BareOctoPrint(Http):
    """By the same calls."""

    async def upload(self, path: Path, name: str) -> None:
        await self.form("/api/files/local", path, name, {"path": "printfarm"})

    async def pause(self) -> None:
        await self.ask("POST", "/api/job", json={"command": "pause", "action": "pause"})

    async def resume(self) -> None:
        await self.ask("POST", "/api/job", json={"command": "pause", "action": "resume"})

    async def cancel(self) -> None:
        await self.ask("POST", "/api/job", json={"command": "cancel"})

    async def state(self) -> str:
        word = str((await self.ask("GET", "/api/job"))["state"])
        return {"Paused": "paused", "Printing": "printing", "Operational": "idle"}.get(word, word)


class BareMoonraker(Http):
    """By the same calls."""

    async def upload(self, path: Path, name: str) -> None:
        await self.form("/server/files/upload", path, name, {"root": "gcodes", "path": "printfarm"})

    async def pause(self) -> None:
        await self.ask("POST", "/printer/print/pause")

    async def resume(self) -> None:
        await self.ask("POST", "/printer/print/resume")

    async def cancel(self) -> None:
        await self.ask("POST", "/printer/print/cancel")

    async def state(self) -> str:
        told = await self.ask("GET", "/printer/objects/query?print_stats")
        word = str(told["result"]["status"]["print_stats"]["state"])
        return {"standby": "idle", "complete": "idle", "cancelled": "idle"}.get(word, word)


class BarePrusaLink(Http):
    """By the same calls."""

    async def upload(self, path: Path, name: str) -> None:
        headers = {"Content-Type": "text/x.gcode", "Overwrite": "?1", "Print-After-Upload": "?0"}
        await self.ask("PUT", f"/api/v1/files/usb/{name}", content=_read(path), headers=headers)

    async def _job(self) -> int:
        return int((await self.ask("GET", "/api/v1/status"))["job"]["id"])

    async def pause(self) -> None:
        await self.ask("PUT", f"/api/v1/job/{await self._job()}/pause")

    async def resume(self) -> None:
        await self.ask("PUT", f"/api/v1/job/{await self._job()}/resume")

    async def cancel(self) -> None:
        await self.ask("DELETE", f"/api/v1/job/{await self._job()}")

    async def state(self) -> str:
        word = str((await self.ask("GET", "/api/v1/status"))["printer"]["state"])
        return {"PAUSED": "paused", "PRINTING": "printing"}.get(word, "idle")


class BareDuet(Http):
    """By the same calls: a session, kept alive by the looks."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        password = Path(str(options["password_file"])).read_text()
        query = {"password": password, "sessionKey": "yes"}
        answer = httpx.get(f"{options['url']}/rr_connect", params=query).json()
        self.client.headers["X-Session-Key"] = str(answer["sessionKey"])

    async def upload(self, path: Path, name: str) -> None:
        content = _read(path)
        query = {"name": f"0:/gcodes/farm/{name}", "crc32": f"{zlib.crc32(content):08x}"}
        await self.ask("POST", "/rr_upload", params=query, content=content)

    async def _code(self, text: str) -> None:
        await self.ask("GET", "/rr_gcode", params={"gcode": text})

    async def pause(self) -> None:
        await self._code("M25")

    async def resume(self) -> None:
        await self._code("M24")

    async def cancel(self) -> None:
        await self._code("M25")
        await _until(self, "paused")
        await self._code("M0")

    async def state(self) -> str:
        told = await self.ask("GET", "/rr_model", params={"flags": "d99fn"})
        word = str(told["result"]["state"]["status"])
        return {"processing": "printing"}.get(word, word)


class BareBambu:
    """The same messages."""

    def __init__(self, client: aiomqtt.Client, machine: Machine) -> None:
        self._client, self._machine = client, machine

    async def _send(self, command: str) -> None:
        body = {"print": {"command": command, "param": "", "sequence_id": "7"}}
        await self._client.publish(f"device/{SERIAL}/request", json.dumps(body), qos=1)

    async def pause(self) -> None:
        await self._send("pause")

    async def resume(self) -> None:
        await self._send("resume")

    async def cancel(self) -> None:
        await self._send("stop")

    async def state(self) -> str:
        phase = self._machine.advance().phase
        return {Phase.PAUSED: "paused", Phase.PRINTING: "printing", Phase.IDLE: "idle"}.get(phase, phase.value)


class ImplicitFtps(ftplib.FTP_TLS):
    """TLS from the first byte, and its session again for the data, as printers want it."""

    def connect(self, host: str = "", port: int = 0, timeout: float = -999, source_address: Any = None) -> str:
        self.host, self.port, self.timeout = host, port, _PATIENCE
        self.sock = self.context.wrap_socket(socket.create_connection((host, port), _PATIENCE))
        self.af = self.sock.family
        self.file = self.sock.makefile("r", encoding=self.encoding)
        self.welcome = self.getresp()
        return self.welcome

    def ntransfercmd(self, cmd: str, rest: Any = None) -> Any:
        found, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        assert isinstance(self.sock, ssl.SSLSocket)
        return self.context.wrap_socket(found, session=self.sock.session), size


def _ftps_upload(options: Options, path: Path, name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with ImplicitFtps(context=context) as ftp:
        ftp.connect("127.0.0.1", int(options["ftps_port"]))
        ftp.login("bblp", CODE)
        ftp.prot_p()
        with path.open("rb") as file, ftp.transfercmd(f"STOR {name}.3mf") as data:
            while chunk := file.read(64 * 1024):
                data.sendall(chunk)
        ftp.voidresp()


def _big(folder: Path) -> Path:
    path = folder / "big.gcode"
    line = b"G1 X100.000 Y100.000 E1.00000 F3000\n"
    path.write_bytes(line * (_BYTES // len(line)))
    return path


async def _rates(driver: Driver, path: Path, bare: Callable[[Path, str], Awaitable[None]]) -> Compared:
    size = len(_read(path)) / (1 << 20)

    async def ours() -> float:
        name = f"pf-{uuid4()}.gcode"
        began = time.perf_counter()
        await driver.put_file(path, name, lambda sent: None)
        took = time.perf_counter() - began
        await driver.remove_file(name)
        return size / took

    async def theirs() -> float:
        name = f"pf-{uuid4()}.gcode"
        began = time.perf_counter()
        await bare(path, name)
        took = time.perf_counter() - began
        with contextlib.suppress(Exception):
            await driver.remove_file(name)
        return size / took

    return await compare_async(ours, theirs, _ROUNDS)


def drivers() -> None:
    """A file of 16 MB, which ours compares with what was stored, and the bare client does not. Then from the call to the state
    that the printer itself tells, by the same bare looks every 5 ms."""
    asyncio.run(_drivers())


async def _drivers() -> None:
    octoprint, klipper = OctoPrintServer(), KlipperServer()
    try:
        octoprint.start()
        klipper.start()
        await _real("OctoPrint", octoprint, OctoPrintRig, BareOctoPrint)
        await _real("Moonraker", klipper, MoonrakerRig, BareMoonraker)
    finally:
        octoprint.close()
        klipper.close()
    await _emulated("PrusaLink (Buddy)", "prusalink", BarePrusaLink)
    await _emulated("Duet", "duet", BareDuet)
    await _bambu()
    await _stops()


async def _real(name: str, server: Any, kind: type[Any], client: type[Any]) -> None:
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        async with kind.opened(folder, server) as rig:
            # Past the front that the suite puts before it.
            options = rig.options() | {"url": server.url, "timeout_seconds": 30.0}
            async with rig.open(options) as driver:
                await driver.connect()
                bare = client(options)
                tell(f"file to {name}", await _rates(driver, _big(folder), bare.upload), "MB/s", _RATE)
                path = folder / "long.gcode"
                path.write_bytes(rig.gcode(600.0))
                await _effects(name, driver, bare, path)
                await bare.close()


async def _emulated(name: str, kind: str, client: type[Any]) -> None:
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        emulated = Emulated(folder, {kind: 1})
        (options,) = emulated.options[kind]
        (point,) = entry_points(group="printfarm.drivers", name=kind)
        try:
            async with point.load()(PrinterConfig("p", options)) as driver:
                await driver.connect()
                bare = client(options)
                tell(f"file to {name}", await _rates(driver, _big(folder), bare.upload), "MB/s", _RATE)
                path = folder / "long.gcode"
                path.write_bytes(gcode(600.0))
                await _effects(name, driver, bare, path)
                await bare.close()
        finally:
            emulated.close()


async def _bambu() -> None:
    """A 3MF, which goes as it is."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        async with BambuRig.opened(folder, None) as rig, rig.open(rig.options() | {"timeout_seconds": 30.0}) as driver:
            await driver.connect()
            options, path = rig.options(), folder / "big.gcode.3mf"
            with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
                made.writestr("Metadata/plate_1.gcode", os.urandom(_BYTES))

            async def ftps(path: Path, name: str) -> None:
                await asyncio.to_thread(_ftps_upload, options, path, name)

            tell("file to a Bambu printer (FTPS)", await _rates(driver, path, ftps), "MB/s", _RATE)
            plain = folder / "long.gcode"
            plain.write_bytes(gcode(600.0))
            async with _mqtt(rig.emulator) as client:
                await _effects("Bambu", driver, BareBambu(client, rig.machine), plain)


def _mqtt(emulator: BambuEmulator) -> aiomqtt.Client:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = emulator.broker.port
    return aiomqtt.Client("127.0.0.1", port, username="bblp", password=CODE, tls_context=context)


async def _stops() -> None:
    """To where the machine takes it: an OctoPrint-like server, and a board on a serial port."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        emulated = Emulated(folder, {"octoprint": 1})
        (options,) = emulated.options["octoprint"]
        (point,) = entry_points(group="printfarm.drivers", name="octoprint")
        try:
            async with point.load()(PrinterConfig("p", options)) as driver:
                await driver.connect()
                bare = Http(options)

                async def took(call: Call) -> float:
                    began = time.monotonic()
                    await call()
                    (stop,) = emulated.seen()[0]["stops"]
                    return (stop - began) * 1000

                async def plain() -> None:
                    await bare.ask("POST", "/api/printer/command", json={"command": "M112"})

                found = await compare_async(lambda: took(driver.emergency_stop), lambda: took(plain), _ROUNDS)
                tell("OctoPrint-like: from emergency stop to its arrival", found, "ms", _STOP)
                await bare.close()
        finally:
            emulated.close()
    await _serial_stop()


async def _serial_stop() -> None:
    """Ours asks the process that holds the port; the bare one holds it itself."""
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        host = SerialHost(folder / "host")
        (point,) = entry_points(group="printfarm.drivers", name="marlin")
        with FakeMarlin(folder / "a") as held, FakeMarlin(folder / "b") as other:
            options = {"port": str(held.path), "quiet_seconds": 0.2}
            try:
                async with point.load()(PrinterConfig("p", options, folder / "host")) as driver:
                    while True:
                        with contextlib.suppress(ConnectionLost):
                            await driver.connect()
                            break
                        await asyncio.sleep(0.1)
                    with serial.Serial(str(other.path), 115200) as line:

                        async def plain() -> None:
                            line.write(b"M112\n")

                        async def ours() -> float:
                            return await _halts(held, driver.emergency_stop)

                        async def bare() -> float:
                            return await _halts(other, plain)

                        tell(
                            "Marlin: from emergency stop to the board",
                            await compare_async(ours, bare, _ROUNDS),
                            "ms",
                            _STOP,
                        )
            finally:
                host.kill()


async def _halts(board: FakeMarlin, call: Call) -> float:
    """By the board's own log; then it is reset."""
    board.do(lambda each: each.log.clear())
    began = time.monotonic()
    await call()
    async with asyncio.timeout(_PATIENCE):
        while not (stops := board.events("emergency_stop")):  # noqa: ASYNC110 - the board lives in a thread
            await asyncio.sleep(_LOOK_SECONDS)
    board.reset()
    await asyncio.sleep(0.5)
    return (float(str(stops[0]["t"])) - began) * 1000


async def _effects(name: str, driver: Driver, bare: Any, path: Path) -> None:
    file = f"pf-{uuid4()}.gcode"
    await driver.put_file(path, file, lambda sent: None)

    async def begun() -> None:
        await seen(ObservedState.IDLE)
        await driver.start(path, file)
        await prints()

    async def prints() -> None:
        """By its own word, and as the driver sees it: no command is sent to a printer that seems to have obeyed already."""
        await _until(bare, "printing")
        await seen(ObservedState.PRINTING)

    async def seen(state: ObservedState) -> None:
        async with asyncio.timeout(_PATIENCE):
            while (await driver.observe()).state is not state:  # noqa: ASYNC110 - a printer is polled
                await asyncio.sleep(_LOOK_SECONDS)

    async def pause(by: Any) -> float:
        took = await _took(bare, by.pause, "paused")
        async with asyncio.timeout(_PATIENCE):
            while True:
                # Some say that they are paused, and refuse to go on, until the head has come to rest.
                with contextlib.suppress(httpx.HTTPStatusError):
                    await bare.resume()
                    break
                await asyncio.sleep(_LOOK_SECONDS)
        await prints()
        return took

    async def cancel(by: Any) -> float:
        took = await _took(bare, by.cancel, "idle")
        await begun()
        return took

    await begun()
    found = await compare_async(lambda: pause(driver), lambda: pause(bare), _ROUNDS)
    tell(f"{name}: from pause to its effect", found, "ms", _TIME)
    found = await compare_async(lambda: cancel(driver), lambda: cancel(bare), _ROUNDS)
    tell(f"{name}: from cancel to its effect", found, "ms", _TIME)
    await bare.cancel()
    await _until(bare, "idle")


async def _took(bare: Any, call: Call, wanted: str) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    command = asyncio.ensure_future(call())
    await _until(bare, wanted)
    took = time.perf_counter() - began
    await command
    return took * 1000


async def _until(bare: Any, wanted: str) -> None:
    async with asyncio.timeout(_PATIENCE):
        while await bare.state() != wanted:  # noqa: ASYNC110 - a printer is polled
            await asyncio.sleep(_LOOK_SECONDS)
