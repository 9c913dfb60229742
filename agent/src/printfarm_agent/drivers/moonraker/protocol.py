"""What Moonraker and Klipper answer, read with suspicion. Pure: JSON in, values out.

Source: Moonraker 0.11 and Klipper's status reference. There is no job id in the answer to a start; a print is known by its
file's name, and by the number that Moonraker's history gave it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...driver import BadReply, Capabilities, Ending, Heater, MachineIdentity, Observation, ObservedState
from ..reading import count, heater, number, rows, table, text

Json = Mapping[str, Any]

# What a look asks for; heaters and sensors of this machine come on top.
ALWAYS = ("webhooks", "print_stats", "virtual_sdcard", "idle_timeout", "pause_resume", "motion_report")
_ENDINGS = {"complete": Ending.COMPLETE, "cancelled": Ending.CANCELLED, "error": Ending.FAILED}
# ``in_progress``, ``interrupted`` and ``server_exit`` tell of Moonraker, not of the print.
_HISTORY = {
    "completed": Ending.COMPLETE,
    "cancelled": Ending.CANCELLED,
    "error": Ending.FAILED,
    "klippy_shutdown": Ending.FAILED,
    "klippy_disconnect": Ending.FAILED,
}
_STILL = {"Idle": True, "Ready": True, "Printing": False}
_EXTRUDER = re.compile(r"extruder(\d{0,2})")
_ROUND = ("delta", "deltesian", "rotary_delta", "polar")
# A heater so far below its target is being waited for.
_NEARLY = 3.0


@dataclass(frozen=True, slots=True)
class Past:
    """A print in Moonraker's history. ``number`` is its job id."""

    number: int
    ending: Ending | None
    elapsed: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What Moonraker read in the file."""

    seconds: float | None = None
    layers: int | None = None


def result(reply: object) -> Json:
    """Every answer is wrapped, but the one to an upload. Raises BadReply."""
    found = reply.get("result") if isinstance(reply, dict) else None
    if not isinstance(found, dict):
        raise BadReply("this is no answer of Moonraker")
    return found


def status(reply: object) -> Json:
    """Of ``/printer/objects/query``. Raises BadReply."""
    found = result(reply).get("status")
    if not isinstance(found, dict):
        raise BadReply("Moonraker answered without a status")
    return found


def error_text(reply: object) -> str:
    """Why it says no."""
    error = table(reply).get("error")
    return text(table(error).get("message")) or text(error) or "without a reason"


def was_not_sent(why: str) -> bool:
    """By the words of a 503: Klipper certainly never heard of it. The others come also once it was on its way, or done:
    "Klippy Disconnected" to all that wait for an answer, "Klippy Write Request Error"."""
    return why == "Klippy Host not connected"


def names(reply: Json) -> tuple[str, ...]:
    """Of ``/printer/objects/list``: the heaters and filament sensors, and what every look asks for where it exists."""
    given = reply.get("objects")
    known = [text(name, 128) for name in given[:2_000]] if isinstance(given, list) else []
    extra = [name for name in known if _heater_name(name) or _is_filament_sensor(name)]
    return tuple(dict.fromkeys([*(name for name in ALWAYS if name in known or name == "webhooks"), *extra[:24]]))


def _heater_name(name: str) -> str:
    if name == "heater_bed":
        return "bed"
    if found := _EXTRUDER.fullmatch(name):
        return f"hotend{found[1]}"
    return name.removeprefix("heater_generic ")[:32] if name.startswith("heater_generic ") else ""


def _is_filament_sensor(name: str) -> bool:
    return name.startswith(("filament_switch_sensor ", "filament_motion_sensor "))


def identity(server: Json, printer: Json, objects: Json) -> tuple[MachineIdentity, Capabilities]:
    """Of ``/server/info``, ``/printer/info``, and the objects ``toolhead`` and ``configfile``."""
    settings = table(table(objects.get("configfile")).get("settings"))
    kinematics = text(table(settings.get("printer")).get("kinematics"), 32)
    app = text(printer.get("app"), 32) or "Klipper"
    versions = (
        f"{app} {text(printer.get('software_version'), 64)}; Moonraker {text(server.get('moonraker_version'), 64)}"
    )
    machine = MachineIdentity(
        firmware=versions,
        volume_mm=_volume(table(objects.get("toolhead")), kinematics),
        nozzle_diameter_mm=number(table(settings.get("extruder")).get("nozzle_diameter"), 0.01, 10.0),
    )
    return machine, Capabilities(can_pause=True, prints_autonomously=True)


def _volume(toolhead: Json, kinematics: str) -> tuple[float, float, float] | None:
    """What lies below zero is for parking and wiping, but on round beds, whose middle is zero."""
    lows, highs = toolhead.get("axis_minimum"), toolhead.get("axis_maximum")
    if not isinstance(lows, list) or not isinstance(highs, list) or min(len(lows), len(highs)) < 3:
        return None
    sides = []
    for axis in range(3):
        low, high = number(lows[axis], -1e4, 1e4), number(highs[axis], -1e4, 1e4)
        if low is None or high is None:
            return None
        sides.append(high - low if kinematics in _ROUND and axis < 2 else high - max(low, 0.0))
    return (sides[0], sides[1], sides[2]) if min(sides) > 1.0 else None


# -- a look


def file_path(seen: Json) -> str:
    """What Klipper prints, or printed last; empty after its restart."""
    return text(table(seen.get("print_stats")).get("filename"))


def printing(seen: Json) -> str:
    """Klipper's word for the print; empty unless Klipper works."""
    works = table(seen.get("webhooks")).get("state") == "ready"
    return text(table(seen.get("print_stats")).get("state"), 32) if works else ""


