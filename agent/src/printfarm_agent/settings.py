"""One TOML file per host. Unknown keys and wrong types are errors that name the key and the mend."""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from printfarm_rpc.identity import is_name

from .driver import PrinterConfig
from .execution import IDLE_HEAT_SECONDS
from .heat import HeatRules
from .limits import Limits

STATE_DIR = Path("/var/lib/printfarm-agent")
_BEDS = ("clear", "occupied", "unknown")


class WrongSettings(Exception):
    """A setting is wrong. The text names it, and says what would be right."""


@dataclass(frozen=True, slots=True)
class PrinterSettings:
    """One ``[[printer]]``."""

    config: PrinterConfig
    driver: str
    name: str = ""
    initial_bed: str = "unknown"
    limits: Limits = field(default_factory=Limits)
    heat: HeatRules = field(default_factory=HeatRules)
    tags: tuple[str, ...] = ()
    # material, colour, nozzle_diameter_mm, volume_mm: what the machine cannot tell.
    abilities: Mapping[str, Any] = field(default_factory=dict)

    @property
    def printer_id(self) -> str:
        """The slug by which the farm knows it."""
        return self.config.printer_id


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """The whole file. Seconds; addresses as host:port."""

    coordinator: str
    printers: tuple[PrinterSettings, ...]
    state_dir: Path = STATE_DIR
    server_name: str = "coordinator"
    metrics_address: str = "127.0.0.1:4110"
    observe_seconds: float = 1.0
    idle_observe_seconds: float = 2.0
    idle_heat_seconds: float = IDLE_HEAT_SECONDS
    log_level: str = "INFO"

    @property
    def credentials(self) -> Path:
        """The folder of key and certificate."""
        return self.state_dir / "credentials"


_AGENT_KEYS: dict[str, type | tuple[type, ...]] = {
    "coordinator": str,
    "state_dir": str,
    "server_name": str,
    "metrics_address": str,
    "observe_seconds": (int, float),
    "idle_observe_seconds": (int, float),
    "idle_heat_seconds": (int, float),
    "log_level": str,
}
_PRINTER_KEYS: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "driver": str,
    "name": str,
    "initial_bed": str,
    "limits": dict,
    "heat": dict,
    "tags": list,
    "material": str,
    "colour": str,
    "nozzle_diameter_mm": (int, float),
    "volume_mm": list,
    "options": dict,
}
_ABILITIES = ("material", "colour", "nozzle_diameter_mm", "volume_mm")


def load(path: Path) -> AgentSettings:
    """Raises WrongSettings."""
    return parse(_read(path))


