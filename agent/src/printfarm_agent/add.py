"""Adds a printer to the host's TOML: asks for what is missing, tries it live, and writes it down only if it works."""

import asyncio
import getpass
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

from printfarm_rpc.identity import is_name

from .adding import QUESTIONS, Question, table, volume_of
from .bootstrap import driver_named
from .driver import Capabilities, ConnectionLost, Driver, DriverError, MachineIdentity
from .secret import keys_of
from .settings import PrinterSettings, WrongSettings, load, parse

_SECONDS = 60.0
# A board on a serial port may start anew when it is opened, and its speed may have to be found out.
_WAKES = frozenset({"marlin"})
_WAKE_SECONDS, _AGAIN_SECONDS = 45.0, 0.2
Ask = Callable[[Question], str]
Options = dict[str, str | int]


def ask_at_terminal(question: Question) -> str:
    """Secrets are not shown."""
    return (getpass.getpass if question.secret else input)(f"{question.words}: ").strip()


def add(config: Path, printer_id: str, driver: str, given: dict[str, str], ask: Ask) -> str:
    """Returns what the printer says it is. Raises WrongSettings, naming what to mend; then nothing is written."""
    settings = load(config)
    if driver not in QUESTIONS:
        raise WrongSettings(f"there is no driver {driver} to ask about; there are {', '.join(sorted(QUESTIONS))}")
    if not is_name(printer_id):
        raise WrongSettings("the printer's id must be lower case letters, digits and dashes, at most 63")
    if printer_id in (printer.printer_id for printer in settings.printers):
        raise WrongSettings(f"printer {printer_id} is in {config} already")
    made: list[Path] = []
    try:
        options, volume = _answers(config.parent, printer_id, driver, dict(given), ask, made)
        text = table(printer_id, driver, options, volume)
        # As the agent will read it: with its folder, and its limits.
        (*_, printer) = parse(tomllib.loads(config.read_text() + text)).printers
        told = asyncio.run(_try(printer))
        _append(config, text)
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return told


def _answers(
    folder: Path, printer_id: str, driver: str, given: dict[str, str], ask: Ask, made: list[Path]
) -> tuple[Options, list[float] | None]:
    """The options, and the build volume where it had to be asked for."""
    options: Options = {}
    volume: list[float] | None = None
    for question in QUESTIONS[driver]:
        if question.secret and question.key in given:
            raise WrongSettings(f"{question.key}: secrets are asked for, or lie in {question.key}_file")
        if question.secret and any(key in given for key in keys_of(question.key)):
            continue
        value = given.pop(question.key, "") or ask(question)
        if not value:
            if question.optional:
                continue
            raise WrongSettings(f"{question.key} is needed: {question.words}")
        if question.secret:
            path = _write_secret(folder / "secrets" / f"{printer_id}.{question.key}", value)
            made.append(path)
            options[f"{question.key}_file"] = str(path)
        elif question.volume:
            volume = volume_of(value)
            if volume is None:
                raise WrongSettings(f"{question.key} must be three numbers above 0, such as 220x220x250")
        elif question.number:
            if not value.isdecimal():
                raise WrongSettings(f"{question.key} must be a whole number")
            options[question.key] = int(value)
        else:
            options[question.key] = _value(value)
    return options | {key: _value(value) for key, value in given.items()}, volume


def _value(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _write_secret(path: Path, text: str) -> Path:
    """For its owner alone, from its first byte on. Raises WrongSettings for one that is there already."""
    path = path.absolute()
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
    except OSError as error:
        raise WrongSettings(f"{path} cannot be written: {error.strerror}") from error
    return path


async def _try(printer: PrinterSettings) -> str:
    try:
        async with asyncio.timeout(_SECONDS), driver_named(printer)(printer.config) as driver:
            machine, _ = await _connected(driver, wakes=printer.driver in _WAKES)
            seen = await driver.observe()
    except (DriverError, ValueError) as error:
        raise WrongSettings(f"nothing was written: {error}") from error
    except TimeoutError as error:
        raise WrongSettings(f"nothing was written: no answer within {_SECONDS:g} s") from error
    known = " ".join(filter(None, (machine.model, machine.firmware, machine.serial_number)))
    return f"{known or 'a printer of unknown model'}, {seen.state.value}"


async def _connected(driver: Driver, *, wakes: bool) -> tuple[MachineIdentity, Capabilities]:
    """Raises DriverError."""
    end = asyncio.get_running_loop().time() + (_WAKE_SECONDS if wakes else 0.0)
    while True:
        try:
            return await driver.connect()
        except ConnectionLost:
            if asyncio.get_running_loop().time() >= end:
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


def _append(config: Path, text: str) -> None:
    """Whole or not at all; what stands in the file, comments too, stays as it is."""
    before = config.read_text()
    part = config.with_name(f".{config.name}.part")
    try:
        part.write_text(before.rstrip("\n") + "\n" + text)
        part.chmod(config.stat().st_mode & 0o777)
        load(part)
        part.replace(config)
    except OSError as error:
        raise WrongSettings(f"{config} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
