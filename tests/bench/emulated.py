"""Printers for the benchmarks of drivers, in a process of their own: ``python -m tests.bench.emulated FOLDER KIND=COUNT ...``.

Its first line is JSON: for each kind the options that reach its printers. Each line that it is given is answered by what the
OctoPrint-like ones have seen since, by the monotonic clock, which all processes of a host share.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.support.duet_emulator import Sbc, Standalone
from tests.support.http_emulator import HttpEmulator
from tests.support.octoprint_emulator import KEY, OctoPrintEmulator
from tests.support.prusalink_emulator import Buddy, Pi
from tests.support.simplyprint_emulator import COMPANY, PRINTER, SimplyPrintEmulator

# Kind, which begins with its driver's name -> the emulator, and the option that names its secret's file.
_MADE: dict[str, tuple[type[Any], str]] = {
    "octoprint": (OctoPrintEmulator, "api_key_file"),
    "prusalink": (Buddy, "api_key_file"),
    "prusalink-pi": (Pi, "api_key_file"),
    "duet": (Standalone, "password_file"),
    "duet-sbc": (Sbc, "password_file"),
    "simplyprint": (SimplyPrintEmulator, "api_key_file"),
}


def _options(printer: HttpEmulator) -> dict[str, Any]:
    """What reaches it, without the secret."""
    if not isinstance(printer, SimplyPrintEmulator):
        return {"url": printer.url}
    hosts = {"api_url": printer.url, "files_url": printer.files.url}
    return hosts | {"company_id": COMPANY, "printer_id": PRINTER, "poll_seconds": 1.0}


async def main() -> None:
    """Until its input ends."""
    folder = Path(sys.argv[1])
    told: dict[str, list[dict[str, Any]]] = {}
    printers: list[HttpEmulator] = []
    for wish in sys.argv[2:]:
        kind, _, count = wish.partition("=")
        make, key = _MADE[kind]
        told[kind] = []
        for number in range(int(count)):
            printer = make()
            await printer.plug_in()
            if kind != "octoprint":
                printer.machine.capacity = 1 << 30
            secret = folder / f"{kind}-{number}.secret"
            secret.write_text(KEY if kind == "octoprint" else printer.key)
            told[kind].append({**_options(printer), key: str(secret)})
            printers.append(printer)
    print(json.dumps(told), flush=True)
    octoprints = [printer for printer in printers if isinstance(printer, OctoPrintEmulator)]
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps([{"looks": each.looks, "stops": each.stops} for each in octoprints]), flush=True)
        for each in octoprints:
            each.looks, each.stops = [], []
    for printer in printers:
        await printer.close()


if __name__ == "__main__":
    asyncio.run(main())
