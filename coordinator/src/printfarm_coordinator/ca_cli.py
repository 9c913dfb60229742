"""``printfarm-coordinator ca``: the farm's certificates, by hand."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.hashes import SHA256

from printfarm_rpc.identity import Identity, PeerRole, is_name

from .adapters.ca.authority import Authority
from .adapters.ids import TimeOrderedIds
from .adapters.sql.migrate import migrate
from .adapters.sql.store import SqlStore
from .app.enroll import create_token
from .app.farm import Caller, Farm
from .app.ports import Role
from .settings import CoordinatorSettings

app = typer.Typer(help="The farm's certificate authority.", no_args_is_help=True)


@app.command()
def create() -> None:
    """A new CA in PRINTFARM_CA_DIR."""
    settings = CoordinatorSettings()
    authority = Authority.create(settings.authority)
    typer.echo(f"CA created in {settings.authority}, SHA-256 {authority.fingerprint}")


@app.command()
def show() -> None:
    """The SHA-256 of each root that is trusted, and when it ends; the first one signs."""
    for number, root in enumerate(Authority.open(CoordinatorSettings().authority).roots):
        use = "signs" if number == 0 else "trusted until `ca retire`"
        typer.echo(f"{root.fingerprint(SHA256()).hex()}  until {root.not_valid_after_utc:%Y-%m-%d}  {use}")


@app.command()
def rotate() -> None:
    """A new root that signs from now on; the old one stays trusted and vouches for it. Nothing needs a restart."""
    authority = Authority.open(CoordinatorSettings().authority)
    authority.rotate()
    typer.echo(f"new root, SHA-256 {authority.fingerprint}")
    typer.echo("agents take it at their next renewal (within 24 h); issue gateways and operators anew, then: ca retire")


@app.command()
def retire() -> None:
    """Ends a rotation: certificates under older roots are refused from now on."""
    count = Authority.open(CoordinatorSettings().authority).retire()
    typer.echo(f"{count} older root(s) no longer trusted; running servers take it up within the hour, or at a restart")


@app.command()
def issue(
    role: Annotated[str, typer.Argument(help="gateway, operator or slicer")],
    name: Annotated[str, typer.Argument(help="lower case letters, digits and dashes")],
    folder: Annotated[Path, typer.Option("--out", help="where key.pem, certificate.pem and roots.pem go")],
) -> None:
    """A key and certificate for a gateway, an operator or a slicer worker, good for 90 days."""
    if role not in (PeerRole.GATEWAY, PeerRole.OPERATOR, PeerRole.SLICER) or not is_name(name):
        raise typer.BadParameter("role must be gateway, operator or slicer, name lower case letters, digits and dashes")
    authority = Authority.open(CoordinatorSettings().authority)
    files = authority.issue(folder, Identity(PeerRole(role), name))
    typer.echo(f"issued {files.chain}")


@app.command()
def token(
    agent_id: Annotated[str, typer.Argument(help="the agent to enrol")],
) -> None:
    """A one-time token for an agent, good for 10 minutes, and the line to run beside its printers."""
    if not is_name(agent_id):
        raise typer.BadParameter("an agent's id is lower case letters, digits and dashes, at most 63")
    settings = CoordinatorSettings()
    fingerprint = Authority.open(settings.authority).fingerprint
    made = asyncio.run(_token(settings, agent_id))
    address = _reachable(settings)
    typer.echo(f"printfarm-agent enroll --enrollment {address} --token {made} --ca-sha256 {fingerprint}")


def _reachable(settings: CoordinatorSettings) -> str:
    """Where agents find the enrolment listener: under the first of the server's names, if it has any."""
    host, _, port = settings.enrollment_address.rpartition(":")
    return f"{settings.server_names[0] if settings.server_names else host}:{port}"


async def _token(settings: CoordinatorSettings, agent_id: str) -> str:
    from .adapters.artifacts.folder import ArtifactFolder
    from .adapters.bus.inprocess import InProcessBus

    store = SqlStore(settings.database)
    try:
        await migrate(store.engine)
        farm = Farm(store, InProcessBus(), ArtifactFolder(settings.artifacts), TimeOrderedIds())
        made, _ = await create_token(farm, Caller("local-administrator", Role.ADMIN), agent_id)
        return made
    finally:
        await store.close()
