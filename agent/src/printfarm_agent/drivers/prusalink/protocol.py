"""PrusaLink's answers, read with suspicion. Pure: JSON in, values out. Source: Prusa-Link-Web ``spec/openapi.yaml``."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...driver import BadReply, Capabilities, Heater, MachineIdentity
from .. import reading

# Longer names are cut on the way to the file system of some firmware.
LONGEST_NAME = 40
BINARY = "bgcode"
_FARM_NAME = re.compile(r"pf-([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})\.(b?gcode)")
_SHORT_NAME = re.compile(r"pf?([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})\.(b?gcode)")


class Dialect(StrEnum):
    """Which of the two servers answers."""

    BUDDY = "buddy"
    PI = "pi"


class Native(StrEnum):
    """The printer's own word. Any other is UNKNOWN."""

    IDLE = "IDLE"
    READY = "READY"
    BUSY = "BUSY"
    PRINTING = "PRINTING"
    PAUSED = "PAUSED"
    FINISHED = "FINISHED"
    STOPPED = "STOPPED"
    ERROR = "ERROR"
    ATTENTION = "ATTENTION"
    UNKNOWN = "UNKNOWN"


# How the print before ended. Buddy takes a start in these; the Pi shows them for some seconds, and takes none.
ENDED = frozenset({Native.FINISHED, Native.STOPPED})
# A start may be taken in these.
STARTABLE = frozenset({Native.IDLE, Native.READY}) | ENDED


@dataclass(frozen=True, slots=True)
class Server:
    """Of ``/api/version``."""

    dialect: Dialect
    model: str
    firmware: str
    nozzle_diameter_mm: float | None
    takes_uploads: bool


@dataclass(frozen=True, slots=True)
class Job:
    """What prints. ``progress`` is 0 to 1; seconds. The name is filled in by ``/api/v1/job`` alone."""

    job_id: int
    progress: float | None = None
    remaining_seconds: float | None = None
    printing_seconds: float | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """Of ``/api/v1/status``, with the job's file name where there is a job."""

    native: Native
    job: Job | None = None
    heaters: tuple[Heater, ...] = ()
    position_mm: tuple[float, float, float] | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Storage:
    """Where files go. ``free_bytes`` is None on Buddy, which does not tell."""

    path: str
    writable: bool
    free_bytes: int | None


def short_name(name: str) -> str:
    """The name of a file of ours on the printer. A run's id keeps all its digits: the printer's word leads back to it."""
    if found := _FARM_NAME.fullmatch(name):
        *digits, suffix = found.groups()
        # 40 characters either way.
        return f"{'p' if suffix == BINARY else 'pf'}{''.join(digits)}.{suffix}"
    if len(name) <= LONGEST_NAME:
        return name
    return f"pf{hashlib.sha256(name.encode()).hexdigest()[:32]}.gcode"


def long_name(name: str) -> str:
    """The agent's name of a file on the printer, as far as it can be told from there."""
    found = _SHORT_NAME.fullmatch(name)
    if not found:
        return name
    *digits, suffix = found.groups()
    return f"pf-{'-'.join(digits)}.{suffix}"


def is_runs(name: str) -> bool:
    """The agent's name of a run's file, and nobody else's."""
    return _FARM_NAME.fullmatch(name) is not None


def server(said: Any) -> Server:
    """Raises BadReply for another server."""
    version = reading.table(said)
    words = reading.text(version.get("text"))
    if "api" not in version or "prusalink" not in words.lower():
        raise BadReply("what answers at this address is no PrusaLink")
    is_pi = "original" in version or "sdk" in version
    original = reading.text(version.get("original") or version.get("printer"))
    capabilities = reading.table(version.get("capabilities"))
    return Server(
        dialect=Dialect.PI if is_pi else Dialect.BUDDY,
        model=original.removeprefix("PrusaLink").strip() or ("" if is_pi else "Prusa (Buddy)"),
        firmware=reading.text(version.get("firmware")),
        nozzle_diameter_mm=reading.number(version.get("nozzle_diameter"), 0.01, 10.0),
        takes_uploads=is_pi or capabilities.get("upload-by-put") is True,
    )


