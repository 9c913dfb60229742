"""The real PrusaLink for a Raspberry Pi, as a program. Run by its own environment's Python: ``... END_SECONDS ARGUMENTS``.

Four things are not as installed. It announces itself to nobody, because a test's traffic stays on loopback. It waits one
second for the board to boot instead of eight; and one instead of twenty for the moves after a power panic, which it suspects
where it was killed in a print. And it shows the end of a print for so many seconds instead of eleven.
"""

import faulthandler
import signal
import sys
from importlib import import_module
from typing import Any

_BOOT_SECONDS = 1.0


class _Unannounced:
    """In the place of its announcement by mDNS."""

    def __init__(self, port: int) -> None:
        """Nobody is told of the port."""

    def unregister(self) -> None:
        """Nothing to take back."""


def main() -> int:
    """Its own ``main``."""
    end_seconds = float(sys.argv.pop(1))
    # A test that waits in vain asks where its threads stand.
    faulthandler.register(signal.SIGUSR1)
    # First, as it installs its logger before the rest is imported.
    program: Any = import_module("prusa.link.__main__")
    adapter: Any = import_module("prusa.link.printer_adapter.prusa_link")
    states: Any = import_module("prusa.link.printer_adapter.state_manager")
    serial: Any = import_module("prusa.link.serial.serial_adapter")
    beginning: Any = import_module("prusa.link.util")
    beginning.PP_MOVES_DELAY = _BOOT_SECONDS
    adapter.ServiceDiscovery = _Unannounced
    states.PRINT_END_TIMEOUT = end_seconds
    wait = serial.sleep
    serial.sleep = lambda seconds: wait(min(seconds, _BOOT_SECONDS))
    result: int = program.main()
    return result


if __name__ == "__main__":
    sys.exit(main())
