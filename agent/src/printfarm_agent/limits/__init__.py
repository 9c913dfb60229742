"""What a print file may ask of a printer: the last check before the machine, on the host that drives it.

The farm checks a file when it takes it; the agent checks it again, whole, before it accepts a run, and a driver that streams
checks each line once more. The rules are those of ``printfarm_files.safety``.
"""

from printfarm_files.safety import FORBIDDEN, LONGEST_LINE, Dialect, LineCheck, check_file

from .values import MARGIN_MM, HeatRules, Limits

# Which firmware a driver speaks to. Where it may be any, the worst of all readings counts.
DIALECTS = {
    "bambu": Dialect.BAMBU,
    "duet": Dialect.REPRAP,
    "moonraker": Dialect.KLIPPER,
    "prusalink": Dialect.PRUSA,
}

__all__ = [
    "DIALECTS",
    "FORBIDDEN",
    "LONGEST_LINE",
    "MARGIN_MM",
    "Dialect",
    "HeatRules",
    "Limits",
    "LineCheck",
    "check_file",
]
