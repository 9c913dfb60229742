"""Profiles: how to slice. A printer's, a material's and a quality's profile together make one setup."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .errors import Invalid
from .slicer_keys import ENGINES, is_never_taken, wrong_value

MOST_SETTINGS = 400
LONGEST_NAME = 63


class ProfileKind(StrEnum):
    """What a profile tells of; spelled as in the API."""

    PRINTER = "printer"
    MATERIAL = "material"
    QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class Profile:
    """One version of a profile; it never changes. ``settings`` in the engine's own keys and spelling.

    ``printer_models``: for a printer's profile, the models as agents tell them. ``retired_at``: no job accepted since uses it.
    """

    name: str
    version: int
    kind: ProfileKind
    engine: str
    settings: Mapping[str, str] = field(hash=False)
    created_at: int
    created_by: str
    printer_models: tuple[str, ...] = ()
    is_default: bool = False
    description: str = ""
    retired_at: int | None = None

    @property
    def nozzle_diameter_mm(self) -> float:
        """Of a printer's profile."""
        return float(self.settings[ENGINES[self.engine].nozzle])

    @property
    def material_type(self) -> str:
        """Of a material's profile: PLA, PETG, ..."""
        return self.settings[ENGINES[self.engine].material]

    @property
    def label(self) -> str:
        """Name and version, as people and records name it."""
        return f"{self.name}@{self.version}"


def check_profile(profile: Profile) -> None:
    """Raises Invalid, naming the first field that is wrong and what would be right."""
    if profile.engine not in ENGINES:
        raise Invalid("engine", f"must be one of {', '.join(sorted(ENGINES))}")
    if (profile.kind is ProfileKind.PRINTER) != bool(profile.printer_models):
        raise Invalid("printer_models", "must name at least one model for a printer's profile, and none for others")
    if len(profile.printer_models) > 64 or not all(1 <= len(m) <= 100 for m in profile.printer_models):
        raise Invalid("printer_models", "must be at most 64 models of 1 to 100 characters")
    if len(profile.description) > 500:
        raise Invalid("description", "must be at most 500 characters")
    if len(profile.settings) > MOST_SETTINGS:
        raise Invalid("settings", f"must be at most {MOST_SETTINGS}")
    rules = ENGINES[profile.engine].rules
    for key, value in profile.settings.items():
        rule = rules.get(key)
        if rule is None or rule.kind != profile.kind:
            raise Invalid(f"settings.{key[:80]}", _why_not_taken(key, profile))
        if why := wrong_value(rule, value):
            raise Invalid(f"settings.{key}", why)
    needed = {key for key, rule in rules.items() if rule.kind == profile.kind and rule.needed}
    if missing := sorted(needed - profile.settings.keys()):
        raise Invalid(f"settings.{missing[0]}", f"is missing: a {profile.kind} profile must say it")


def _why_not_taken(key: str, profile: Profile) -> str:
    rule = ENGINES[profile.engine].rules.get(key)
    if rule is None and is_never_taken(key):
        return "is never taken: it runs a program, names a file or reaches a network; leave it out"
    if rule is None:
        return f"is not on the list of {profile.engine} settings that a profile may have"
    return f"belongs into a {rule.kind} profile"


def settings_hash(engine: str, settings: Mapping[str, str]) -> str:
    """SHA-256, hexadecimal, of the engine and its merged settings."""
    text = json.dumps([engine, sorted(settings.items())], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
