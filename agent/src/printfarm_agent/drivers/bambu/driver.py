"""The driver of Bambu printers in LAN mode."""

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from .. import reading
from . import commands
from .ftps import PrinterFiles
from .package import Package, pack
from .report import NO_CONTROL, PATH_CODE, Report, refusal_text
from .session import Backoff, Session, WrongCode
from .tls import PrinterTls
from .tracking import Job, fold, found_in, is_ours, number_of

# By the notes: 50 to 150 kB/s are usual.
_SLOWEST_UPLOAD = 25_000.0
_LEAST_UPLOAD_SECONDS = 600.0
_EMERGENCY_SECONDS = 3.0
_COMPLAINT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """One printer."""

    host: str
    serial_number: str
    code: Secret
    tls: PrinterTls
    mqtt_port: int
    ftps_port: int
    tray: int
    seconds: float
    # How long its own word is waited for before it is asked for one; after a start, for a sign of life.
    quiet_seconds: float
    begin_seconds: float
    retry_seconds: float


class BambuDriver:
    """The ``Driver`` port. One MQTT client per printer, and one more for the moment of an emergency stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._backoff = Backoff(settings.retry_seconds)
        self._files = PrinterFiles(
            (settings.host, settings.ftps_port), settings.code, settings.tls, max(settings.seconds, 1.0)
        )
        self._job: Job | None = None
        # A start whose outcome is not known.
        self._unsure: Job | None = None
        self._packages: dict[str, Package] = {}
        self._plates: dict[str, int] = {}

    async def connect(self) -> tuple[MachineIdentity, Capabilities]:
        async with self._lock:
            session = await self._heard()
        report = session.report
        tray = next((each for each in report.trays if each.number == self._wanted_tray(report)), None)
        machine = MachineIdentity(
            model=session.model or "Bambu Lab",
            firmware=session.firmware,
            serial_number=self._settings.serial_number,
            nozzle_diameter_mm=report.nozzle_diameter_mm,
            material=tray.material if tray else None,
            colour=f"#{tray.colour}" if tray and tray.colour else None,
        )
        return machine, Capabilities(can_pause=True, prints_autonomously=True, file_kinds=("gcode.3mf",))

    def _wanted_tray(self, report: Report) -> int | None:
        return self._settings.tray if self._settings.tray != commands.UNUSED else report.tray_now

    async def observe(self) -> Observation:
        async with self._lock:
            session = await self._heard()
        return self._fold(session)

    def _fold(self, session: Session) -> Observation:
        report, now = session.report, time.monotonic()
        if self._job is None or (self._job.ending is not None and report.is_active):
            self._job = found_in(report, self._unsure, now) or self._job
        self._job, told = fold(self._job, report, now)
        return told

    async def _heard(self) -> Session:
        """A session in which the printer has spoken after this call began. Raises ConnectionLost, BadReply."""
        session = await self._opened_session()
        try:
            if await session.hear(self._settings.quiet_seconds) and session.report.state:
                return session
            # It may have nothing to say: models that report changes alone are silent for long.
            with contextlib.suppress(OutcomeUnknown):
                await session.publish("info", "get_version", qos=0)
            if await session.hear(self._settings.seconds) and session.report.state:
                return session
        except BadReply:
            raise
        except DriverError as error:
            await self._drop()
            raise ConnectionLost(str(error)) from error
        await self._drop()
        if not session.report.state and not session.firmware:
            raise ConnectionLost(
                "the printer answers nothing: does serial_number belong to the printer at this address?"
            )
        raise ConnectionLost("the printer has stopped talking")

    async def _opened_session(self) -> Session:
        if self._session is not None and self._session.is_open:
            return self._session
        await self._drop()
        settings = self._settings
        self._backoff.check(settings.code)
        session = Session((settings.host, settings.mqtt_port), settings.code, settings.tls, settings.seconds)
        try:
            await session.begin()
            self._session = session
            await self._hear_state(session)
        except WrongCode as error:
            self._backoff.refused(settings.code)
            await session.end()
            raise ConnectionLost(str(error)) from error
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                self._backoff.failed()
            await session.end()
            if isinstance(error, DriverError) and not isinstance(error, BadReply):
                raise ConnectionLost(str(error)) from error
            raise
        self._backoff.succeeded()
        return session

    async def _hear_state(self, session: Session) -> None:
        """The answer to the first question, so that no look is taken at half a report: a change may come before it."""
        end = time.monotonic() + self._settings.seconds
        while not (session.report.state and session.report.names_print):
            left = end - time.monotonic()
            if left <= 0 or not await session.hear(left):
                if session.report.state:
                    return
                raise ConnectionLost(
                    "the printer answers nothing: does serial_number belong to the printer at this address?"
                )

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    # -- files

    def choose_plate(self, name: str, plate: int) -> None:
        self._plates = {name: plate}

    async def put_file(self, path: Path, name: str, sent: Sent) -> None:
        stored = commands.stored_name(name)
        size = (await asyncio.to_thread(path.stat)).st_size
        async with self._lock:
            with _temporary() as target:
                package = await asyncio.to_thread(_packed, path, target, self._plates.get(name, 0))
                self._packages = {name: package}
                deadline = max(_LEAST_UPLOAD_SECONDS, package.size / _SLOWEST_UPLOAD)

                def told(done: int) -> None:
                    sent(size * done // package.size)

                await self._files.put(stored, package.path, package.size, told, deadline)

    async def remove_file(self, name: str) -> None:
        async with self._lock:
            await self._files.remove(commands.stored_name(name))

    async def _package(self, path: Path, name: str) -> Package:
        if name not in self._packages:
            # Brought by an earlier process: the same file gives the same package.
            with _temporary() as target:
                self._packages = {name: await asyncio.to_thread(_packed, path, target, self._plates.get(name, 0))}
        return self._packages[name]

    # -- the print

    async def start(self, path: Path, name: str) -> Handle:
        async with self._lock:
            package = await self._package(path, name)
            session = await self._ready()
            mapping = commands.mapping(package, session.report, self._settings.tray)
            for attempt, form in enumerate(commands.URL_FORMS):
                number = number_of(name, attempt)
                refused = await self._start(session, name, number, package, form, mapping)
                if not refused:
                    facts: dict[str, str | int | float | None] = {
                        "print_number": number,
                        "serial_number": self._settings.serial_number,
                        "name": name,
                    }
                    return Handle(1, facts)
                if f"{PATH_CODE:08X}" not in refused or not await self._forgets_refusal(session):
                    break
            # The printer said so itself, and is as still as before.
            raise Refused(refusal_text(refused))

    async def _forgets_refusal(self, session: Session) -> bool:
        """So that the next one is not mistaken for this. False if it does not, or is no longer still."""
        await session.publish("print", "clean_print_error", print_error=session.report.print_error, subtask_id="0")
        try:
            async with asyncio.timeout(self._settings.seconds):
                while session.report.refusals:
                    await session.hear(self._settings.seconds)
        except TimeoutError:
            return False
        return session.report.takes_a_start

    async def _ready(self) -> Session:
        try:
            session = await self._heard()
        except BadReply as error:
            # Nothing was sent.
            raise ConnectionLost(str(error)) from error
        report = session.report
        if report.needs_signature:
            raise Refused(NO_CONTROL)
        if not report.takes_a_start:
            raise Refused(f"the printer is {report.state.lower() or 'silent'}")
        return session

    async def _start(
        self, session: Session, name: str, number: int, package: Package, form: str, mapping: list[int]
    ) -> frozenset[str]:
        """Publishes once. Empty if the printer took it; else why it certainly did not. Raises OutcomeUnknown."""
        before = session.report.refusals
        sequence = session.next_sequence()
        payload = commands.project_file(name, number, package, sequence, form, mapping)
        # Known before it is sent: if its answer is lost, the printer's own word is recognised.
        self._job, self._unsure = None, Job(name, number, time.monotonic(), before)
        _check_echo(await session.ask("project_file", sequence, payload))
        self._job, self._unsure = self._unsure, None
        end = time.monotonic() + self._settings.begin_seconds
        while True:
            report = session.report
            if is_ours(self._job, report) and report.is_active:
                return frozenset()
            if refused := report.refusals - before:
                self._job = None
                return refused
            left = end - time.monotonic()
            if left <= 0:
                # It took the job, and says no more yet; some keep FINISH for most of a minute.
                return frozenset()
            try:
                await session.hear(left)
            except DriverError:
                return frozenset()

    async def recover(self, name: str, handle: Handle | None) -> Observation:
        facts = handle.facts if handle else {}
        serial, number = facts.get("serial_number"), facts.get("print_number")
        if serial and serial != self._settings.serial_number:
            raise BadReply("the printer at this address is another than the one that was started")
        if self._job is None or self._job.name != name:
            await self._find(name, number if isinstance(number, int) else None)
        return await self.observe()

    async def _find(self, name: str, number: int | None) -> None:
        """By the handle, it was started: what the printer shows is its course or its end, or for a while yet the end of the
        print before. Without, only by its own word."""
        known = Job(name, number or number_of(name), time.monotonic(), taken=True)
        if number is not None:
            self._job = known
            return
        async with self._lock:
            report = (await self._heard()).report
        if is_ours(known, report):
            self._job = known

    async def pause(self) -> None:
        await self._change("pause", done="PAUSE")

    async def resume(self) -> None:
        await self._change("resume", done="RUNNING")

    async def cancel(self) -> None:
        await self._change("stop", done="")

    async def _change(self, command: str, *, done: str) -> None:
        async with self._lock:
            session = await self._heard()
            self._fold(session)
            job = self._job
            if job is None or job.ending is not None:
                raise Refused("the printer prints nothing of ours")
            if session.report.is_active and not is_ours(job, session.report):
                # Accepted and not shown yet: the command would reach whatever somebody else began meanwhile.
                raise Refused("the printer prints something else than ours")
            if session.report.state == done:
                return
            if session.report.needs_signature:
                raise Refused(NO_CONTROL)
            if command == "stop":
                self._note_cancel(time.monotonic())
            sequence = session.next_sequence()
            payload = commands.encode("print", command, sequence, param="")
            try:
                _check_echo(await session.ask(command, sequence, payload))
            except (Refused, ConnectionLost):
                # Nothing was stopped: what ends the print now is not the farm's doing.
                self._note_cancel(job.cancel_sent)
                raise

    def _note_cancel(self, sent: float | None) -> None:
        """When the farm told the printer to stop, so that an end is told as its doing. A no takes it back."""
        if self._job is not None:
            self._job = replace(self._job, cancel_sent=sent)

    async def cool_down(self) -> None:
        async with self._lock:
            session = await self._ready()
            await session.publish("print", "gcode_line", param="M104 S0\nM140 S0\n")

    async def emergency_stop(self) -> None:
        before = self._job.cancel_sent if self._job is not None else None
        self._note_cancel(time.monotonic())
        try:
            await self._stop_at_once()
        except Refused:
            self._note_cancel(before)
            raise

    async def _stop_at_once(self) -> None:
        standing = self._session
        if standing is not None and standing.is_open:
            with contextlib.suppress(ConnectionLost, OutcomeUnknown):
                await _stop(standing, _EMERGENCY_SECONDS / 2)
                return
        settings = self._settings
        own = Session((settings.host, settings.mqtt_port), settings.code, settings.tls, _EMERGENCY_SECONDS)
        try:
            await own.begin()
            await _stop(own, _EMERGENCY_SECONDS)
        finally:
            await own.end()

    async def close(self) -> None:
        """Lets go of the printer. A print goes on."""
        await self._drop()
        self._files.close()


async def _stop(session: Session, seconds: float) -> None:
    """Written first, whatever is known. Raises Refused from a printer that takes no commands; where it does not say whether it
    takes any, its echo is waited for, and a complaint that may follow: OutcomeUnknown without an echo."""
    try:
        async with asyncio.timeout(seconds):
            if session.report.needs_signature is not None:
                await session.publish("print", "stop", param="")
            else:
                sequence = session.next_sequence()
                payload = commands.encode("print", "stop", sequence, param="")
                _check_echo(await session.ask("stop", sequence, payload))
    except TimeoutError as error:
        raise OutcomeUnknown("the printer did not answer the stop") from error
    if session.report.needs_signature is None:
        await _hear_of_it(session)
    if session.report.denies_control:
        raise Refused(NO_CONTROL)


async def _hear_of_it(session: Session) -> None:
    """An echo of success may be all that comes of a command: some refuse by a complaint alone, a moment later."""
    with contextlib.suppress(DriverError, TimeoutError):
        async with asyncio.timeout(_COMPLAINT_SECONDS):
            while (session.report.is_active or not session.report.state) and not session.report.denies_control:
                await session.hear(_COMPLAINT_SECONDS)


def _check_echo(echo: dict[str, Any]) -> None:
    """The printer's answer to a command: received, or refused. Raises Refused."""
    if reading.text(echo.get("result"), 16).lower() in ("fail", "failed"):
        reason = reading.text(echo.get("reason"))
        raise Refused(NO_CONTROL if "verify" in reason.lower() else reason or "the printer refused the command")


