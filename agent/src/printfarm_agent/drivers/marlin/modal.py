"""Where the print's own commands have brought the printer: what must be put back after a pause. Pure.

Positions in mm as the file counts them. G90 and G91 move the extruder's mode too, M82 and M83 only that (Marlin).
"""

import re
from dataclasses import dataclass

_WORD = re.compile(rb"([XYZEF])\s*([-+]?(?:\d+\.?\d*|\.\d+))")
_AXIS = re.compile(rb"[XYZ]")
_MINUTES = re.compile(rb"\bR(\d{1,6})\b")


@dataclass(slots=True)
class Modal:
    """After the last command that was sent."""

    relative: bool = False
    e_relative: bool = False
    x: float | None = None
    y: float | None = None
    z: float | None = None
    e: float = 0.0
    feed: float | None = None
    is_homed: bool = False
    has_extruded: bool = False
    # By the file's own M73, for normal mode.
    minutes_left: float | None = None

    def take(self, name: str, command: bytes) -> None:
        """One more command."""
        if name in ("G0", "G1", "G2", "G3"):
            self._move(command)
        elif name == "G28":
            self._home(command.upper())
        elif name == "G92":
            self._set(command)
        elif name in ("G90", "G91"):
            self.relative = self.e_relative = name == "G91"
        elif name in ("M82", "M83"):
            self.e_relative = name == "M83"
        elif name == "M73" and (left := _MINUTES.search(command)):
            self.minutes_left = float(left[1])

    def _move(self, command: bytes) -> None:
        for letter, text in _WORD.findall(command, 2):
            value = float(text)
            if letter == b"E":
                after = self.e + value if self.e_relative else value
                self.has_extruded = self.has_extruded or after > self.e
                self.e = after
            elif letter == b"F":
                self.feed = value
            else:
                self._go(letter.decode().lower(), value)

    def _go(self, axis: str, value: float) -> None:
        before = getattr(self, axis)
        if not self.relative:
            setattr(self, axis, value)
        elif before is not None:
            setattr(self, axis, before + value)

    def _home(self, command: bytes) -> None:
        axes = {found.decode().lower() for found in _AXIS.findall(command, 3)} or {"x", "y", "z"}
        for axis in axes:
            setattr(self, axis, 0.0)
        self.is_homed = self.x is not None and self.y is not None and self.z is not None

    def _set(self, command: bytes) -> None:
        for letter, text in _WORD.findall(command, 3):
            if letter in b"XYZE":
                setattr(self, letter.decode().lower(), float(text))

    def restored(self) -> list[bytes]:
        """The commands that put the modes, the extruder's count and the feed rate back."""
        commands = [b"G91" if self.relative else b"G90", b"M83" if self.e_relative else b"M82", b"G92 E%.5f" % self.e]
        return commands + ([b"G1 F%.1f" % self.feed] if self.feed else [])
