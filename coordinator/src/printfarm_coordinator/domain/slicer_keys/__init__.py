"""The settings that a profile may have, per engine: allow-lists with limits.

What is not on an engine's list is refused: above all whatever runs a command (``post_process``), talks to a network
(``print_host`` and its kin) or names a file. ``NEVER`` only gives that refusal better words.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from . import curaengine, orcaslicer, prusaslicer
from .rules import Rule, wrong_value


@dataclass(frozen=True, slots=True)
class Engine:
    """A slicer's settings by key, and its own keys for what chooses a profile: the printer's nozzle, the material's type."""

    rules: Mapping[str, Rule]
    nozzle: str
    material: str


ENGINES: Mapping[str, Engine] = {
    "curaengine": Engine(curaengine.RULES, "machine_nozzle_size", "material_type"),
    "orcaslicer": Engine(orcaslicer.RULES, "nozzle_diameter", "filament_type"),
    "prusaslicer": Engine(prusaslicer.RULES, "nozzle_diameter", "filament_type"),
}
# Words in keys of settings that run a program, name a file or reach a network, in any of these slicers.
_RUNS_OR_READS = (
    "post_process",
    "script",
    "print_host",
    "printhost",
    "_image",
    "_file",
    "_texture",
    "bed_custom",
    "inherits",
    "plugin",
    "filename",
)


def is_never_taken(key: str) -> bool:
    """The setting runs a program, names a file or reaches a network: no list of any engine will ever hold it."""
    return any(word in key for word in _RUNS_OR_READS)


__all__ = ["ENGINES", "Engine", "Rule", "is_never_taken", "wrong_value"]
