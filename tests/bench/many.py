"""One agent with fifty printers: of several kinds, its memory and its CPU; and of one kind, 45 of them powered off."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx

from tests.support.dead_printers import dead_addresses
from tests.support.farm import RealFarm, until
from tests.support.klipper import KlipperServer
from tests.support.octoprint import KEY as OCTOPRINT_KEY
from tests.support.octoprint import OctoPrintServer
from tests.support.octoprint_emulator import KEY
from tests.support.simplyprint_emulator import COMPANY

from .farms import pid_of, prepared_farm
from .figures import at_most, figure_at_most, single, tell
from .processes import cpu_share, memory_mb

# Beside a real OctoPrint and a real Moonraker. Bambu's reports are pushed and a serial line is another process's: neither has a
# question that a bare poller could ask as well.
_MIXED = {"octoprint": 12, "prusalink": 10, "prusalink-pi": 6, "duet": 8, "duet-sbc": 6, "simplyprint": 6}
_REAL = 2
_LIVING, _DEAD = 5, 45
_OBSERVE_SECONDS = 1.0
_SETTLE_SECONDS, _CPU_SECONDS = 4.0, 12.0
_DELAY_SECONDS, _STOP_ROUNDS = 8.0, 5
_OBJECTS = ("webhooks", "print_stats", "virtual_sdcard", "idle_timeout", "pause_resume", "motion_report")
# What a driver asks in one look: a path, and a body where it is posted.
_LOOKS: dict[str, tuple[tuple[str, dict[str, Any] | None], ...]] = {
    "octoprint": (("/api/job", None), ("/api/printer?exclude=sd", None)),
    "prusalink": (("/api/v1/status", None),),
    "prusalink-pi": (("/api/v1/status", None),),
    "duet": (("/rr_model?flags=d99fn", None),),
    "duet-sbc": (("/machine/model", None),),
    "simplyprint": ((f"/{COMPANY}/printers/Get", {"page": 1, "page_size": 100}),),
    "moonraker": (("/printer/objects/query", {"objects": dict.fromkeys((*_OBJECTS, "extruder", "heater_bed"))}),),
}
Options = dict[str, Any]


class Emulated:
    """The printers' process."""

    def __init__(self, folder: Path, kinds: dict[str, int]) -> None:
        wishes = [f"{kind}={count}" for kind, count in kinds.items()]
        command = [sys.executable, "-m", "tests.bench.emulated", str(folder), *wishes]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self.options: dict[str, list[Options]] = self._line()

    def seen(self) -> list[dict[str, list[float]]]:
        """By each of the OctoPrint-like ones since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: list[dict[str, list[float]]] = self._line()
        return found

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def _real() -> Iterator[dict[str, list[Options]]]:
    """One of each server that runs here: kind -> the options that reach it."""
    octoprint, klipper = OctoPrintServer(), KlipperServer()
    try:
        octoprint.start()
        klipper.start()
        secrets = {octoprint.folder / "farm.key": OCTOPRINT_KEY, klipper.folder / "farm.key": klipper.key}
        for path, secret in secrets.items():
            path.write_text(secret)
        first, second = secrets
        yield {
            "octoprint": [{"url": octoprint.url, "api_key_file": str(first)}],
            "moonraker": [{"url": klipper.url, "api_key_file": str(second)}],
        }
    finally:
        octoprint.close()
        klipper.close()


@contextmanager
def _farm(
    kinds: dict[str, int], dead: list[str], real: Mapping[str, list[Options]] = MappingProxyType({})
) -> Iterator[tuple[RealFarm, Emulated]]:
    """With one agent; returns when every living printer is idle."""
    text = "".join(_table(f"dead-{n}", "octoprint", {"url": f"http://{at}"}) for n, at in enumerate(dead))
    settings = f"idle_observe_seconds = {_OBSERVE_SECONDS}\n"
    with prepared_farm(printer_count=0) as farm:
        emulated = Emulated(farm.folder, kinds)
        try:
            (farm.folder / "octoprint.secret").write_text(KEY)
            text = text.replace("KEY_FILE", str(farm.folder / "octoprint.secret"))
            for kind, printers in emulated.options.items():
                text += "".join(_table(f"{kind}-{n}", kind, options) for n, options in enumerate(printers))
            for kind, printers in real.items():
                text += "".join(_table(f"real-{kind}", kind, options) for options in printers)
            path = farm.folder / "agent.toml"
            before = path.read_text().replace("idle_observe_seconds = 0.2\n", settings)
            path.write_text(before + text)
            farm.start()
            until(lambda: _idle(farm) == sum(kinds.values()) + len(real), 60, "the living are seen")
            yield farm, emulated
        finally:
            emulated.close()


def _table(name: str, kind: str, options: Options) -> str:
    driver = kind.partition("-")[0]
    given = options if len(options) > 1 else {**options, "api_key_file": "KEY_FILE"}
    inside = ", ".join(f"{key} = {json.dumps(value)}" for key, value in given.items())
    return f'\n[[printer]]\nid = "{name}"\ndriver = "{driver}"\ninitial_bed = "clear"\noptions = {{ {inside} }}\n'


def _idle(farm: RealFarm) -> int:
    answer = farm.try_get("/api/v1/printers?limit=200") or {"items": []}
    return sum(printer["state"] == "idle" for printer in answer["items"])


def mixed() -> None:
    """Memory of a further printer; CPU against a bare poller of the same printers, questions and rate."""
    count = sum(_MIXED.values()) + _REAL
    with _real() as real:
        with _farm(dict.fromkeys(_MIXED, 1), [], real) as (few, _):
            time.sleep(_SETTLE_SECONDS)
            small = memory_mb(pid_of(few.agent))
        with _farm(_MIXED, [], real) as (farm, emulated):
            time.sleep(_SETTLE_SECONDS)
            pid = pid_of(farm.agent)
            a_printer = (memory_mb(pid) - small) / (count - len(_MIXED) - _REAL)
            ours = cpu_share(pid, _CPU_SECONDS)
            farm.agent.kill()
            bare = _bare_share([*emulated.options.items(), *real.items()])
    tell("agent memory, a further printer of a network driver", single(a_printer, 1.0), "MB", figure_at_most(1))
    name = f"agent CPU, {count} printers of {len(_LOOKS)} kinds, a look a second"
    tell(name, single(ours, bare), "% of a core", at_most(3.0))


def _bare_share(given: list[tuple[str, list[Options]]]) -> float:
    printers = [
        [(f"{options.get('url') or options['api_url']}{path}", headers, body) for path, body in _LOOKS[kind]]
        for kind, found in given
        for options in found
        for headers in [_headers(kind, options)]
    ]
    command = [sys.executable, "-m", "tests.bench.bare_poller", str(_OBSERVE_SECONDS)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(printers))
        process.stdin.close()
        process.stdout.readline()
        time.sleep(_SETTLE_SECONDS)
        return cpu_share(process.pid, _CPU_SECONDS)
    finally:
        process.kill()
        process.wait()


def _headers(kind: str, options: Options) -> dict[str, str]:
    if kind.startswith("duet"):
        password = Path(options["password_file"]).read_text()
        path = "/machine/connect" if kind == "duet-sbc" else "/rr_connect"
        answer = httpx.get(f"{options['url']}{path}", params={"password": password, "sessionKey": "yes"})
        return {"X-Session-Key": str(answer.json()["sessionKey"])}
    # A cloud's front door turns library names away.
    return {"X-Api-Key": Path(options["api_key_file"]).read_text(), "User-Agent": "bare-poller"}


def powered_off() -> None:
    """Looks at the living ones, and a stop on its way from REST to each of them, with the dead and without."""
    with dead_addresses(_DEAD) as dead:
        beside = _delays(dead)
    alone = _delays([])
    name = f"{_LIVING} printers beside {_DEAD} that are powered off"
    tell(f"{name}: between two looks, p95", single(beside[0], alone[0]), "ms", at_most(1.1))
    tell(f"{name}: from REST to the emergency stop, median", single(beside[1], alone[1]), "ms", at_most(1.5))


def _delays(dead: list[str]) -> tuple[float, float]:
    with _farm({"octoprint": _LIVING}, dead) as (farm, emulated):
        time.sleep(_SETTLE_SECONDS)
        emulated.seen()
        time.sleep(_DELAY_SECONDS)
        gaps = [later - earlier for each in emulated.seen() for earlier, later in pairwise(each["looks"])]
        took = [_stopped(farm, emulated, number) for _ in range(_STOP_ROUNDS) for number in range(_LIVING)]
    # The first of each is thrown away.
    took = took[_LIVING:]
    return statistics.quantiles(gaps, n=20)[18] * 1000, statistics.median(took) * 1000


def _stopped(farm: RealFarm, emulated: Emulated, number: int) -> float:
    """Seconds from REST to the printer; then a person releases it."""
    printer = f"/api/v1/printers/octoprint-{number}"
    with farm.client() as client:
        began = time.monotonic()
        answer = client.post(f"{printer}/emergency-stop", json={})
        assert answer.status_code in (200, 202), answer.text
        (first, *_) = until(lambda: emulated.seen()[number]["stops"], 30)
        until(lambda: client.post(f"{printer}/release", json={}).status_code == 200, 30, "released")
    return first - began