def is_paused_by_macro(seen: Json) -> bool:
    """A pause by PAUSE, which RESUME ends; M25 pauses beside it."""
    return table(seen.get("pause_resume")).get("is_paused") is True


def name_in(folder: str, path: str) -> str:
    """A file of ours by its name; anybody else's by its path."""
    if path.startswith(f"{folder}/"):
        return path.removeprefix(f"{folder}/")
    # A file elsewhere that is called as ours are is not ours.
    return f"/{path}" if path.startswith("pf-") else path


def observation(seen: Json, name: str, past: Past | None, estimate: Estimate) -> Observation:
    """One look. ``name`` is the file that Klipper prints or printed last, by its word or by our knowledge; ``past`` is that
    print in the history, where it was asked."""
    hooks, stats = table(seen.get("webhooks")), table(seen.get("print_stats"))
    heaters = _heaters(seen)
    state = _state(seen, name, heaters)
    # After an emergency stop print_stats says "paused" or "printing" for ever.
    ending = _ending(state, text(stats.get("state"), 32), file_path(seen) == "", past)
    told = _words(hooks.get("state_message") if state is ObservedState.ERROR else stats.get("message"))
    info = table(stats.get("info"))
    worked = number(stats.get("print_duration"), 0.0, 1e9)
    busy = state in (ObservedState.PREPARING, ObservedState.PRINTING, ObservedState.PAUSED)
    return Observation(
        state=state,
        file_name=name or None,
        ending=ending,
        end_of_file=ending is Ending.COMPLETE,
        progress=1.0
        if ending is Ending.COMPLETE
        else number(table(seen.get("virtual_sdcard")).get("progress"), 0.0, 1.0),
        layer=count(info.get("current_layer")),
        layer_count=count(info.get("total_layer")) or estimate.layers,
        elapsed_seconds=past.elapsed
        if past and file_path(seen) == ""
        else number(stats.get("total_duration"), 0.0, 1e9),
        remaining_seconds=_remaining(estimate.seconds, worked) if busy else None,
        heaters=heaters,
        position_mm=_position(table(seen.get("motion_report")).get("live_position")),
        message=told or (past.why if past and ending is Ending.FAILED else ""),
        print_number=past.number if past else None,
        filament_present=_filament(seen),
        halted=state is ObservedState.ERROR,
    )


