"""A real OctoPrint with its virtual printer, one for the session; a front between it and the driver."""

import asyncio
import json
import resource
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from tests.support.http_front import HttpFront
from tests.support.octoprint import KEY, OctoPrintServer

from ..rig import WRONG_SECRET, Hostile, Options
from .web import WebRig

_FOLDER = "printfarm"


class OctoPrintRig(WebRig):
    """Machine faults are the virtual printer's own, by its debug commands."""

    driver = "octoprint"

    def __init__(self, front: HttpFront, server: OctoPrintServer, folder: Path) -> None:
        super().__init__(front)
        self._server = server
        self._key = folder / "key"
        self._key.write_text(KEY)
        self._before = len(server.starts())

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        assert isinstance(server, OctoPrintServer)
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
        return b"G1 Z0.2 F3000\n" + b"G1 X10\nG4 P100\n" * int(seconds * 10)

    def gcode_that_heats(self) -> bytes:
        # Ten degrees a second.
        return b"M104 S80\nM109 S80\n" + self.gcode(20.0)

    async def starts(self) -> list[str]:
        began = (await asyncio.to_thread(self._server.starts))[self._before :]
        return [path.removeprefix(f"{_FOLDER}/") for path in began]

    async def files(self) -> set[str]:
        return {path.name for path in (self._server.uploads / _FOLDER).glob("*.gcode")}

    async def is_stopped(self) -> bool:
        return "M112" in str((await asyncio.to_thread(self._server.get, "/api/job")).get("error"))

    async def start_foreign(self, seconds: float) -> str:
        def start() -> None:
            self._server.put("theirs.gcode", self.gcode(seconds).decode())
            self._server.post("/api/files/local/theirs.gcode", command="select", print=True)

        await asyncio.to_thread(start)
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        await asyncio.to_thread(self._server.debug, "action_pause")

    async def fail_the_print(self) -> None:
        await asyncio.to_thread(self._server.debug, "trigger_fatal_error_marlin")

    async def restart_the_machine(self) -> None:
        await asyncio.to_thread(self._server.debug, "reset")

    async def heal(self) -> None:
        self.front.heal()
        self._limit_files(resource.RLIM_INFINITY)
        if (await asyncio.to_thread(self._server.state)) == "Offline":
            await asyncio.to_thread(self._server.connect)

    async def lose_the_reply_to_a_start(self) -> None:
        self.front.way.lose = lambda method, path: method == "POST" and path.startswith("/api/files/local/")

    async def refuse_starts(self) -> None:
        def disconnect() -> None:
            self._server.post("/api/connection", command="disconnect")
            self._server.until(lambda: self._server.state() == "Offline")

        await asyncio.to_thread(disconnect)

    async def fill_the_storage(self) -> None:
        # Every write beyond it fails, as on a full disk.
        self._limit_files(1 << 20)

    def _limit_files(self, size: int) -> None:
        resource.prlimit(self._server.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def twisted(self, how: Hostile, path: str, body: bytes) -> bytes:
        if not path.startswith(("/api/printer?", "/api/job")):
            return body
        reply = json.loads(body)
        if how is Hostile.UNKNOWN_STATE:
            reply["state"] = "Confused" if path.startswith("/api/job") else reply["state"] | {"text": "Confused"}
        elif "temperature" in reply:
            readings = [float("nan"), -273.0, 9_999.0]
            reply["temperature"] = {f"tool{i}": {"actual": r, "target": 0} for i, r in enumerate(readings)}
        return json.dumps(reply).encode()
