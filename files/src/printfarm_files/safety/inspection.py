"""What the farm finds in a print file before it is for any printer: what none may be asked, what a person must allow, and what
a printer must be able to do.

A file is read once, by the worst of all readings. Only where that refuses something is it read again as each firmware does:
what one firmware's own start code has is refused for the others alone.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ..errors import Refused
from .check import GcodeCheck
from .dialects import Dialect
from .findings import Finding, Severity
from .limits import Limits
from .questions import Question

# Grows with every change of what is found: files that were inspected under other rules are inspected again.
RULES = 4
MOST_TOLD = 10
# Beyond these no printer prints; what one printer bears is told by its agent.
ANY_PRINTER = Limits(hotend_celsius=500.0, bed_celsius=180.0, chamber_celsius=150.0)
_FIRMWARES = tuple(dialect for dialect in Dialect if dialect is not Dialect.ANY)

Lines = Callable[[], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Inspection:
    """``refused``: the first of ``refused_count`` findings for which no printer of the ``refused_by`` firmwares may print it.

    Degrees Celsius and millimetres; None where the file asks nothing, or cannot be followed. ``low`` and ``high`` hold every
    move, those without extrusion, too. ``printer_model``, ``nozzle_mm`` and ``material`` are the slicer's words."""

    rules: int = RULES
    refused: tuple[Finding, ...] = ()
    refused_count: int = 0
    refused_by: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    hotend_celsius: float | None = None
    bed_celsius: float | None = None
    chamber_celsius: float | None = None
    low: tuple[float, ...] | None = None
    high: tuple[float, ...] | None = None
    printer_model: str | None = None
    nozzle_mm: float | None = None
    material: str | None = None

    @property
    def is_refused(self) -> bool:
        """Whichever printer it would be for."""
        return len(self.refused_by) == len(Dialect)

    @property
    def reason(self) -> str:
        """What is refused, in one sentence for whoever sent it, with the lines' numbers."""
        told = "; ".join(str(finding) for finding in self.refused[:3])
        more = self.refused_count - min(3, len(self.refused))
        return f"{told}; and {more} more" if more > 0 else told


def inspect(lines: Lines) -> Inspection:
    """The findings; ``lines`` begins anew with each call. Raises Refused where the file cannot be unpacked."""
    check = GcodeCheck(ANY_PRINTER, measures=True)
    refused, count, rest = _read(check, lines())
    if not count:
        return _measured(check, (), 0, (), rest)
    by = [dialect for dialect in _FIRMWARES if any(True for _ in _refusals(lines(), dialect))]
    return _measured(check, tuple(refused), count, (Dialect.ANY.value, *(dialect.value for dialect in by)), rest)


def unreadable(reason: str) -> Inspection:
    """Of a file that could not be inspected: no printer may print it."""
    finding = Finding(0, "", "not_text", Severity.REFUSE, reason)
    return Inspection(refused=(finding,), refused_count=1, refused_by=tuple(dialect.value for dialect in Dialect))


def _read(check: GcodeCheck, lines: Iterable[bytes]) -> tuple[list[Finding], int, list[Finding]]:
    """The first refusals, how many there are, and the other findings of the file as a whole."""
    refused: list[Finding] = []
    count = 0
    for line in lines:
        finding = check.line(line)
        if finding is not None and finding.severity is Severity.REFUSE:
            count += 1
            if count <= MOST_TOLD:
                refused.append(finding)
    ends = list(check.end())
    last = [finding for finding in ends if finding.severity is Severity.REFUSE]
    return (refused + last)[:MOST_TOLD], count + len(last), [f for f in ends if f.severity is Severity.OVERRIDE]


def _refusals(lines: Iterable[bytes], dialect: Dialect) -> Iterator[Finding]:
    check = GcodeCheck(ANY_PRINTER, dialect)
    for line in lines:
        if (finding := check.line(line)) and finding.severity is Severity.REFUSE:
            yield finding
    yield from (finding for finding in check.end() if finding.severity is Severity.REFUSE)


def _measured(
    check: GcodeCheck, refused: tuple[Finding, ...], count: int, by: tuple[str, ...], rest: list[Finding]
) -> Inspection:
    motion, highest = check.motion, check.heaters.highest
    reaches = not motion.is_lost and not motion.measures_nothing
    return Inspection(
        refused=refused,
        refused_count=count,
        refused_by=by,
        questions=(*check.questions.told(), *(_of_file(finding) for finding in rest)),
        hotend_celsius=highest.get("hotend"),
        bed_celsius=highest.get("bed"),
        chamber_celsius=highest.get("chamber"),
        low=tuple(round(v, 2) if math.isfinite(v) else 0.0 for v in motion.low) if reaches else None,
        high=tuple(round(v, 2) if math.isfinite(v) else 0.0 for v in motion.high) if reaches else None,
    )


def _of_file(finding: Finding) -> Question:
    return Question(finding.line, finding.command, finding.rule, finding.text, tuple(d.value for d in Dialect))


def to_json(found: Inspection) -> dict[str, Any]:
    """For storage."""
    return asdict(found)


def from_json(values: Mapping[str, Any]) -> Inspection:
    """What ``to_json`` made. Keys that a later version wrote are left out."""
    names = {field.name for field in fields(Inspection)}
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in names
    }
    given["refused"] = tuple(
        Finding(f["line"], f["command"], f["rule"], Severity(f["severity"]), f["text"]) for f in values["refused"]
    )
    given["questions"] = tuple(
        Question(q["line"], q["command"], q["rule"], q["text"], tuple(q["dialects"])) for q in values["questions"]
    )
    return Inspection(**given)


def refused_whole(lines: Lines) -> Inspection:
    """As ``inspect``; a file that cannot be unpacked is refused with the reason."""
    try:
        return inspect(lines)
    except Refused as error:
        return unreadable(error.reason)
