"""The board on a pseudo terminal, at a baud rate: what a host opens as a serial port.

Bytes take their time both ways (10 bits each). DTR is worked out from how the port is opened and closed: it falls at a
close with HUPCL set, and rises at the next opening, which resets the board. Unplugging closes the master; the name stays
the same when it comes back.
"""

import os
import pty
import select
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from .marlin_board import Board, Firmware

T = TypeVar("T")
_CLOSED_SECONDS = 0.003


class FakeMarlin:
    """A printer that is plugged in. ``baud`` 0: bytes take no time. ``latency``: of the adapter, each way, in seconds.

    ``speed``, a constant of termios: at any other, both sides see noise. ``board``: another than Marlin's, with its firmware.
    """

    def __init__(
        self,
        folder: Path,
        firmware: Firmware | None = None,
        *,
        baud: int = 0,
        latency: float = 0.0,
        resets_on_dtr: bool = True,
        speed: int | None = None,
        board: Board | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "serial-port"
        self.board = board or Board(firmware or Firmware())
        self.dtr_resets = 0
        self.opens = 0
        self._byte_seconds = 10.0 / baud if baud else 0.0
        self._latency = latency
        self._resets_on_dtr = resets_on_dtr
        self._speed = speed
        self._lock = threading.RLock()
        self._master: int | None = None
        self._is_over = False
        self._is_open = False
        self._dtr = False
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._leaving: deque[tuple[float, bytes]] = deque()
        self._line_in_free = self._line_out_free = 0.0
        self._turned = threading.Condition()
        self._turns = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "FakeMarlin":
        self.plug_in()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        self._close()

    # -- by hand

    def plug_in(self) -> None:
        """Power and cable."""
        with self._lock:
            master, slave = pty.openpty()
            tty.setraw(slave)
            name = os.ttyname(slave)
            self.path.unlink(missing_ok=True)
            self.path.symlink_to(name)
            os.close(slave)
            os.set_blocking(master, False)
            self._master, self._is_open, self._dtr = master, False, False
            self.board.reset(time.monotonic(), "power_on")

    def unplug(self) -> None:
        """The cable is out, and its power with it. Returns when the host can see it: nothing holds the terminal any more."""
        self._close()
        with self._turned:
            self._turned.wait_for(lambda turns=self._turns: self._turns > turns + 1, 5.0)

    def _close(self) -> None:
        with self._lock:
            if self._master is not None:
                self.path.unlink(missing_ok=True)
                os.close(self._master)
                self._master = None
            self._arriving.clear()
            self._leaving.clear()
            self.board.is_dead = True

    def do(self, what: Callable[[Board], T]) -> T:
        """Something to the board, between two of its moments."""
        with self._lock:
            return what(self.board)

    def reset(self) -> None:
        """The button."""
        self.do(lambda board: board.reset(time.monotonic()))

    def commands(self) -> list[str]:
        """What was carried out."""
        return self.do(lambda board: board.commands())

    def events(self, name: str) -> list[dict[str, object]]:
        """Of the board's log."""
        return self.do(lambda board: [entry for entry in board.log if entry["event"] == name])

    # -- the wire

    def _run(self) -> None:
        while not self._is_over:
            with self._turned:
                self._turns += 1
                self._turned.notify_all()
            with self._lock:
                master = self._master
                seconds = self._turn(time.monotonic()) if master is not None else _CLOSED_SECONDS
            if master is None or not self._is_open:
                time.sleep(_CLOSED_SECONDS)
                continue
            if seconds > 0:
                try:
                    select.select([master], [], [], min(seconds, 0.05))
                except (OSError, ValueError):
                    continue

    def _turn(self, now: float) -> float:
        """One round; how long nothing will happen."""
        self._note_opening(now)
        if self._is_open:
            self._read(now)
        while self._arriving and self._arriving[0][0] <= now:
            at, data = self._arriving.popleft()
            self.board.receive(data, at if at > self.board.now else now)
        said = self.board.take(now)
        if said:
            start = max(now, self._line_out_free)
            self._line_out_free = start + len(said) * self._byte_seconds
            self._leaving.append((self._line_out_free + self._latency, said))
        while self._leaving and self._leaving[0][0] <= now:
            self._write(self._leaving.popleft()[1])
        times = [queue[0][0] for queue in (self._arriving, self._leaving) if queue]
        return min([*times, self.board.next_at()]) - time.monotonic()

    def _note_opening(self, now: float) -> None:
        poll = select.poll()
        poll.register(self._master or 0, select.POLLIN)
        is_open = not any(events & select.POLLHUP for _, events in poll.poll(0))
        if is_open == self._is_open:
            return
        self._is_open = is_open
        if is_open:
            self.opens += 1
            if not self._dtr and self._resets_on_dtr:
                self.dtr_resets += 1
                self.board.reset(now, "dtr_reset")
            self._dtr = True
        elif termios.tcgetattr(self._master or 0)[2] & termios.HUPCL:
            self._dtr = False

    def _read(self, now: float) -> None:
        try:
            data = os.read(self._master or 0, 4096)
        except (BlockingIOError, OSError):
            return
        if self._speed is not None and termios.tcgetattr(self._master or 0)[5] != self._speed:
            self._write(b"\xf8\x00\xe0" * len(data))
            return
        # A line becomes known to the board when its last byte has arrived.
        for line in data.splitlines(keepends=True):
            start = max(now, self._line_in_free)
            self._line_in_free = start + len(line) * self._byte_seconds
            self._arriving.append((self._line_in_free + self._latency, line))

    def _write(self, data: bytes) -> None:
        try:
            os.write(self._master or 0, data)
        except OSError:
            return
