"""Whether a file extrudes through a nozzle that it has itself left too cold."""

from dataclasses import dataclass

from .words import Command

LEAST_EXTRUSION_CELSIUS = 150.0
# A nozzle that was switched off stays warm for a while: end code still primes and wipes. No print is so short.
_MOST_BY_REST_HEAT_MM = 20.0
_LEAST_E = 1e-3
_MOVES = frozenset({"G0", "G1", "G2", "G3", "G5"})
_TARGETS = frozenset({"M104", "M109", "M568", "G10"})
# They heat by the machine's own word, which is not in the file: macros of RepRapFirmware, loading of filament, Bambu Lab's
# changes of filament.
_HEAT_BY_THEMSELVES = frozenset({"M98", "M701", "M702", "M703", "G32"})
_BAMBU_CHANGES = "M62"


@dataclass(slots=True)
class ColdExtrusion:
    """What the tool in use was told last, and how much filament was drawn since. A file that never heats is no such file:
    macros and hosts may have heated. ``is_cold`` is for whoever reads moves: only then they matter here."""

    is_cold: bool = False
    _target: float | None = None
    _has_heated: bool = False
    _tool: float | None = None
    _relative: bool = False
    _relative_e: bool = False
    # Where E stands, None if that is not known; how far the filament is pulled back; what was drawn while cold.
    _e: float | None = None
    _back: float = 0.0
    _drawn: float = 0.0

    def take(self, command: Command) -> str:
        """Why the command is refused; empty if it is not."""
        name, words = command.name, command.words
        if name in _MOVES:
            if self.is_cold and "E" in words:
                return self.draw(words["E"], "X" in words or "Y" in words)
        elif name[0] == "T" and not command.is_extended:
            self._tool = float(name[1:])
            self._told(None)
        elif command.is_extended or name in _HEAT_BY_THEMSELVES or name.startswith(_BAMBU_CHANGES):
            self._told(None)
        elif name in ("G90", "G91"):
            self._relative = name == "G91"
        elif name in ("M82", "M83"):
            self._relative_e = name == "M83"
        elif name == "G92" and ("E" in words or not words):
            self._e = words.get("E", 0.0)
        elif name in _TARGETS:
            self._heat(words)
        return ""

    def draw(self, e: float, moves: bool) -> str:
        """A move with that E while ``is_cold``; ``moves``: along X or Y, too."""
        if self._relative or self._relative_e:
            step = e
        else:
            step, self._e = (e - self._e if self._e is not None else 0.0), e
        drawn = step - self._back
        self._back = max(0.0, -drawn)
        if drawn <= _LEAST_E:
            return ""
        self._drawn += drawn
        if (self._target and moves) or self._drawn > _MOST_BY_REST_HEAT_MM:
            least = f"at least {LEAST_EXTRUSION_CELSIUS:g} are needed"
            return f"it extrudes while the file keeps the hotend at {self._target:g} C; {least}"
        return ""

    def _heat(self, words: dict[str, float]) -> None:
        tool = words.get("T", words.get("P"))
        # Of S, else R: M109 R waits for a target from above, too.
        target = words.get("S", words.get("R"))
        if target is not None and (tool is None or tool == self._tool) and "L" not in words:
            self._told(target)

    def _told(self, target: float | None) -> None:
        self._target = target
        self._has_heated |= target is not None and target >= LEAST_EXTRUSION_CELSIUS
        cold = target is not None and target < LEAST_EXTRUSION_CELSIUS and (target > 0 or self._has_heated)
        if cold and not self.is_cold:
            self._e, self._back, self._drawn = None, 0.0, 0.0
        self.is_cold = cold
