"""What the printer has told of itself, kept as it was told. Pure."""

from dataclasses import dataclass, field

from ...driver import Heater
from . import area
from .replies import (
    Area,
    Busy,
    Capability,
    Firmware,
    Percent,
    Reply,
    SdDone,
    SdFile,
    SdIdle,
    SdPrinting,
    Temperatures,
    merged,
)

# Who works at the printer's own screen is taken to be there for so long after its last "busy".
FOREIGN_SECONDS = 6.0


@dataclass(slots=True)
class Facts:
    """Of the firmware that runs now; ``fields`` and ``capabilities`` are those of M115."""

    fields: dict[str, str] = field(default_factory=dict)
    capabilities: dict[str, bool] = field(default_factory=dict)
    heaters: dict[str, Heater] = field(default_factory=dict)
    # A print from its own card.
    sd: SdPrinting | None = None
    sd_file: str | None = None
    # Something that nobody here asked for keeps it busy.
    foreign_until: float = 0.0
    waits_for_person: bool = False
    paused_itself: bool = False
    filament: bool | None = None
    percent: Percent | None = None

    def take(self, reply: Reply, now: float, *, is_idle: bool) -> None:
        """One more. ``is_idle``: nothing of ours is under way."""
        match reply:
            case Temperatures(readings):
                self.heaters = merged(self.heaters, readings)
            case Busy(waits_for_person):
                self.waits_for_person = waits_for_person
                if is_idle:
                    self.foreign_until = now + FOREIGN_SECONDS
            case Capability(name, is_on):
                self.capabilities[name] = is_on
            case Firmware(fields):
                self.fields = dict(fields)
            case Area(text):
                self.fields = {**self.fields, area.KEY: text}
            case SdPrinting():
                self.sd = reply
            case SdFile(name):
                self.sd_file = name
            case SdIdle() | SdDone():
                self.sd = self.sd_file = None
            case Percent():
                self.percent = reply

    def forgotten(self) -> "Facts":
        """After a restart: what the board is stays, what it did does not."""
        return Facts(self.fields, self.capabilities)

    @property
    def is_hot(self) -> bool:
        """Some heater has a target, by the last word."""
        return any(heater.target > 0 for heater in self.heaters.values())

    @property
    def may_have_card(self) -> bool:
        """Only a word against it counts: older firmware prints from a card, and tells nothing of it in M115."""
        return self.capabilities.get("SDCARD", True)

    @property
    def extruders(self) -> int:
        """By M115; 1 where it does not say."""
        count = self.fields.get("EXTRUDER_COUNT", "1")
        return max(int(count), 1) if count.isdecimal() and len(count) < 3 else 1

    def is_foreign(self, now: float) -> bool:
        """Somebody uses it at the printer itself."""
        return self.sd is not None or now < self.foreign_until
