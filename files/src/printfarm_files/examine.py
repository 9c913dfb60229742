"""Looks into one file in a process of its own: ``python -m printfarm_files.examine KIND PATH CPU_SECONDS MEMORY_BYTES``.

A model is read whole. Of packed G-code the packing is gone through: every block or entry lies where it should, and is no larger
than it may be; what it unpacks to is looked at when a job needs it.

Prints one JSON object: ``{"refused": null}`` for a sound file, the reason for another; of a sliced 3MF with its ``plates``.
Ends with another status than 0 when the limits did not suffice: then nothing is known of it.
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

from .errors import Refused
from .facts import Kind


def main(kind: str, path: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Sets the limits before anything of the file is touched."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds),) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stdout.write(json.dumps(_examined(Path(path), Kind(kind))))


def _examined(path: Path, kind: Kind) -> dict[str, Any]:
    try:
        if kind is Kind.BGCODE:
            from .bgcode import read_bgcode

            read_bgcode(path)
        elif kind is Kind.GCODE_3MF:
            from .sliced import plates

            if not (found := plates(path)):
                raise Refused("the 3MF has no plate with G-code: slice it first, or export the model alone")
            return {"refused": None, "plates": found}
        else:
            from .reading import read_model

            read_model(path, kind)
    except Refused as error:
        return {"refused": error.reason}
    return {"refused": None}


if __name__ == "__main__":
    main(*sys.argv[1:])
