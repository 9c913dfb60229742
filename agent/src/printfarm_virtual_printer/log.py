"""The printer's own log, one JSON object a line, written through at once: a killed process loses none of it."""

import json
import os
import time
from pathlib import Path


class Log:
    """Appends. ``t`` is wall time in seconds, ``mono`` the machine's monotonic clock."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, event: str, **facts: object) -> None:
        """One fact."""
        line = json.dumps({"t": time.time(), "mono": time.monotonic(), "event": event, **facts})
        os.write(self._handle, line.encode() + b"\n")

    def close(self) -> None:
        """Ends it."""
        os.close(self._handle)
