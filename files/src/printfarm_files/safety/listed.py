"""What usually stands in the print files of a firmware, and what is worth a question where it does not."""

import re

from .dialects import LISTED, Dialect
from .words import TEXT, Command

_WAITS = frozenset({"M0", "M1", "M25", "M600", "M601", "PAUSE", "FILAMENT_CHANGE", "COLOR_CHANGE"})
_MARKUP = re.compile(r"<[/A-Z!]", re.I)
_MACRO = re.compile(r"[A-Z_]{2}")


def why_unlisted(command: Command, dialect: Dialect, allowed: frozenset[str]) -> tuple[str, str] | None:
    """The rule and the reason why somebody should look at it first; None if it is an everyday command."""
    name = command.name
    if name in _WAITS:
        return "needs_person", f"{name} waits for a person in the middle of the print"
    if has_markup(command):
        return "markup", f"{name} shows a text with markup in it"
    if name in allowed or name in LISTED[dialect] or (name[0] == "T" and not command.is_extended):
        return None
    if _MACRO.match(name) and not dialect.has_macros:
        return "other_firmware", f"{name} is a command of Klipper: other firmware does nothing at it, and prints on"
    return "unlisted", f"{name} is not among the commands that print files of this firmware have"


def has_markup(command: Command) -> bool:
    """Whether a page that shows its text would take part of it for its own."""
    return (command.name in TEXT or command.name == "RESPOND") and _MARKUP.search(command.text) is not None
