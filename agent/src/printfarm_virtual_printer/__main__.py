"""``printfarm-virtual-printer``: one or more virtual printers until told to stop."""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from .faults import FAULTS
from .printer import Machine, Model
from .server import Server

POWER_CUT_EXIT = 9


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="printfarm-virtual-printer", description=__doc__)
    parser.add_argument("--printers", type=int, default=1, help="how many, each on a port of its own")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--base-port", type=int, default=0, help="of the first; 0 takes free ports")
    parser.add_argument("--dir", type=Path, required=True, help="files, memory and log, a folder a printer")
    parser.add_argument("--time-scale", type=float, default=1.0, help="60: sixty times faster than a machine")
    parser.add_argument("--name", default="virtual", help="printers are named NAME-1, NAME-2, ...")
    parser.add_argument("--model", default="Virtual One")
    parser.add_argument("--volume", default="220x220x250", help="XxYxZ in mm")
    parser.add_argument("--nozzle", type=float, default=0.4)
    parser.add_argument("--material", default="PLA")
    parser.add_argument("--colour", default="black")
    parser.add_argument("--plate-sensor", action="store_true")
    parser.add_argument("--fault", action="append", default=[], help=f"NAME or NAME:ARGUMENT: {', '.join(FAULTS)}")
    parser.add_argument(
        "--stop-with-stdin", action="store_true", help="end when standard input ends: with whoever started it"
    )
    return parser.parse_args()


def _model(arguments: argparse.Namespace, name: str) -> Model:
    x, y, z = (float(side) for side in arguments.volume.split("x"))
    return Model(
        name,
        arguments.model,
        (x, y, z),
        arguments.nozzle,
        arguments.material,
        arguments.colour,
        arguments.plate_sensor,
    )


async def _serve(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if arguments.stop_with_stdin:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), _stop_at_end, stop)
    told = []
    for index in range(arguments.printers):
        name = f"{arguments.name}-{index + 1}"
        machine = Machine(
            arguments.dir / name,
            _model(arguments, name),
            arguments.time_scale,
            on_power_cut=lambda: os._exit(POWER_CUT_EXIT),
        )
        machine.power_on()
        server = Server(machine)
        port = arguments.base_port + index if arguments.base_port else 0
        listening = await server.listen(arguments.host, port)
        server.set_faults(arguments.fault)
        bound = listening.sockets[0].getsockname()[1]
        told.append({"name": name, "address": f"{arguments.host}:{bound}", "dir": str(machine.folder)})
    print(json.dumps({"ready": True, "printers": told}), flush=True)
    await stop.wait()


def _stop_at_end(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def main() -> None:
    """The console script."""
    asyncio.run(_serve(_arguments()))


if __name__ == "__main__":
    main()
