"""The virtual printer's answers, read with suspicion. Pure: bytes in, values out."""

import json
import math
from typing import Any

from ...driver import (
    BadReply,
    Capabilities,
    Ending,
    Heater,
    MachineIdentity,
    Observation,
    ObservedState,
    Refused,
)

LONGEST_REPLY = 64 * 1024
LONGEST_TEXT = 256
COLDEST, HOTTEST = -10.0, 600.0
Reply = dict[str, Any]


def encode(number: int, op: str, **arguments: object) -> bytes:
    """A request."""
    return json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n"


def decode(line: bytes, number: int) -> Reply:
    """The answer to request ``number``. Raises BadReply for noise, Refused for a no."""
    try:
        reply = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadReply("the printer answered with noise") from error
    if not isinstance(reply, dict) or reply.get("id") != number or not isinstance(reply.get("ok"), bool):
        raise BadReply("the printer answered something else")
    if not reply["ok"]:
        raise Refused(f"{_text(reply.get('error'))}: {_text(reply.get('text'))}")
    return reply


def _no_constant(name: str) -> float:
    # NaN and Infinity are no JSON, but printers write them: they become None, which is "unknown".
    return math.nan


def identity(reply: Reply) -> tuple[MachineIdentity, Capabilities]:
    """Of ``hello``."""
    volume = reply.get("volume_mm")
    sides = tuple(_number(side, 1.0, 10_000.0) for side in volume) if isinstance(volume, list) else ()
    whole = (sides[0], sides[1], sides[2]) if len(sides) == 3 else None
    machine = MachineIdentity(
        model=_text(reply.get("model")),
        firmware=_text(reply.get("firmware")),
        serial_number=_text(reply.get("serial")),
        volume_mm=None if whole is None or None in whole else (whole[0] or 0.0, whole[1] or 0.0, whole[2] or 0.0),
        nozzle_diameter_mm=_number(reply.get("nozzle_mm"), 0.01, 10.0),
        material=_text(reply.get("material")) or None,
        colour=_text(reply.get("colour")) or None,
    )
    return machine, Capabilities(can_pause=True, prints_autonomously=True)


def observation(reply: Reply) -> Observation:
    """Of ``status``. What is not known is None, or UNKNOWN: never idle."""
    heaters = reply.get("heaters")
    position = reply.get("position")
    sides = [_number(side, -1e5, 1e5) for side in position] if isinstance(position, list) else []
    occupied = reply.get("plate_occupied")
    message = _text(reply.get("message"))
    state = _state(reply.get("state"))
    by = reply.get("by")
    return Observation(
        state=state,
        file_name=_text(reply.get("file")) or None,
        ending=_ending(reply.get("ending")),
        end_of_file=reply.get("end_of_file") is True,
        progress=_number(reply.get("progress"), 0.0, 1.0),
        layer=_count(reply.get("layer")),
        layer_count=_count(reply.get("layer_count")),
        elapsed_seconds=_number(reply.get("elapsed"), 0.0, 1e9),
        remaining_seconds=_number(reply.get("remaining"), 0.0, 1e9),
        heaters=_heaters(heaters) if isinstance(heaters, dict) else (),
        position_mm=_position(sides),
        message=message,
        boot_count=_count(reply.get("boot_count")),
        print_number=_count(reply.get("print_number")),
        plate_occupied=occupied if isinstance(occupied, bool) else None,
        by_farm=None if by not in ("farm", "machine") else by == "farm",
        halted=state is ObservedState.ERROR,
    )


def _state(word: object) -> ObservedState:
    try:
        return ObservedState(str(word))
    except ValueError:
        return ObservedState.UNKNOWN


def _ending(word: object) -> Ending | None:
    return Ending(word) if isinstance(word, str) and word in set(Ending) else None


def _heaters(given: dict[str, Any]) -> tuple[Heater, ...]:
    """A sensor that says nonsense is left out: a missing reading is noticed, a wrong one believed."""
    found = []
    for name, reading in list(given.items())[:8]:
        if not isinstance(reading, dict):
            continue
        current = _number(reading.get("current"), COLDEST, HOTTEST)
        target = _number(reading.get("target"), 0.0, HOTTEST)
        if current is not None and target is not None:
            found.append(Heater(_text(name)[:32], current, target))
    return tuple(found)


def _position(sides: list[float | None]) -> tuple[float, float, float] | None:
    if len(sides) != 3:
        return None
    x, y, z = sides
    return None if x is None or y is None or z is None else (x, y, z)


def _number(value: object, lowest: float, highest: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and lowest <= value <= highest else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def _text(value: object) -> str:
    return "".join(c for c in value if c.isprintable())[:LONGEST_TEXT] if isinstance(value, str) else ""
