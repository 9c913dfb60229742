"""The coordinator's own certificate: issued at start, renewed long before its end, without a restart."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
from cryptography import x509

from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.keys import is_due_for_renewal
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check, read

from .authority import Authority

_LOG = structlog.get_logger(__name__)
COORDINATOR = Identity(PeerRole.COORDINATOR, "coordinator")
ALWAYS_NAMED = ("coordinator", "localhost", "127.0.0.1", "::1")
_HOUR_SECONDS = 3_600.0


def ensure_server_credentials(authority: Authority, folder: Path, names: Sequence[str] = ()) -> CredentialFiles:
    """The files, issued anew if they are missing, half over, not a pair, from another root, or do not carry the names."""
    files = CredentialFiles.in_folder(folder)
    wanted = [*ALWAYS_NAMED, *(name for name in names if name not in ALWAYS_NAMED)]
    if _is_good(files, authority, wanted):
        return files
    _LOG.info("issuing the coordinator's certificate", names=wanted)
    return authority.issue(folder, COORDINATOR, wanted)


def _is_good(files: CredentialFiles, authority: Authority, names: Sequence[str]) -> bool:
    now = datetime.now(UTC)
    try:
        leaf = check(files, now.timestamp())
        roots = read(files.roots)
    except (CredentialsError, ValueError):
        return False
    if roots != authority.roots_pem or is_due_for_renewal(leaf, now):
        return False
    found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    carried = {*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))}
    return carried >= set(names)


async def renew_for_ever(authority_folder: Path, folder: Path, names: Sequence[str]) -> None:
    """Looks every hour; handshakes after a renewal use the new files. Until cancelled."""
    while True:
        await asyncio.sleep(_HOUR_SECONDS)
        await asyncio.to_thread(ensure_server_credentials, Authority(authority_folder), folder, names)
