"""Loads every stub on the runtime at hand and sends a message of each kind through it: run on the oldest and the newest.

Stubs refuse a runtime that is older than their generator; this finds it out before an agent's host does.
"""

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

from google.protobuf.message_factory import GetMessageClass

SOURCE = Path(__file__).resolve().parent / "src"


def main() -> None:
    """Raises what an import raises."""
    sys.path.insert(0, str(SOURCE))
    messages = 0
    for path in sorted((SOURCE / "printfarm").rglob("*_pb2*.py")):
        module = importlib.import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts))
        for descriptor in getattr(getattr(module, "DESCRIPTOR", None), "message_types_by_name", {}).values():
            message = GetMessageClass(descriptor)
            message.FromString(message().SerializeToString())
            messages += 1
    print(f"{messages} messages on grpcio {version('grpcio')}, protobuf {version('protobuf')}")


if __name__ == "__main__":
    main()
