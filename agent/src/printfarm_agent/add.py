"""Adds a printer to the host's TOML: asks for what is missing, tries it live, and writes it down only if it works."""

import asyncio
import getpass
import os
from collections.abc import Callable
from pathlib import Path

from printfarm_rpc.identity import is_name

from .adding import QUESTIONS, Question, table
from .bootstrap import driver_named
from .driver import DriverError, PrinterConfig
from .secret import keys_of
from .settings import PrinterSettings, WrongSettings, load

_SECONDS = 60.0
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
        options = _options(config.parent, printer_id, driver, dict(given), ask, made)
        told = asyncio.run(_try(PrinterSettings(PrinterConfig(printer_id, options), driver)))
        _append(config, table(printer_id, driver, options))
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise
    return told


def _options(folder: Path, printer_id: str, driver: str, given: dict[str, str], ask: Ask, made: list[Path]) -> Options:
    options: Options = {}
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
        elif question.number:
            if not value.isdecimal():
                raise WrongSettings(f"{question.key} must be a whole number")
            options[question.key] = int(value)
        else:
            options[question.key] = value
    return options | {key: int(value) if value.isdecimal() else value for key, value in given.items()}


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
            machine, _ = await driver.connect()
            seen = await driver.observe()
    except (DriverError, ValueError) as error:
        raise WrongSettings(f"nothing was written: {error}") from error
    except TimeoutError as error:
        raise WrongSettings(f"nothing was written: no answer within {_SECONDS:g} s") from error
    known = " ".join(filter(None, (machine.model, machine.firmware, machine.serial_number)))
    return f"{known or 'a printer of unknown model'}, {seen.state.value}"


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
