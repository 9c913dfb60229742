"""Credentials from files, with errors that name the file and the mend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc

from .own import CredentialsError as CredentialsError
from .own import checked_own

if TYPE_CHECKING:
    from cryptography import x509


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """PEM files: a private key, its certificate chain, and the roots to trust."""

    key: Path
    chain: Path
    roots: Path

    @classmethod
    def in_folder(cls, folder: Path) -> CredentialFiles:
        """The three files by their usual names."""
        return cls(folder / "key.pem", folder / "certificate.pem", folder / "roots.pem")


def read(path: Path) -> bytes:
    """A file's bytes; CredentialsError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CredentialsError(f"{path.name} cannot be read ({error.strerror}): issue or enrol it first") from error


def check(files: CredentialFiles, now: float) -> x509.Certificate:
    """The leaf, if key and chain belong together and it is valid at ``now`` (seconds since the epoch)."""
    # Here and not above: an agent, which asks ``checked_own`` itself, does without the library.
    from cryptography import x509

    checked_own(files.key, files.chain, now)
    return x509.load_pem_x509_certificates(read(files.chain))[0]


def client_credentials(files: CredentialFiles) -> grpc.ChannelCredentials:
    """Mutual TLS as a client."""
    return grpc.ssl_channel_credentials(read(files.roots), read(files.key), read(files.chain))


def roots_only_credentials(roots: bytes) -> grpc.ChannelCredentials:
    """TLS as a client that has no certificate yet."""
    return grpc.ssl_channel_credentials(roots)


def mutual_server_credentials(files: CredentialFiles) -> grpc.ServerCredentials:
    """Mutual TLS as a server. The files are read again when they change: a renewal needs no restart."""
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files, with_roots=True), _fetcher(files, with_roots=True), require_client_authentication=True
    )


def open_server_credentials(files: CredentialFiles) -> grpc.ServerCredentials:
    """TLS as a server that asks for no client certificate: for enrolment alone."""
    return grpc.dynamic_ssl_server_credentials(
        _configuration(files, with_roots=False), _fetcher(files, with_roots=False)
    )


def _configuration(files: CredentialFiles, *, with_roots: bool) -> grpc.ServerCertificateConfiguration:
    pair = [(read(files.key), read(files.chain))]
    return grpc.ssl_server_certificate_configuration(pair, read(files.roots) if with_roots else None)


def _fetcher(files: CredentialFiles, *, with_roots: bool) -> Any:
    """Called at each handshake from a C-core thread: no locks, no event loop. None means "no change"."""
    seen = _stamp(files)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        nonlocal seen
        try:
            now = _stamp(files)
            if now == seen:
                return None
            configuration = _configuration(files, with_roots=with_roots)
        except (OSError, CredentialsError):
            # Half-way through a renewal: the old certificate serves until the files are whole.
            return None
        seen = now
        return configuration

    return fetch


def _stamp(files: CredentialFiles) -> tuple[int, int, int]:
    return files.key.stat().st_mtime_ns, files.chain.stat().st_mtime_ns, files.roots.stat().st_mtime_ns
