"""Notices a heater that leaves its target. Pure: fed with looks, on the monotonic clock."""

from dataclasses import dataclass, field

from .driver import Heater
from .limits import HeatRules as HeatRules

REACHED_WITHIN = 5.0
# A heater that is off may be warmed by what is around it, but no further than this.
WARMED_CELSIUS = 100.0


@dataclass(slots=True)
class HeatWatch:
    """One printer's heaters."""

    rules: HeatRules
    _targets: dict[str, float] = field(default_factory=dict)
    # The hottest that a heater may be since its target was set: the target, or what it was then.
    _ceilings: dict[str, float] = field(default_factory=dict)
    _reached: set[str] = field(default_factory=set)
    _off_since: dict[str, float] = field(default_factory=dict)

    def look(self, heaters: tuple[Heater, ...], now: float) -> str:
        """Why the machine must be stopped; empty if it need not."""
        for heater in heaters:
            if why := self._look(heater, now):
                return why
        return ""

    def _look(self, heater: Heater, now: float) -> str:
        name = heater.name
        if self._targets.get(name) != heater.target:
            self._targets[name] = heater.target
            self._ceilings[name] = max(heater.target or WARMED_CELSIUS, heater.current)
            self._reached.discard(name)
            self._off_since.pop(name, None)
        if heater.target > 0 and abs(heater.current - heater.target) <= REACHED_WITHIN:
            self._reached.add(name)
            self._ceilings[name] = heater.target
        if not self._is_off(heater):
            self._off_since.pop(name, None)
            return ""
        since = self._off_since.setdefault(name, now)
        if now - since < self.rules.deviation_seconds:
            return ""
        wanted = f"its target is {heater.target:.0f} C" if heater.target > 0 else "and it should be off"
        return f"{name} is at {heater.current:.0f} C, {wanted}"

    def _is_off(self, heater: Heater) -> bool:
        far = self.rules.deviation_celsius
        if heater.current > self._ceilings[heater.name] + far:
            return True
        return heater.name in self._reached and abs(heater.current - heater.target) > far
