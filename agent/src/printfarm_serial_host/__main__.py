"""``printfarm-serial-host --folder DIR``: started by the agent's driver ``marlin``; nobody else needs to."""

import argparse
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

from printfarm_agent.drivers.marlin import talk
from printfarm_agent.drivers.marlin.config import from_json

from .host import Host
from .ledger import Ledger

LONGEST_LOG = 1 << 20
PRIORITY = -10


def _detach() -> None:
    """Away from whoever started it: its end, its signals and its terminal are not ours."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def _log_to(path: Path) -> None:
    log = nothing = os.open(os.devnull, os.O_RDWR)
    with contextlib.suppress(OSError):
        if path.exists() and path.stat().st_size > LONGEST_LOG:
            path.replace(path.with_suffix(".old"))
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for there, here in ((0, nothing), (1, log), (2, log)):
        os.dup2(here, there)


def _go_first() -> None:
    """Before other work, where that is allowed (LimitNICE): it needs little, and the printer waits for it."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


def _say(text: str) -> None:
    """A full disk takes no words, and is no reason to leave the printer alone."""
    with contextlib.suppress(OSError):
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {text}", flush=True)


def main() -> None:
    """The console script."""
    parser = argparse.ArgumentParser(prog="printfarm-serial-host", description="Holds one serial port for PrintFarm.")
    parser.add_argument("--folder", type=Path, required=True, help="the printer's folder, made by the agent")
    parser.add_argument("--foreground", action="store_true", help="stay with the terminal")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    try:
        config = from_json((folder / talk.CONFIG).read_text())
        token = (folder / talk.TOKEN).read_text().strip()
    except (OSError, ValueError) as error:
        sys.exit(f"printfarm-serial-host: {folder} has no settings of a printer: {error}")
    try:
        Ledger(folder).load()
    except ValueError as error:
        print(f"printfarm-serial-host: {error}", file=sys.stderr)
        sys.exit(talk.DAMAGED_MEMORY)
    if not arguments.foreground:
        _detach()
        _log_to(folder / talk.LOG)
    lock = os.open(folder / talk.LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # Another one already holds this printer.
        return
    _go_first()
    with contextlib.suppress(OSError):
        # For people. A disk that is full must not leave the printer without a host.
        (folder / talk.PID).write_text(str(os.getpid()))
    host = Host(config, token, folder, _say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: host.end())
    _say(f"serial host {os.getpid()} for {config.port}")
    host.run()


if __name__ == "__main__":
    main()
