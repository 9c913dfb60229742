"""A Bambu printer's reports, read with suspicion. Pure: bytes in, values out.

There is no official description; sources: OpenBambuAPI, ha-bambulab. Some models report everything each second, others only
what changed: nothing is read from a report alone, only from what all of them since the connection add up to.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...driver import BadReply, Heater
from .. import reading

LONGEST_REPORT = 1 << 20
TOO_LONG = f"the printer's report is longer than {LONGEST_REPORT} bytes"
_DEEPEST = 12
# Of print.fun: set means that commands must be signed, that is, Developer Mode is off.
_NEEDS_SIGNATURE = 0x20000000
_CARD_FAULTY = 0x200
# Phases of a print that RUNNING hides.
PREPARING_STAGES = frozenset({1, 2, 3, 7, *range(8, 16), 18, 19, 22, 24, 25, 29, *range(39, 67), *range(74, 78)})
PAUSED_STAGES = frozenset({5, 6, 16, 17, 20, 21, 23, 26, 27, 28, 30, 32, 33, 34, 35})
CANCEL_CODES = frozenset({0x0300400C, 0x0500400E})
VERIFY_CODES = frozenset({0x05024007, 0x05024009})
PATH_CODE, BUSY_CODE = 0x05004002, 0x05004004
# A project that the printer will not print, and moved nothing for.
REFUSAL_CODES = frozenset({PATH_CODE, 0x05004003, BUSY_CODE, 0x05004038, *VERIFY_CODES})
_VERIFY_HMS = "0500_0500_0001_0007"
_VERIFIES = frozenset({_VERIFY_HMS, *(f"{code:08X}" for code in VERIFY_CODES)})
_TEXTS = {
    0x03008003: "spaghetti was seen",
    0x03008004: "the filament ran out",
    0x0300800A: "filament piled up in the chute",
    0x03008014: "the nozzle is wrapped in filament",
    0x03008016: "the nozzle is clogged",
    0x0C008001: "the first layer has defects",
    PATH_CODE: "the printer does not find the file",
    0x05004003: "the printer cannot read the file",
    BUSY_CODE: "the printer is busy",
    0x05004038: "the file is for another nozzle",
    0x0300400C: "cancelled",
    0x0500400E: "cancelled",
}
_STAGES = {
    5: "paused by the file",
    6: "the filament ran out",
    16: "paused by a person",
    17: "the front cover is off",
    20: "the nozzle's temperature is wrong",
    21: "the bed's temperature is wrong",
}
NO_CONTROL = "the printer takes no commands: switch on LAN Only and Developer Mode on the printer"
_ACTIVE = frozenset({"PREPARE", "SLICING", "RUNNING", "PAUSE", "INIT"})
_STILL = frozenset({"IDLE", "FINISH", "FAILED"})
# What is read, at any depth. Nothing else is kept: a printer that made up keys would fill the memory.
_READ = frozenset(
    {
        "gcode_state",
        "stg_cur",
        "subtask_id",
        "task_id",
        "subtask_name",
        "gcode_file",
        "mc_percent",
        "mc_remaining_time",
        "layer_num",
        "total_layer_num",
        "nozzle_temper",
        "nozzle_target_temper",
        "bed_temper",
        "bed_target_temper",
        "nozzle_diameter",
        "print_error",
        "hms",
        "fun",
        "home_flag",
        "upgrade_state",
        "status",
        "ams",
        "tray",
        "tray_now",
        "id",
        "tray_type",
        "tray_color",
    }
)
_NAMING = frozenset({"subtask_id", "task_id", "subtask_name", "gcode_file"})


@dataclass(frozen=True, slots=True)
class Tray:
    """Filament in an AMS, or on the external spool. ``number`` as in ``ams_mapping``; colour RRGGBB."""

    number: int
    material: str
    colour: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the printer says, added up. ``state`` is its own word in capitals, empty if it said none yet."""

    state: str = ""
    stage: int | None = None
    ids: frozenset[str] = frozenset()
    subtask_name: str = ""
    gcode_file: str = ""
    # False while nothing has come that could name a print: then it says of no print that it is or is not there.
    names_print: bool = True
    progress: float | None = None
    remaining_seconds: float | None = None
    layer: int | None = None
    layer_count: int | None = None
    heaters: tuple[Heater, ...] = ()
    print_error: int = 0
    # The ids and the name of the print under which a cancel code last stood: it stands for a second, a look comes later.
    cancelled: frozenset[str] = frozenset()
    hms: tuple[tuple[str, int], ...] = ()
    needs_signature: bool | None = None
    card_faulty: bool = False
    updates_firmware: bool = False
    trays: tuple[Tray, ...] = ()
    tray_now: int | None = None
    nozzle_diameter_mm: float | None = None

    @property
    def is_active(self) -> bool:
        """It works on something, or may at once."""
        return self.state in _ACTIVE

    @property
    def takes_a_start(self) -> bool:
        """A start now cannot disturb another print. An A1 was seen to cancel its print for one."""
        return self.state in _STILL and self.stage not in PREPARING_STAGES and not self.updates_firmware

    @property
    def refusals(self) -> frozenset[str]:
        """Why it prints nothing of what it was told, as codes. They may be left from an earlier try: compare."""
        found = {key for key, _ in self.hms if key == _VERIFY_HMS}
        if self.print_error in REFUSAL_CODES:
            found.add(f"{self.print_error:08X}")
        return frozenset(found)

    @property
    def denies_control(self) -> bool:
        """It takes no commands from us: by its flag, or where it has none by a complaint that stands."""
        return bool(self.refusals & _VERIFIES) if self.needs_signature is None else self.needs_signature

    @property
    def fault(self) -> str:
        """What is wrong, in words; empty if nothing is. Phase notes and cancel codes are no fault."""
        if self.card_faulty:
            return "the printer's card is faulty"
        if self.print_error & 0xFFFF >= 0x4000 and self.print_error not in CANCEL_CODES:
            return code_text(self.print_error)
        fatal = [key for key, severity in self.hms if severity == 1]
        return f"the printer reports the fatal fault {fatal[0]}" if fatal else ""

    @property
    def stage_text(self) -> str:
        """Why it stands still, as far as it tells."""
        return _STAGES.get(self.stage or 0, "")


