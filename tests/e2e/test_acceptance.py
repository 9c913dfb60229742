"""A sliced file on four real printers at once, posted to ``make run``: paused, resumed, through a ``kill -9`` of the farm, and
finished verified; and cancelled. OctoPrint, Moonraker with Klipper, a serial Marlin and the Bambu emulator, each in real time.

What started is read in each printer's own log.
"""

import asyncio
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import need
from tests.support.bambu_emulator import CODE, SERIAL, BambuEmulator
from tests.support.fake_marlin import FakeMarlin
from tests.support.farm import until
from tests.support.klipper import KlipperServer
from tests.support.marlin_board import Firmware
from tests.support.models import box_stl
from tests.support.octoprint import KEY, OctoPrintServer
from tests.support.serial_host import SerialHost
from tests.support.standalone import Standalone

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow, pytest.mark.usefixtures("mosquitto")]
_SECONDS = 300.0
# Moves that take long: OctoPrint's virtual printer takes ten lines a second at most.
_SLICING = {
    "bed-shape": "0x0,200x0,200x200,0x200",
    "nozzle-diameter": "0.4",
    "gcode-flavor": "marlin",
    "machine-limits-usage": "ignore",
    "start-gcode": "G28",
    "end-gcode": "M104 S0\nM140 S0",
    "filament-type": "PLA",
    "temperature": "200",
    "first-layer-temperature": "200",
    "bed-temperature": "40",
    "first-layer-bed-temperature": "40",
    "layer-height": "0.4",
    "first-layer-height": "0.4",
    "top-solid-layers": "0",
    "bottom-solid-layers": "0",
    "skirts": "0",
    **{f"{what}-speed": "20" for what in ("perimeter", "external-perimeter", "infill", "solid-infill", "first-layer")},
    "travel-speed": "100",
}


def sliced(folder: Path) -> bytes:
    """By PrusaSlicer: about a minute of print."""
    need("prusa-slicer")
    (folder / "box.stl").write_bytes(box_stl(20, 20, 1.2))
    options = [part for name, value in _SLICING.items() for part in (f"--{name}", value)]
    command = ["prusa-slicer", "--export-gcode", *options, "-o", str(folder / "box.gcode"), str(folder / "box.stl")]
    environment = {"HOME": str(folder), "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return (folder / "box.gcode").read_bytes()


@dataclass
class Printer:
    """One of the four. ``starts``: the files that its own log says it began to print."""

    name: str
    options: dict[str, object]
    starts: Callable[[], list[str]]

    def table(self) -> str:
        options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.options.items())
        head = f'[[printer]]\nid = "{self.name}"\ndriver = "{self.name}"\ninitial_bed = "clear"\n'
        return f"{head}volume_mm = [200, 200, 200]\nnozzle_diameter_mm = 0.4\noptions = {{ {options} }}\n"


def octoprint(server: OctoPrintServer, folder: Path) -> Printer:
    server.clear()
    # The virtual printer moves ten times too fast one way and takes no time the other way.
    server.post("/api/printer/command", command="M220 S5")
    (folder / "octoprint.key").write_text(KEY)
    before = len(server.starts())
    options = {"url": server.url, "api_key_file": str(folder / "octoprint.key")}
    return Printer("octoprint", options, lambda: server.starts()[before:])


def moonraker(server: KlipperServer, folder: Path) -> Printer:
    server.clear()
    (folder / "moonraker.key").write_text(server.key)
    before = len(server.history(0.0))
    options = {"url": server.url, "api_key_file": str(folder / "moonraker.key")}

    def starts() -> list[str]:
        jobs = server.history(0.0)[before:]
        assert server.started() >= len(jobs)
        return [job["filename"] for job in jobs]

    return Printer("moonraker", options, starts)


@contextmanager
def marlin(folder: Path) -> Iterator[Printer]:
    host = SerialHost(folder / "farm" / "agent" / "printers" / "marlin")
    with FakeMarlin(folder / "board", Firmware()) as board:

        def starts() -> list[str]:
            """The board sees a session begin and its first question; which file that was, only the host's log knows."""
            sessions = [pair for pair in pairwise(board.commands()) if pair == ("M110 N0", "M105")]
            begun = host.begun()
            assert len(sessions) == len(begun)
            return begun

        try:
            yield Printer("marlin", {"port": str(board.path), "quiet_seconds": 0.2}, starts)
        finally:
            host.kill()


