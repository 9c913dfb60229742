"""OctoPrint's answers, read with suspicion. Pure: JSON in, values out.

Source: OctoPrint 1.11.8, docs/api and the server itself. There is no job id: a print is known by its file's path.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...driver import (
    BadReply,
    Capabilities,
    Ending,
    Heater,
    MachineIdentity,
    Observation,
    ObservedState,
)
from ..reading import heater, number, rows, table, text

Json = Mapping[str, Any]

# State text -> ours. While it connects, every flag is false: it is neither an error nor ready.
_STATES = {
    "Offline": ObservedState.OFFLINE,
    "Opening serial connection": ObservedState.OFFLINE,
    "Detecting serial connection": ObservedState.OFFLINE,
    "Connecting": ObservedState.OFFLINE,
    "Operational": ObservedState.IDLE,
    "Starting": ObservedState.PREPARING,
    "Printing": ObservedState.PRINTING,
    # It moves until it is paused.
    "Pausing": ObservedState.PRINTING,
    "Paused": ObservedState.PAUSED,
    "Resuming": ObservedState.PRINTING,
    # PrintDone was told already; moves are still buffered.
    "Finishing": ObservedState.FINISHING,
    # Up to minutes, while a heater is waited for.
    "Cancelling": ObservedState.PRINTING,
    # Somebody else's doing: this driver never uses the printer's own card.
    "Starting print from SD": ObservedState.PREPARING,
    "Printing from SD": ObservedState.PRINTING,
    "Starting to send file to SD": ObservedState.PRINTING,
    "Sending file to SD": ObservedState.PRINTING,
    "Transferring file to SD": ObservedState.PRINTING,
    "Error": ObservedState.ERROR,
    # ``flags.error`` is false in this one.
    "Offline after error": ObservedState.ERROR,
}
_ERRORS = ("Error:", "Offline (Error")
_BUSY = (ObservedState.PREPARING, ObservedState.PRINTING, ObservedState.PAUSED, ObservedState.FINISHING)
_IMITATORS = {"Moonraker": "moonraker", "PrusaLink": "prusalink"}
_NEEDED = ("STATUS", "FILES_LIST", "FILES_UPLOAD", "FILES_SELECT", "FILES_DELETE", "PRINT", "CONTROL")


@dataclass(frozen=True, slots=True)
class Profile:
    """What the printer profile says of the heaters there are."""

    hotends: int = 1
    bed: bool = True
    chamber: bool = False


def server_version(reply: Json) -> str:
    """Of ``/api/version``. Raises BadReply for another program, also one that imitates OctoPrint."""
    said = text(reply.get("text"))
    for name, driver in _IMITATORS.items():
        if name in said:
            raise BadReply(f"this is {name}: its driver is {driver}")
    if not said.startswith("OctoPrint"):
        raise BadReply("this is not OctoPrint")
    return text(reply.get("server"), 64)


def missing_permissions(reply: Json) -> list[str] | None:
    """Of ``/api/currentuser``: what the key may not do; None if the key is not accepted at all."""
    if not text(reply.get("name")):
        return None
    given = reply.get("permissions")
    # Words in 1.11; its documentation shows objects.
    granted = {text(row.get("key")) for row in rows(given)} | {
        text(word) for word in (given if isinstance(given, list) else [])
    }
    return [key for key in _NEEDED if key not in granted]


def identity(version: str, profile: Json) -> tuple[MachineIdentity, Capabilities, Profile]:
    """By the printer profile that is in use; OctoPrint tells nothing of the printer's firmware over REST."""
    extruder, volume = table(profile.get("extruder")), table(profile.get("volume"))
    sides = tuple(number(volume.get(key), 1.0, 10_000.0) for key in ("width", "depth", "height"))
    hotends = number(extruder.get("count"), 1, 8)
    machine = MachineIdentity(
        model=text(profile.get("model")),
        firmware=f"OctoPrint {version}",
        volume_mm=None if None in sides else (sides[0] or 0.0, sides[1] or 0.0, sides[2] or 0.0),
        nozzle_diameter_mm=number(extruder.get("nozzleDiameter"), 0.01, 10.0),
    )
    heaters = Profile(int(hotends or 1), profile.get("heatedBed") is not False, profile.get("heatedChamber") is True)
    return machine, Capabilities(can_pause=True, prints_autonomously=True), heaters


def state_text(reply: Json) -> str:
    """Of ``/api/job``: one word for state, the same as that of ``/api/printer`` at that moment."""
    return text(reply.get("state"))


def is_closed_by_error(word: str) -> bool:
    """OctoPrint gave its connection up, as it does behind an M112."""
    return _state(word) is ObservedState.ERROR


def printer_text(reply: Json) -> str:
    """Of ``/api/printer``."""
    return text(table(reply.get("state")).get("text"))


def name_of(job: Json, folder: str) -> str:
    """The file of a job: ours by its name, anybody else's by its path; empty if there is none."""
    file = table(table(job.get("job")).get("file"))
    path, origin = text(file.get("path")), text(file.get("origin"), 16)
    if origin == "local" and path.startswith(f"{folder}/"):
        return path.removeprefix(f"{folder}/")
    if origin in ("sdcard", "printer"):
        return f"{origin}/{path}"
    # A file elsewhere that is called as ours are is not ours.
    return f"/{path}" if path.startswith("pf-") else path


def is_busy(job: Json) -> bool:
    """A print goes on: its file's record tells nothing yet."""
    return _state(state_text(job)) in _BUSY


