"""What a print file asks of the heaters, and whether it leaves a hotend on."""

import re
from dataclasses import dataclass, field

from .limits import Limits
from .words import NUMBER, Command

# G10 with S or R sets a tool's temperatures in RepRapFirmware; elsewhere it retracts, with small numbers.
_HEATERS = {
    "M104": "hotend",
    "M109": "hotend",
    "M568": "hotend",
    "G10": "hotend",
    "M140": "bed",
    "M190": "bed",
    "M141": "chamber",
    "M191": "chamber",
}
# Target, target that is also waited for while it cools or a standby's, and the upper end of Marlin's automatic temperature.
_TARGETS = "SRB"
# RepRapFirmware takes a list, one for each heater of the tool: S200:210.
_LIST = re.compile(rf"[{_TARGETS}]([-+.\d:]+)", re.A)
_NUMBER = re.compile(NUMBER, re.A)
_EXPONENT = re.compile(rf"[{_TARGETS}][-+.\d:]+E", re.A)
_ENDS = frozenset({"M0", "M1", "M2"})


@dataclass(slots=True)
class Heaters:
    """``hot``: the targets of the hotends that are on, by tool; None where the file named none."""

    limits: Limits
    hot: dict[float | None, float] = field(default_factory=dict)
    has_heated: bool = False
    # What was asked at most of "hotend", "bed" and "chamber".
    highest: dict[str, float] = field(default_factory=dict)

    def take(self, command: Command) -> str:
        """Why the command is refused; empty if it is not."""
        name = command.name
        if command.is_extended or name in _ENDS:
            # Only the printer knows what its macro does; it may well be the one that ends a print.
            self.hot.clear()
            self.has_heated |= command.is_extended
            return ""
        what = _HEATERS.get(name)
        if what is None or (name == "G10" and "L" in command.words):
            return ""
        if _EXPONENT.search(command.text):
            return f"{name} asks a temperature with an exponent; write it plainly"
        targets = [float(number) for found in _LIST.findall(command.text) for number in _NUMBER.findall(found)]
        if not targets:
            return ""
        self.highest[what] = max(self.highest.get(what, 0.0), *targets)
        most = self._most(what)
        if max(targets) > most:
            return f"{name} asks {max(targets):g} C of the {what}; at most {most:g} is allowed here"
        if what == "hotend" and name != "G10":
            self._remember(command.words.get("T", command.words.get("P")), max(targets))
        return ""

    def _most(self, what: str) -> float:
        limits = self.limits
        return {"hotend": limits.hotend_celsius, "bed": limits.bed_celsius}.get(what, limits.chamber_celsius)

    def _remember(self, tool: float | None, target: float) -> None:
        if target > 0:
            self.has_heated = True
            self.hot[tool] = target
        elif tool is None:
            # A plain "off" means the tool in use, whichever that is.
            self.hot.clear()
        else:
            self.hot.pop(tool, None)
            self.hot.pop(None, None)
