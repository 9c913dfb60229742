"""Joins the parts: CA, coordinator, gateway, printers, agent, each with the credentials it would have on its own host."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from printfarm_agent.bootstrap import RunningAgent, open_agent
from printfarm_agent.driver import PrinterConfig
from printfarm_agent.enroll import enroll
from printfarm_agent.settings import AgentSettings, PrinterSettings, check_ids, load_printers
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.app.enroll import create_token
from printfarm_coordinator.app.farm import Caller
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.bootstrap import RunningCoordinator, open_coordinator
from printfarm_coordinator.first_key import write_first_key
from printfarm_coordinator.settings import CoordinatorSettings
from printfarm_gateway.bootstrap import open_gateway
from printfarm_gateway.settings import GatewaySettings
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.keys import is_due_for_renewal
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check

from .printers import virtual_printers
from .settings import StandaloneSettings
from .slicing import bring_profiles, slicer_worker

AGENT_ID = "local"
_ANY_PORT = "127.0.0.1:0"
_ITSELF = Caller("standalone", Role.ADMIN)


@dataclass(frozen=True, slots=True)
class RunningFarm:
    """Where it is, and the key to it."""

    url: str
    key_path: Path
    is_first_start: bool
    virtual_printers: tuple[str, ...]
    real_printers: tuple[str, ...]
    # What models are sliced with, or why they are refused.
    slicing: str
    agent: RunningAgent


@asynccontextmanager
async def open_farm(settings: StandaloneSettings) -> AsyncGenerator[RunningFarm]:
    """The whole farm. No shortcut anywhere: the parts speak gRPC with mutual TLS on loopback, as between hosts."""
    data = settings.data_dir
    if not (data / "ca" / "key.pem").exists():
        await asyncio.to_thread(Authority.create, data / "ca")
    async with AsyncExitStack() as stack:
        coordinator = await stack.enter_async_context(open_coordinator(_coordinator_settings(settings)))
        key_path = data / "admin-api-key"
        is_first_start = await write_first_key(coordinator.farm, key_path)
        addresses = await stack.enter_async_context(
            virtual_printers(settings.virtual_printers, data / "virtual-printers", settings.time_scale)
        )
        await _enrol_agent(coordinator, data / "agent")
        virtual = _virtual_printers(addresses)
        real = await asyncio.to_thread(_real_printers, settings)
        agent = await stack.enter_async_context(open_agent(_agent_settings(coordinator, data, virtual, real)))
        await asyncio.to_thread(_gateway_credentials, coordinator.authority, data / "gateway")
        gateway = await stack.enter_async_context(
            open_gateway(GatewaySettings(data_dir=data, port=settings.port, control_target=coordinator.control_address))
        )
        port = gateway.address.rpartition(":")[2]
        await bring_profiles(coordinator.farm, _ITSELF)
        slicing = await stack.enter_async_context(
            slicer_worker(coordinator.authority, coordinator.control_address, data.absolute())
        )
        url = f"http://localhost:{port}"
        yield RunningFarm(url, key_path, is_first_start, _ids(virtual), _ids(real), slicing, agent)


def _coordinator_settings(settings: StandaloneSettings) -> CoordinatorSettings:
    return CoordinatorSettings(
        data_dir=settings.data_dir,
        agents_address=_ANY_PORT,
        control_address=_ANY_PORT,
        enrollment_address=_ANY_PORT,
        admin_address=_ANY_PORT,
        metrics_address=_ANY_PORT,
    )


async def _enrol_agent(coordinator: RunningCoordinator, state_dir: Path) -> None:
    """By a one-time token through the enrolment listener, as on any host; again only if its certificate is over."""
    try:
        check(CredentialFiles.in_folder(state_dir / "credentials"), time.time())
        return
    except CredentialsError:
        token, _ = await create_token(coordinator.farm, _ITSELF, AGENT_ID)
    fingerprint = coordinator.authority.fingerprint
    await asyncio.to_thread(enroll, coordinator.enrollment_address, token, fingerprint, state_dir)


def _real_printers(settings: StandaloneSettings) -> tuple[PrinterSettings, ...]:
    """Those of the file; none without one, unless it was asked for by name. Raises WrongSettings."""
    path = settings.printers_file
    if settings.printers is None and not path.exists():
        return ()
    return load_printers(path, settings.data_dir / "agent")


def _ids(printers: tuple[PrinterSettings, ...]) -> tuple[str, ...]:
    return tuple(printer.printer_id for printer in printers)


def _virtual_printers(addresses: list[str]) -> tuple[PrinterSettings, ...]:
    return tuple(
        PrinterSettings(
            PrinterConfig(f"virtual-{number}", {"address": address}),
            "virtual",
            f"Virtual {number}",
            # Nothing lies on the plate of a printer that was made a moment ago.
            initial_bed="clear",
        )
        for number, address in enumerate(addresses, start=1)
    )


def _agent_settings(
    coordinator: RunningCoordinator,
    data: Path,
    virtual: tuple[PrinterSettings, ...],
    real: tuple[PrinterSettings, ...],
) -> AgentSettings:
    check_ids(virtual + real)
    return AgentSettings(
        coordinator=coordinator.agents_address,
        printers=virtual + real,
        state_dir=data / "agent",
        metrics_address=_ANY_PORT,
        observe_seconds=0.5,
    )


def _gateway_credentials(authority: Authority, folder: Path) -> None:
    files = CredentialFiles.in_folder(folder)
    try:
        leaf = check(files, time.time())
        if not is_due_for_renewal(leaf, datetime.now(UTC)) and files.roots.read_bytes() == authority.roots_pem:
            return
    except CredentialsError:
        pass
    authority.issue(folder, Identity(PeerRole.GATEWAY, "gateway"))
