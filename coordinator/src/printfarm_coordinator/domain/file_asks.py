"""What a print file asks of the printer that takes it, and which printers may not have it, or not yet.

It is the file's word: it counts where the client says nothing, and only against what a printer states of itself.
"""

import re
from dataclasses import dataclass

Sides = tuple[float, float, float]
_NO_SIDES: Sides = (0.0, 0.0, 0.0)
# Rounded in favour of the file: jobs that ask nearly the same are looked at together, and the agent measures exactly.
COARSE_MM = 10.0
_MAKERS = re.compile(
    r"\b(?:original|the|3d|printer|prusa|i3|bambu ?lab|creality|anycubic|artillery|elegoo|sovol|qidi|flashforge|voron)\b"
)
# What some firmware and hosts say of any machine.
_GENERIC = frozenset({"", "generic", "genericreprap", "reprap", "buddy", "marlin", "klipper", "virtual", "unknown"})


@dataclass(frozen=True, slots=True)
class FileAsks:
    """Millimetres and degrees Celsius; None asks nothing. ``celsius``: hotend, bed, chamber; 0 where nothing is asked.

    ``rules`` names the rules it was judged by; empty before that. ``refused_by``: kinds of firmware (``Dialect``) that must not
    have the file; ``waits_for``: those that must wait until people allow it."""

    rules: str = ""
    printer_model: str | None = None
    nozzle_diameter_mm: float | None = None
    material: str | None = None
    celsius: Sides = _NO_SIDES
    low_mm: Sides | None = None
    high_mm: Sides | None = None
    refused_by: tuple[str, ...] = ()
    waits_for: tuple[str, ...] = ()


def coarse(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[Sides, Sides]:
    """The reach of a file, a little smaller than it is."""
    lower = tuple(min(0.0, -COARSE_MM * (-value // COARSE_MM)) for value in low)
    upper = tuple(COARSE_MM * (value // COARSE_MM) for value in high)
    return (lower[0], lower[1], lower[2]), (upper[0], upper[1], upper[2])


def may_be_model(printer: str, file: str) -> bool:
    """Whether they may be one: a name that says nothing may be any."""
    return _plain(printer) in _GENERIC or _plain(file) in _GENERIC or same_model(printer, file)


def same_model(printer: str, wanted: str) -> bool:
    """Whether they are one: spelled with or without the maker, with or without what comes behind."""
    has, wants = _plain(printer), _plain(wanted)
    return bool(has and wants) and (has in wants or wants in has)


def same_material(printer: str, file: str) -> bool:
    """By family: "PLA Basic" and "PLA+" are PLA."""
    return _family(printer) == _family(file)


def _family(material: str) -> str:
    found = re.match(r"[A-Za-z]+", material.strip())
    return (found[0] if found else material).casefold()


def _plain(model: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _MAKERS.sub(" ", model.casefold()))
