"""A private OctoPrint with its virtual printer, as a direct child."""

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
from pathlib import Path
from typing import Any

from tests.servers import program

from .ports import free_port

KEY = "0123456789ABCDEF0123456789ABCDEF"
_SECONDS = 90.0
_CONFIG = """
accessControl: {autologinLocal: false, salt: 0123456789abcdef0123456789abcdef}
server:
  firstRun: false
  onlineCheck: {enabled: false}
  pluginBlacklist: {enabled: false}
  uploads: {maxSize: 50331648}
webcam: {timelapseEnabled: false}
gcodeAnalysis: {runAt: never}
events: {enabled: false}
serial: {port: VIRTUAL, baudrate: 115200, autoconnect: true, disconnectOnErrors: true}
plugins:
  _disabled: [announcements, backup, discovery, errortracking, health_check, pi_support, pluginmanager, softwareupdate,
              tracking, achievements]
  virtual_printer: {enabled: true, simulated_errors: []}
"""
_STARTED = re.compile(r"Print job started - origin: local, path: (\S+), owner")


class OctoPrintServer:
    """The server keeps its folder over restarts. ``kill`` is ``kill -9``."""

    def __init__(self) -> None:
        found = program("octoprint")
        assert found is not None
        self._program = found
        self.folder = Path(tempfile.mkdtemp(prefix="pfocto-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        (self.folder / "config.yaml").write_text(_CONFIG)
        user = ["user", "add", "--password", "farmfarm", "--admin", "farm"]
        subprocess.run([found, "-b", str(self.folder), *user], check=True, capture_output=True)
        users = self.folder / "users.yaml"
        users.write_text(users.read_text().replace("apikey: null", f"apikey: {KEY}"))

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when its printer is operational."""
        command = [self._program, "-b", str(self.folder), "serve", "--host", "127.0.0.1", "--port", str(self.port)]
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--iknowwhatimdoing"], stdout=log, stderr=log, start_new_session=True
            )
        self.until(lambda: self.state() == "Operational")

    def until(self, is_so: Any) -> None:
        """Waits, and shows the server's log if it never comes."""
        deadline = time.monotonic() + _SECONDS
        while not is_so():
            if time.monotonic() > deadline or (self._process and self._process.poll() is not None):
                raise RuntimeError((self.folder / "console.log").read_text()[-3000:])
            time.sleep(0.05)

    def state(self) -> str:
        """The printer's, in OctoPrint's word; empty while the server does not answer."""
        try:
            return str(self.get("/api/job")["state"])
        except (OSError, KeyError, ValueError, http.client.HTTPException):
            return ""

    def get(self, path: str) -> Any:
        """JSON of a GET."""
        return self._ask(path, None)

    def post(self, path: str, **command: object) -> Any:
        """A command. Raises HTTPError for a no."""
        return self._ask(path, command)

    def _ask(self, path: str, body: dict[str, object] | None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Api-Key": KEY, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def debug(self, *commands: str) -> None:
        """Tells the virtual printer, which cannot refuse."""
        self.post("/api/printer/command", commands=[f"!!DEBUG:{command}" for command in commands])

    def put(self, name: str, content: str) -> None:
        """A file of somebody's, straight onto its disk."""
        path = self.uploads / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    @property
    def uploads(self) -> Path:
        """Where its files lie."""
        return self.folder / "uploads"

    def starts(self) -> list[str]:
        """The paths of all prints that began, by its log."""
        return _STARTED.findall((self.folder / "logs" / "octoprint.log").read_text())

    def clear(self) -> None:
        """Operational again, whatever a test did."""
        if self.state() in ("Printing", "Paused", "Pausing", "Resuming", "Starting"):
            self.post("/api/job", command="cancel")
        # A fresh connection is a fresh virtual printer.
        self.post("/api/connection", command="disconnect")
        self.until(lambda: self.state().startswith("Offline"))
        self.connect()
        for path in self.uploads.rglob("*.gcode"):
            self._ask(f"/api/files/local/{path.relative_to(self.uploads)}", None, "DELETE")

    def connect(self) -> None:
        """To the virtual printer."""
        self.post("/api/connection", command="connect", port="VIRTUAL", baudrate=115200)
        self.until(lambda: self.state() == "Operational")

    def kill(self) -> None:
        """As a power cut would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Ends it and throws its folder away."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
