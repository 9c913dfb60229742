"""RepRapFirmware's object model, read with suspicion. Pure: JSON in, values out. Source: RepRapFirmware 3.6, OpenAPI 3.6.0."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...driver import BadReply, Heater, MachineIdentity
from .. import reading

FOLDER = "0:/gcodes/farm"
# The keys that are read here; each is fetched when its number under ``seqs`` changes.
KEYS = ("boards", "heat", "job", "move", "state", "tools", "volumes")
STATES = frozenset(
    {
        "starting",
        "updating",
        "off",
        "halted",
        "idle",
        "busy",
        "changingTool",
        "processing",
        "simulating",
        "pausing",
        "paused",
        "resuming",
        "cancelling",
    }
)
# More than any printer has.
_MOST_TOOLS = 50
_SAFE_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
_VERSION = re.compile(r"(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Last:
    """The job that ran last, as the model keeps it. The flags are told by the SBC alone: None on a standalone board."""

    name: str
    duration: float | None = None
    aborted: bool | None = None
    cancelled: bool | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What is read of the model at once. ``status`` is empty if it is none of the known words. Seconds."""

    status: str
    up_time: float | None = None
    file_name: str | None = None
    progress: float | None = None
    duration: float | None = None
    remaining: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    last: Last | None = None
    heaters: tuple[Heater, ...] = ()
    faults: tuple[str, ...] = ()
    position_mm: tuple[float, float, float] | None = None
    message: str = ""
    waits_for_person: bool = False
    free_bytes: int | None = None
    # As G-code names them: they need not begin at 0, nor have a heater each.
    tools: tuple[int, ...] = ()


def path_of(name: str) -> str:
    """Where a file of ours lies on the printer. Raises ValueError for a name that G-code would not carry unharmed."""
    if not _SAFE_NAME.fullmatch(name):
        raise ValueError("the file's name may hold letters, digits, dots, dashes and underscores, at most 80")
    return f"{FOLDER}/{name}"


def name_of(path: str) -> str:
    """The file's name without its folders."""
    return path.replace("\\", "/").rpartition("/")[2]


def identity(model: Mapping[str, Any]) -> MachineIdentity:
    """Raises BadReply for firmware whose model is of no use."""
    board = next(iter(reading.rows(model.get("boards"))), {})
    firmware = reading.text(board.get("firmwareVersion"), 64)
    found = _VERSION.match(firmware)
    if found and (int(found[1]), int(found[2])) < (3, 4):
        raise BadReply(f"RepRapFirmware {firmware} is too old: update it to 3.4 or newer")
    sides = [_side(axis) for axis in reading.rows(reading.table(model.get("move")).get("axes"))[:3]]
    x, y, z = sides if len(sides) == 3 else (None, None, None)
    return MachineIdentity(
        model=reading.text(board.get("shortName") or board.get("name"), 64) or "Duet",
        firmware=" ".join(filter(None, (reading.text(board.get("firmwareName"), 64), firmware))),
        serial_number=reading.text(board.get("uniqueId"), 64),
        volume_mm=None if x is None or y is None or z is None else (x, y, z),
    )


def look(model: Mapping[str, Any]) -> Look:
    """Raises BadReply if there is no state in it."""
    state = model.get("state")
    if not isinstance(state, dict):
        raise BadReply("the printer's object model has no state")
    word = state.get("status")
    job = reading.table(model.get("job"))
    file = reading.table(job.get("file"))
    size = reading.count(file.get("size"))
    position = reading.number(job.get("filePosition"), 0.0, 1e12)
    running = reading.text(file.get("fileName"))
    box = reading.table(state.get("messageBox"))
    box_text = " ".join(filter(None, (reading.text(box.get("title")), reading.text(box.get("message")))))
    return Look(
        status=word if isinstance(word, str) and word in STATES else "",
        up_time=reading.number(state.get("upTime"), 0.0, 1e10),
        file_name=name_of(running) or None,
        progress=min(1.0, position / size) if size and position is not None else None,
        duration=reading.number(job.get("duration"), 0.0, 1e9),
        remaining=_remaining(reading.table(job.get("timesLeft"))),
        layer=reading.count(job.get("layer")),
        layer_count=reading.count(file.get("numLayers")),
        last=_last(job),
        heaters=_heaters(model),
        faults=_faults(model),
        position_mm=_position(model),
        message=(box_text or reading.text(state.get("displayMessage")))[:256],
        waits_for_person=(reading.count(box.get("mode")) or 0) >= 2,
        free_bytes=_free(model),
        tools=_tools(model),
    )


