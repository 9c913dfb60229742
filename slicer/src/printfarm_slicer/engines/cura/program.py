"""CuraEngine from the command line, with the definitions that come with Cura (4.13).

Measured with Debian's 4.13.0: it reckons no formula, so it gets a definition of our own with every setting resolved, and no
setting on its command line; it arranges nothing, so copies are placed for it; it fills in no header, so that is done after it;
its exit code is 0 for nearly everything, so the result is checked for itself (``check``).
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import structlog

from printfarm_files import Bounds
from printfarm_files.stl_write import write_stl

from ...engine import RESULT, Ended, Order, SlicingFailed, Wanted, own_file
from ..arranging import Place, centred, places
from . import header
from .definitions import DefinitionError, Definitions, SettingError
from .formulas import Value
from .start_code import filled, heats

_LOG = structlog.get_logger(__name__)
NAME = "curaengine"
PROGRAMS = ("CuraEngine", "curaengine")
# Where Debian and others put what belongs to Cura; see the settings for a folder of one's own.
FOLDERS = (Path("/usr/share/cura/resources/definitions"), Path("/usr/local/share/cura/resources/definitions"))
MODEL = "model.stl"
DEFINITION = "setup.def.json"
# A profile's word that CuraEngine has no setting for.
_OUR_OWN = ("material_type", "material_density")
_GAP_MM = 5.0
_VERSION = re.compile(r"Cura_SteamEngine version (\d{1,4}(?:\.\d{1,4}){1,3}[-+\w.]{0,40})")
_PROGRESS = re.compile(r"Progress:\w[^\t ]{0,80}[\t ]{1,8}(\d(?:\.\d{1,9})?)%")
_SAID = re.compile(r"\[(?:ERROR|error|critical)\]\s{0,8}(.{1,400})")
_PATH = re.compile(r"(?:/[\w.+-]+)+/?")
_VERSION_SECONDS = 60.0


class CuraEngine:
    """The port's CuraEngine. Of its definitions the version tells, too: they decide what a setting is worth."""

    name = NAME

    def __init__(self, program: str, version: str, definitions: Definitions) -> None:
        self.program = program
        self.version = f"{version}+{definitions.digest}"
        self._definitions = definitions

    @classmethod
    def find(cls, folder: Path | None = None) -> "CuraEngine | None":
        """The installed one with the definitions in the folder, or where Cura keeps them; None if either is missing."""
        found = ((program, _version_of(program)) for program in map(shutil.which, PROGRAMS) if program)
        program, version = next((each for each in found if each[1]), ("", ""))
        if not program:
            return None
        where = folder or next((each for each in FOLDERS if each.is_dir()), None)
        try:
            if where is None:
                raise DefinitionError(
                    "Cura's definitions are not installed: install the package cura, or name their folder"
                )
            # The sandbox shows the system's own folders: a link from elsewhere leads nowhere in it.
            return cls(str(Path(program).resolve()), version, Definitions.read(where))
        except DefinitionError as error:
            _LOG.info("CuraEngine is here and cannot be used", why=str(error))
            return None

    def prepare(self, order: Order, folder: Path, inside: PurePosixPath) -> list[str]:
        """The model as an STL around the middle, the copies' places, and the setup as one flat definition."""
        settings = self._resolved(order.settings)
        where = places(order.box, self.wanted(order.settings).room, order.parts, _gap(settings))
        write_stl(order.model, folder / MODEL, [centred(order.box)])
        (folder / DEFINITION).write_text(_definition(settings))
        return self._command(where)

    def trial(self, order: Order, folder: Path, inside: PurePosixPath) -> None:
        """The copies are placed here."""
        gap = _gap(self._resolved(order.settings))
        places(order.box, self.wanted(order.settings).room, order.parts, gap)

    def _resolved(self, given: Mapping[str, str]) -> dict[str, Value]:
        asked = {key: value for key, value in given.items() if key not in _OUR_OWN}
        own = {key: given[key] for key in _OUR_OWN}
        try:
            settings = self._definitions.resolved(asked)
            for key in ("machine_start_gcode", "machine_end_gcode"):
                settings[key] = filled(key, asked[key], settings | own)
        except SettingError as error:
            raise SlicingFailed("slicer_refused", str(error)) from None
        settings["material_bed_temp_prepend"] = not heats(asked["machine_start_gcode"], "bed")
        settings["material_print_temp_prepend"] = not heats(asked["machine_start_gcode"], "print")
        return settings

    def _command(self, where: list[Place]) -> list[str]:
        """Settings come from the one definition; on the command line stand numbers of ours alone.

        Names without a folder: it writes the model's into the print file.
        """
        command = [self.program, "slice", "-v", "-p", "-j", DEFINITION, "-o", RESULT]
        for x, y in where:
            # What follows a model is of that model.
            command += ["-l", MODEL, "-s", f"mesh_position_x={x:.3f}", "-s", f"mesh_position_y={y:.3f}"]
        return command

    def progress(self, line: str) -> float | None:
        """``Progress:export:97:98  0.994099%``: a part of 1, whatever its sign says."""
        found = _PROGRESS.search(line)
        return min(1.0, float(found[1])) if found else None

    def failure(self, ended: Ended, folder: Path) -> SlicingFailed | None:
        """Whatever its exit code: without its summary it has sliced nothing."""
        if ended.returncode < 0 or ended.returncode > 128:
            return None
        said = _SAID.findall(ended.stdout + "\n" + ended.stderr)
        reason = _PATH.sub("the model", said[-1].strip()) if said else ""
        if ended.returncode:
            return SlicingFailed("slicer_refused", reason or f"CuraEngine ended with code {ended.returncode}")
        if header.summary(ended.stderr) is None:
            return SlicingFailed("slicer_refused", reason or "CuraEngine found no layer to print in the model")
        return None

    def result(self, settings: Mapping[str, str], ended: Ended, folder: Path) -> Path:
        """With the header that Cura's window would have written, and what else the settings say of it."""
        made = own_file(folder / RESULT)
        summary = header.summary(ended.stderr)
        if summary is None or not made.is_file():
            return made
        wanted = self.wanted(settings)
        # Beside the slicer's folder, where it could have left nothing.
        finished = folder.with_name(f"{folder.name}.gcode")
        header.finish(made, finished, summary, header.Stated(wanted, float(settings["material_density"])))
        os.replace(finished, made)
        return made

    def wanted(self, settings: Mapping[str, str]) -> Wanted:
        """By its own keys. The bed lies around the origin where ``machine_center_is_zero``."""
        x, y, z = (float(settings[f"machine_{side}"]) for side in ("width", "depth", "height"))
        centred = settings.get("machine_center_is_zero", "false").lower() == "true"
        low = (-x / 2, -y / 2, 0.0) if centred else (0.0, 0.0, 0.0)
        return Wanted(
            Bounds(low, (low[0] + x, low[1] + y, z)),
            float(settings["layer_height"]),
            float(settings["machine_nozzle_size"]),
            settings["material_type"],
        )


def _gap(settings: Mapping[str, Value]) -> float:
    """Between two parts: what each has around it, and some room for the nozzle."""
    kind = settings.get("adhesion_type")
    around = {"brim": "brim_width", "raft": "raft_margin"}.get(str(kind))
    return _GAP_MM + (2 * float(str(settings[around])) if around else 0.0)


def _definition(settings: Mapping[str, Value]) -> str:
    """Every setting at its worth. Lists are told as text: it reads no other in a definition."""
    made = {
        key: {"default_value": json.dumps(value) if isinstance(value, list) else value}
        for key, value in sorted(settings.items())
    }
    return json.dumps({"version": 2, "name": "setup", "metadata": {}, "settings": made})


def _version_of(program: str) -> str:
    """Empty if it cannot be run, or is another program of that name."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}
    try:
        done = subprocess.run(
            [program, "help"], env=environment, capture_output=True, timeout=_VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = _VERSION.search((done.stdout + done.stderr).decode("utf-8", "replace"))
    return found[1] if found else ""
