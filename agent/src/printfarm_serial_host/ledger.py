"""What must outlive the process, on disk: the machine's memory, whole or as it was before."""

import contextlib
import json
import os
from pathlib import Path

from printfarm_agent.drivers.marlin.memory import Memory, from_json

KEPT_LOGS = 5


class Ledger:
    """One printer's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "memory.json"

    def load(self) -> Memory:
        """A new one where there is none. Raises ValueError for one that cannot be read: then nothing may be printed."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return Memory()
        try:
            return from_json(json.loads(text))
        except (ValueError, AttributeError) as error:
            raise ValueError(
                f"{self._path} is damaged ({error}); move it away once it is known that nothing prints"
            ) from error

    def save(self, memory: Memory) -> None:
        """Durable when it returns. Raises OSError."""
        fresh = self._path.with_suffix(".new")
        with open(fresh, "w", opener=_private) as file:
            json.dump(memory.to_json(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def keep_log(self, name: str, lines: list[str]) -> None:
        """The last words on the line before a print failed, for whoever looks into it. The newest few are kept; none where
        the disk refuses."""
        safe = "".join(c for c in name if c.isalnum() or c in "-._")[:120]
        with contextlib.suppress(OSError):
            with open(self._folder / f"failed-{safe}.log", "w", opener=_private) as file:
                file.write("\n".join(lines) + "\n")
            logs = sorted(self._folder.glob("failed-*.log"), key=lambda path: path.stat().st_mtime)
            for old in logs[:-KEPT_LOGS]:
                old.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
