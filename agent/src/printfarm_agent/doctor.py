"""Looks at everything an agent needs, and says in words what is wrong."""

import asyncio
import time
from collections.abc import Callable

from printfarm_rpc.channel import open_channel, ready
from printfarm_rpc.errors import FarmError
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check, client_credentials

from .bootstrap import agent_id_of, driver_named
from .driver import DriverError
from .journal import Journal, JournalCorrupt
from .settings import AgentSettings, PrinterSettings, WrongSettings

_SECONDS = 10.0
Say = Callable[[str, bool, str], None]


async def examine(settings: AgentSettings, say: Say) -> bool:
    """Calls ``say(what, good, words)`` for each look. True if all is well."""
    results: list[bool] = []

    def told(what: str, good: bool, words: str) -> None:
        results.append(good)
        say(what, good, words)

    _certificate(settings, told)
    await _coordinator(settings, told)
    _journal(settings, told)
    for printer in settings.printers:
        await _printer(printer, told)
    return all(results)


def _certificate(settings: AgentSettings, say: Say) -> None:
    try:
        leaf = check(CredentialFiles.in_folder(settings.credentials), time.time())
    except CredentialsError as error:
        say("certificate", False, str(error))
        return
    say("certificate", True, f"agent {agent_id_of(settings)}, until {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")


async def _coordinator(settings: AgentSettings, say: Say) -> None:
    try:
        credentials = client_credentials(CredentialFiles.in_folder(settings.credentials))
        channel = open_channel(settings.coordinator, credentials, AGENT_CONTROL_CHANNEL, settings.server_name)
        try:
            await ready(channel, settings.coordinator, _SECONDS)
        finally:
            await channel.close()
    except (FarmError, CredentialsError) as error:
        say("coordinator", False, getattr(error, "detail", str(error)))
        return
    say("coordinator", True, f"{settings.coordinator} answers, and both certificates are accepted")


def _journal(settings: AgentSettings, say: Say) -> None:
    try:
        with Journal(settings.state_dir / "journal.db", time.monotonic) as journal:
            say("journal", True, f"whole; {journal.waiting} facts wait for the coordinator")
    except JournalCorrupt as error:
        say("journal", False, f"{error}. Keep the file, and ask for help before the agent prints again")


async def _printer(printer: PrinterSettings, say: Say) -> None:
    what = f"printer {printer.printer_id}"
    try:
        async with asyncio.timeout(_SECONDS), driver_named(printer)(printer.config) as driver:
            machine, _ = await driver.connect()
            seen = await driver.observe()
    except (WrongSettings, ValueError, DriverError, TimeoutError) as error:
        say(what, False, str(error) or "no answer in time")
        return
    say(what, True, f"{machine.model or 'unknown model'}, {seen.state.value}")
