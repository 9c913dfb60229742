"""What is asked of a Bambu printer, as JSON. Pure. Source: OpenBambuAPI ``mqtt.md``."""

import json
from collections.abc import Sequence
from typing import Any

from ...driver import Refused
from .package import Package
from .report import Report
from .tracking import STORED_SUFFIX, stem_of

# Unused places of a mapping, and what only the external spool feeds.
UNUSED = -1
# Names on FAT, as the printer's card has it.
_FORBIDDEN = set('<>:"/\\|?* ')
LONGEST_NAME = 100
# Where the printer looks for what was sent to its root by FTPS; the first is what most models take.
URL_FORMS = ("ftp:///{name}", "file:///sdcard/{name}")


def stored_name(name: str) -> str:
    """The file's name on the printer. Raises Refused for what its card cannot hold."""
    stored = stem_of(name) + STORED_SUFFIX
    if not stored.isascii() or not stored.isprintable() or _FORBIDDEN & set(stored) or len(stored) > LONGEST_NAME:
        raise Refused("the file's name cannot stand on the printer's card")
    return stored


def encode(top: str, command: str, sequence: int, **arguments: Any) -> bytes:
    """A message."""
    return json.dumps({top: {"sequence_id": str(sequence), "command": command, **arguments}}).encode()


def project_file(name: str, number: int, package: Package, sequence: int, form: str, mapping: Sequence[int]) -> bytes:
    """The start. ``mapping`` as ``ams_mapping``; without any tray in it, the external spool."""
    stored = stored_name(name)
    return encode(
        "print",
        "project_file",
        sequence,
        param=package.plate,
        url=form.format(name=stored),
        file=stored,
        subtask_name=stem_of(name),
        md5=package.md5.upper(),
        bed_type="auto",
        timelapse=False,
        bed_leveling=True,
        flow_cali=False,
        vibration_cali=True,
        layer_inspect=False,
        # A bool: some models read a number as a nozzle.
        use_ams=any(tray != UNUSED for tray in mapping),
        ams_mapping=list(mapping),
        profile_id="0",
        project_id=str(number),
        task_id=str(number),
        subtask_id=str(number),
        cfg="0",
    )


def mapping(package: Package, report: Report, tray: int) -> list[int]:
    """Which tray feeds each filament of the project: by material, and by colour where both sides tell one.

    ``tray`` is the one that was configured, or UNUSED. Raises Refused if the AMS has not what the file wants."""
    if tray != UNUSED or not package.filaments or not report.trays:
        if len(package.filaments) > 1:
            raise Refused("the file wants several filaments, and the printer shows no AMS that has them")
        return [
            tray if place in {f.place for f in package.filaments} or not package.filaments else UNUSED
            for place in range(package.filament_count)
        ]
    found = [UNUSED] * package.filament_count
    for filament in package.filaments:
        fitting = [each for each in report.trays if each.material.upper() == filament.material.upper()]
        exact = [each for each in fitting if not filament.colour or each.colour == filament.colour]
        if not exact:
            raise Refused(f"no tray of the AMS holds {filament.material} {filament.colour}".rstrip())
        found[filament.place] = exact[0].number
    return found