def _last(job: Mapping[str, Any]) -> Last | None:
    name = name_of(reading.text(job.get("lastFileName")))
    flags = [job.get(key) for key in ("lastFileAborted", "lastFileCancelled")]
    aborted, cancelled = (flag if isinstance(flag, bool) else None for flag in flags)
    return Last(name, reading.number(job.get("lastDuration"), 0.0, 1e9), aborted, cancelled) if name else None


def _remaining(left: Mapping[str, Any]) -> float | None:
    found = (reading.number(left.get(key), 0.0, 1e8) for key in ("slicer", "file"))
    return next((each for each in found if each is not None), None)


def _sensors(model: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """By their numbers: empty places stay."""
    heaters = reading.table(model.get("heat")).get("heaters")
    return [reading.table(each) for each in heaters[:64]] if isinstance(heaters, list) else []


def _named(model: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    sensors, heat = _sensors(model), reading.table(model.get("heat"))
    found: list[tuple[str, Mapping[str, Any]]] = []
    tools = [_indices(tool.get("heaters")) for tool in reading.rows(model.get("tools"), 16)]
    for place, index in enumerate(dict.fromkeys(index for tool in tools for index in tool)):
        found += [(f"hotend{place or ''}", sensors[index])] if index < len(sensors) else []
    for name, key in (("bed", "bedHeaters"), ("chamber", "chamberHeaters")):
        for place, index in enumerate(_indices(heat.get(key))):
            found += [(f"{name}{place or ''}", sensors[index])] if index < len(sensors) else []
    return found[:16]


def _tools(model: Mapping[str, Any]) -> tuple[int, ...]:
    given = model.get("tools")
    found: list[int] = []
    for place, tool in enumerate(given[:_MOST_TOOLS] if isinstance(given, list) else []):
        if isinstance(tool, dict):
            number = reading.count(tool.get("number"))
            found.append(place if number is None else number)
    return tuple(dict.fromkeys(found))


def _indices(value: object) -> list[int]:
    given = value[:16] if isinstance(value, list) else []
    return [each for each in given if isinstance(each, int) and not isinstance(each, bool) and each >= 0]


def _heaters(model: Mapping[str, Any]) -> tuple[Heater, ...]:
    found: tuple[Heater, ...] = ()
    for name, sensor in _named(model):
        key = {"active": "active", "standby": "standby"}.get(str(sensor.get("state")))
        # A target below freezing is how this firmware says off.
        target = max(0.0, reading.number(sensor.get(key), -300.0, 600.0) or 0.0) if key else 0.0
        found += reading.heater(name, sensor.get("current"), target)
    return found


def _faults(model: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(name for name, sensor in _named(model) if sensor.get("state") == "fault")


def _position(model: Mapping[str, Any]) -> tuple[float, float, float] | None:
    axes = reading.rows(reading.table(model.get("move")).get("axes"))[:3]
    sides = [reading.number(axis.get("userPosition"), -1e5, 1e5) for axis in axes]
    x, y, z = sides if len(sides) == 3 else (None, None, None)
    return None if x is None or y is None or z is None else (x, y, z)


def _side(axis: Mapping[str, Any]) -> float | None:
    low, high = reading.number(axis.get("min"), -1e4, 1e4), reading.number(axis.get("max"), -1e4, 1e4)
    return None if low is None or high is None or high - low < 1.0 else high - low


def _free(model: Mapping[str, Any]) -> int | None:
    volume = next(iter(reading.rows(model.get("volumes"))), {})
    return reading.count(volume.get("freeSpace"))
