"""The virtual printer, as a process of its own, at twenty times a machine's pace."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

from tests.support.proxy import FaultProxy
from tests.support.virtual_printer import VirtualPrinters

from ..rig import Hostile, Options, Rig

_SCALE = 20.0
_NO_HTTP = "speaks no HTTP"
_FAULTS = {
    Hostile.NOISE: "garbage",
    Hostile.ENDLESS: "long_line",
    Hostile.UNKNOWN_STATE: "unknown_state",
    Hostile.BROKEN_SENSOR: "nan_temperature",
}


class VirtualRig(Rig):
    """Most faults are its own; the cable is a proxy."""

    driver = "virtual"
    exempt: ClassVar[Mapping[str, str]] = {
        "wrong_credentials_are_named_and_not_shown": "has no credentials",
        "a_login_page_is_no_answer": _NO_HTTP,
        "a_redirect_is_not_followed": _NO_HTTP,
        "an_answer_of_the_wrong_shape_is_never_idle": "a property over its parser: tests/unit/agent/test_virtual_protocol.py",
    }

    def __init__(self, printers: VirtualPrinters, cable: FaultProxy) -> None:
        self._printers = printers
        self._cable = cable

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        with (
            VirtualPrinters(folder / "printers", time_scale=_SCALE) as printers,
            FaultProxy(printers.address()) as cable,
        ):
            yield cls(printers, cable)

    def options(self) -> Options:
        return {"address": self._cable.address, "timeout_seconds": 1.0}

    def gcode(self, seconds: float) -> bytes:
        # 100 mm at 50 mm/s: two seconds of its own time.
        moves = int(seconds * _SCALE / 2.0)
        return b"G1 Z0.2 F3000\n" + b"G1 X100 F3000\nG1 X0\n" * (moves // 2 + 1)

    def gcode_that_heats(self) -> bytes:
        return b"M104 S200\nM109 S200\n" + self.gcode(20.0)

    async def starts(self) -> list[str]:
        return [str(entry["file"]) for entry in self._printers.starts()]

    async def files(self) -> set[str]:
        return {name for name in self._printers.files() if not name.endswith(".part")}

    async def is_stopped(self) -> bool:
        return any(entry["event"] == "emergency_stop" for entry in self._printers.log())

    async def start_foreign(self, seconds: float) -> str:
        self._printers.admin("local_file", name="theirs.gcode", text=self.gcode(seconds).decode())
        self._printers.admin("local_start", name="theirs.gcode")
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        self._printers.admin("local_pause")

    async def heal(self) -> None:
        self._printers.admin("clear_fault")
        self._cable.plug_in()

    async def fail_the_print(self) -> None:
        self._printers.admin("fault", name="thermal_runaway_at", argument=0.0)

    async def restart_the_machine(self) -> None:
        self._printers.kill()
        self._printers.start()

    async def lose_connection(self) -> None:
        self._cable.unplug()

    async def answer_never(self) -> None:
        self._printers.admin("fault", name="never_answer")

    async def answer_late(self, seconds: float) -> None:
        self._printers.admin("fault", name="answer_late", argument=seconds)

    async def lose_the_reply_to_a_start(self) -> None:
        self._printers.admin("fault", name="lose_start_reply")

    async def refuse_starts(self) -> None:
        self._printers.admin("fault", name="refuse_start")

    async def fill_the_storage(self) -> None:
        self._printers.admin("fault", name="storage_full")

    async def corrupt_the_next_transfer(self) -> None:
        self._printers.admin("fault", name="corrupt_transfer")

    async def slow_transfers(self) -> None:
        self._printers.admin("fault", name="slow_transfer", argument=200_000.0)

    async def be_hostile(self, how: Hostile) -> None:
        self._printers.admin("fault", name=_FAULTS[how])
