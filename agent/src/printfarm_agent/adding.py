"""A printer's table for the TOML: what has to be asked for each driver, and the text that is written. Pure."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BETWEEN = re.compile(r"\s*[x*,]\s*|\s+")
_SIDE = re.compile(r"\d{1,5}(\.\d{1,3})?")


@dataclass(frozen=True, slots=True)
class Question:
    """One option, or with ``volume`` the table's own key. A ``secret`` is not shown, and goes into a file of its own."""

    key: str
    words: str
    secret: bool = False
    optional: bool = False
    number: bool = False
    volume: bool = False


_URL = Question("url", "Address, such as http://192.168.1.20")
QUESTIONS: dict[str, tuple[Question, ...]] = {
    "bambu": (
        Question("host", "Address, such as 192.168.1.30"),
        Question("serial_number", "Serial number, in capitals"),
        Question("access_code", "LAN access code (on its screen; LAN Only and Developer Mode must be on)", secret=True),
    ),
    "duet": (_URL, Question("password", "Password, empty if the printer has none", secret=True, optional=True)),
    "marlin": (
        Question("port", "Port, best from /dev/serial/by-id"),
        Question("baud", "Baud rate, empty for 115200, or auto to have it found out", optional=True),
        Question("volume_mm", "Build volume in mm, such as 220x220x250, empty if unknown", optional=True, volume=True),
    ),
    "moonraker": (
        _URL,
        Question("api_key", "API key, empty if Moonraker trusts this host", secret=True, optional=True),
    ),
    "octoprint": (_URL, Question("api_key", "API key", secret=True)),
    "prusalink": (
        _URL,
        Question("api_key", "API key (on Buddy printers the password that the screen shows)", secret=True),
    ),
    "simplyprint": (
        Question("company_id", "Number of the company", number=True),
        Question("printer_id", "Number of the printer", number=True),
        Question("api_key", "API key of the account", secret=True),
    ),
    "virtual": (Question("address", "Address, host:port"),),
}


def volume_of(text: str) -> list[float] | None:
    """Three sides above 0, with x or spaces between them; None for anything else."""
    parts = _BETWEEN.split(text.strip().lower().removesuffix("mm").strip())
    if len(parts) != 3 or not all(_SIDE.fullmatch(part) for part in parts):
        return None
    sides = [float(part) for part in parts]
    return sides if all(side > 0 for side in sides) else None


def table(
    printer_id: str, driver: str, options: Mapping[str, str | int], volume_mm: Sequence[float] | None = None
) -> str:
    """The ``[[printer]]`` table. JSON's texts and numbers are TOML's."""
    inside = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in options.items())
    lines = [
        "",
        "[[printer]]",
        f"id = {json.dumps(printer_id)}",
        f"driver = {json.dumps(driver)}",
        *([f"volume_mm = {json.dumps(list(volume_mm))}"] if volume_mm else []),
        f"options = {{ {inside} }}",
        "",
    ]
    return "\n".join(lines)
