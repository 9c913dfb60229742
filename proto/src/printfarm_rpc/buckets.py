"""Rates, counted in this process by a clock that never jumps."""

import time
from collections import OrderedDict
from collections.abc import Callable

MOST_KEYS = 20_000
_WINDOW_SECONDS = 60.0


class Bucket:
    """So many a minute for each key, all at once if need be (generic cell rate).

    Bounded: the key that took longest ago is forgotten."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = _WINDOW_SECONDS / per_minute
        self._clock = clock
        # When each key will have paid for what it took.
        self._paid: OrderedDict[str, float] = OrderedDict()

    def wait(self, key: str) -> float:
        """Seconds until the key may take again; 0: now."""
        owed = self._paid.get(key, 0.0) - self._clock()
        return max(0.0, owed - _WINDOW_SECONDS + self._interval)

    def take(self, key: str) -> float:
        """Takes, if the key may; else says as ``wait`` how long it shall wait."""
        wait = self.wait(key)
        if wait > 0:
            return wait
        self._paid[key] = max(self._paid.get(key, 0.0), self._clock()) + self._interval
        self._paid.move_to_end(key)
        if len(self._paid) > MOST_KEYS:
            self._paid.popitem(last=False)
        return 0.0

    def give_back(self, key: str) -> None:
        """What was taken a moment ago was not used."""
        if key in self._paid:
            self._paid[key] -= self._interval
