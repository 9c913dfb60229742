"""PrusaSlicer from the command line, without a display (2.5 and newer).

Measured with Debian's 2.5.0: it needs no display, no home and no configuration folder; it writes ``out.gcode.tmp`` and renames
it at the end; exit code 0 is no proof of a printable file, so the result is checked for itself (``check``).
"""

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from printfarm_files import Bounds
from printfarm_files.threemf_write import write_clean_3mf

from ..engine import RESULT, DoesNotFit, Ended, Order, SlicingFailed, Wanted, own_file

NAME = "prusaslicer"
PROGRAMS = ("prusa-slicer", "PrusaSlicer")
MODEL = "model.3mf"
CONFIG = "setup.ini"
TRIAL = "trial.3mf"
_VERSION = re.compile(r"PrusaSlicer-(\d{1,4}(?:\.\d{1,4}){1,3}[-+\w.]{0,40})")
_PROGRESS = re.compile(r"^(\d{1,3}) =>")
_TRACE = re.compile(r"^\[[^\]]*\] \[[^\]]*\] \[\w+\]\s*")
_PATH = re.compile(r"(?:/[\w.+-]+)+/?")
_VERSION_SECONDS = 60.0
# An end by an uncaught exception that is the model's.
_PLAIN_WORDS = ("could not fit on the bed",)
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

    def prepare(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str]:
        """The model as a 3MF without settings, names or other parts (bad input 49), and the setup."""
        write_clean_3mf(order.model, folder / MODEL)
        (folder / CONFIG).write_bytes(self._setup(order.settings))
        return self.command(inside, order.parts)

    def trial(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str]:
        """It arranges before it exports: a 3MF costs it no slicing."""
        command = self.prepare(order, folder, inside)
        command[command.index("--export-gcode")] = "--export-3mf"
        command[command.index("--output") + 1] = str(inside / TRIAL)
        return command

    def _setup(self, settings: Mapping[str, str]) -> bytes:
        """As a flat INI. Line breaks are written as the two characters that it reads as one."""
        merged = {**settings, **{key: value for key, value in FORCED.items() if self._knows(key)}}
        return "".join(f"{key} = {_escaped(value)}\n" for key, value in sorted(merged.items())).encode()

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

    def failure(self, ended: Ended, folder: Path) -> SlicingFailed | None:
        """It meets the end of its address space without a word, and leaves by an exception where a part is too large."""
        reason = _last_sentence(ended)
        if any(word in ended.stdout + ended.stderr for word in _PLAIN_WORDS):
            return DoesNotFit("slicer_refused", reason)
        if not 0 < ended.returncode <= 128:
            return None
        if not reason:
            return SlicingFailed("slicer_limit", "the slicer needed more memory than it may have")
        return SlicingFailed("slicer_refused", reason)

    def result(self, settings: Mapping[str, str], ended: Ended, folder: Path) -> Path:
        """As it wrote it."""
        return own_file(folder / RESULT)

    def wanted(self, settings: Mapping[str, str]) -> Wanted:
        """By its own keys."""
        corners = [corner.split("x") for corner in settings["bed_shape"].split(",")]
        xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        return Wanted(
            Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), float(settings["max_print_height"]))),
            float(settings["layer_height"]),
            float(settings["nozzle_diameter"]),
            settings["filament_type"],
        )


def _last_sentence(ended: Ended) -> str:
    """Of its output, without its paths; an uncaught exception's own words. Empty if it said nothing."""
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
