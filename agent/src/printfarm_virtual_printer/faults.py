"""What may go wrong on request. A fault stands until it is cleared, except those that strike once."""

import asyncio
from dataclasses import dataclass, field

Argument = float | str

# Name -> default argument (None: it takes none), and whether it strikes once.
FAULTS: dict[str, tuple[Argument | None, bool]] = {
    "refuse_start": (None, False),
    "hang_at": (0.99, False),
    "lie_done_at": (0.4, True),
    "reset_at": (0.5, True),
    "thermal_runaway_at": (0.5, True),
    "heater_drift": (60.0, False),
    "drop_line": (5.0, True),
    "answer_late": (3.0, False),
    "never_answer": (None, False),
    "garbage": (None, False),
    "long_line": (None, False),
    "unknown_state": (None, False),
    "nan_temperature": (None, False),
    "open_thermistor": (None, False),
    "storage_full": (None, False),
    "corrupt_transfer": (None, True),
    "slow_transfer": (100_000.0, False),
    "lose_start_reply": (None, True),
    "power_cut": (None, True),
}


@dataclass(slots=True)
class Faults:
    """Those that stand now."""

    standing: dict[str, Argument | None] = field(default_factory=dict)
    _cleared: asyncio.Event = field(default_factory=asyncio.Event)

    def set(self, name: str, argument: Argument | None = None) -> None:
        """Raises ValueError for a fault that is none."""
        if name not in FAULTS:
            raise ValueError(f"no fault {name}; there are {', '.join(FAULTS)}")
        default, _ = FAULTS[name]
        self.standing[name] = default if argument is None else argument

    def clear(self, name: str = "") -> None:
        """One, or all."""
        if name:
            self.standing.pop(name, None)
        else:
            self.standing.clear()
        waiting, self._cleared = self._cleared, asyncio.Event()
        waiting.set()

    async def until_cleared(self, name: str) -> None:
        """Returns once the fault does not stand."""
        while name in self.standing:
            await self._cleared.wait()

    def has(self, name: str) -> bool:
        """Whether it stands; one that strikes once is over with this."""
        if name not in self.standing:
            return False
        if FAULTS[name][1]:
            del self.standing[name]
        return True

    def number(self, name: str) -> float | None:
        """The argument of a standing fault; None if it does not stand."""
        argument = self.standing.get(name)
        return float(argument) if argument is not None else None

    def reached(self, name: str, progress: float) -> bool:
        """Whether a fault that strikes at a fraction of the file strikes here."""
        at = self.number(name)
        return at is not None and progress >= at and self.has(name)


def parse(text: str) -> tuple[str, Argument | None]:
    """``name`` or ``name:argument``."""
    name, _, argument = text.partition(":")
    try:
        return name, float(argument) if argument else None
    except ValueError:
        return name, argument
