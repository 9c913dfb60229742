"""A private Moonraker before a real klippy, which drives a simulated board in real time; all three as direct children."""

import http.client
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.environments import folder
from tests.servers import program

from .ports import free_port

_SECONDS = 60.0
_PRINTER = """
[mcu]
serial: {folder}/tty
restart_method: command
# A sensor must be known before the heater that has it.
[adc_temperature lin]
temperature1: 0
voltage1: 0.0
temperature2: 500
voltage2: 5.0
[printer]
kinematics: cartesian
max_velocity: 300
max_accel: 3000
{steppers}
[extruder]
step_pin: p30
dir_pin: p31
rotation_distance: 8
microsteps: 16
nozzle_diameter: 0.6
filament_diameter: 1.75
min_extrude_temp: 0
heater_pin: h0
sensor_type: lin
sensor_pin: t0
control: watermark
min_temp: 0
max_temp: 300
[heater_bed]
heater_pin: h1
sensor_type: lin
sensor_pin: t1
control: watermark
min_temp: 0
max_temp: 120
[virtual_sdcard]
path: {folder}/data/gcodes
[pause_resume]
[display_status]
[respond]
[gcode_macro FAIL]
gcode:
    {{action_raise_error("Filament jam detected")}}
"""
_STEPPER = """
[stepper_{axis}]
step_pin: p{step}
dir_pin: p{direction}
rotation_distance: 40
microsteps: 16
endstop_pin: p{endstop}
position_endstop: 0
position_max: {longest}
"""
_MOONRAKER = """
[server]
host: 127.0.0.1
port: {port}
klippy_uds_address: {folder}/klippy.sock
[authorization]
enable_api_key: True
[machine]
provider: none
validate_service: False
validate_config: False
[file_manager]
check_klipper_config_path: False
[history]
"""


