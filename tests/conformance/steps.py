"""What many guarantees do: bring a file, start it, look until something is so."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path

from printfarm_agent.driver import Driver, DriverError, Handle, Observation, ObservedState

from .rig import Rig

# For a broken farm: nothing here takes so long.
PATIENCE_SECONDS = 60.0
# A call ends at the latest then, whatever the printer does: the rigs set deadlines of a few seconds.
BOUND_SECONDS = 30.0
_LOOK_SECONDS = 0.05
AT_WORK = (ObservedState.PREPARING, ObservedState.PRINTING, ObservedState.FINISHING)
BUSY = (*AT_WORK, ObservedState.PAUSED)

Sees = Callable[[Observation], bool]


def new_name() -> str:
    """A file's name as the agent gives it."""
    return f"pf-{uuid.uuid4()}.gcode"


def nothing(_sent: int) -> None:
    """For transfers whose progress does not matter."""


async def until(driver: Driver, sees: Sees, *, patient: bool = False) -> Observation:
    """Looks until it is so. ``patient``: a look that fails is no end, as while a printer restarts."""
    last: object = None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    seen = await driver.observe()
                except DriverError as error:
                    if not patient:
                        raise
                    last = error
                else:
                    if sees(seen):
                        return seen
                    last = seen
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"never seen; the last look was {last!r}") from None


async def until_it_fails(driver: Driver, *, idle: bool = False) -> DriverError:
    """Looks until a look fails, which it does in bounded time. Idle may only be seen before that where ``idle`` says so."""
    async with asyncio.timeout(BOUND_SECONDS):
        while True:
            try:
                seen = await driver.observe()
            except DriverError as error:
                return error
            assert idle or seen.state is not ObservedState.IDLE, seen


class Bench:
    """A printer, its driver, and one file of ours."""

    def __init__(self, rig: Rig, driver: Driver, folder: Path) -> None:
        self.rig = rig
        self.driver = driver
        self.name = new_name()
        self._folder = folder

    def file(self, content: bytes) -> Path:
        """On this side."""
        path = self._folder / "ours.gcode"
        path.write_bytes(content)
        return path

    async def bring(self, content: bytes) -> Path:
        """To the printer."""
        path = self.file(content)
        await self.driver.put_file(path, self.name, nothing)
        return path

    async def begin(self, seconds: float) -> Handle:
        """Starts a print of so many seconds; returns when it moves."""
        path = await self.bring(self.rig.gcode(seconds))
        handle = await self.driver.start(path, self.name)
        await until(self.driver, lambda seen: self.is_ours(seen) and seen.state is ObservedState.PRINTING)
        return handle

    def is_ours(self, seen: Observation) -> bool:
        """By the file's name, as the agent tells."""
        return seen.file_name == self.name
