"""``printfarm-slicer``: slices for the farm until told to stop."""

import asyncio
import signal
import sys

import grpc
from pydantic import ValidationError

from printfarm_rpc import logs
from printfarm_rpc.tls import CredentialsError

from .bootstrap import NoSandbox, NoSlicer, open_slicer
from .settings import SlicerSettings


async def _run(settings: SlicerSettings) -> None:
    grpc.aio.init_grpc_aio()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_slicer(settings):
        await stop.wait()


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    try:
        settings = SlicerSettings()
        logs.configure("slicer", level=settings.log_level)
        asyncio.run(_run(settings))
    except ValidationError as error:
        for wrong in error.errors():
            print(f"printfarm-slicer: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    except (CredentialsError, NoSandbox, NoSlicer) as error:
        print(f"printfarm-slicer: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