@dataclass(slots=True)
class Cache:
    """What all reports of one connection add up to."""

    told: dict[str, Any] = field(default_factory=dict)
    cancelled: frozenset[str] = frozenset()

    def take(self, print_: Mapping[str, Any]) -> None:
        """A ``print`` object, whole or only what changed."""
        _merge(self.told, print_, 0)
        if reading.count(self.told.get("print_error")) in CANCEL_CODES:
            shown = read(self.told)
            self.cancelled = (shown.ids | {shown.subtask_name}) - {""}

    def report(self) -> Report:
        """As it stands."""
        return replace(read(self.told), cancelled=self.cancelled)


def decode(payload: bytes) -> dict[str, Any]:
    """A message. Names may hold broken UTF-8. Raises BadReply."""
    if len(payload) > LONGEST_REPORT:
        raise BadReply(TOO_LONG)
    try:
        said = json.loads(payload.decode("utf-8", "replace"), parse_constant=lambda _: math.nan)
    except (ValueError, RecursionError) as error:
        raise BadReply("the printer reported noise") from error
    if not isinstance(said, dict):
        raise BadReply("the printer reported something else than an object")
    return said


def code_text(code: int) -> str:
    """A ``print_error`` in words, with the number that the vendor's pages list it by."""
    number = f"{code >> 16:04X}_{code & 0xFFFF:04X}"
    return f"{_TEXTS.get(code, 'the printer reports an error')} ({number})"


def refusal_text(codes: frozenset[str]) -> str:
    """In words."""
    if codes & _VERIFIES:
        return NO_CONTROL
    return "; ".join(code_text(int(code, 16)) for code in sorted(codes))


