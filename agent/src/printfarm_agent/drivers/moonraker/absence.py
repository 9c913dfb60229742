"""For how long Klipper has been away, by what Moonraker answers. Pure.

Moonraker says the same while it has lost its connection to a Klipper that prints on, and of a Klipper that is gone. Only
time tells the two apart: it connects within a second if Klipper is there, and a board whose Klipper is gone switches its
heaters off within a few, since nobody renews them.
"""

PROOF_SECONDS = 15.0
# Answers further apart tell nothing of the time between them.
LONGEST_GAP_SECONDS = 10.0


class Absence:
    """Of one Klipper. ``now`` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._last = 0.0

    def lasts(self, now: float) -> bool:
        """Klipper was found to be away once more. True: for so long, without a break, that it is gone."""
        if self._since is None or now - self._last > LONGEST_GAP_SECONDS:
            self._since = now
        self._last = now
        return now - self._since >= PROOF_SECONDS

    def ends(self) -> None:
        """It was there, or nobody could say."""
        self._since = None
