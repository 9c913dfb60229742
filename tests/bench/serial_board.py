"""``python -m tests.bench.serial_board FOLDER BAUD``: a board on a paced pseudo terminal, in a process of its own.

Prints its port when it is there. Each line on its input is answered by what happened since the last one, and forgets it.
"""

import contextlib
import json
import os
import sys
from pathlib import Path

from tests.support.fake_marlin import FakeMarlin
from tests.support.marlin_board import Board, Firmware

# Each way: a USB adapter in low-latency mode.
LATENCY_SECONDS = 0.0005


def _told(board: Board) -> dict[str, float]:
    moves = [entry["t"] for entry in board.log if entry["event"] == "command" and entry["command"].startswith("G1")]
    kinds = [entry["event"] for entry in board.log]
    told = {
        "moves": len(moves),
        "seconds": moves[-1] - moves[0] if len(moves) > 1 else 0.0,
        "planner_empty": kinds.count("planner_empty"),
        "resends": kinds.count("resend"),
        "overflows": kinds.count("overflow"),
    }
    board.log.clear()
    return told


def prefer(priority: int) -> None:
    """Before other work, where that is allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, priority)


def main() -> None:
    """Until its input ends."""
    # It is the wire and the machine, which wait for nobody.
    prefer(-15)
    folder, baud = Path(sys.argv[1]), int(sys.argv[2])
    firmware = Firmware(advanced_ok=len(sys.argv) > 3)
    with FakeMarlin(folder, firmware, baud=baud, latency=LATENCY_SECONDS) as printer:
        print(printer.path, flush=True)
        for _ in sys.stdin:
            print(json.dumps(printer.do(_told)), flush=True)


if __name__ == "__main__":
    main()
