"""A Bambu printer: an emulated firmware behind a real Mosquitto with TLS and a real implicit-FTPS server."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

from tests.support.bambu_emulator import CODE, SERIAL, BambuEmulator
from tests.support.machine import gcode

from ..rig import WRONG_SECRET, Hostile, Options, Rig

_NO_STOP = "the protocol has no emergency stop: it stops the print at once, and the printer stays able to print"
_NO_HTTP = "speaks no HTTP"
_WRONG = (
    b'{"print": {"gcode_state": ["IDLE"], "stg_cur": {}, "mc_percent": "x", "hms": 7, "ams": [], "subtask_id": {}}}'
)
_PAYLOADS = {Hostile.NOISE: b"\x00\xff not JSON", Hostile.ENDLESS: b" " * (2 << 20), Hostile.WRONG_SHAPE: _WRONG}


class BambuRig(Rig):
    """One that reports everything each time, as an X1 does."""

    driver = "bambu"
    style = "x1"
    exempt: ClassVar[Mapping[str, str]] = {
        "a_corrupt_transfer_is_noticed_and_cannot_be_started": "FTPS has no checksum; the printer compares an MD5 at the start",
        "an_emergency_stop_stops_a_print": _NO_STOP,
        "a_login_page_is_no_answer": _NO_HTTP,
        "a_redirect_is_not_followed": _NO_HTTP,
    }

    def __init__(self, folder: Path, emulator: BambuEmulator) -> None:
        self.folder, self.emulator, self.machine = folder, emulator, emulator.machine
        (folder / "code").write_text(CODE)
        (folder / "wrong").write_text(WRONG_SECRET)

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        inside = folder / "printer"
        inside.mkdir()
        emulator = BambuEmulator(inside, style=cls.style)
        try:
            await emulator.plug_in()
            yield cls(folder, emulator)
        finally:
            await emulator.close()

    def options(self) -> Options:
        return {
            "host": "127.0.0.1",
            "serial_number": SERIAL,
            "access_code_file": str(self.folder / "code"),
            "certificate_sha256": self.emulator.fingerprint,
            "mqtt_port": self.emulator.broker.port,
            "ftps_port": self.emulator.card.port,
            "timeout_seconds": 1.5,
            "quiet_seconds": 0.3,
            "begin_seconds": 1.0,
            "retry_seconds": 0.05,
        }

    def wrong_credentials(self) -> Options:
        return self.options() | {"access_code_file": str(self.folder / "wrong")}

    def gcode(self, seconds: float) -> bytes:
        return gcode(seconds)

    def gcode_that_heats(self) -> bytes:
        return gcode(10.0, heat=10.0)

    async def starts(self) -> list[str]:
        return [name.removesuffix(".3mf") for name in self.machine.advance().starts()]

    async def files(self) -> set[str]:
        return {name.removesuffix(".3mf") for name in self.emulator.card.files()}

    async def is_stopped(self) -> bool:
        return any(fact["event"] == "emergency_stop" for fact in self.machine.log)

    async def start_foreign(self, seconds: float) -> str:
        self.emulator.start_foreign("theirs", gcode(seconds))
        return "theirs"

    async def pause_at_the_machine(self) -> None:
        self.machine.pause()

    async def heal(self) -> None:
        await self.emulator.heal()

    async def fail_the_print(self) -> None:
        self.emulator.fail()

    async def restart_the_machine(self) -> None:
        await self.emulator.unplug()
        self.machine.restart()
        await self.emulator.plug_in()

    async def lose_connection(self) -> None:
        await self.emulator.unplug()

    async def answer_never(self) -> None:
        self.emulator.mute = True
        # What it said before is no longer under way.
        await asyncio.sleep(4 * self.emulator.report_seconds)

    async def answer_late(self, seconds: float) -> None:
        self.emulator.late_seconds = seconds

    async def lose_the_reply_to_a_start(self) -> None:
        self.emulator.loses_start_reply = True

    async def refuse_starts(self) -> None:
        self.emulator.refuses = "busy"

    async def fill_the_storage(self) -> None:
        self.emulator.card.full = True

    async def slow_transfers(self) -> None:
        self.emulator.card.bytes_per_second = 5_000.0

    async def be_hostile(self, how: Hostile) -> None:
        if how in _PAYLOADS:
            self.emulator.payload = _PAYLOADS[how]
        elif how is Hostile.UNKNOWN_STATE:
            self.emulator.state_word = "PONDERING"
        else:
            self.emulator.broken_sensors = True
        # What it said before is no longer under way.
        await asyncio.sleep(4 * self.emulator.report_seconds)


class BambuDeltasRig(BambuRig):
    """One that reports only what changed, as P1 and A1 do."""

    style = "p1"
