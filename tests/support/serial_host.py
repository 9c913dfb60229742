"""The host process of a printer, as tests see it: looked at without a claim, killed, and ended at the latest with the test."""

import contextlib
import json
import os
import signal
import socket
import struct
import time
from pathlib import Path
from typing import Any

from printfarm_agent.drivers.marlin import talk

_SECONDS = 60.0


class SerialHost:
    """Of one printer's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pid(self) -> int:
        return int((self.folder / talk.PID).read_text())

    def answering(self) -> int:
        """The process behind the socket, also of one that could not write its number down."""
        where = os.open(self.folder, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(f"/proc/self/fd/{where}/{talk.SOCKET}")
                told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        finally:
            os.close(where)
        return int(struct.unpack("3i", told)[0])

    def is_alive(self) -> bool:
        """One that has ended is nobody's child any more, and leaves no trace."""
        try:
            return b"printfarm_serial_host" in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return False

    def look(self) -> dict[str, Any]:
        """Its status, without a claim. Raises OSError if it is not there."""
        where = os.open(self.folder, os.O_RDONLY)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_SECONDS)
                connection.connect(f"/proc/self/fd/{where}/{talk.SOCKET}")
                token = (self.folder / talk.TOKEN).read_text()
                connection.sendall(talk.encode({"id": 1, "op": "look", "token": token}))
                answer: dict[str, Any] = json.loads(connection.makefile().readline())
        finally:
            os.close(where)
        status: dict[str, Any] = answer["status"]
        return status

    def log(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.folder / talk.LOG).read_text()
        return ""

    def memory(self) -> dict[str, Any]:
        """As it stands on the disk."""
        found: dict[str, Any] = json.loads((self.folder / "memory.json").read_text())
        return found

    def begun(self) -> list[str]:
        """The names of the prints that it began."""
        return [line.split()[1].rstrip(":") for line in self.log().splitlines() if line.endswith(": begins")]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """As if by a crash; waits until it is gone."""
        if not self.is_alive():
            return
        os.kill(self.pid, number)
        deadline = time.monotonic() + 2 * _SECONDS
        while self.is_alive():
            assert time.monotonic() < deadline, "the serial host does not end"
            time.sleep(0.01)
