"""A heater as a first-order lag, computed when asked: between two changes nothing has to run. Pure."""

import math
from dataclasses import dataclass

AMBIENT = 22.0
REACHED_WITHIN = 2.0


@dataclass(slots=True)
class Heater:
    """``time_constant`` in simulated seconds; ``drift`` in degrees a simulated minute, of the reading, once it began."""

    time_constant: float
    value: float = AMBIENT
    target: float = 0.0
    at: float = 0.0
    drift: float = 0.0
    drift_since: float = 0.0

    def _goal(self) -> float:
        return max(AMBIENT, self.target)

    def true_value(self, now: float) -> float:
        """What it really has."""
        return self._goal() + (self.value - self._goal()) * math.exp(-max(0.0, now - self.at) / self.time_constant)

    def reading(self, now: float) -> float:
        """What its sensor says."""
        return self.true_value(now) + self.drift * max(0.0, now - self.drift_since) / 60.0

    def set_target(self, target: float, now: float) -> None:
        """From now on towards ``target``; 0 is off."""
        self.value, self.at, self.target = self.true_value(now), now, target

    def begin_drift(self, degrees_per_minute: float, now: float) -> None:
        """The reading leaves the truth."""
        self.drift, self.drift_since = degrees_per_minute, now

    def seconds_to_reach(self, now: float) -> float:
        """Simulated seconds until it is within 2 degrees of its target."""
        away = abs(self.true_value(now) - self._goal())
        return 0.0 if away <= REACHED_WITHIN else self.time_constant * math.log(away / REACHED_WITHIN)
