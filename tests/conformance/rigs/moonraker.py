"""A real Moonraker and a real klippy with a simulated board, in real time, one for the session; a front before the driver."""

import asyncio
import json
import resource
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.support.http_front import HttpFront
from tests.support.klipper import KlipperServer

from ..rig import WRONG_SECRET, Hostile, Options
from .web import WebRig

_FOLDER = "printfarm"


class MoonrakerRig(WebRig):
    """Machine faults are the board's; starts are counted in klippy's log and named by Moonraker's history."""

    driver = "moonraker"

    def __init__(self, front: HttpFront, server: KlipperServer, folder: Path) -> None:
        super().__init__(front)
        self._server = server
        self._key = folder / "key"
        self._key.write_text(server.key)
        self._since = time.time()
        self._before = server.started()

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        assert isinstance(server, KlipperServer)
        await asyncio.to_thread(server.clear)
        with HttpFront(server.url) as front:
            rig = cls(front, server, folder)
            yield rig
            await rig.heal()

    def options(self) -> Options:
        return {"url": self.front.url, "api_key_file": str(self._key), "timeout_seconds": 2.0}

    def wrong_credentials(self) -> Options:
        wrong = self._key.with_name("wrong")
        wrong.write_text(WRONG_SECRET)
        return self.options() | {"api_key_file": str(wrong)}

    def gcode(self, seconds: float) -> bytes:
        # Klipper is two seconds ahead of the machine.
        return b"G1 E0.1 F600\n" + b"G1 E0.1 F600\nG4 P100\n" * int((seconds + 2.0) * 10)

    def gcode_that_heats(self) -> bytes:
        # Some twenty degrees a second: longer than an emergency stop may take.
        return b"M104 S150\nM109 S150\n" + self.gcode(20.0)

    async def starts(self) -> list[str]:
        def names() -> list[str]:
            began = self._server.started() - self._before
            self._server.until(lambda: len(self._server.history(self._since)) >= began)
            return [str(job["filename"]).removeprefix(f"{_FOLDER}/") for job in self._server.history(self._since)]

        return await asyncio.to_thread(names)

    async def files(self) -> set[str]:
        return {path.name for path in (self._server.gcodes / _FOLDER).glob("*.gcode")}

    async def is_stopped(self) -> bool:
        return (await asyncio.to_thread(self._server.state)) == "shutdown"

    async def start_foreign(self, seconds: float) -> str:
        def start() -> None:
            self._server.put("theirs.gcode", self.gcode(seconds).decode())
            self._server.post("/printer/print/start", filename="theirs.gcode")

        await asyncio.to_thread(start)
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        await asyncio.to_thread(self._server.post, "/printer/print/pause")

    async def fail_the_print(self) -> None:
        self._server.signal("mcu", signal.SIGUSR1)

    async def restart_the_machine(self) -> None:
        def restart() -> None:
            self._server.kill("klippy")
            self._server.start_part("klippy")

        await asyncio.to_thread(restart)

    async def heal(self) -> None:
        self.front.heal()
        self._limit_files(resource.RLIM_INFINITY)

    async def lose_the_reply_to_a_start(self) -> None:
        self.front.way.lose = lambda _method, path: path.startswith("/printer/print/start")

    async def refuse_starts(self) -> None:
        await asyncio.to_thread(self._server.post, "/printer/emergency_stop")

    async def fill_the_storage(self) -> None:
        # Every write beyond it fails, as on a full disk.
        self._limit_files(1 << 20)

    def _limit_files(self, size: int) -> None:
        resource.prlimit(self._server.pid("moonraker"), resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def twisted(self, how: Hostile, path: str, body: bytes) -> bytes:
        if not path.startswith("/printer/objects/query"):
            return body
        reply = json.loads(body)
        status = reply["result"]["status"]
        if how is Hostile.UNKNOWN_STATE:
            status["print_stats"]["state"] = "confused"
        else:
            status["extruder"]["temperature"], status["heater_bed"]["temperature"] = float("nan"), -273.0
        return json.dumps(reply).encode()
