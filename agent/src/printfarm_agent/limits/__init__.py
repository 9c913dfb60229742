"""What a print file may ask of a printer: the last check before the machine, on the host that drives it.

The farm checks a file when it takes it; the agent checks it again, whole, before it accepts a run, and a driver that streams
checks each line once more. The rules are those of ``printfarm_files.safety``.
"""

from printfarm_files.safety import FORBIDDEN, LONGEST_LINE, Dialect, LineCheck, check_file, dialect_of

from .values import MARGIN_MM, HeatRules, Limits

__all__ = [
    "FORBIDDEN",
    "LONGEST_LINE",
    "MARGIN_MM",
    "Dialect",
    "HeatRules",
    "Limits",
    "LineCheck",
    "check_file",
    "dialect_of",
]