def identity(server: Server, said: Any) -> tuple[MachineIdentity, Capabilities]:
    """Of the server and ``/api/v1/info``."""
    info = reading.table(said)
    is_buddy = server.dialect is Dialect.BUDDY
    nozzle = reading.number(info.get("nozzle_diameter"), 0.01, 10.0)
    machine = MachineIdentity(
        model=server.model,
        firmware=server.firmware,
        serial_number=reading.text(info.get("serial"), 64),
        nozzle_diameter_mm=nozzle if nozzle is not None else server.nozzle_diameter_mm,
    )
    # No G-code and no temperatures can be sent: heaters are the printer's own business. The Pi shows an end for 11 s only, and
    # its printers know no binary G-code; Buddy reads it since it takes uploads by PUT.
    return machine, Capabilities(
        can_pause=True,
        prints_autonomously=True,
        can_cool_down=False,
        remembers_ending=is_buddy,
        file_kinds=(BINARY,) if is_buddy else (),
    )


def look(said: Any) -> Look:
    """Of ``/api/v1/status``. Raises BadReply if it is none."""
    status = reading.table(said)
    printer = status.get("printer")
    if not isinstance(printer, dict):
        raise BadReply("the printer's status has no printer in it")
    return Look(
        native=_native(printer.get("state")),
        job=job(status.get("job")),
        heaters=(
            *reading.heater("hotend", printer.get("temp_nozzle"), printer.get("target_nozzle")),
            *reading.heater("bed", printer.get("temp_bed"), printer.get("target_bed")),
        ),
        position_mm=_position(printer),
        message=_message(printer),
    )


def job(said: Any) -> Job | None:
    """Of a ``job`` object. ``display_name`` is the name: ``name`` is an 8.3 short form on Buddy."""
    given = reading.table(said)
    job_id = reading.count(given.get("id"))
    if job_id is None:
        return None
    progress = reading.number(given.get("progress"), 0.0, 100.0)
    file = reading.table(given.get("file"))
    return Job(
        job_id=job_id,
        progress=None if progress is None else progress / 100.0,
        remaining_seconds=reading.number(given.get("time_remaining"), 0.0, 1e9),
        printing_seconds=reading.number(given.get("time_printing"), 0.0, 1e9),
        name=reading.text(file.get("display_name") or file.get("name")) or None,
    )


def storages(said: Any) -> list[Storage]:
    """Of ``/api/v1/storage``."""
    found = []
    for row in reading.rows(reading.table(said).get("storage_list")):
        path = reading.text(row.get("path"), 64).strip("/")
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", path):
            continue
        writable = row.get("read_only") is not True and row.get("available") is not False
        found.append(Storage(path, writable, reading.count(row.get("free_space"))))
    return found


def file_size(said: Any) -> int | None:
    """Of ``/api/v1/files/...``; None for a folder, or if it does not tell."""
    return reading.count(reading.table(said).get("size"))


def transferred(said: Any) -> int | None:
    """Of ``/api/v1/transfer``: how many bytes have come; None if it does not tell."""
    return reading.count(reading.table(said).get("transferred"))


def complaint(body: Any) -> str:
    """Why the printer said no, in its own words."""
    given = reading.table(body)
    return reading.text(given.get("message")) or reading.text(given.get("title"))


def _native(word: object) -> Native:
    try:
        return Native(str(word).upper())
    except ValueError:
        return Native.UNKNOWN


def _message(printer: Any) -> str:
    status = reading.table(printer.get("status_printer"))
    words = reading.text(status.get("message"))
    return "" if status.get("ok") is True and words.upper() in ("OK", "") else words


def _position(printer: Any) -> tuple[float, float, float] | None:
    x, y, z = (reading.number(printer.get(f"axis_{axis}"), -1e4, 1e4) for axis in "xyz")
    return None if x is None or y is None or z is None else (x, y, z)
