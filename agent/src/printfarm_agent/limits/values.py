"""The limits of one printer, as the safety check of print files knows them, and how far its heaters may stray."""

from dataclasses import dataclass

from printfarm_files.safety import MARGIN_MM, Limits

__all__ = ["MARGIN_MM", "HeatRules", "Limits"]


@dataclass(frozen=True, slots=True)
class HeatRules:
    """A heater is at fault if for so long it is off by so much: from a target it had reached, or above all it was asked."""

    deviation_celsius: float = 25.0
    deviation_seconds: float = 30.0