def load_printers(path: Path, state_dir: Path) -> tuple[PrinterSettings, ...]:
    """The ``[[printer]]`` tables of a file that has nothing else, for an agent of that folder. Raises WrongSettings."""
    given = _read(path)
    _known("", given, {"printer": list})
    return tuple(_at_home(printer, state_dir / "printers") for printer in _printers(given))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise WrongSettings(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettings(f"{path} is not TOML: {error}") from error


def parse(given: Mapping[str, Any]) -> AgentSettings:
    """The settings of a TOML document. Raises WrongSettings."""
    _known("", given, {"agent": dict, "printer": list})
    agent = dict(given.get("agent", {}))
    _known("agent.", agent, _AGENT_KEYS)
    if not str(agent.get("coordinator", "")).rpartition(":")[2].isdecimal():
        raise WrongSettings("agent.coordinator must be host:port")
    if "state_dir" in agent:
        agent["state_dir"] = Path(agent["state_dir"])
    for key in ("observe_seconds", "idle_observe_seconds", "idle_heat_seconds"):
        if agent.get(key, 1) <= 0:
            raise WrongSettings(f"agent.{key} must be more than 0")
    # I23 is a promise: a host may keep it sooner, not later.
    if agent.get("idle_heat_seconds", 0) > IDLE_HEAT_SECONDS:
        raise WrongSettings(f"agent.idle_heat_seconds must be at most {IDLE_HEAT_SECONDS:g}")
    folder = agent.get("state_dir", STATE_DIR) / "printers"
    return AgentSettings(printers=tuple(_at_home(printer, folder) for printer in _printers(given)), **agent)


def _at_home(printer: PrinterSettings, folder: Path) -> PrinterSettings:
    """The driver's own folder on this host, and what it checks itself: it knows the volume, wherever in the table it stands."""
    limits, volume = printer.limits, printer.abilities.get("volume_mm")
    if volume and limits.volume_mm is None:
        limits = replace(limits, volume_mm=tuple(volume))
    config = replace(printer.config, state_dir=folder / printer.printer_id, limits=limits, heat=printer.heat)
    return replace(printer, config=config)


def _printers(given: Mapping[str, Any]) -> tuple[PrinterSettings, ...]:
    printers = tuple(_printer(f"printer[{i}].", entry) for i, entry in enumerate(given.get("printer", [])))
    check_ids(printers)
    return printers


def check_ids(printers: tuple[PrinterSettings, ...]) -> None:
    """Raises WrongSettings if two share one."""
    ids = [printer.printer_id for printer in printers]
    if len(set(ids)) != len(ids):
        raise WrongSettings("printer.id: each printer needs an id of its own")


def _known(where: str, given: Mapping[str, Any], keys: Mapping[str, type | tuple[type, ...]]) -> None:
    for key, value in given.items():
        if key not in keys:
            raise WrongSettings(f"{where}{key} is not a setting; there are {', '.join(keys)}")
        wanted = keys[key]
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            names = wanted if isinstance(wanted, tuple) else (wanted,)
            raise WrongSettings(f"{where}{key} must be a {' or '.join(kind.__name__ for kind in names)}")


def _printer(where: str, given: Any) -> PrinterSettings:
    if not isinstance(given, dict):
        raise WrongSettings(f"{where} must be a table")
    _known(where, given, _PRINTER_KEYS)
    printer_id = str(given.get("id", ""))
    if not is_name(printer_id):
        raise WrongSettings(f"{where}id must be lower case letters, digits and dashes, at most 63")
    if not given.get("driver"):
        raise WrongSettings(f"{where}driver must name a driver, such as virtual")
    if given.get("initial_bed", "unknown") not in _BEDS:
        raise WrongSettings(f"{where}initial_bed must be one of {', '.join(_BEDS)}")
    volume = given.get("volume_mm")
    if volume is not None and (len(volume) != 3 or not all(_is_positive(side) for side in volume)):
        raise WrongSettings(f"{where}volume_mm must be three numbers above 0: X, Y, Z")
    return PrinterSettings(
        PrinterConfig(printer_id, given.get("options", {})),
        given["driver"],
        str(given.get("name", printer_id)),
        given.get("initial_bed", "unknown"),
        _numbers(f"{where}limits.", Limits, given.get("limits", {})),
        _numbers(f"{where}heat.", HeatRules, given.get("heat", {})),
        tuple(str(tag) for tag in given.get("tags", [])),
        {key: given[key] for key in _ABILITIES if key in given},
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and value > 0


def _numbers(where: str, kind: type, given: Mapping[str, Any]) -> Any:
    """A settings value of positive numbers; those in millimetres are three, and an origin may lie anywhere."""
    names = [f.name for f in fields(kind)]
    for key, value in given.items():
        if key not in names:
            raise WrongSettings(f"{where}{key} is not a setting; there are {', '.join(names)}")
        parts, count = (value, 3) if key.endswith("_mm") and isinstance(value, list) else ([value], 1)
        is_right = _is_number if key == "origin_mm" else _is_positive
        if len(parts) != count or (count == 1) == key.endswith("_mm") or not all(map(is_right, parts)):
            kinds = "three numbers" if key.endswith("_mm") else "a number"
            raise WrongSettings(f"{where}{key} must be {kinds}{'' if key == 'origin_mm' else ' above 0'}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
