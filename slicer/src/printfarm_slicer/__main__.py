"""``printfarm-slicer``: slices for the farm until told to stop."""

import argparse
import asyncio
import os
import signal
import sys

import grpc
from pydantic import ValidationError

from printfarm_rpc import logs
from printfarm_rpc.tls import CredentialsError

from .bootstrap import NoSandbox, NoSlicer, open_slicer
from .settings import SlicerSettings


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="printfarm-slicer", description="Slices models for PrintFarm.")
    parser.add_argument("--with-parent", action="store_true", help="stop when standard input closes")
    return parser.parse_args()


async def _run(settings: SlicerSettings, *, with_parent: bool) -> None:
    grpc.aio.init_grpc_aio()
    stop = asyncio.Event()
    if with_parent:
        asyncio.get_running_loop().add_reader(0, lambda: None if os.read(0, 1) else stop.set())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_slicer(settings):
        await stop.wait()


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    arguments = _arguments()
    try:
        settings = SlicerSettings()
        logs.configure("slicer", level=settings.log_level)
        asyncio.run(_run(settings, with_parent=arguments.with_parent))
    except ValidationError as error:
        for wrong in error.errors():
            print(f"printfarm-slicer: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    except (CredentialsError, NoSandbox, NoSlicer) as error:
        print(f"printfarm-slicer: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
