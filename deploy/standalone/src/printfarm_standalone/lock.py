"""One farm per data folder: a second start is told so, and touches nothing."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


class InUse(Exception):
    """Another process works in the folder."""


@contextmanager
def only_one(folder: Path) -> Generator[None]:
    """Holds the folder until the end, or until the process dies. Raises InUse."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InUse(f"another farm runs in {folder}: stop it, or choose another PRINTFARM_DATA_DIR") from error
        yield
    finally:
        os.close(handle)