class KlipperServer:
    """The printer keeps its folder over restarts. Its parts can be killed one by one."""

    def __init__(self) -> None:
        moonraker, klippy = program("moonraker"), program("klippy")
        assert moonraker is not None and klippy is not None
        self._moonraker, self._klippy = moonraker, klippy
        self.folder = Path(tempfile.mkdtemp(prefix="pfklip-"))
        self.port = free_port()
        self.key = ""
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        for name in ("gcodes", "config", "logs", "misc"):
            (self.folder / "data" / name).mkdir(parents=True)
        # Moonraker would fetch it from outside.
        (self.folder / "data" / "misc" / "usb.ids").touch()
        axes = zip("xyz", (220, 230, 240), range(3), strict=True)
        steppers = "".join(
            _STEPPER.format(axis=axis, step=10 * i, direction=10 * i + 1, endstop=10 * i + 2, longest=longest)
            for axis, longest, i in axes
        )
        (self.folder / "printer.cfg").write_text(_PRINTER.format(folder=self.folder, steppers=steppers))
        (self.folder / "moonraker.conf").write_text(_MOONRAKER.format(folder=self.folder, port=self.port))

    @property
    def url(self) -> str:
        """Where Moonraker serves."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def gcodes(self) -> Path:
        """Where its files lie."""
        return self.folder / "data" / "gcodes"

    def pid(self, part: str) -> int:
        """Of "mcu", "klippy" or "moonraker"."""
        return self._children[part].pid

    def start(self) -> None:
        """Returns when Klipper is ready."""
        self.start_part("mcu")
        self.start_part("klippy")
        self.start_part("moonraker")
        self.until(lambda: bool(self._find_key()))
        self.until(lambda: self.state() == "ready")

    def start_part(self, part: str) -> None:
        """One of the three."""
        at = self.folder
        mcu = [str(folder("klippy") / "bin" / "python"), str(Path(__file__).with_name("klipper_mcu.py")), f"{at}/tty"]
        klippy = [self._klippy, "-I", f"{at}/virtual-tty", "-a", f"{at}/klippy.sock", "-l", f"{at}/klippy.log"]
        moonraker = [self._moonraker, "-d", f"{at}/data", "-c", f"{at}/moonraker.conf", "-l", f"{at}/moonraker.log"]
        commands = {"mcu": mcu, "klippy": [*klippy, f"{at}/printer.cfg"], "moonraker": moonraker}
        with (at / f"{part}.console").open("ab") as log:
            self._children[part] = subprocess.Popen(commands[part], stdout=log, stderr=log, start_new_session=True)
        if part == "mcu":
            self.until((at / "tty").is_symlink)

    def until(self, is_so: Callable[[], bool]) -> None:
        """Waits, and shows the logs if it never comes."""
        deadline = time.monotonic() + _SECONDS
        while not is_so():
            if time.monotonic() > deadline:
                logs = (path.read_text()[-2000:] for path in self.folder.glob("*.log"))
                raise RuntimeError("\n".join(logs))
            time.sleep(0.05)

    def _find_key(self) -> str:
        database = self.folder / "data" / "database" / "moonraker-sql.db"
        if not self.key and database.exists():
            try:
                with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
                    query = "SELECT password FROM authorized_users WHERE username = '_API_KEY_USER_'"
                    row = opened.execute(query).fetchone()
                    self.key = str(row[0]) if row else ""
            except sqlite3.OperationalError:
                return ""
        return self.key

    def state(self) -> str:
        """Klippy's; empty while Moonraker does not answer."""
        try:
            return str(self.get("/server/info")["klippy_state"])
        except (OSError, KeyError, ValueError, http.client.HTTPException):
            return ""

    def get(self, path: str) -> Any:
        """The result of a GET."""
        return self._ask(path, "GET")

    def post(self, path: str, **arguments: object) -> Any:
        """The result of a command. Raises HTTPError for a no."""
        return self._ask(path, "POST", json.dumps(arguments).encode())

    def _ask(self, path: str, method: str, body: bytes | None = None) -> Any:
        headers = {"X-Api-Key": self.key, "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())["result"]

    def objects(self, *names: str) -> dict[str, Any]:
        """What Klipper says of these objects."""
        found: dict[str, Any] = self.get("/printer/objects/query?" + "&".join(names))["status"]
        return found

    def put(self, name: str, content: str) -> None:
        """A file of somebody's, straight onto its disk."""
        (self.gcodes / name).write_text(content)

    def power_cycle(self) -> None:
        """Of the board and its host."""
        self.kill("klippy")
        self.kill("mcu")
        (self.folder / "tty").unlink(missing_ok=True)
        self.start_part("mcu")
        self.start_part("klippy")

    def restart_klipper(self) -> None:
        """By command. Returns when it is ready again, and has forgotten what it printed."""
        self.post("/printer/restart")
        self.until(self._is_fresh)

    def _is_fresh(self) -> bool:
        try:
            return self.state() == "ready" and self.objects("print_stats")["print_stats"]["filename"] == ""
        except (OSError, KeyError):
            return False

    def started(self) -> int:
        """How many prints began, by klippy's own log."""
        return (self.folder / "klippy.log").read_text(errors="replace").count("Starting SD card print (position 0)")

    def history(self, since: float) -> list[dict[str, Any]]:
        """Moonraker's entries from then on, oldest first."""
        found: list[dict[str, Any]] = self.get(f"/server/history/list?since={since}&order=asc&limit=50")["jobs"]
        return found

    def clear(self) -> None:
        """Ready and idle again, whatever a test did."""
        restarted = False
        for part in ("mcu", "klippy", "moonraker"):
            if part not in self._children or self._children[part].poll() is not None:
                self.start_part(part)
                restarted = True
        self.until(lambda: self.state() not in ("", "startup", "disconnected"))
        if self.state() != "ready":
            self.post("/printer/firmware_restart")
            self.until(lambda: self.state() == "ready")
            restarted = True
        if restarted:
            # A print that begins sooner is missed by the history, which is where the tests look.
            time.sleep(2.0)
        self.post("/printer/gcode/script", script="CLEAR_PAUSE\nSDCARD_RESET_FILE\nTURN_OFF_HEATERS")
        self.until(lambda: self.objects("idle_timeout")["idle_timeout"]["state"] != "Printing")
        for path in self.gcodes.rglob("*.gcode"):
            path.unlink()

    def signal(self, part: str, number: int) -> None:
        """Such as SIGUSR1 to the board, which then has a fault."""
        os.kill(self.pid(part), number)

    def kill(self, part: str) -> None:
        """``kill -9``."""
        child = self._children.pop(part, None)
        if child is not None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()

    def close(self) -> None:
        """Ends all of it and throws the folder away."""
        for part in ("moonraker", "klippy", "mcu"):
            self.kill(part)
        shutil.rmtree(self.folder, ignore_errors=True)
