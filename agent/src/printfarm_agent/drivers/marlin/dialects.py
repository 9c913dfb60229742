"""The relatives of Marlin, and in what they differ on the wire."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a firmware is spoken to."""

    name: str
    # Lines have numbers and checksums, and are asked for again.
    is_numbered: bool = True
    # The counter starts anew after so many lines.
    lines_per_session: int = 1 << 30
    # "wait" comes when the firmware is idle: with a command outstanding, an ok was lost.
    says_wait: bool = False


MARLIN = Dialect("marlin")
PRUSA = Dialect("prusa")
# Repetier keeps 16 bits of the number.
REPETIER = Dialect("repetier", lines_per_session=60_000, says_wait=True)
# RepRapFirmware ignores M110, never asks again, and throws a line with a bad checksum away: numbers would only do harm.
REPRAP = Dialect("reprapfirmware", is_numbered=False)
DIALECTS = {dialect.name: dialect for dialect in (MARLIN, PRUSA, REPETIER, REPRAP)}


def firmware_of(fields: Mapping[str, object], configured: str) -> str:
    """What the printer calls its firmware, with what the host's configuration calls it where that is not in the name."""
    name = str(fields.get("FIRMWARE_NAME", ""))[:256]
    if not configured or configured in name.lower():
        return name
    return f"{name} ({configured})" if name else configured


def dialect_of(fields: Mapping[str, str]) -> Dialect:
    """By the fields of M115. What is not known is Marlin, whose rules are the strictest."""
    name = fields.get("FIRMWARE_NAME", "").lower()
    for start, dialect in (("prusa", PRUSA), ("repetier", REPETIER), ("reprapfirmware", REPRAP)):
        if start in name:
            return dialect
    return MARLIN
