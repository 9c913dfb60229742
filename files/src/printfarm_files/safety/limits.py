"""The limits of one printer."""

from dataclasses import dataclass

# Outside of the volume by this much is still the machine's own business: purge lines, wipers, homing offsets.
MARGIN_MM = 20.0
# Below the plate there is only the plate.
MARGIN_BELOW_MM = 5.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one printer. Degrees Celsius, millimetres, millimetres a minute; None leaves it open.

    ``origin_mm`` is the lowest corner of the volume in the machine's coordinates: (0, 0, 0) on most, (-r, -r, 0) on deltas."""

    hotend_celsius: float = 300.0
    bed_celsius: float = 130.0
    chamber_celsius: float = 80.0
    feed_mm_per_minute: float = 60_000.0
    volume_mm: tuple[float, float, float] | None = None
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