def read(told: Mapping[str, Any]) -> Report:
    """Of what was merged so far."""
    state = told.get("gcode_state")
    ids = (reading.text(told.get(key), 32) for key in ("subtask_id", "task_id"))
    percent = reading.number(told.get("mc_percent"), 0.0, 100.0)
    minutes = reading.number(told.get("mc_remaining_time"), 0.0, 1e6)
    ams = reading.table(told.get("ams"))
    return Report(
        state=reading.text(state, 32).upper(),
        stage=reading.count(told.get("stg_cur")),
        ids=frozenset(ids) - {"", "0"},
        subtask_name=reading.text(told.get("subtask_name")),
        gcode_file=reading.text(told.get("gcode_file")),
        names_print=not _NAMING.isdisjoint(told),
        progress=None if percent is None else percent / 100.0,
        remaining_seconds=None if minutes is None else minutes * 60.0,
        layer=reading.count(told.get("layer_num")),
        layer_count=reading.count(told.get("total_layer_num")),
        heaters=(
            *reading.heater("hotend", told.get("nozzle_temper"), told.get("nozzle_target_temper")),
            *reading.heater("bed", told.get("bed_temper"), told.get("bed_target_temper")),
        ),
        print_error=reading.count(told.get("print_error")) or 0,
        hms=_hms(told.get("hms")),
        needs_signature=_needs_signature(told.get("fun")),
        card_faulty=bool((reading.count(told.get("home_flag")) or 0) & _CARD_FAULTY),
        updates_firmware=_updates(told.get("upgrade_state")),
        trays=_trays(ams),
        tray_now=_tray_number(ams.get("tray_now")),
        nozzle_diameter_mm=_decimal(told.get("nozzle_diameter")),
    )


def _merge(into: dict[str, Any], news: Mapping[str, Any], depth: int) -> None:
    """What is read of it: objects deeply, lists whole; rows that have an ``id`` one by one, as AMS units and trays are sent
    alone."""
    if depth > _DEEPEST:
        return
    for key, value in news.items():
        if key not in _READ:
            continue
        old = into.get(key)
        if isinstance(value, dict):
            if not isinstance(old, dict):
                old = into[key] = {}
            _merge(old, value, depth + 1)
        elif key in ("ams", "tray") and isinstance(value, list) and isinstance(old, list):
            into[key] = _merged_rows(old, value, depth + 1)
        else:
            into[key] = value


def _merged_rows(old: list[Any], news: list[Any], depth: int) -> list[Any]:
    rows = {str(row.get("id")): row for row in old[:32] if isinstance(row, dict)}
    for row in news[:32]:
        if isinstance(row, dict):
            _merge(rows.setdefault(str(row.get("id")), {}), row, depth)
    return list(rows.values())


def _hms(value: object) -> tuple[tuple[str, int], ...]:
    """Key of the vendor's list, and severity: 1 fatal, 2 serious, 3 common, 4 information."""
    found = []
    for row in reading.rows(value, 32):
        attr, code = reading.count(row.get("attr")), reading.count(row.get("code"))
        if attr is not None and code is not None:
            parts = (attr >> 16, attr, code >> 16, code)
            found.append(("_".join(f"{part & 0xFFFF:04X}" for part in parts), code >> 16 & 0xFFFF))
    return tuple(found)


def _needs_signature(fun: object) -> bool | None:
    try:
        return bool(int(fun, 16) & _NEEDS_SIGNATURE) if isinstance(fun, str) and len(fun) <= 32 else None
    except ValueError:
        return None


def _updates(value: object) -> bool:
    status = reading.text(reading.table(value).get("status"), 32).upper()
    return status not in ("", "IDLE", "UPGRADE_SUCCESS", "UPGRADE_FAIL")


def _trays(ams: Mapping[str, Any]) -> tuple[Tray, ...]:
    found = []
    for unit in reading.rows(ams.get("ams"), 8):
        unit_id = _tray_number(unit.get("id"))
        for row in reading.rows(unit.get("tray"), 4):
            slot, material = _tray_number(row.get("id")), reading.text(row.get("tray_type"), 32)
            if unit_id is not None and slot is not None and material:
                number = unit_id * 4 + slot if unit_id < 128 else unit_id + slot
                found.append(Tray(number, material, reading.text(row.get("tray_color"), 8)[:6].upper()))
    return tuple(found)


def _tray_number(value: object) -> int | None:
    """Sent as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 3 else None


def _decimal(value: object) -> float | None:
    try:
        return reading.number(float(value), 0.05, 5.0) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
