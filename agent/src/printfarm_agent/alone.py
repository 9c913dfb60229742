"""One agent per state folder: two would number the same facts, and each would drive the other's printers."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .settings import WrongSettings

_LOCK = "agent.lock"


@contextmanager
def alone_in(state_dir: Path) -> Iterator[None]:
    """Ends with the process, however that ends. Raises WrongSettings where another process has the folder."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise WrongSettings(f"agent.state_dir {state_dir} cannot be used: {error.strerror}") from error
    try:
        _take(lock, state_dir)
        yield
    finally:
        os.close(lock)


def _take(lock: int, state_dir: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "of unknown number"
        raise WrongSettings(
            f"agent.state_dir {state_dir} is in use by another agent, process {holder}: "
            "end that one, or give each agent a folder of its own"
        ) from error
    # For that message only: a full disk keeps no agent from its work.
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
