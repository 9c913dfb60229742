"""``python -m tests.bench.serial_bare PORT BAUD FILE``: the yardstick: one framed line, one ok, nothing around it."""

import sys
from functools import reduce
from operator import xor
from pathlib import Path

import serial

from printfarm_serial_host.__main__ import PRIORITY

from .serial_board import prefer


def main() -> None:
    """Ends when the last line was answered."""
    prefer(PRIORITY)
    port = serial.Serial(sys.argv[1], int(sys.argv[2]), timeout=60)
    framed = [b"N0 M110 N0*125\n"]
    for number, line in enumerate(Path(sys.argv[3]).read_bytes().splitlines(), 1):
        body = b"N%d %b" % (number, line)
        framed.append(b"%b*%d\n" % (body, reduce(xor, body)))
    # A board that was reset by the opening says so first.
    while port.readline().strip() != b"echo:Marlin 2.1.2":
        pass
    for line in framed:
        port.write(line)
        while not port.readline().startswith(b"ok"):
            pass


if __name__ == "__main__":
    main()
