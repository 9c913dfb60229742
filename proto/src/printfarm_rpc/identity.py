"""Who the other side is: the URI in its certificate, ``spiffe://farm/<role>/<name>``. The common name is never read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import grpc
    from cryptography import x509

TRUST_DOMAIN = "farm"
# Certificates of which it is known whose they are.
_REMEMBERED = 2_048
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class PeerRole(StrEnum):
    """What a certificate is for."""

    AGENT = "agent"
    COORDINATOR = "coordinator"
    GATEWAY = "gateway"
    OPERATOR = "operator"
    SLICER = "slicer"


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer. ``serial`` is its certificate's, hexadecimal; ``expires_at`` in seconds since the epoch; 0 if not read."""

    role: PeerRole
    name: str
    serial: str = ""
    expires_at: int = 0

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"spiffe://{TRUST_DOMAIN}/{self.role}/{self.name}"


def parse_uri(uri: str) -> Identity:
    """Raises ValueError unless it is one of ours."""
    match = re.fullmatch(rf"spiffe://{TRUST_DOMAIN}/([a-z]+)/({NAME.pattern})", uri)
    if match is None or match[1] not in {role.value for role in PeerRole}:
        raise ValueError("not an identity of this farm")
    return Identity(PeerRole(match[1]), match[2])


def is_name(text: str) -> bool:
    """Fit for an agent id, a printer id or a program's name: lower case letters, digits and dashes, at most 63."""
    return NAME.fullmatch(text) is not None


def from_certificate(certificate: x509.Certificate) -> Identity:
    """Raises ValueError unless it carries exactly one URI, and that one is ours."""
    # Here and not above: an agent reads no certificate but its own (``own``), and carries the library only where it must.
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate has no subject alternative name") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        raise ValueError("the certificate must carry exactly one URI")
    found = parse_uri(uris[0])
    expires = int(certificate.not_valid_after_utc.timestamp())
    return Identity(found.role, found.name, f"{certificate.serial_number:x}", expires)


def from_context(context: grpc.aio.ServicerContext[Any, Any]) -> Identity | None:
    """The peer of a call, or None without a certificate of this farm. TLS has checked the chain before."""
    pem = context.auth_context().get("x509_pem_cert")
    if not pem:
        return None
    return _of_pem(next(iter(pem)))


@lru_cache(maxsize=_REMEMBERED)
def _of_pem(pem: bytes) -> Identity | None:
    """Read once for all calls of a connection: to parse a certificate costs as much as to answer a small call."""
    from cryptography import x509

    try:
        return from_certificate(x509.load_pem_x509_certificate(pem))
    except ValueError:
        return None
