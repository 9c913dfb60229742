"""What a host must have for an agent: room, a clock that is right, a free port, secrets that only their owner reads.

Each look returns whether it is well, and words that say what to do if it is not."""

import ctypes
import http.client
import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

# Files are fetched whole before they are sent on; the journal must never find the disk full.
LEAST_FREE_BYTES = 2 << 30
_TIME_ERROR = 5
_SECONDS = 3.0
Look = tuple[bool, str]


def disk(folder: Path) -> Look:
    """Of the agent's state."""
    try:
        facts = os.statvfs(folder)
    except OSError as error:
        return False, f"{folder} cannot be looked at: {error.strerror}. Create it for the agent's user"
    free = facts.f_bavail * facts.f_frsize
    if not os.access(folder, os.W_OK):
        return False, f"{folder} cannot be written: give it to the agent's user"
    if free < LEAST_FREE_BYTES:
        return False, f"{free >> 20} MiB are free at {folder}, {LEAST_FREE_BYTES >> 20} should be: make room"
    return True, f"{free >> 30} GiB are free at {folder}"


def clock(state: int | None) -> Look:
    """``state`` is the kernel's word, see ``clock_state``."""
    if state is None:
        return True, "this system does not tell whether its clock is synchronised"
    if state == _TIME_ERROR:
        return False, "the kernel says that the clock is not synchronised: run chrony or systemd-timesyncd"
    return True, "synchronised"


def clock_state() -> int | None:
    """Of Linux's ``adjtimex(2)``, which changes nothing when it is asked for nothing; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    # struct timex is at most 208 bytes; all zero means: only tell.
    state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(256)))
    return state if state >= 0 else None


def metrics_port(address: str) -> Look:
    """Free, or this agent's own."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host.strip("[]"), int(port)))
        except (OSError, ValueError, OverflowError):
            if _is_agent(address):
                return True, f"{address}: an agent is running"
            return False, f"{address} is taken, or is no address of this host: set agent.metrics_address"
    return True, f"{address} is free"


def _is_agent(address: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}/metrics", timeout=_SECONDS) as answer:
            return b"printfarm_" in answer.read(1 << 20)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return False


def secrets(options: Mapping[str, object]) -> Look:
    """Files that a printer's options name."""
    files = {key: Path(value) for key, value in options.items() if key.endswith("_file") and isinstance(value, str)}
    for key, path in sorted(files.items()):
        try:
            mode = path.stat().st_mode
        except OSError as error:
            return False, f"{key}: {path} cannot be read: {error.strerror}"
        if key != "ca_file" and mode & 0o077:
            return False, f"{key}: others may read {path}: chmod 600"
    return True, f"{len(files)} in files of their own" if files else "none in files"
