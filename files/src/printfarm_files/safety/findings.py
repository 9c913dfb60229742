"""What a check finds."""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """``REFUSE``: never, whoever asks. ``OVERRIDE``: not unless people whose role allows it say so; their word is recorded."""

    REFUSE = "refuse"
    OVERRIDE = "needs_override"


@dataclass(frozen=True, slots=True)
class Finding:
    """``line`` counts from 1; 0 is the file as a whole. ``command`` as the firmware takes it, empty where it is none.

    ``rule`` is for programs: not_text, too_long, forbidden, host_action, program, temperature, place, feed, cut_off (refused);
    unlisted, needs_person, markup, other_firmware, left_hot, never_heated, prints_nothing (need an override)."""

    line: int
    command: str
    rule: str
    severity: Severity
    text: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.text}" if self.line else self.text
