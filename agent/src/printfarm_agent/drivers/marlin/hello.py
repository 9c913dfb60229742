"""The first words with a board whose port was opened: wait for its boot, then ask who it is. Pure.

Opening a port may have reset the board: its boot loader takes a second or two, its banner up to ten. A board that did not
reset says nothing, so silence is waited for. Nothing that moves or heats is sent.
"""

from collections import deque
from dataclasses import dataclass, field

from .facts import Facts


@dataclass(frozen=True, slots=True)
class HelloTiming:
    """Seconds."""

    silence: float = 2.0
    banner: float = 10.0


@dataclass(slots=True)
class Hello:
    """One hello, on one baud rate."""

    timing: HelloTiming
    opened_at: float
    has_begun: bool = False
    is_done: bool = False
    _heard_at: float | None = None
    _has_banner: bool = False
    _script: deque[bytes] = field(default_factory=deque)
    _flying: dict[int, bytes] = field(default_factory=dict)

    def heard(self, now: float, *, is_banner: bool) -> None:
        """Something came. A banner ends the waiting."""
        self._heard_at = now
        self._has_banner = self._has_banner or is_banner

    def may_begin(self, now: float) -> bool:
        """The board has booted, or did not reset."""
        if self.has_begun:
            return False
        return self._has_banner or now >= self._until()

    def _until(self) -> float:
        heard = self.opened_at if self._heard_at is None else self._heard_at
        return min(heard + self.timing.silence, self.opened_at + self.timing.banner)

    def begin(self, first: list[bytes]) -> None:
        """From here on, questions; ``first`` before them."""
        self.has_begun = True
        self._script.extend([*first, b"M115"])

    def next(self) -> bytes | None:
        """The next question."""
        return self._script.popleft() if self._script else None

    def sent(self, command: bytes, ticket: int) -> None:
        """It went out."""
        self._flying[ticket] = command

    def acked(self, ticket: int, facts: Facts) -> None:
        """It was answered; M115's answer decides what else is asked."""
        command = self._flying.pop(ticket, b"")
        if command == b"M115":
            self._script.append(b"M113 S2")
            if facts.capabilities.get("AUTOREPORT_TEMP"):
                self._script.append(b"M155 S2")
            if facts.may_have_card:
                self._script.append(b"M27")
            self._script.append(b"M105")
        self.is_done = command == b"M105"

    def deadline(self) -> float | None:
        """When ``may_begin`` can change."""
        return None if self.has_begun else self._until()
