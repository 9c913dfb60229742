"""Virtual printers as a process of their own, with what a test may do to them and their logs, the ground truth."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from .ports import free_port

_SECONDS = 60.0


class VirtualPrinters:
    """Several printers in one process, on ports that stay the same when it is started again."""

    def __init__(self, folder: Path, count: int = 1, *, time_scale: float = 60.0, faults: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._ports = [free_port() for _ in range(count)]
        self._options = ["--time-scale", str(time_scale), *(f"--fault={fault}" for fault in faults)]
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> "VirtualPrinters":
        """Returns when all of them listen."""
        for index, port in enumerate(self._ports):
            command = [sys.executable, "-m", "printfarm_virtual_printer", "--base-port", str(port)]
            command += ["--dir", str(self._folder / str(index)), *self._options]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["ready"]
            self._processes.append(process)
        return self

    def address(self, index: int = 0) -> str:
        """host:port."""
        return f"127.0.0.1:{self._ports[index]}"

    def admin(self, op: str, index: int = 0, **arguments: object) -> dict[str, Any]:
        """A person at the machine. ``op`` without its ``admin_``."""
        with socket.create_connection(("127.0.0.1", self._ports[index]), _SECONDS) as connection:
            request = {"id": 1, "op": f"admin_{op}", **arguments}
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile().readline())
        assert answer["ok"], answer
        return answer

    def log(self, index: int = 0) -> list[dict[str, Any]]:
        """What really happened."""
        path = self._folder / str(index) / "virtual-1" / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    def files(self, index: int = 0) -> list[str]:
        """The names on its disk."""
        return sorted(path.name for path in (self._folder / str(index) / "virtual-1" / "files").iterdir())

    def starts(self, index: int = 0) -> list[dict[str, Any]]:
        """Physical starts."""
        return [entry for entry in self.log(index) if entry["event"] == "physical_start"]

    def kill(self) -> None:
        """Power cut of all."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()
        self._processes.clear()

    def __enter__(self) -> "VirtualPrinters":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
