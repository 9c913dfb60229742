"""A program's own certificate, as far as the program that carries it must know it.

Read by what Python's ``ssl`` brings along (``SSLSocket.getpeercert`` is made of the same): an agent would carry the library
that makes certificates, 9 MB, in its memory for two dates and a name. Others' certificates are read by that library alone.
"""

import ssl
from _ssl import _test_decode_cert  # type: ignore[attr-defined]
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .identity import Identity, parse_uri


class CredentialsError(Exception):
    """A key or certificate cannot be used. The text says which file, and what to do."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """``begins`` and ``ends`` in seconds since the epoch."""

    uris: tuple[str, ...]
    begins: float
    ends: float

    def identity(self) -> Identity:
        """Whom it names. Raises ValueError unless it carries exactly one URI, and that one is of this farm."""
        if len(self.uris) != 1:
            raise ValueError("the certificate must carry exactly one URI")
        return parse_uri(self.uris[0])

    def is_due_for_renewal(self, now: float) -> bool:
        """At half of its life."""
        return now >= self.begins + (self.ends - self.begins) / 2


def read_own(chain: Path) -> OwnCertificate:
    """The first of the file. Raises CredentialsError."""
    try:
        chain.stat()
    except OSError as error:
        raise CredentialsError(f"{chain.name} cannot be read ({error.strerror}): issue or enrol it first") from error
    try:
        found = _test_decode_cert(str(chain))
    except (ssl.SSLError, OSError) as error:
        raise CredentialsError(f"{chain.name} is no certificate that can be read: issue or enrol it anew") from error
    uris = tuple(str(name) for kind, name in found.get("subjectAltName", ()) if kind == "URI")
    return OwnCertificate(
        uris, ssl.cert_time_to_seconds(str(found["notBefore"])), ssl.cert_time_to_seconds(str(found["notAfter"]))
    )


def checked_own(key: Path, chain: Path, now: float) -> OwnCertificate:
    """The same, if key and chain belong together and it is valid at ``now``. Raises CredentialsError."""
    own = read_own(chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(chain, key)
    except (ssl.SSLError, OSError) as error:
        raise CredentialsError(f"{key.name} does not belong to {chain.name}") from error
    if now < own.begins:
        raise CredentialsError(f"{chain.name} is not valid before {_shown(own.begins)} UTC: check this host's clock")
    if now >= own.ends:
        raise CredentialsError(f"{chain.name} expired at {_shown(own.ends)} UTC: renew it, or check the clock")
    return own


def _shown(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}"
