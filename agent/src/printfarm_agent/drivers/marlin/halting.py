"""Whether the printer stands, and until when: faults that are certain, faults that may be none, and what ends them. Pure."""

from dataclasses import dataclass

# An error text that nobody knows is harmless if the firmware goes on within so long.
OPEN_FAULT_SECONDS = 2.0
# A halt is shown so often before a board that works again hides it: some restart by themselves within a second.
HALT_LOOKS = 2


@dataclass(frozen=True, slots=True)
class Halt:
    """The printer stands, and a person must look. ``needs_reset``: it would still answer as if nothing were."""

    text: str
    needs_reset: bool


class Halting:
    """Of one printer. ``halt`` is None while it works."""

    def __init__(self) -> None:
        self.halt: Halt | None = None
        self._looks = 0
        self._has_restarted = False
        self._is_over = False
        self._open: tuple[str, float] | None = None

    def stands(self, text: str, *, needs_reset: bool) -> Halt:
        """A fault that is certain. The first words of a fault are its best: what follows does not replace them."""
        if self.halt is None:
            self.halt, self._looks = Halt(text, needs_reset), 0
        self._has_restarted = self._is_over = False
        return self.halt

    def may_stand(self, text: str, now: float) -> None:
        """A fault that nobody knows: if the firmware goes on, it was none."""
        self._open = text, now + OPEN_FAULT_SECONDS

    def goes_on(self) -> None:
        """The firmware answered, or is at work."""
        self._open = None

    def ripe(self, now: float) -> str:
        """The text of a fault after which nothing came; empty if there is none. Told once."""
        if self._open is None or now < self._open[1]:
            return ""
        text, self._open = self._open[0], None
        return text

    def deadline(self) -> float | None:
        """When ``ripe`` can change."""
        return self._open[1] if self._open is not None else None

    def restarted(self) -> None:
        """The board was reset, or its port opened anew."""
        self._has_restarted = True

    def hello_passed(self) -> None:
        """It answers again: what stood is over, unless only a reset ends it and there was none."""
        self._is_over = self.halt is not None and (self._has_restarted or not self.halt.needs_reset)
        self._has_restarted = False

    def looked(self) -> None:
        """Somebody was shown the halt."""
        if self.halt is not None:
            self._looks += 1

    def tick(self) -> None:
        """A halt that is over, and was shown, is forgotten."""
        if self._is_over and self._looks >= HALT_LOOKS:
            self.halt, self._is_over = None, False
