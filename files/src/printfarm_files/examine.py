"""Reads one model whole in a process of its own: ``python -m printfarm_files.examine KIND PATH CPU_SECONDS MEMORY_BYTES``.

Prints one JSON object: ``{"refused": null}`` for a sound model, the reason for another. Ends with another status than 0
when the limits did not suffice: then nothing is known of it.
"""

import json
import resource
import sys
from pathlib import Path

from .errors import Refused
from .facts import Kind


def main(kind: str, path: str, cpu_seconds: str, memory_bytes: str) -> None:
    """Sets the limits before anything of the file is touched."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(cpu_seconds),) * 2)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory_bytes),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from .reading import read_model

    refused = None
    try:
        read_model(Path(path), Kind(kind))
    except Refused as error:
        refused = error.reason
    sys.stdout.write(json.dumps({"refused": refused}))


if __name__ == "__main__":
    main(*sys.argv[1:])
