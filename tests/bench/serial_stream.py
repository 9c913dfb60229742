"""The serial stream: lines a second that a board takes from the host process, against bare ping-pong on the same paced line.

The driver looks ten times a second meanwhile, and files are written and hashed beside both. The figures are the board's own:
from its first move to its last.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from printfarm_agent.driver import ConnectionLost, Driver, Ending, PrinterConfig
from printfarm_agent.drivers.marlin.driver import open_driver
from tests.support.serial_host import SerialHost

from .figures import Compared, above_at_most, at_least, compare, tell

ROUNDS = 3
LINES = {115200: 1000, 250000: 1500}
# Against the time that a line takes.
MOVE_LONGER = 1.6
_FLOW = """
import hashlib, os, sys, time
chunk = os.urandom(1 << 20)
while True:
    digest = hashlib.sha256()
    with open(sys.argv[1], "wb") as file:
        for _ in range(8):
            digest.update(chunk)
            file.write(chunk)
            time.sleep(0.05)
        file.flush()
        os.fsync(file.fileno())
"""


class BoardProcess:
    """The board, asked for what it saw."""

    def __init__(self, folder: Path, baud: int, *, advanced: bool = False) -> None:
        command = [sys.executable, "-m", "tests.bench.serial_board", str(folder), str(baud)]
        self._process = subprocess.Popen(
            [*command, *(["advanced"] if advanced else [])], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = self._line()

    def told(self) -> dict[str, float]:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextmanager
def board(baud: int, *, advanced: bool = False) -> Iterator[tuple[BoardProcess, Path]]:
    """One, with a folder."""
    with tempfile.TemporaryDirectory() as name:
        found = BoardProcess(Path(name) / "board", baud, advanced=advanced)
        try:
            yield found, Path(name)
        finally:
            found.close()


def gcode(lines: int, move_seconds: float) -> bytes:
    """Lines of a slicer's length, 42 bytes framed; each move takes so long."""
    length = 0.1
    feed = length / move_seconds * 60
    moves = (b"G1 X%07.3f Y100.000 E%08.5f F%d" % (100 + i % 2 * length, i * 0.01, feed) for i in range(lines))
    return b"\n".join(moves) + b"\n"


def bare(baud: int, lines: int, move_seconds: float = 0.0005) -> dict[str, float]:
    """What the board says of the yardstick."""
    with board(baud) as (running, folder):
        path = folder / "a.gcode"
        path.write_bytes(gcode(lines, move_seconds))
        command = [sys.executable, "-m", "tests.bench.serial_bare", running.port, str(baud), str(path)]
        with files_flow(folder):
            subprocess.run(command, check=True)
        return running.told()


def ours(baud: int, lines: int, move_seconds: float = 0.0005, *, advanced: bool = False) -> dict[str, float]:
    """What the board says of a print through the driver and the host process."""
    with board(baud, advanced=advanced) as (running, folder):
        path = folder / "a.gcode"
        path.write_bytes(gcode(lines, move_seconds))
        options: dict[str, str | int | float | bool] = {"port": running.port, "baud": baud, "quiet_seconds": 0.3}
        try:
            with files_flow(folder):
                asyncio.run(_print(PrinterConfig("p", options, folder / "host"), path))
        finally:
            SerialHost(folder / "host").kill()
        return running.told()


async def _print(config: PrinterConfig, path: Path) -> None:
    async with open_driver(config) as driver:
        while True:
            with contextlib.suppress(ConnectionLost):
                await driver.connect()
                break
            await asyncio.sleep(0.1)
        await driver.put_file(path, "pf-bench.gcode", lambda sent: None)
        await driver.start(path, "pf-bench.gcode")
        await _watch(driver)


async def _watch(driver: Driver) -> None:
    while (seen := await driver.observe()).ending is None:  # noqa: ASYNC110 - the telemetry of a print
        await asyncio.sleep(0.1)
    if seen.ending is not Ending.COMPLETE:
        raise RuntimeError(f"the print did not end well: {seen.message}")


@contextmanager
def files_flow(folder: Path) -> Iterator[None]:
    """Downloads as the agent does them, in a process of their own: chunks written, hashed, made durable, twenty a second."""
    process = subprocess.Popen([sys.executable, "-c", _FLOW, str(folder / "flow")])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def stream() -> None:
    """One line at a time; then as many as the firmware says; then moves that take a little longer than their lines."""
    for baud, lines in LINES.items():

        def ping_pong(baud: int = baud, lines: int = lines) -> float:
            return _rate(ours(baud, lines))

        def windowed(baud: int = baud, lines: int = lines) -> float:
            return _rate(ours(baud, lines, advanced=True))

        def yardstick(baud: int = baud, lines: int = lines) -> float:
            return _rate(bare(baud, lines))

        found = compare(ping_pong, yardstick, ROUNDS)
        tell(f"serial stream at {baud} baud, ping-pong", found, "lines/s", at_least(0.95))
        tell(f"serial stream at {baud} baud, ADVANCED_OK", compare(windowed, yardstick, 1), "lines/s", at_least(1.0))
        longer = MOVE_LONGER / found.yardstick
        dry = [told(baud, lines, longer)["planner_empty"] for told in (ours, bare)]
        empty = Compared(dry[0], dry[1], dry[0] / max(dry[1], 1), 0.0, dry[0])
        # The first move finds an empty planner; a machine that is busy may add a few to either.
        tell(f"planner dry at {baud} baud, {lines} moves, files beside", empty, "times", above_at_most(2.0))


def _rate(told: dict[str, float]) -> float:
    return (told["moves"] - 1) / told["seconds"]


if __name__ == "__main__":
    stream()