@contextmanager
def bambu(folder: Path) -> Iterator[Printer]:
    """The emulator lives in a loop of its own, as the printer lives in its own time."""
    inside = folder / "bambu"
    inside.mkdir()
    emulator = BambuEmulator(inside, report_seconds=0.5)
    (folder / "bambu.code").write_text(CODE)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(emulator.plug_in(), loop).result(60)
        options = {
            "host": "127.0.0.1",
            "serial_number": SERIAL,
            "access_code_file": str(folder / "bambu.code"),
            "certificate_sha256": emulator.fingerprint,
            "mqtt_port": emulator.broker.port,
            "ftps_port": emulator.card.port,
        }
        yield Printer("bambu", options, lambda: [name.removesuffix(".3mf") for name in emulator.machine.starts()])
    finally:
        asyncio.run_coroutine_threadsafe(emulator.close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


class Shop:
    """The farm with its four printers, and one job for each of them at a time."""

    def __init__(self, farm: Standalone, printers: list[Printer], gcode: bytes) -> None:
        self.farm, self.printers, self.gcode = farm, {printer.name: printer for printer in printers}, gcode

    def start(self) -> None:
        self.farm.start(PRINTFARM_SAMPLE="0", PRINTFARM_VIRTUAL_PRINTERS="0").says("Serving.")

    def all_idle(self) -> None:
        wanted = dict.fromkeys(self.printers, "idle")
        until(lambda: self.farm.states() == wanted, _SECONDS, "all are idle")

    def submit(self, name: str) -> str:
        job = json.dumps({"name": name, "requirements": {"printer_ids": [name]}})
        files = {"file": ("box.gcode", self.gcode), "job": (None, job, "application/json")}
        answer = self.farm.post("/api/v1/jobs/receive", files=files)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job_id"])

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.farm.get(f"/api/v1/jobs/{job_id}/status")["runs"]
        return found

    def come_to(self, jobs: dict[str, str], state: str) -> dict[str, dict[str, Any]]:
        """Every job's one run, once each is in that state."""

        def look() -> bool:
            shown = {name: [run["state"] for run in self.runs(job_id)] for name, job_id in jobs.items()}
            assert all(states[1:] == [] for states in shown.values()), shown
            return all(states == [state] for states in shown.values())

        until(look, _SECONDS, f"all {state}")
        return {name: self.runs(job_id)[0] for name, job_id in jobs.items()}

    def act(self, runs: dict[str, dict[str, Any]], action: str) -> None:
        for run in runs.values():
            answer = self.farm.post(f"/api/v1/runs/{run['run_id']}/{action}", json={})
            assert answer.status_code in (200, 202), answer.text

    def assert_started(self, *rounds: dict[str, dict[str, Any]]) -> None:
        for name, printer in self.printers.items():
            said = [path.rpartition("/")[2] for path in printer.starts()]
            assert said == [f"pf-{runs[name]['run_id']}.gcode" for runs in rounds], name


@pytest.fixture
def shop(octoprint_server: OctoPrintServer, klipper_server: KlipperServer, tmp_path: Path) -> Iterator[Shop]:
    farm = Standalone(tmp_path)
    with ExitStack() as stack:
        printers = [octoprint(octoprint_server, tmp_path), moonraker(klipper_server, tmp_path)]
        printers += [stack.enter_context(marlin(tmp_path)), stack.enter_context(bambu(tmp_path))]
        farm.data.mkdir(mode=0o700)
        (farm.data / "printers.toml").write_text("\n".join(printer.table() for printer in printers))
        stack.callback(farm.close)
        shop = Shop(farm, printers, sliced(tmp_path))
        shop.start()
        shop.all_idle()
        yield shop


def test_four_printers_print_a_sliced_file_through_the_death_of_the_farm(shop: Shop) -> None:
    jobs = {name: shop.submit(name) for name in shop.printers}
    runs = shop.come_to(jobs, "printing")
    shop.act(runs, "pause")
    shop.come_to(jobs, "paused")
    shop.act(runs, "resume")
    shop.come_to(jobs, "printing")
    shop.farm.end(signal.SIGKILL)
    shop.start()
    ended = shop.come_to(jobs, "finished")
    assert {name: run["verified"] for name, run in ended.items()} == dict.fromkeys(jobs, True), ended
    shop.assert_started(runs)
    for name, run in ended.items():
        assert run["run_id"] == runs[name]["run_id"]
        answer = shop.farm.post(f"/api/v1/runs/{run['run_id']}/verdict", json={"good_parts": 1})
        assert answer.status_code == 200, answer.text
    until(lambda: all(shop.farm.get(f"/api/v1/jobs/{job}")["state"] == "completed" for job in jobs.values()))
    shop.all_idle()
    unwanted = {name: shop.submit(name) for name in shop.printers}
    cancelled = shop.come_to(unwanted, "printing")
    for job_id in unwanted.values():
        answer = shop.farm.post(f"/api/v1/jobs/{job_id}/cancel", json={})
        assert answer.status_code in (200, 202), answer.text
    shop.come_to(unwanted, "cancelled")
    shop.assert_started(runs, cancelled)
