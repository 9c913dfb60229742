"""A serial Marlin on a pseudo terminal. The board's own log is the truth; the host process is the real one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self

from printfarm_agent.driver import ConnectionLost
from tests.support.fake_marlin import FakeMarlin
from tests.support.marlin_board import Board, Firmware
from tests.support.serial_host import SerialHost

from ..rig import Hostile, Options, Rig

_NO_HTTP = "speaks no HTTP"
_NOTHING_THERE = "nothing is transferred: the file is streamed line by line from the agent's disk"
_SECONDS = 60.0


class MarlinRig(Rig):
    """115200 baud do not matter here; the paced line is the benchmark's."""

    driver = "marlin"
    exempt: ClassVar[Mapping[str, str]] = {
        "wrong_credentials_are_named_and_not_shown": "has no credentials",
        "a_login_page_is_no_answer": _NO_HTTP,
        "a_redirect_is_not_followed": _NO_HTTP,
        "a_lost_connection_is_no_idle_and_comes_back": "a streamed print ends with its cable, and is told as failed: "
        "tests/integration/agent/test_marlin_driver.py",
        "a_late_answer_is_not_taken_for_the_next": "commands have numbers, and a late ok is one: "
        "tests/unit/agent/marlin/test_machine.py",
        "an_answer_of_the_wrong_shape_is_never_idle": "a property over its parser: tests/unit/agent/marlin/test_replies.py",
        "an_unknown_state_is_never_idle": "the protocol has no words for states",
        "a_transfer_tells_its_progress": _NOTHING_THERE,
        "a_corrupt_transfer_is_noticed_and_cannot_be_started": _NOTHING_THERE,
        "a_full_storage_is_a_refusal": _NOTHING_THERE,
        "a_transfer_can_be_abandoned": _NOTHING_THERE,
        "its_file_is_removed_and_may_be_gone_already": _NOTHING_THERE,
        "its_file_is_removed_after_its_print": _NOTHING_THERE,
        "a_start_without_its_file_is_refused": _NOTHING_THERE,
        "a_start_whose_reply_is_lost_is_unknown_and_found_by_looking": "the reply comes from a process of the same host: "
        "tests/integration/agent/test_marlin_driver.py",
    }

    def __init__(self, printer: FakeMarlin, host: SerialHost) -> None:
        self._printer, self._host = printer, host

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        with FakeMarlin(folder / "printer", Firmware()) as printer:
            rig = cls(printer, SerialHost(folder / "serial"))
            try:
                async with rig.open() as driver:
                    await rig._until(lambda: rig._state() == "idle", lambda: _try(driver.connect()))
                yield rig
            finally:
                rig._host.kill()

    def options(self) -> Options:
        folder = str(self._host.folder)
        return {"port": str(self._printer.path), "folder": folder, "quiet_seconds": 0.2, "timeout_seconds": 5.0}

    def gcode(self, seconds: float) -> bytes:
        # 10 mm at 100 mm/s.
        moves = max(int(seconds * 10), 1)
        return b"G92 E0\n" + b"".join(b"G1 X%d E%d F6000\n" % (i % 2 * 10 + 10, i + 1) for i in range(moves))

    def gcode_that_heats(self) -> bytes:
        return b"M104 S200\nM109 S200\n" + self.gcode(20.0)

    async def starts(self) -> list[str]:
        """The board sees a session begin and its first question; which file that was, only the host's log knows."""
        sessions = [pair for pair in pairwise(self._printer.commands()) if pair == ("M110 N0", "M105")]
        begun = self._host.begun()
        assert len(sessions) == len(begun), f"{len(sessions)} sessions on the board, {len(begun)} prints begun"
        return begun

    async def is_stopped(self) -> bool:
        return bool(self._printer.events("emergency_stop"))

    async def start_foreign(self, seconds: float) -> str:
        def print_from_card(board: Board) -> None:
            board.card_print = [0, 1_000_000]

        self._printer.do(print_from_card)
        await self._until(lambda: self._look().get("file_name") == "theirs.gcode")
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        self._printer.do(lambda board: board.say("//action:pause"))

    async def heal(self) -> None:
        def clear(board: Board) -> None:
            board.faults.is_mute = False
            board.faults.noise = b""
            board.faults.temperatures = ""
            board.faults.delay = 0.0
            board.card_print = None

        self._printer.do(clear)
        if not self._printer.path.exists():
            self._printer.plug_in()
        await self._until(lambda: self._state() not in ("offline", "unknown") and self._look()["by_farm"] is not False)

    async def fail_the_print(self) -> None:
        self._printer.do(lambda board: board.kill("Error:Thermal Runaway, system stopped! Heater_ID: 0"))

    async def restart_the_machine(self) -> None:
        self._printer.reset()

    async def lose_connection(self) -> None:
        self._printer.unplug()

    async def answer_never(self) -> None:
        self._fault("is_mute", True)
        await self._until(lambda: self._state() == "offline")

    async def answer_late(self, seconds: float) -> None:
        self._fault("delay", seconds)

    async def refuse_starts(self) -> None:
        await self.start_foreign(10.0)

    async def be_hostile(self, how: Hostile) -> None:
        if how is Hostile.BROKEN_SENSOR:
            self._fault("temperatures", "T:nan /0.0 B:-15.0 /0.0 T1:9999.0 /0.0")
            return
        self._fault("noise", {Hostile.NOISE: b"\xff\x00\x13RTSP/1.0 ", Hostile.ENDLESS: b"x" * 9000}[how])
        await self._until(lambda: self._state() == "offline")

    def _fault(self, name: str, value: object) -> None:
        self._printer.do(lambda board: setattr(board.faults, name, value))

    def _look(self) -> dict[str, Any]:
        try:
            return self._host.look()
        except OSError:
            return {"state": "", "by_farm": None}

    def _state(self) -> str:
        return str(self._look()["state"])

    async def _until(self, so: Callable[[], bool], step: Callable[[], Any] | None = None) -> None:
        async with asyncio.timeout(_SECONDS):
            while not so():
                if step is not None:
                    await step()
                await asyncio.sleep(0.05)


async def _try(work: Any) -> None:
    with contextlib.suppress(ConnectionLost):
        await work
