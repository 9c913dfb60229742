"""What is durable when it is told; and what to do when the disk says that it may have lost what was written: never go on as if
nothing had happened."""

import os
import sqlite3
import tempfile
from pathlib import Path

import structlog

_LOG = structlog.get_logger(__name__)
FSYNC_FAILED_EXIT = 87
_FSYNC_FAILED = {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC"}


def end_process(why: str) -> None:
    """After a failed fsync the kernel may have thrown the pages away: only a fresh process knows what is on the disk."""
    _LOG.critical("fsync failed: ending the process", error=why)
    os._exit(FSYNC_FAILED_EXIT)


def end_if_fsync_failed(error: BaseException | None) -> None:
    """For errors of SQLite; any other is the caller's."""
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorname", "") in _FSYNC_FAILED:
        end_process(str(error))


def write_private(path: Path, content: bytes) -> None:
    """The file with mode 0600 in a folder of mode 0700, replaced in one step and synced."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
