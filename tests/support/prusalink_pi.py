"""The real PrusaLink for a Raspberry Pi, as a direct child, with an emulated MK3S on its serial port."""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.environments import folder

from .fake_marlin import FakeMarlin
from .mk3_board import Mk3Board
from .ports import free_port

KEY = "pi-key-0123456789"
USER, PASSWORD = "maker", "Farm-farm-1234"
# How long it shows the end of a print; 11 as installed.
END_SECONDS = 2.0
_SECONDS = 60.0
_DIRECTORY = "gcodes"
_CONFIG = """
[daemon]
data_dir = {folder}
[http]
address = 127.0.0.1
port = {port}
[printer]
port = {tty}
settings = {folder}/printer.ini
directory = {folder}/{directory}
[cameras]
auto_detect = False
[log]
prusa.link.printer_adapter.job = DEBUG
"""
_PRINTER = """
[printer]
type = MK3S
name = pi
[service::local]
enable = 1
username = {user}
digest = {digest}
api_key = {key}
"""
# Known to it, and never printed. Another ending than a test's files have.
_CHOSEN = "chosen.gco"
# What its log repeats after an error begins in another way.
_BEGAN = re.compile(rf"^\S+ \S+ DEBUG .*Overwriting file path with /{_DIRECTORY}/(\S+)", re.M)


class PrusaLinkPi:
    """The server keeps its folder over restarts, and the printer its EEPROM. ``kill`` is ``kill -9``."""

    def __init__(self) -> None:
        # PrusaLink takes no folder below /tmp.
        self.folder = Path(tempfile.mkdtemp(prefix="pfpi-", dir=folder("prusalink").parent))
        self.port = free_port()
        self.printer = FakeMarlin(self.folder / "port", board=Mk3Board())
        self._process: subprocess.Popen[bytes] | None = None
        self.gcodes.mkdir()
        (self.gcodes / _CHOSEN).write_bytes(b"G4 P1\n")
        digest = hashlib.md5(f"{USER}:Administrator:{PASSWORD}".encode(), usedforsecurity=False).hexdigest()
        config = _CONFIG.format(folder=self.folder, port=self.port, tty=self.printer.path, directory=_DIRECTORY)
        (self.folder / "prusalink.ini").write_text(config)
        (self.folder / "printer.ini").write_text(_PRINTER.format(user=USER, digest=digest, key=KEY))

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gcodes(self) -> Path:
        """Where its files lie."""
        return self.folder / _DIRECTORY

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def board(self) -> Mk3Board:
        """The printer's. To be used inside of ``printer.do``."""
        assert isinstance(self.printer.board, Mk3Board)
        return self.printer.board

    def open(self) -> None:
        """The printer and the server. Returns when a print could begin."""
        self.printer.__enter__()
        self.start()

    def start(self, end_seconds: float = END_SECONDS) -> None:
        """The server alone. Returns when a print could begin."""
        python, program = folder("prusalink") / "bin" / "python", Path(__file__).with_name("prusalink_pi_main.py")
        command = [str(python), str(program), str(end_seconds), "-f", "-c", str(self.folder / "prusalink.ini"), "start"]
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.until(lambda: self.state() == "IDLE" and self.get("/api/v1/info").get("serial"))
        self.until(self._chooses)

    def _chooses(self) -> bool:
        """A file, as a person at its page does. While it never had one in its hand, its first print is a race that a busy
        machine loses: what it notes for a power panic must name the file, which it learns only after the print's thread runs;
        the thread that sends dies of it, and nothing reaches the printer any more."""
        try:
            headers = {"Content-Type": "application/json"}
            self.ask("POST", f"/api/files/local/{_DIRECTORY}/{_CHOSEN}", b'{"command": "select"}', **headers)
        except urllib.error.HTTPError as error:
            # Not in its index yet.
            if error.code in (404, 500):
                return False
            raise
        return True

    def until(self, is_so: Callable[[], object]) -> None:
        """Waits, and shows the server's log if it never comes."""
        deadline = time.monotonic() + _SECONDS
        while not is_so():
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise RuntimeError((self.folder / "console.log").read_text()[-3000:])
            time.sleep(0.05)

    def state(self) -> str:
        """The printer's, in PrusaLink's word; empty while the server does not answer."""
        try:
            return str(self.get("/api/v1/status")["printer"]["state"])
        except (OSError, KeyError, ValueError, http.client.HTTPException):
            return ""

    def get(self, path: str) -> Any:
        """JSON of a GET."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        """JSON of the answer, or None. Raises HTTPError for a no."""
        request = urllib.request.Request(self.url + path, body, {"X-Api-Key": KEY, **headers}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def start_foreign(self, name: str, content: bytes) -> None:
        """Somebody brings a file and prints it."""
        path = f"/api/v1/files/local/{name}"
        self.ask("PUT", path, content, **{"Content-Type": "text/x.gcode", "Overwrite": "?1"})
        self.until(lambda: self._takes(path))

    def _takes(self, path: str) -> bool:
        try:
            self.ask("POST", path)
        except urllib.error.HTTPError as error:
            # Its index lags behind.
            if error.code == 404:
                return False
            raise
        return True

    def starts(self) -> list[str]:
        """The names of all files whose print began, by its log."""
        return _BEGAN.findall((self.folder / "console.log").read_text())

    def clear(self) -> None:
        """Idle again, whatever a test did."""
        if self._process is None or self._process.poll() is not None:
            self.power_on()
        if self.printer.do(lambda board: board.is_dead):
            self.printer.reset()
        if self.state() in ("PRINTING", "PAUSED"):
            self.ask("DELETE", f"/api/v1/job/{self.get('/api/v1/status')['job']['id']}")
        self.until(lambda: self.state() == "IDLE")
        for path in self.gcodes.glob("*.gcode"):
            path.unlink()

    def power_on(self) -> None:
        """The Pi is back, and its opening of the port has reset the board."""
        self.printer.reset()
        self.start()

    def kill(self) -> None:
        """As a power cut of the Pi would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, how)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it and throws its folder away."""
        self.kill()
        self.printer.__exit__()
        shutil.rmtree(self.folder, ignore_errors=True)
