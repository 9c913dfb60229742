"""``printfarm-coordinator``: serves until told to stop."""

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

from .app.ports import DatabaseUnavailable
from .bootstrap import AddressTaken, open_coordinator
from .ca_cli import app as ca
from .first_key import write_first_key
from .settings import CoordinatorSettings

app = typer.Typer(help="Owns the queue and the assignment of a print farm.", no_args_is_help=True)
app.add_typer(ca, name="ca")
_LOG = structlog.get_logger(__name__)


@app.command()
def run(create_ca: Annotated[bool, typer.Option(help="create the CA if there is none")] = False) -> None:
    """Serves agents, gateways and operators until SIGTERM."""
    settings = CoordinatorSettings()
    logs.configure("coordinator", level=settings.log_level)
    if create_ca and not (settings.authority / "key.pem").exists():
        from .adapters.ca.authority import Authority

        Authority.create(settings.authority)
    uvloop.run(_serve(settings))


async def _serve(settings: CoordinatorSettings) -> None:
    grpc.aio.init_grpc_aio()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_coordinator(settings) as running:
        path = settings.data_dir / "admin-api-key"
        if await write_first_key(running.farm, path):
            _LOG.info("first administrator's key written", path=str(path))
        await stop.wait()
        _LOG.info("stopping")


def main() -> None:
    """The console script. What a person can mend is told in one line."""
    try:
        app()
    except ValidationError as error:
        for wrong in error.errors():
            print(f"printfarm-coordinator: {'.'.join(map(str, wrong['loc']))}: {wrong['msg']}", file=sys.stderr)
        sys.exit(2)
    except DatabaseUnavailable as error:
        print(f"printfarm-coordinator: the database of DATABASE_URL does not answer: {error}", file=sys.stderr)
        sys.exit(2)
    except (CredentialsError, AddressTaken, ValueError) as error:
        print(f"printfarm-coordinator: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
