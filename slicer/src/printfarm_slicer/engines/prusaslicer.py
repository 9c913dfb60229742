"""PrusaSlicer from the command line, without a display (2.5 and newer).

Measured with Debian's 2.5.0: it needs no display, no home and no configuration folder; it writes ``out.gcode.tmp`` and renames
it at the end; exit code 0 is no proof of a printable file, so the result is checked for itself (``check``).
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import PurePosixPath

from ..engine import MODEL, RESULT, Ended

NAME = "prusaslicer"
PROGRAMS = ("prusa-slicer", "PrusaSlicer")
CONFIG = "setup.ini"
_VERSION = re.compile(r"PrusaSlicer-(\d{1,4}(?:\.\d{1,4}){1,3}[-+\w.]{0,40})")
_PROGRESS = re.compile(r"^(\d{1,3}) =>")
_TRACE = re.compile(r"^\[[^\]]*\] \[[^\]]*\] \[\w+\]\s*")
_PATH = re.compile(r"(?:/[\w.+-]+)+/?")
_VERSION_SECONDS = 60.0
# Whatever a profile or a file says: no command after the export, and a file that a farm can read, check and stream.
FORCED = {
    "post_process": "",
    "output_filename_format": RESULT,
    "complete_objects": "0",
    "gcode_comments": "0",
    "binary_gcode": "0",
    "gcode_label_objects": "1",
}
# Keys that this version does not know are an error under ``--config-compatibility disable``.
_SINCE = {"binary_gcode": (2, 7)}


class PrusaSlicer:
    """The port's PrusaSlicer."""

    name = NAME

    def __init__(self, program: str, version: str) -> None:
        self.program = program
        self.version = version

    @classmethod
    def find(cls) -> "PrusaSlicer | None":
        """The installed one; None if there is none, or it does not say its version."""
        for name in PROGRAMS:
            if (program := shutil.which(name)) and (version := _version_of(program)):
                return cls(program, version)
        return None

    def files(self, settings: Mapping[str, str]) -> dict[str, bytes]:
        """The setup as a flat INI. Line breaks are written as the two characters that it reads as one."""
        merged = {**settings, **{key: value for key, value in FORCED.items() if self._knows(key)}}
        lines = [f"{key} = {_escaped(value)}\n" for key, value in sorted(merged.items())]
        return {CONFIG: "".join(lines).encode()}

    def _knows(self, key: str) -> bool:
        numbers = tuple(int(number) for number in re.findall(r"\d+", self.version)[:2])
        return numbers >= _SINCE.get(key, (0,))

    def command(self, folder: PurePosixPath, parts: int) -> list[str]:
        """Settings come from the one file alone; the command line has the last word, and says that nothing is run."""
        command = [self.program, "--export-gcode", "--load", str(folder / CONFIG), "--config-compatibility", "disable"]
        command += ["--post-process", "", "--loglevel", "1", "--ensure-on-bed"]
        if parts > 1:
            command += ["--duplicate", str(parts)]
        return [*command, "--output", str(folder / RESULT), str(folder / MODEL)]

    def progress(self, line: str) -> float | None:
        """``20 => Generating perimeters``. The numbers come out of order."""
        found = _PROGRESS.match(line)
        return min(100, int(found[1])) / 100 if found else None

    def refusal(self, ended: Ended) -> str:
        """The last line that is a sentence, without its paths; an uncaught exception's own words. Empty if it said nothing."""
        said = [_TRACE.sub("", line).strip() for line in (ended.stdout + "\n" + ended.stderr).splitlines()]
        said = [line for line in said if line and not _PROGRESS.match(line) and not line.startswith("terminate called")]
        last = said[-1].removeprefix("what():").strip() if said else ""
        return _PATH.sub("the model", last)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n")


def _version_of(program: str) -> str:
    """Empty if it cannot be run, or is another program of that name."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    try:
        said = subprocess.run(
            [program, "--help"], env=environment, capture_output=True, timeout=_VERSION_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search(said.decode("utf-8", "replace"))
    return found[1] if found else ""
