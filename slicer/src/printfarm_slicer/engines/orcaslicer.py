"""OrcaSlicer from the command line, without a display (2.x).

From its sources and its users' reports, not from runs of ours: no package index has it. It takes its presets as JSON files of
three kinds, and ignores without a word a setting that stands in the wrong one; it checks that the process names the machine;
it puts a model that it does not arrange off the plate; it writes ``plate_1.gcode``, and says in ``result.json`` how it ended.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import structlog

from printfarm_files import Bounds
from printfarm_files.stl_write import write_stl

from ..engine import DoesNotFit, Ended, Order, SlicingFailed, Wanted, own_file
from .arranging import centred, places
from .orca_presets import FILAMENT, KINDS, MACHINE, PROCESS

_LOG = structlog.get_logger(__name__)
NAME = "orcaslicer"
PROGRAMS = ("orca-slicer", "OrcaSlicer")
MODEL = "model.stl"
RESULT = "plate_1.gcode"
SECOND_PLATE = "plate_2.gcode"
REPORT = "result.json"
_PRESET = "printfarm"
_LARGEST_REPORT = 1 << 20
_GAP_MM = 5.0
# It looks for a file of its own by that name.
_IN_PATHS = ("printer_model",)
_VERSION = re.compile(r"OrcaSlicer[- ](?:Version )?(\d{1,4}(?:\.\d{1,4}){1,3}[-+\w.]{0,40})", re.I)
_PROGRESS = re.compile(r"\b(?:percent|progress)\b\D{0,20}(\d{1,3})\b", re.I)
_SAID = re.compile(r"\[(?:error|fatal)\]\s{0,8}(.{1,400})")
_PATH = re.compile(r"(?:/[\w.+-]+)+/?")
_VERSION_SECONDS = 60.0
# Its codes below 0, as the kernel shows them: 256 more. What is not here is the model's or the profile's fault.
_OURS = {
    -1: "its environment",
    -2: "its command line",
    -3: "a file that is not there",
    -13: "a file that it could not write",
}
_LIMITS = {-14: "memory", -58: "time", -59: "triangles"}
_MEANINGS = {
    -4: "the files are in the wrong order",
    -5: "a preset cannot be read",
    -6: "the model cannot be read",
    -7: "an internal error",
    -8: "the operation is not supported",
    -10: "the model could not be scaled",
    -15: "the filament is not for this printer",
    -16: "the presets do not fit each other",
    -17: "the process is not for this printer",
    -18: "the project has settings that cannot be right",
    -19: "commands after the export are not supported",
    -20: "the bed is smaller than the project's",
    -21: "the parts could not be arranged",
    -22: "the part could not be turned",
    -24: "the file is of another version",
    -50: "no part lies whole on the bed",
    -51: "the settings do not fit the model",
    -52: "a part lies partly off the bed",
    -61: "the filament is not for this kind of plate",
    -62: "the filaments' temperatures do not fit each other",
    -63: "parts would collide when printed one after the other",
    -64: "parts would collide when printed one after the other",
    -65: "the model cannot be printed as a spiral",
    -100: "slicing failed",
    -101: "paths cross each other",
    -102: "a path leaves the printable area",
}


class OrcaSlicer:
    """The port's OrcaSlicer."""

    name = NAME

    def __init__(self, program: str, version: str) -> None:
        self.program = program
        self.version = version

    @classmethod
    def find(cls, given: Path | None = None) -> "OrcaSlicer | None":
        """The one that is named, else the installed one; None if there is none, or it does not say its version."""
        if given is not None and not given.resolve().is_relative_to("/usr"):
            _LOG.warning(
                "OrcaSlicer is not used: a slicer's sandbox shows it /usr alone, so put it there", program=str(given)
            )
            return None
        for program in [str(given)] if given else filter(None, map(shutil.which, PROGRAMS)):
            if version := _version_of(program):
                return cls(program, version)
        return None

    def prepare(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str]:
        """All copies as one STL around the origin, and the setup as three flat presets."""
        for name, preset in _presets(order.settings).items():
            (folder / name).write_text(json.dumps(preset))
        x, y, z = centred(order.box)
        around = places(order.box, self.wanted(order.settings).room, order.parts, _gap(order.settings))
        write_stl(order.model, folder / MODEL, [(x + dx, y + dy, z) for dx, dy in around])
        return self._command(inside)

    def trial(self, order: Order, folder: Path, inside: PurePosixPath) -> None:
        """The copies are placed here."""
        places(order.box, self.wanted(order.settings).room, order.parts, _gap(order.settings))

    def _command(self, inside: PurePosixPath) -> list[str]:
        """Every plate, so that what went to a second one is seen; arranged, for else the model lies at the bed's corner."""
        return [
            *(self.program, "--slice", "0", "--arrange", "1", "--orient", "0", "--debug", "3"),
            *("--datadir", str(inside), "--outputdir", str(inside)),
            *("--load-settings", f"{inside / _file(MACHINE)};{inside / _file(PROCESS)}"),
            *("--load-filaments", str(inside / _file(FILAMENT))),
            str(inside / MODEL),
        ]

    def progress(self, line: str) -> float | None:
        """Where its log tells a percentage."""
        found = _PROGRESS.search(line)
        return min(100, int(found[1])) / 100 if found else None

    def failure(self, ended: Ended, folder: Path) -> SlicingFailed | None:
        """By its code, in the words of its report, else of its log. It writes a report where it ended well, too."""
        report = _report(folder)
        told = report.get("return_code")
        code = _code(ended.returncode) or (told if isinstance(told, int) else 0)
        if code >= 0:
            return None
        if code in _LIMITS:
            return SlicingFailed("slicer_limit", f"the slicer needed more {_LIMITS[code]} than it may have")
        reason = _reason(report, ended) or _MEANINGS.get(code, "")
        if code in _OURS:
            return SlicingFailed("worker_fault", f"OrcaSlicer stumbled over {_OURS[code]}: {reason}".rstrip(": "))
        return SlicingFailed("slicer_refused", reason or f"OrcaSlicer ended with code {code}")

    def result(self, settings: Mapping[str, str], ended: Ended, folder: Path) -> Path:
        """Of the one plate. What did not fit on it was put on another, which nobody would print."""
        if (folder / SECOND_PLATE).exists():
            raise DoesNotFit("slicer_refused", "the parts do not fit on one plate")
        return own_file(folder / RESULT)

    def wanted(self, settings: Mapping[str, str]) -> Wanted:
        """By its own keys."""
        corners = [corner.split("x") for corner in settings["printable_area"].split(",")]
        xs, ys = [float(x) for x, _ in corners], [float(y) for _, y in corners]
        return Wanted(
            Bounds((min(xs), min(ys), 0.0), (max(xs), max(ys), float(settings["printable_height"]))),
            float(settings["layer_height"]),
            float(settings["nozzle_diameter"]),
            settings["filament_type"],
        )


