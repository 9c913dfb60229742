"""Listens on the network for printers, and looks for serial ports. Only when a person asks for it."""

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .discovery import LONGEST_DATAGRAM, SERVICES, Finding, from_port, from_service, from_ssdp
from .settings import WrongSettings

_GROUP = "239.255.255.250"


@dataclass(frozen=True, slots=True)
class Ears:
    """Where to listen. ``interface`` is an address of this host, empty for all; ``group`` empty: only what is sent here."""

    seconds: float = 6.0
    interface: str = ""
    ssdp_port: int = 2021
    group: str = _GROUP
    ports: Path = Path("/dev/serial/by-id")


async def discover(ears: Ears) -> list[Finding]:
    """Everything found in the time. Raises WrongSettings if mDNS cannot be listened to."""
    network = await asyncio.gather(_announcements(ears), _services(ears))
    found = {finding for part in network for finding in part}
    return sorted(found | {from_port(str(path)) for path in await asyncio.to_thread(_ports, ears.ports)})


def _ports(folder: Path) -> Iterable[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


async def _announcements(ears: Ears) -> set[Finding]:
    """Bambu printers announce themselves every few seconds."""
    loop = asyncio.get_running_loop()
    found: set[Finding] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setblocking(False)
        try:
            # What is sent to a group does not reach a socket that is bound to one address.
            ear.bind(("" if ears.group else ears.interface, ears.ssdp_port))
            if ears.group:
                mine = socket.inet_aton(ears.interface or "0.0.0.0")
                ear.setsockopt(
                    socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, struct.pack("4s4s", socket.inet_aton(ears.group), mine)
                )
        except OSError:
            # No network, or somebody else listens there: the other ways still work.
            return found
        try:
            async with asyncio.timeout(ears.seconds):
                while True:
                    datagram = await loop.sock_recv(ear, LONGEST_DATAGRAM + 1)
                    if (finding := from_ssdp(datagram)) is not None:
                        found.add(finding)
        except TimeoutError:
            return found


async def _services(ears: Ears) -> set[Finding]:
    try:
        from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf
    except ModuleNotFoundError as error:
        raise WrongSettings('discovery needs zeroconf: pip install "printfarm-agent[discover]"') from error
    seen: set[tuple[str, str]] = set()

    def heard(zeroconf: Any, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is not ServiceStateChange.Removed:
            seen.add((service_type, name))

    interfaces = [ears.interface] if ears.interface else InterfaceChoice.Default
    mdns = AsyncZeroconf(interfaces=interfaces, ip_version=IPVersion.V4Only)
    try:
        browser = AsyncServiceBrowser(mdns.zeroconf, list(SERVICES), handlers=[heard])
        await asyncio.sleep(ears.seconds / 2)
        await browser.async_cancel()
        infos = [AsyncServiceInfo(kind, name) for kind, name in sorted(seen)[:256]]
        await asyncio.gather(*(info.async_request(mdns.zeroconf, ears.seconds * 500) for info in infos))
        made = (from_service(i.type, i.name, i.parsed_addresses(IPVersion.V4Only), i.port) for i in infos)
        return {finding for finding in made if finding is not None}
    finally:
        await mdns.async_close()
