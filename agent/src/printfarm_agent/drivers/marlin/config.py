"""What the driver tells the host process of a printer, as JSON: port, limits, manners. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...limits import HeatRules, Limits
from .course import Manners
from .dialects import DIALECTS
from .flow import Timing
from .hello import HelloTiming
from .machine import Rules

BAUDS = (115200, 250000, 230400, 57600, 38400, 19200, 9600)


@dataclass(frozen=True, slots=True)
class HostConfig:
    """One host process. ``bauds`` are tried in turn. ``dialect`` empty: by the printer's own word."""

    port: str
    bauds: tuple[int, ...] = (115200,)
    dialect: str = ""
    limits: Limits = field(default_factory=Limits)
    heat: HeatRules = field(default_factory=HeatRules)
    manners: Manners = field(default_factory=Manners)
    timing: Timing = field(default_factory=Timing)
    hello: HelloTiming = field(default_factory=HelloTiming)
    # Idle and claimed by nobody for so long, it cools the printer down and ends.
    unclaimed_seconds: float = 600.0

    def to_json(self) -> str:
        """The same text for the same settings."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def digest(self) -> str:
        """Tells two settings apart."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def rules(self) -> Rules:
        """For the machine."""
        dialect = DIALECTS[self.dialect] if self.dialect else None
        return Rules(self.limits, self.heat, self.manners, self.timing, self.hello, dialect)


def from_json(text: str) -> HostConfig:
    """Raises ValueError."""
    given: Mapping[str, Any] = json.loads(text)
    try:
        limits = dict(given["limits"])
        for key in ("volume_mm", "origin_mm"):
            limits[key] = tuple(limits[key]) if limits[key] is not None else None
        return HostConfig(
            given["port"],
            tuple(given["bauds"]),
            given["dialect"],
            Limits(**limits),
            HeatRules(**given["heat"]),
            Manners(**given["manners"]),
            Timing(**given["timing"]),
            HelloTiming(**given["hello"]),
            float(given["unclaimed_seconds"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the host's settings are not whole: {error}") from error
