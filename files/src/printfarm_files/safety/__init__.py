"""What a print file may ask of a printer, line by line: on the farm before it is queued, and again on the printer's host.

Lines are taken apart as the printer's firmware does it (``Dialect``); where the firmware is not known, a line is refused if
any of the common readings is dangerous. What is found is refused for good, or may be allowed by people whose role allows it
(``Severity``). Needs the standard library alone, and memory for one line.
"""

from .check import LONGEST_LINE, GcodeCheck, LineCheck, check_file, check_gcode, lines_of
from .dialects import Dialect, dialect_of
from .findings import Finding, Severity
from .forbidden import FORBIDDEN
from .inspection import ANY_PRINTER, RULES, Inspection
from .limits import MARGIN_BELOW_MM, MARGIN_MM, Limits
from .questions import Question

__all__ = [
    "ANY_PRINTER",
    "FORBIDDEN",
    "LONGEST_LINE",
    "MARGIN_BELOW_MM",
    "MARGIN_MM",
    "RULES",
    "Dialect",
    "Finding",
    "GcodeCheck",
    "Inspection",
    "Limits",
    "LineCheck",
    "Question",
    "Severity",
    "check_file",
    "check_gcode",
    "dialect_of",
    "lines_of",
]