def _state(seen: Json, name: str, heaters: tuple[Heater, ...]) -> ObservedState:
    works = table(seen.get("webhooks")).get("state")
    if works in ("shutdown", "error"):
        return ObservedState.ERROR
    if works == "startup":
        return ObservedState.OFFLINE
    if works != "ready":
        return ObservedState.UNKNOWN
    stats = table(seen.get("print_stats"))
    word = text(stats.get("state"), 32)
    if word == "paused":
        return ObservedState.PAUSED
    if word == "printing":
        heats = any(found.target > 0 and found.current < found.target - _NEARLY for found in heaters)
        return ObservedState.PREPARING if heats and stats.get("print_duration") == 0 else ObservedState.PRINTING
    if word not in ("standby", *_ENDINGS):
        return ObservedState.UNKNOWN
    still = _STILL.get(text(table(seen.get("idle_timeout")).get("state"), 32))
    if still is None:
        return ObservedState.UNKNOWN
    if still:
        return ObservedState.IDLE
    # Moves of a print that is over, or somebody's by hand.
    return ObservedState.FINISHING if name.startswith("pf-") else ObservedState.PRINTING


def _ending(state: ObservedState, word: str, forgotten: bool, past: Past | None) -> Ending | None:
    if state is ObservedState.ERROR:
        return Ending.FAILED if word in ("printing", "paused") else None
    if state is not ObservedState.IDLE:
        return None
    if forgotten:
        return past.ending if past else None
    return _ENDINGS.get(word)


def _heaters(seen: Json) -> tuple[Heater, ...]:
    found: tuple[Heater, ...] = ()
    for key, reading in seen.items():
        if (name := _heater_name(key)) and isinstance(reading, dict):
            found += heater(name, reading.get("temperature"), reading.get("target"))
    return found


def _filament(seen: Json) -> bool | None:
    """Every sensor that is switched on must see filament."""
    words = [
        sensor.get("filament_detected")
        for key, sensor in seen.items()
        if _is_filament_sensor(key) and isinstance(sensor, dict) and sensor.get("enabled") is True
    ]
    return all(word is True for word in words) if words and all(isinstance(word, bool) for word in words) else None


def _words(told: object) -> str:
    """Klipper writes several lines."""
    return text(" ".join(told[:2_048].split())) if isinstance(told, str) else ""


def _position(given: object) -> tuple[float, float, float] | None:
    if not isinstance(given, list) or len(given) < 3:
        return None
    x, y, z = (number(side, -1e4, 1e4) for side in given[:3])
    return None if x is None or y is None or z is None else (x, y, z)


def _remaining(estimated: float | None, worked: float | None) -> float | None:
    return None if estimated is None or worked is None else max(0.0, estimated - worked)


# -- files and history


def past_of(reply: Json, path: str) -> Past | None:
    """Of ``/server/history/list``: the newest print of this file."""
    found = [past for row in rows(reply.get("jobs")) if text(row.get("filename")) == path and (past := _past(row))]
    return max(found, key=lambda past: past.number, default=None)


def is_under_way(reply: Json, path: str) -> bool:
    """Of ``/server/history/list``: the newest print is of this file, and goes on. Not to be believed the other way round:
    a restart of Moonraker in a print closes the entry."""
    jobs = rows(reply.get("jobs"))
    return bool(jobs) and text(jobs[0].get("filename")) == path and jobs[0].get("status") == "in_progress"


def last_path(reply: Json) -> str:
    """Of ``/server/history/list``: the file of its first entry."""
    jobs = rows(reply.get("jobs"))
    return text(jobs[0].get("filename")) if jobs else ""


def _past(row: Json) -> Past | None:
    word = text(row.get("status"), 32)
    try:
        job = int(text(row.get("job_id"), 12), 16)
    except ValueError:
        return None
    return Past(
        job, _HISTORY.get(word), number(row.get("total_duration"), 0.0, 1e9), f"Moonraker's history says {word}"
    )


def estimate(reply: Json) -> Estimate:
    """Of ``/server/files/metadata``."""
    return Estimate(number(reply.get("estimated_time"), 0.0, 1e9), count(reply.get("layer_count")))


def stored_as(reply: object, path: str) -> bool:
    """Of an upload: it lies where it was meant to. This one answer is not wrapped; some versions do."""
    whole = table(reply)
    item = table(table(whole.get("result") or whole).get("item"))
    return text(item.get("path")) == path and item.get("root") == "gcodes"


def free_bytes(reply: Json) -> float | None:
    """Of ``/server/files/directory``."""
    return number(table(reply.get("disk_usage")).get("free"), 0.0, 1e18)