def _packed(path: Path, target: Path, plate: int) -> Package:
    try:
        return pack(path, target, plate)
    except OSError as error:
        raise Refused(f"the file cannot be packed: {error.strerror}") from error


class _temporary:
    """A path for the package, thrown away afterwards."""

    def __enter__(self) -> Path:
        handle, name = tempfile.mkstemp(suffix=".3mf", prefix="printfarm-")
        os.close(handle)
        self._path = Path(name)
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


def open_driver(config: PrinterConfig) -> AbstractAsyncContextManager[Driver]:
    """The entry point ``bambu``.

    Options: ``host``, ``serial_number``, ``access_code_file`` (or ``_env``, ``_credential``); ``ca_file`` (the vendor's CA),
    ``certificate_sha256`` (a pin); ``ams_tray`` (-1: the external spool), ``mqtt_port`` (8883), ``ftps_port`` (990),
    ``timeout_seconds`` (10), ``quiet_seconds`` (1.5), ``begin_seconds`` (10), ``retry_seconds`` (1)."""
    options = DriverOptions(config)
    host, serial_number = options.text("host"), options.text("serial_number")
    if not host or any(c in host for c in "/@ "):
        raise options.wrong("host must be the printer's address, such as 192.168.1.30")
    if not serial_number.isalnum() or serial_number != serial_number.upper():
        raise options.wrong("serial_number must be the printer's, in capitals, as its screen shows it")
    code = options.needed_secret("access_code")
    pin = options.text("certificate_sha256").lower().replace(":", "")
    if pin and (len(pin) != 64 or not set(pin) <= set("0123456789abcdef")):
        raise options.wrong("certificate_sha256 must be 64 hexadecimal digits")
    ca_file = options.text("ca_file")
    if ca_file and not Path(ca_file).is_file():
        raise options.wrong(f"ca_file: there is no file {ca_file}")
    settings = Settings(
        host=host,
        serial_number=serial_number,
        code=code,
        tls=PrinterTls(serial_number, pin, Path(ca_file) if ca_file else None),
        mqtt_port=options.integer("mqtt_port", 8883, 1, 65535),
        ftps_port=options.integer("ftps_port", 990, 1, 65535),
        tray=options.integer("ams_tray", commands.UNUSED, -1, 255),
        seconds=options.number("timeout_seconds", 10.0, 0.5, 120.0),
        quiet_seconds=options.number("quiet_seconds", 1.5, 0.05, 60.0),
        begin_seconds=options.number("begin_seconds", 10.0, 0.2, 20.0),
        retry_seconds=options.number("retry_seconds", 1.0, 0.01, 30.0),
    )
    options.finish()
    return _opened(BambuDriver(settings))


@asynccontextmanager
async def _opened(driver: BambuDriver) -> AsyncGenerator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()
