"""A machine and a board joined by a wire, in virtual time: an hour of printing takes a moment, on any host."""

import re
from collections.abc import Callable
from itertools import pairwise

from printfarm_agent.drivers.marlin.looking import look
from printfarm_agent.drivers.marlin.machine import Machine, Rules
from printfarm_agent.drivers.marlin.memory import Memory
from printfarm_agent.drivers.marlin.status import Status

from .marlin_board import Board, Firmware

_DAMAGED = re.compile(r"M1[^0-9]5$")


class World:
    """``chunk``: how many bytes arrive at a time; 0: all there are. The port is open, and the hello has passed."""

    def __init__(
        self,
        firmware: Firmware | None = None,
        rules: Rules | None = None,
        *,
        chunk: int = 0,
        memory: Memory | None = None,
        hello: bool = True,
    ) -> None:
        self.board = Board(firmware or Firmware(time_scale=10.0))
        self.machine = Machine(rules or Rules(), memory or Memory())
        self.now = 1000.0
        self._chunk = chunk
        self.wire: list[bytes] = []
        self.board.reset(self.now)
        self.machine.opened(self.now)
        if hello:
            self.until(lambda: self.machine.is_known)

    @property
    def status(self) -> Status:
        return look(self.machine, self.now)

    def print(self, gcode: bytes, name: str = "pf-1.gcode") -> None:
        """Starts it."""
        lines = iter([*gcode.splitlines(keepends=True), b""])
        self.machine.start(name, len(gcode), lambda: next(lines, b""), self.now)

    def until(self, so: Callable[[], object], seconds: float = 7200.0) -> None:
        """Lets time pass until it is so."""
        end = self.now + seconds
        while not so():
            assert self.now < end, f"never within {seconds} s: {self.status}; {self.board.log[-5:]}"
            self.turn()

    def wait(self, seconds: float) -> None:
        """Lets so much time pass."""
        end = self.now + seconds
        while self.now < end:
            self.turn(end)

    def turn(self, end: float = float("inf")) -> None:
        """To the next moment at which anything happens."""
        self.machine.tick(self.now)
        self._exchange()
        following = min(self.machine.deadline(self.now), self.board.next_at(), end)
        self.now = max(following, self.now + 0.0005)

    def _exchange(self) -> None:
        for _ in range(200):
            emergency, out = self.machine.take_output()
            if emergency + out:
                self.wire.append(emergency + out)
                self.board.receive(emergency + out, self.now)
            said = self.board.take(self.now)
            for piece in self._pieces(said):
                self.machine.receive(piece, self.now)
            if not (emergency or out or said):
                return

    def _pieces(self, said: bytes) -> list[bytes]:
        if not self._chunk:
            return [said] if said else []
        edges = [*range(0, len(said), self._chunk), len(said)]
        return [said[a:b] for a, b in pairwise(edges)]

    def job_commands(self) -> list[str]:
        """What the board carried out, without the host's own questions."""
        own = ("M110", "M115", "M113", "M155", "M105", "M27", "M85", "M400")
        # An M105 without number and checksum may arrive as something that no firmware knows.
        return [
            command for command in self.board.commands() if not command.startswith(own) and not _DAMAGED.match(command)
        ]
