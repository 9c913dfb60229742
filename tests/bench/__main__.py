"""Runs the benchmarks and prints one JSON object a line: figure, yardstick, ratio, target, and whether it is met.

``python -m tests.bench [name ...]`` runs some of them; ``python -m tests.bench --list`` names them.
"""

import sys

import structlog

from . import (
    cold,
    dead,
    decision,
    drivers,
    files,
    frames,
    many,
    memory,
    print_files,
    receiving,
    reconnect,
    rest,
    serial_stream,
    slicing,
    start,
    telemetry,
)

BENCHMARKS = {
    "telemetry": telemetry.ingest,
    "steady": telemetry.steady,
    "frames": frames.ingest,
    "files": files.to_agent,
    "receive": receiving.receive,
    "print-files": print_files.print_files,
    "slicing": slicing.slicing,
    "rest": rest.rest,
    "postgres": rest.postgres,
    "idle": start.idle,
    "start": start.submit,
    "decision": decision.decide,
    "memory-agent": memory.agent,
    "memory-coordinator": memory.coordinator,
    "reconnect": reconnect.reconnect,
    "serial": serial_stream.stream,
    "cold": cold.start,
    "dead": dead.dead,
    "drivers": drivers.drivers,
    "many-printers": many.mixed,
    "powered-off": many.powered_off,
}


def main() -> None:
    """All, or those that are named."""
    names = sys.argv[1:]
    if names == ["--list"]:
        print("\n".join(BENCHMARKS))
        return
    if unknown := [name for name in names if name not in BENCHMARKS]:
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
