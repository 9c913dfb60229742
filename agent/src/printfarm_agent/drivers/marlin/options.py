"""The printer's ``options`` in the host's TOML file. Pure."""

from dataclasses import dataclass, replace
from pathlib import Path

from ...driver import PrinterConfig
from ...driver_options import DriverOptions
from .config import BAUDS, HostConfig
from .course import Manners
from .dialects import DIALECTS
from .hello import HelloTiming


@dataclass(frozen=True, slots=True)
class Options:
    """``model``: what the printer must say of itself (MACHINE_TYPE), where two could swap their ports; empty: anything."""

    host: HostConfig
    folder: Path
    timeout_seconds: float
    model: str


def options_of(config: PrinterConfig) -> Options:
    """Raises ValueError, naming the key and the mend."""
    given = DriverOptions(config)
    port = given.text("port")
    if not port.startswith("/"):
        raise given.wrong("port must be a device, best by its name in /dev/serial/by-id or /dev/serial/by-path")
    baud = given.text("baud") if config.options.get("baud") == "auto" else ""
    bauds = BAUDS if baud else (given.integer("baud", BAUDS[0], 1200, 4_000_000),)
    dialect = given.choice("dialect", ("auto", *DIALECTS), "auto")
    folder = given.text("folder")
    model = given.text("model")
    timeout = given.number("timeout_seconds", 5.0, 0.1, 60.0)
    quiet = given.number("quiet_seconds", HelloTiming().silence, 0.05, 30.0)
    unclaimed = given.number("unclaimed_seconds", 600.0, 0.1, 86_400.0)
    pause = given.number("pause_hotend_seconds", Manners().pause_hotend_seconds, 1.0, 86_400.0)
    watchdog = given.integer("firmware_watchdog_seconds", Manners().firmware_watchdog_seconds, 0, 86_400)
    given.finish()
    volume = config.limits.volume_mm
    manners = Manners(
        height_mm=volume[2] if volume else None, pause_hotend_seconds=pause, firmware_watchdog_seconds=watchdog
    )
    host = HostConfig(
        port,
        bauds,
        "" if dialect == "auto" else dialect,
        config.limits,
        config.heat,
        manners,
        hello=replace(HelloTiming(), silence=quiet),
        unclaimed_seconds=unclaimed,
    )
    home = Path(folder) if folder else config.state_dir
    if not home.is_absolute():
        raise given.wrong("folder must be a whole path: where the process that holds the port keeps its things")
    return Options(host, home, timeout, model)
