"""SimplyPrint's answers, read with suspicion. Pure: JSON in, values out.

Sources: the API documentation (October 2024), and the company's own n8n nodes 0.4.0 (April 2026), which win where they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...driver import BadReply, Heater, MachineIdentity, Refused
from .. import reading

# With an answer of 200 as well: status false is the no.
_OUTCOMES = {"done": "done", "finished": "done", "failed": "failed", "cancelled": "cancelled", "ongoing": "ongoing"}
STATES = frozenset(
    {
        "offline",
        "operational",
        "awaiting_bed_clear",
        "in_maintenance",
        "not_ready",
        "downloading",
        "print_pending",
        "printing",
        "pausing",
        "paused",
        "resuming",
        "cancelling",
        "error",
    }
)
AT_WORK = frozenset({"downloading", "printing", "pausing", "paused", "resuming", "cancelling"})


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the cloud keeps it. ``outcome``: done, failed, cancelled, ongoing; empty if it is none of these."""

    number: int
    uid: str = ""
    name: str = ""
    outcome: str = ""
    progress: float | None = None
    elapsed_seconds: float | None = None
    layer: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One printer of ``printers/Get``. ``state`` is empty if the word is not known."""

    number: int
    state: str
    usable: bool = True
    job: Job | None = None
    heaters: tuple[Heater, ...] = ()
    model: str = ""
    firmware: str = ""
    name: str = ""


def envelope(status: int, said: Any) -> Mapping[str, Any]:
    """The answer, if it says yes. Raises Refused for a no, BadReply for something else."""
    if not isinstance(said, dict) or not isinstance(said.get("status"), bool):
        raise BadReply(f"SimplyPrint answered {status} with something else")
    if not said["status"] or status >= 400:
        raise Refused(f"SimplyPrint: {reading.text(said.get('message')) or status}")
    return said


def rows(said: Mapping[str, Any]) -> list[Row]:
    """Of a page of ``printers/Get``."""
    data = said.get("data")
    given = [data] if isinstance(data, dict) else reading.rows(data, 100)
    return [found for each in given if (found := _row(each)) is not None]


def pages(said: Mapping[str, Any]) -> int:
    """How many there are."""
    return min(reading.count(said.get("page_amount")) or 1, 100)


def identity(row: Row) -> MachineIdentity:
    """As far as the cloud tells: the number in the account stands for the serial number."""
    return MachineIdentity(
        model=row.model or row.name, firmware=row.firmware, serial_number=f"simplyprint-{row.number}"
    )


def jobs(said: Mapping[str, Any]) -> list[Job]:
    """Of ``jobs/GetPaginatedPrintJobs``."""
    return [found for each in reading.rows(said.get("data"), 100) if (found := _job(each)) is not None]


def details(said: Mapping[str, Any], number: int, uid: str) -> Job:
    """Of ``jobs/GetDetails``."""
    job = reading.table(said.get("job"))
    cancel = reading.table(job.get("cancelInfo"))
    reason = (
        reading.text(job.get("failedReason"))
        or reading.text(cancel.get("comment"))
        or reading.text(cancel.get("reason"))
    )
    found = _job({"id": number, "uid": uid, **job}) or Job(number, uid)
    return Job(number, uid, found.name, found.outcome, found.progress, found.elapsed_seconds, found.layer, reason)


def started_jobs(said: Mapping[str, Any]) -> list[int]:
    """Of ``CreateJob``. Empty although it said yes: nothing was started, it waits for somebody's approval."""
    given = said.get("jobIds", said.get("job_ids"))
    found = [reading.count(each) for each in given] if isinstance(given, list) else []
    return [each for each in found if each is not None]


def file_id(said: Mapping[str, Any]) -> str:
    """Of an upload that is whole. Raises BadReply."""
    found = reading.text(reading.table(said.get("file")).get("id"), 128)
    if not found:
        raise BadReply("SimplyPrint took the file and gave it no id")
    return found


def file_size(said: Mapping[str, Any]) -> int | None:
    """Of an upload that is whole."""
    return reading.count(reading.table(said.get("file")).get("size"))


def _row(each: Mapping[str, Any]) -> Row | None:
    number, printer = reading.count(each.get("id")), reading.table(each.get("printer"))
    if number is None:
        return None
    word = printer.get("state")
    state = word if isinstance(word, str) and word in STATES else ""
    temps = reading.table(printer.get("temps"))
    model = printer.get("model")
    return Row(
        number=number,
        state="offline" if printer.get("online") is False else state,
        usable=not (_says_yes(printer.get("outOfOrder")) or _says_yes(printer.get("unsupported"))),
        job=_job(each.get("job")),
        heaters=_heaters(reading.table(temps.get("current")), reading.table(temps.get("target"))),
        model=_text_in(model, ("name", "brand")),
        firmware=_text_in(printer.get("firmware"), ("name", "version")),
        name=reading.text(printer.get("name"), 64),
    )


def _says_yes(value: object) -> bool:
    return value not in (None, False, 0, "", "0")


def _text_in(value: object, keys: tuple[str, ...]) -> str:
    if isinstance(value, dict):
        return " ".join(filter(None, (reading.text(value.get(key), 64) for key in keys)))
    return reading.text(value, 64)


def _job(value: object) -> Job | None:
    job = reading.table(value)
    number = reading.count(job.get("id"))
    if number is None:
        return None
    word = job.get("state", job.get("status"))
    percent = reading.number(job.get("percentage", job.get("currentPercentage")), 0.0, 100.0)
    return Job(
        number=number,
        uid=reading.text(job.get("uid"), 64),
        name=reading.text(job.get("file") or job.get("filename")),
        # The filter says finished, rows say done.
        outcome=_OUTCOMES.get(word, "") if isinstance(word, str) else "",
        progress=None if percent is None else percent / 100.0,
        elapsed_seconds=reading.number(job.get("time"), 0.0, 1e9),
        layer=reading.count(job.get("layer")),
    )


def _heaters(current: Mapping[str, Any], target: Mapping[str, Any]) -> tuple[Heater, ...]:
    tools, wanted = current.get("tool"), target.get("tool")
    found: tuple[Heater, ...] = ()
    for place, reading_ in enumerate(tools[:8] if isinstance(tools, list) else []):
        goal = wanted[place] if isinstance(wanted, list) and place < len(wanted) else None
        found += reading.heater(f"hotend{place or ''}", reading_, goal)
    return (*found, *reading.heater("bed", current.get("bed"), target.get("bed")))