def observation(job: Json, printer: Json | None, name: str, file: Json | None, *, cancelled: bool) -> Observation:
    """One look. ``printer`` is None while it is not operational. ``name`` is the file that it prints, or printed last by
    our knowledge; ``file`` is that one's record, where it was asked. ``cancelled``: somebody asked for that end."""
    state = _checked(_state(state_text(job)), printer)
    progress, told = table(job.get("progress")), text(job.get("error"))
    percent = number(progress.get("completion"), 0.0, 100.0)
    over = state not in _BUSY
    last = table(table(table(file).get("prints")).get("last")) if over else {}
    ending = _ending(last, cancelled=cancelled)
    if ending is Ending.COMPLETE:
        percent = 100.0
    elapsed = number(last.get("printTime") if last else progress.get("printTime"), 0.0, 1e9)
    return Observation(
        state=state,
        file_name=name or None,
        ending=ending,
        end_of_file=ending is Ending.COMPLETE,
        progress=None if percent is None else percent / 100.0,
        elapsed_seconds=elapsed,
        remaining_seconds=None if over else number(progress.get("printTimeLeft"), 0.0, 1e9),
        heaters=_heaters(table(table(printer).get("temperature"))),
        message=told or _message(ending, state),
        halted=state is ObservedState.ERROR,
    )


def _state(word: str) -> ObservedState:
    if word.startswith(_ERRORS):
        return ObservedState.ERROR
    return _STATES.get(word, ObservedState.UNKNOWN)


def _checked(state: ObservedState, printer: Json | None) -> ObservedState:
    """Idle allows a start: the flags must say so too."""
    if state is not ObservedState.IDLE:
        return state
    flags = table(table(table(printer).get("state")).get("flags"))
    works = any(flags.get(flag) is not False for flag in ("printing", "paused", "closedOrError", "error"))
    return (
        state
        if flags.get("ready") is True and flags.get("operational") is True and not works
        else ObservedState.UNKNOWN
    )


def _ending(last: Json, *, cancelled: bool) -> Ending | None:
    """OctoPrint's record of a print knows success and the rest."""
    if last.get("success") is True:
        return Ending.COMPLETE
    if last.get("success") is False:
        return Ending.CANCELLED if cancelled else Ending.FAILED
    return None


def _message(ending: Ending | None, state: ObservedState) -> str:
    if state is ObservedState.ERROR:
        return "OctoPrint closed the connection after an error: see its terminal, then connect again there"
    if ending is Ending.FAILED:
        return "OctoPrint says that the print did not succeed: its printer restarted, or it was cancelled while nobody listened"
    return ""


def _heaters(given: Json) -> tuple[Heater, ...]:
    found: tuple[Heater, ...] = ()
    for key, reading in list(given.items())[:12]:
        name = _heater_name(key)
        if name and isinstance(reading, dict):
            found += heater(name, reading.get("actual"), reading.get("target"))
    return found


def _heater_name(key: str) -> str:
    if key in ("bed", "chamber"):
        return key
    tool = key.removeprefix("tool")
    if key == tool or not tool.isdecimal() or len(tool) > 2:
        return ""
    return "hotend" if tool == "0" else f"hotend{tool}"


def last_printed(folder: Json) -> str:
    """Of a folder's listing: the file whose print ended last; empty if none did."""
    ended = [(_ended_at(row), text(row.get("name"))) for row in rows(folder.get("children"))]
    return max(((at, name) for at, name in ended if at is not None), default=(0.0, ""))[1]


def local_path(job: Json) -> str:
    """Of the selected file, if it lies on OctoPrint's own storage."""
    file = table(table(job.get("job")).get("file"))
    return text(file.get("path")) if file.get("origin") == "local" else ""


def was_printed(file: Json | None) -> bool:
    """By a file's record: a print of it has ended."""
    return bool(table(table(table(file).get("prints")).get("last")))


def ended_later(one: Json | None, other: Json | None) -> bool:
    """By two files' records: a print of the first ended, and none of the second since."""
    at, others = _ended_at(table(one)), _ended_at(table(other))
    return at is not None and (others is None or at > others)


def _ended_at(file: Json) -> float | None:
    return number(table(table(file.get("prints")).get("last")).get("date"), 0.0, 1e11)


# -- the push socket

SUBSCRIPTION: Json = {"subscribe": {"state": False, "events": ["PrintCancelled"], "plugins": []}}


def socket_login(reply: object) -> str:
    """Of a passive ``/api/login``. Raises BadReply."""
    name, session = text(table(reply).get("name")), text(table(reply).get("session"))
    if not name or not session:
        raise BadReply("OctoPrint gave no session")
    return f"{name}:{session}"


def wants_login(message: object) -> bool:
    """The session ended, such as by a restart."""
    return "reauthRequired" in table(message)


def cancelled_path(message: object) -> str:
    """The file on OctoPrint's storage whose print somebody cancelled; empty for all else. A firmware that restarts is told as
    a cancel too, but by nobody."""
    event = table(table(message).get("event"))
    payload = table(event.get("payload"))
    if event.get("type") != "PrintCancelled" or payload.get("origin") != "local" or not text(payload.get("user")):
        return ""
    return text(payload.get("path"))


# -- files


def stored_as(reply: Json, path: str) -> bool:
    """Of an upload: it lies where it was meant to."""
    return text(table(table(reply.get("files")).get("local")).get("path")) == path


def is_whole(file: Json, size: int, sha1: str) -> bool:
    """Of a file's record: every byte arrived. The hash is SHA-1, whatever the documentation says."""
    return file.get("size") == size and file.get("hash") == sha1


def free_bytes(reply: Json) -> float | None:
    """Of ``/api/files/local``."""
    return number(reply.get("free"), 0.0, 1e18)
