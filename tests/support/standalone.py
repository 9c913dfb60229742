"""``make run`` as a program: the whole farm in one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from .farm import until
from .plain_http import NO_AUTHORITIES
from .ports import free_port


class Standalone:
    """The program, and its REST API."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "farm"
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> "Standalone":
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "PRINTFARM_DATA_DIR": str(self.data),
            "PRINTFARM_PORT": str(self.port),
            "PRINTFARM_TIME_SCALE": "500",
            **variables,
        }
        command = [sys.executable, "-m", "printfarm_standalone"]
        with (self.folder / "out.txt").open("wb") as out:
            self._process = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=out, stderr=out, start_new_session=True
            )
        return self

    def output(self) -> str:
        return (self.folder / "out.txt").read_text()

    def says(self, words: str) -> None:
        until(lambda: words in self.output() or self.is_over(), 90, words)
        assert words in self.output(), self.output()

    def is_over(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self._process is not None
        if not self.is_over():
            os.kill(self._process.pid, number)
        return self._process.wait(60)

    def close(self) -> None:
        """However far it came."""
        if self._process is not None and not self.is_over():
            self.end(signal.SIGKILL)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.data / "admin-api-key").read_text().strip()

    def get(self, path: str) -> Any:
        """The JSON, asked for until it is answered: a busy machine may say 503 first."""
        return until(lambda: self._try_get(path), why=f"an answer to {path}")

    def _try_get(self, path: str) -> Any:
        try:
            answer = httpx.get(f"{self.url}{path}", headers={"X-API-Key": self.key}, timeout=20, verify=NO_AUTHORITIES)
        except httpx.TransportError:
            return None
        if answer.status_code == 503:
            return None
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, **request: Any) -> httpx.Response:
        """``request`` as httpx takes it."""
        headers = {"X-API-Key": self.key}
        return httpx.post(f"{self.url}{path}", headers=headers, timeout=20, verify=NO_AUTHORITIES, **request)

    def states(self) -> dict[str, str]:
        return {printer["printer_id"]: printer["state"] for printer in self.get("/api/v1/printers")["items"]}