def _file(kind: str) -> str:
    return f"{kind}.json"


def _presets(settings: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """File name -> a preset that inherits from nothing: older builds follow no inheritance, and say nothing of it.

    Raises SlicingFailed for a setting that belongs to none.
    """
    made = {kind: _empty(kind) for kind in KINDS}
    for key, value in sorted(settings.items()):
        kind = next((kind for kind, keys in KINDS.items() if key in keys), None)
        if kind is None:
            raise SlicingFailed("slicer_refused", f"this worker does not know the setting {key[:80]}")
        if key in _IN_PATHS and "/" in value:
            raise SlicingFailed("slicer_refused", f"{key} must have no slash: OrcaSlicer makes a file's name of it")
        made[kind][key] = _spelled(kind, key, value)
    for plate in ("cool", "eng", "textured", "textured_cool", "supertack"):
        for suffix in ("", "_initial_layer"):
            made[FILAMENT][f"{plate}_plate_temp{suffix}"] = [settings[f"hot_plate_temp{suffix}"]]
    return {_file(kind): preset for kind, preset in made.items()}


def _empty(kind: str) -> dict[str, Any]:
    """What makes it a preset that fits the other two; and, whatever a profile says, nothing that runs or reaches out."""
    common = {"type": kind, "from": "system", "name": _PRESET}
    if kind == MACHINE:
        return common | {"printer_settings_id": _PRESET, "print_host": "", "thumbnails": "", "scan_first_layer": "0"}
    fitting = common | {"compatible_printers": [_PRESET]}
    if kind == FILAMENT:
        return fitting | {"filament_settings_id": [_PRESET]}
    return fitting | {
        "print_settings_id": _PRESET,
        "post_process": [],
        "gcode_comments": "0",
        "gcode_label_objects": "1",
        "print_sequence": "by layer",
        "enable_prime_tower": "0",
        "curr_bed_type": "High Temp Plate",
    }


def _spelled(kind: str, key: str, value: str) -> str | list[str]:
    """One value for each extruder, mode or corner; a text otherwise."""
    if kind == FILAMENT:
        return [value]
    return value.split(",") if kind == MACHINE and KINDS[kind][key] else value


def _gap(settings: Mapping[str, str]) -> float:
    """Between two parts: their brims, and some room for the nozzle."""
    has_none = settings.get("brim_type") == "no_brim"
    return _GAP_MM + (0.0 if has_none else 2 * float(settings.get("brim_width", "0")))


def _code(returncode: int) -> int:
    """Below 0 for one of its own codes; 0 for anything else, above all for a signal."""
    code = returncode - 256
    return code if code in _MEANINGS or code in _OURS or code in _LIMITS else 0


def _report(folder: Path) -> dict[str, Any]:
    """Empty if it wrote none that can be read."""
    path = own_file(folder / REPORT)
    try:
        if path.stat().st_size > _LARGEST_REPORT:
            return {}
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _reason(report: Mapping[str, Any], ended: Ended) -> str:
    """Its own words, without paths: what the report says in general, and the log in particular. Empty if neither does."""
    told = report.get("error_string")
    logged = _SAID.findall(ended.stdout + "\n" + ended.stderr) or ended.stderr.strip().splitlines()
    general = _plain(told) if isinstance(told, str) else ""
    particular = _plain(logged[-1]) if logged else ""
    return f"{general} ({particular})" if general and particular else general or particular


def _plain(words: str) -> str:
    return _PATH.sub("the model", " ".join(words.split()))


def _version_of(program: str) -> str:
    """Empty if it cannot be run, or is another program of that name."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    try:
        done = subprocess.run(
            [program, "--help"], env=environment, capture_output=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search((done.stdout + done.stderr).decode("utf-8", "replace"))
    return found[1] if found else ""
