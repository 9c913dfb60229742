"""Reads files for a coordinator, one after another, in a process of its own: ``python -m printfarm_files.reader MEMORY_BYTES``.

A line of JSON comes in, a line of JSON goes out::

    {"do": "facts", "path": "...", "kind": "gcode", "cpu_seconds": 60}               -> {"facts": {...}}
    {"do": "picture", "path": "...", "kind": "stl", "size": 256, "cpu_seconds": 60}  -> {"picture": "base64 of a PNG"}
    {"do": "inspect", "path": "...", "kind": "gcode", "cpu_seconds": 60}             -> {"inspection": {...}}
    {"do": "unpack", "path": "...", "kind": "bgcode", "plate": 0, "into": "...", "cpu_seconds": 60}
                                                                     -> {"inspection": {...}, "estimated_seconds": 5400}

or ``{"refused": why}``, ``{"missing": true}``, ``{"full": true}`` where the disk has no room, ``{"failed": error}``. It ends
with another status than 0, or by a signal, when its limits did not suffice: then nothing is known of the file. It ends by
itself when nobody has asked for a while, or is there any more.
"""

import base64
import errno
import json
import os
import resource
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from .errors import Refused
from .facts import FileFacts, Kind, to_json

IDLE_SECONDS = 60.0
# The status that it ends with.
NO_MEMORY = 3
# It yields to whoever serves, and is the first to go where the machine has no memory left.
_NICENESS = 10
_MOST_TO_BLAME = b"1000"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def main(memory_bytes: str) -> None:
    """Until nobody asks."""
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(_MOST_TO_BLAME)
    asked, told = sys.stdin.buffer, sys.stdout.buffer
    while select.select([asked], [], [], IDLE_SECONDS)[0] and (line := asked.readline()):
        told.write(_line(json.loads(line)))
        told.flush()


def _line(request: dict[str, Any]) -> bytes:
    try:
        answer = json.dumps(answered(request), allow_nan=False)
    except MemoryError:
        sys.exit(NO_MEMORY)
    except Exception as error:
        # A mistake of a reader, not the file's: the kind of it is all that may be told.
        answer = json.dumps({"failed": type(error).__name__})
    return answer.encode() + b"\n"


def answered(request: dict[str, Any]) -> dict[str, Any]:
    """One file, read within its own share of time."""
    _limit_time(int(request["cpu_seconds"]))
    path, kind = Path(request["path"]), Kind(request["kind"])
    try:
        if request["do"] == "picture":
            return {"picture": base64.b64encode(_picture(path, kind, int(request["size"]))).decode("ascii")}
        if request["do"] == "inspect":
            return {"inspection": _inspection(path, kind)}
        if request["do"] == "unpack":
            return _unpacked(path, kind, int(request["plate"]) or None, Path(request["into"]))
        return {"facts": to_json(_facts(path, kind))}
    except Refused as error:
        return {"refused": error.reason}
    except FileNotFoundError:
        return {"missing": True}
    except OSError as error:
        if error.errno not in _FULL:
            raise
        return {"full": True}


def _limit_time(seconds: int) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    ends = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (ends, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _facts(path: Path, kind: Kind) -> FileFacts:
    # Imported when the limits hold.
    from .reading import read_facts

    return read_facts(path, kind)


def _inspection(path: Path, kind: Kind) -> dict[str, Any]:
    from .inspecting import inspect_file
    from .safety.inspection import to_json

    return to_json(inspect_file(path, kind))


def _unpacked(path: Path, kind: Kind, plate: int | None, into: Path) -> dict[str, Any]:
    from .inspecting import unpack
    from .safety.inspection import to_json

    found = unpack(path, kind, plate, into)
    return {"inspection": to_json(found.inspection), "estimated_seconds": found.estimated_seconds}


def _picture(path: Path, kind: Kind, size: int) -> bytes:
    from .pictures import of_file

    return of_file(path, _facts(path, kind), size)


if __name__ == "__main__":
    main(*sys.argv[1:])
