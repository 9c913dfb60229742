"""The port as the host uses it: opened when it can be, written as it takes, its baud rate found. Nothing here blocks
but the opening."""

import selectors
import time
from collections import deque
from collections.abc import Callable

from printfarm_agent.drivers.marlin.machine import Machine

from .port import Port, PortGone

REOPEN_SECONDS = 0.5
LOOK_SECONDS = 1.0
# After all baud rates were tried in vain.
SWEEP_AGAIN_SECONDS = 30.0
LINES_KEPT = 500
_LONGEST_LOGGED = 200


class Wire:
    """The bytes between one machine and its port."""

    def __init__(
        self,
        path: str,
        bauds: tuple[int, ...],
        machine: Machine,
        selector: selectors.BaseSelector,
        say: Callable[[str], None],
    ) -> None:
        self._path, self._bauds, self._machine = path, bauds, machine
        self._selector, self._say = selector, say
        self._port: Port | None = None
        self._baud = 0
        self._open_at = 0.0
        self._look_at = 0.0
        self._pending = b""
        self._why = ""
        # Every byte that was ever taken by the port, and where the emergency's ended.
        self.written = 0
        self.emergency_end = 0
        self._log: deque[tuple[float, str, bytes]] = deque(maxlen=LINES_KEPT)

    @property
    def is_open(self) -> bool:
        return self._port is not None

    def turn(self, now: float) -> None:
        """Opens what should be open, changes the baud rate, notices a device that went silently."""
        if self._port is None:
            if now >= self._open_at:
                self._open(now)
            return
        if self._machine.failed_hellos and len(self._bauds) > 1:
            self._next_baud(now)
        elif now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            if not self._port.is_there():
                self._gone(f"{self._path} was unplugged", now)

    def _open(self, now: float) -> None:
        try:
            self._port = Port(self._path, self._bauds[self._baud])
        except PortGone as gone:
            self._open_at = now + REOPEN_SECONDS
            if str(gone) != self._why:
                self._why = str(gone)
                self._say(self._why)
                self._machine.vanished(self._why, now)
            return
        self._why = ""
        self._say(f"opened {self._path} at {self._port.baud} baud")
        self._pending = b""
        self._selector.register(self._port.fd, selectors.EVENT_READ, self._ready)
        # Opening may have taken seconds.
        self._machine.opened(time.monotonic())

    def _next_baud(self, now: float) -> None:
        self._baud = (self._baud + 1) % len(self._bauds)
        self.close()
        self._open_at = now + (SWEEP_AGAIN_SECONDS if self._baud == 0 else 0.0)
        self._machine.vanished(f"nobody answers on {self._path}", now)

    def _gone(self, why: str, now: float) -> None:
        self.close()
        self._say(why)
        self._why = why
        self._open_at = now + REOPEN_SECONDS
        self._machine.vanished(why, now)

    def _ready(self, events: int) -> None:
        now = time.monotonic()
        port = self._port
        if port is None:
            return
        try:
            if events & selectors.EVENT_READ and (data := port.read()):
                self._log.append((now, "<", data))
                self._machine.receive(data, now)
        except PortGone as gone:
            self._gone(str(gone), now)

    def flush(self, now: float) -> None:
        """Writes what the machine wants written; an emergency before, and instead of, everything else."""
        emergency, out = self._machine.take_output()
        if self._port is None:
            return
        if emergency:
            self._port.throw_output_away()
            self._pending = emergency
            self.emergency_end = self.written + len(emergency)
            self._log.append((now, ">", emergency))
        if out:
            self._log.append((now, ">", out))
        self._pending += out
        try:
            while self._pending:
                count = self._port.write(self._pending)
                if not count:
                    break
                self.written += count
                self._pending = self._pending[count:]
        except PortGone as gone:
            self._gone(str(gone), now)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        if self._selector.get_key(self._port.fd).events != events:
            self._selector.modify(self._port.fd, events, self._ready)

    def log(self, now: float) -> list[str]:
        """The last words both ways, with seconds before now."""
        return [f"{at - now:9.3f} {way} {data[:_LONGEST_LOGGED]!r}" for at, way, data in self._log]

    def close(self) -> None:
        """The board notices nothing."""
        if self._port is not None:
            self._selector.unregister(self._port.fd)
            self._port.close()
            self._port = None
