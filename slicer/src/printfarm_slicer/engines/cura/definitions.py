"""Cura's definitions: every setting that CuraEngine reads, and what it is worth where a profile does not say it.

Read from the files that come with Cura (``fdmprinter.def.json``, ``fdmextruder.def.json``), trusted as a program of this host.
"""

import ast
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .formulas import FormulaError, Reckoner, Value, parsed

# The machine's settings; those of an extruder add to them.
FILES = ("fdmprinter.def.json", "fdmextruder.def.json")
_INTEGERS = ("int", "extruder", "optional_extruder")
# Settings that name a picture file: read by the slicer, and a profile's or a definition's word for it is never taken.
_NAMING_FILES = ("cross_infill_density_image", "cross_support_density_image")


class DefinitionError(Exception):
    """The definitions cannot be used. The text says which file, and why."""


class SettingError(Exception):
    """A profile's setting cannot be used. The text names it, and is for whoever sent the model."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One setting. ``kind`` is Cura's word for what it is: float, int, bool, enum, str, ..."""

    kind: str
    default: Any
    formula: ast.expr | None = None
    options: tuple[str, ...] = ()


class Definitions:
    """All settings of a machine with one extruder. ``digest``: short, of the files that they come from."""

    def __init__(self, settings: Mapping[str, Definition], digest: str) -> None:
        self._settings = settings
        self.digest = digest

    @classmethod
    def read(cls, folder: Path) -> "Definitions":
        """Proves on the way that every formula in them can be reckoned. Raises DefinitionError."""
        settings: dict[str, Definition] = {}
        digest = hashlib.sha256()
        for name in FILES:
            try:
                content = (folder / name).read_bytes()
                settings |= dict(_flat(json.loads(content)["settings"]))
            except (OSError, ValueError, KeyError, TypeError, AttributeError, FormulaError) as error:
                raise DefinitionError(f"{folder / name} cannot be read: {error}") from error
            digest.update(content)
        made = cls(settings, digest.hexdigest()[:8])
        try:
            made.resolved({})
        except SettingError as error:
            raise DefinitionError(f"the definitions in {folder} cannot be used: {error}") from error
        return made

    def __contains__(self, key: str) -> bool:
        return key in self._settings

    def resolved(self, given: Mapping[str, str]) -> dict[str, Value]:
        """Every setting: as given, else by its formula, else by default. Raises SettingError."""
        found: dict[str, Value] = {key: self._read(key, text) for key, text in given.items()}
        found |= dict.fromkeys(_NAMING_FILES, "")
        under_way: list[str] = []
        reckoner = Reckoner(lambda key: self._value(key, found, under_way, reckoner))
        for key in self._settings:
            try:
                self._value(key, found, under_way, reckoner)
            except FormulaError as error:
                raise SettingError(
                    f"Cura's formula for {key} cannot be reckoned with these settings: {error}"
                ) from error
        return found

    def _value(self, key: str, found: dict[str, Value], under_way: list[str], reckoner: Reckoner) -> Value:
        if key in found:
            return found[key]
        definition = self._settings.get(key)
        if definition is None:
            raise FormulaError(f"there is no setting {key[:80]}")
        if key in under_way:
            raise FormulaError(f"{key} depends on itself")
        under_way.append(key)
        value = definition.default if definition.formula is None else reckoner.reckon(definition.formula)
        under_way.pop()
        try:
            found[key] = _typed(definition.kind, value)
        except (TypeError, ValueError, OverflowError):
            raise FormulaError(f"{key} is no {definition.kind}") from None
        return found[key]

    def _read(self, key: str, text: str) -> Value:
        definition = self._settings.get(key)
        if definition is None:
            raise SettingError(f"this version of Cura has no setting {key[:80]}")
        if definition.options and text not in definition.options:
            raise SettingError(f"{key} must be one of {', '.join(definition.options)}")
        try:
            value = _typed(definition.kind, _truth(text) if definition.kind == "bool" else text)
            if definition.kind in _INTEGERS and value != float(text):
                raise ValueError(text)
            return value
        except (ValueError, OverflowError):
            raise SettingError(f"{key} is no {definition.kind}: {text[:80]}") from None


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Definition]]:
    """Settings lie in groups, and below others that they depend on."""
    for key, said in settings.items():
        if said.get("type") != "category":
            formula = said.get("value")
            yield (
                key,
                Definition(
                    said["type"],
                    said.get("default_value", ""),
                    None if formula is None else parsed(str(formula)),
                    tuple(said.get("options", ())),
                ),
            )
        yield from _flat(said.get("children", {}))


def _typed(kind: str, value: Any) -> Value:
    """As formulas reckon with it. Raises ValueError."""
    if kind == "float":
        return _finite(float(value))
    if kind in _INTEGERS:
        return int(float(value))
    if kind == "bool":
        return bool(value)
    return value if isinstance(value, (str, list)) else str(value)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(str(value))
    return value


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"
