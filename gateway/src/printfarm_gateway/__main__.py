"""``printfarm-gateway``: serves until told to stop."""

import asyncio
import signal
import sys
from typing import Annotated

import grpc
import structlog
import typer
import uvloop
from pydantic import ValidationError

from printfarm_rpc import logs
from printfarm_rpc.tls import CredentialsError

from . import __version__
from .bootstrap import AddressTaken, open_gateway
from .settings import GatewaySettings, variables

_LOG = structlog.get_logger(__name__)
_HELP = "Serves the REST API of a print farm until SIGTERM.\n\nSet by the environment or a .env file: "
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.command(help=_HELP + ", ".join(variables()) + ".")
def run(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Serves."""
    settings = GatewaySettings()
    logs.configure("gateway", level=settings.log_level)
    uvloop.run(_serve(settings))


async def _serve(settings: GatewaySettings) -> None:
    grpc.aio.init_grpc_aio()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_gateway(settings):
        await stop.wait()
        _LOG.info("stopping")


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    try:
        app()
    except ValidationError as error:
        for wrong in error.errors():
            print(f"printfarm-gateway: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    except (AddressTaken, CredentialsError) as error:
        print(f"printfarm-gateway: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
