"""Looks at everything an agent needs, and says in words what is wrong."""

import asyncio
import time
from collections.abc import Callable

from printfarm_rpc.channel import open_channel, ready
from printfarm_rpc.errors import FarmError
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check, client_credentials

from . import host
from .bootstrap import agent_id_of, driver_named
from .driver import DriverError, ObservedState
from .journal import Journal, JournalCorrupt, JournalUnavailable
from .settings import AgentSettings, PrinterSettings, WrongSettings

_SECONDS = 20.0
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
    await _host(settings, told)
    # All at once: one that is switched off holds the others up no longer than itself.
    looks = await asyncio.gather(*(_printer(printer) for printer in settings.printers))
    for printer, (good, words) in zip(settings.printers, looks, strict=True):
        told(f"printer {printer.printer_id}", good, words)
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
    except JournalUnavailable as error:
        say("journal", False, f"{error}. Look at the disk, and at the rights of {settings.state_dir}")


async def _host(settings: AgentSettings, say: Say) -> None:
    say("clock", *host.clock(host.clock_state()))
    say("disk", *await asyncio.to_thread(host.disk, settings.state_dir))
    say("metrics", *await asyncio.to_thread(host.metrics_port, settings.metrics_address))


async def _printer(printer: PrinterSettings) -> host.Look:
    good, words = await asyncio.to_thread(host.secrets, printer.config.options)
    if not good:
        return good, words
    try:
        async with asyncio.timeout(_SECONDS), driver_named(printer)(printer.config) as driver:
            machine, _ = await driver.connect()
            seen = await driver.observe()
    except (WrongSettings, ValueError, DriverError, TimeoutError) as error:
        return False, str(error) or f"no answer within {_SECONDS:g} s: is it switched on, and its address right?"
    known = " ".join(filter(None, (machine.model, machine.firmware, machine.serial_number))) or "unknown model"
    trouble = seen.halted or seen.state in (ObservedState.ERROR, ObservedState.UNKNOWN)
    return not trouble, f"{known}, {seen.state.value}" + (f": {seen.message}" if seen.message else "")
