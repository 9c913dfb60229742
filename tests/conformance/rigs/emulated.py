"""What the rigs of the HTTP emulators have in common: a machine with a log, and a wire that the test may cut."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from tests.support.http_emulator import HttpEmulator
from tests.support.machine import Machine, gcode

from ..rig import WRONG_SECRET, Hostile, Options, Rig

_BROKEN = {Hostile.NOISE, Hostile.ENDLESS, Hostile.WRONG_SHAPE, Hostile.LOGIN_PAGE, Hostile.REDIRECT}


class EmulatedRig(Rig):
    """``emulator`` answers, ``machine`` is the truth. Its files have the printer's names, which ``agents_name`` translates."""

    # The option that names the secret's file.
    secret_key: ClassVar[str] = "api_key_file"

    def __init__(self, folder: Path, emulator: Any) -> None:
        self.folder = folder
        self.emulator = emulator
        self._secret_path("right").write_text(self.secret())
        self._secret_path("wrong").write_text(WRONG_SECRET)

    @classmethod
    def make(cls) -> HttpEmulator:
        """The emulator, not yet listening."""
        raise NotImplementedError

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path, server: object) -> AsyncGenerator[Self]:
        emulator = cls.make()
        await emulator.plug_in()
        try:
            yield cls(folder, emulator)
        finally:
            await emulator.close()

    @property
    def machine(self) -> Machine:
        machine: Machine = self.emulator.machine
        return machine.advance()

    def secret(self) -> str:
        """The right one."""
        return str(self.emulator.key)

    def agents_name(self, name: str) -> str:
        """The agent's name of a file on the printer."""
        return name

    def options(self) -> Options:
        return {"url": self.emulator.url, self.secret_key: str(self._secret_path("right")), "timeout_seconds": 2.0}

    def wrong_credentials(self) -> Options:
        return self.options() | {self.secret_key: str(self._secret_path("wrong"))}

    def _secret_path(self, which: str) -> Path:
        return self.folder / f"{which}-secret"

    def gcode(self, seconds: float) -> bytes:
        return gcode(seconds)

    def gcode_that_heats(self) -> bytes:
        return gcode(10.0, heat=10.0)

    async def starts(self) -> list[str]:
        return [self.agents_name(name) for name in self.machine.starts()]

    async def files(self) -> set[str]:
        return {self.agents_name(name) for name in self.machine.files}

    async def is_stopped(self) -> bool:
        return any(fact["event"] == "emergency_stop" for fact in self.machine.log)

    async def start_foreign(self, seconds: float) -> str:
        self.emulator.start_foreign("theirs.gcode", gcode(seconds))
        return "theirs.gcode"

    async def pause_at_the_machine(self) -> None:
        self.machine.pause()

    async def heal(self) -> None:
        await self.emulator.heal()
        self.emulator.state_word, self.emulator.refuses_starts, self.emulator.broken_sensors = "", False, False
        self.machine.capacity = 64 << 20

    async def fail_the_print(self) -> None:
        self.machine.fail("THERMAL RUNAWAY")

    async def restart_the_machine(self) -> None:
        self.machine.restart()

    async def lose_connection(self) -> None:
        await self.emulator.unplug()

    async def answer_never(self) -> None:
        self.emulator.silent = True

    async def answer_late(self, seconds: float) -> None:
        self.emulator.late_seconds = seconds

    async def lose_the_reply_to_a_start(self) -> None:
        self.emulator.loses_start_reply = True

    async def refuse_starts(self) -> None:
        self.emulator.refuses_starts = True

    async def fill_the_storage(self) -> None:
        self.machine.capacity = 1000

    async def slow_transfers(self) -> None:
        self.emulator.upload_bytes_per_second = 200_000.0

    async def be_hostile(self, how: Hostile) -> None:
        if how in _BROKEN:
            self.emulator.hostile = how.value
        elif how is Hostile.UNKNOWN_STATE:
            self.emulator.state_word = "PONDERING"
        else:
            self.emulator.broken_sensors = True

    async def was_followed(self) -> bool:
        return bool(self.emulator.trap_hits)
