"""The real PrusaLink for a Raspberry Pi with an emulated MK3S, one for the session; a front between it and the driver."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

from printfarm_agent.drivers.prusalink.protocol import long_name
from tests.support.http_front import HttpFront
from tests.support.prusalink_pi import PASSWORD, PrusaLinkPi

from ..rig import WRONG_SECRET, Hostile, Options
from .prusalink import EXEMPT
from .web import WebRig

_LEAST_SECONDS = 2.0
_OF_THE_WAY = "nothing of the server is in it: proven with the emulator"
_PARTS_OF_THE_WAY = (
    "wrong_options_name_the_key",
    "a_lost_connection_is_no_idle_and_comes_back",
    "a_dead_printer_ends_every_call",
    "a_late_answer_is_not_taken_for_the_next",
    "noise_is_no_answer",
    "an_endless_answer_is_cut",
    "a_login_page_is_no_answer",
    "a_redirect_is_not_followed",
    "an_answer_of_the_wrong_shape_is_never_idle",
    "a_start_that_could_not_be_sent_is_known_to_be_none",
    "an_emergency_stop_that_was_not_written_says_so",
)


class RealPiRig(WebRig):
    """With Digest. Machine faults are the board's; starts are counted in PrusaLink's log."""

    driver = "prusalink"
    exempt: ClassVar[Mapping[str, str]] = EXEMPT | dict.fromkeys(_PARTS_OF_THE_WAY, _OF_THE_WAY)

    def __init__(self, front: HttpFront, server: PrusaLinkPi, folder: Path) -> None:
        super().__init__(front)
        self._server = server
        self._password = folder / "password"
        self._password.write_text(PASSWORD)
        self._before = len(server.starts())
        self._commands_before = len(server.printer.commands())

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        assert isinstance(server, PrusaLinkPi)
        await asyncio.to_thread(server.clear)
        with HttpFront(server.url) as front:
            rig = cls(front, server, folder)
            yield rig
            await rig.heal()

    def options(self) -> Options:
        return {"url": self.front.url, "password_file": str(self._password), "timeout_seconds": 2.0}

    def wrong_credentials(self) -> Options:
        wrong = self._password.with_name("wrong")
        wrong.write_text(WRONG_SECRET)
        return self.options() | {"password_file": str(wrong)}

    def gcode(self, seconds: float) -> bytes:
        # The board dwells twenty times quicker. The file tells how far it is, as a slicer's does, and PrusaLink says so at
        # each hundredth command. Nothing shorter: the end is shown for a moment only, and a busy machine looks late.
        steps = int(max(seconds, _LEAST_SECONDS) * 10)
        moves = (b"M73 P%d R0\n" % (100 * step // steps) + b"G4 P200\n" * 10 for step in range(1, steps + 1))
        return b"G1 X1 Y1 F3000\n" + b"".join(moves)

    def gcode_that_heats(self) -> bytes:
        # Some 160 degrees a second, which the time scale makes of eight.
        return b"M104 S250\nM109 S250\n" + self.gcode(20.0)

    async def starts(self) -> list[str]:
        began = (await asyncio.to_thread(self._server.starts))[self._before :]
        return [long_name(name) for name in began]

    async def files(self) -> set[str]:
        return {long_name(path.name) for path in self._server.gcodes.glob("*.gcode")}

    async def is_stopped(self) -> bool:
        return "M603" in self._server.printer.commands()[self._commands_before :]

    async def start_foreign(self, seconds: float) -> str:
        await asyncio.to_thread(self._server.start_foreign, "theirs.gcode", self.gcode(seconds))
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        self._server.printer.do(lambda _: self._server.board.says("// action:pause"))

    async def fail_the_print(self) -> None:
        texts = "Error:Heaters switched off. MAXTEMP triggered!", "Error:Printer halted. kill() called!"
        self._server.printer.do(lambda board: board.kill(*texts))

    async def restart_the_machine(self) -> None:
        self._server.printer.reset()

    async def heal(self) -> None:
        self.front.heal()
        if self._server.printer.do(lambda board: board.is_dead):
            self._server.printer.reset()
            await asyncio.to_thread(self._server.until, lambda: self._server.state() == "IDLE")

    async def lose_the_reply_to_a_start(self) -> None:
        self.front.way.lose = lambda method, path: method == "POST" and path.startswith("/api/v1/files/")

    async def refuse_starts(self) -> None:
        await self.fail_the_print()
        await asyncio.to_thread(self._server.until, lambda: self._server.state() == "ERROR")

    async def fill_the_storage(self) -> None:
        # The disk is this machine's own: what PrusaLink tells of it is changed on the way.
        self.front.way.rewrite = _filled

    def twisted(self, how: Hostile, path: str, body: bytes) -> bytes:
        if path != "/api/v1/status":
            return body
        reply = json.loads(body)
        if how is Hostile.UNKNOWN_STATE:
            reply["printer"]["state"] = "PONDERING"
        else:
            reply["printer"] |= {"temp_nozzle": float("nan"), "temp_bed": -273.0}
        return json.dumps(reply).encode()


def _filled(path: str, body: bytes) -> bytes:
    if path != "/api/v1/storage":
        return body
    reply = json.loads(body)
    for storage in reply["storage_list"]:
        storage["free_space"] = 1000
    return json.dumps(reply).encode()
