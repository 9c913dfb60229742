"""Certificates that a farm's own CA would never make: for tests of who is turned away."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from printfarm_rpc.keys import key_pem, new_key, write_private
from printfarm_rpc.tls import CredentialFiles

CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)
SERVER = (ExtendedKeyUsageOID.SERVER_AUTH,)


def odd_certificate(
    authority: Path,
    folder: Path,
    uris: Sequence[str],
    *,
    usages: Sequence[ObjectIdentifier] = CLIENT,
    ends: timedelta = timedelta(hours=1),
    begins: timedelta = timedelta(hours=-2),
) -> CredentialFiles:
    """Signed by the CA of the folder ``authority``, with exactly these URIs and usages; times are from now."""
    signer = serialization.load_pem_private_key((authority / "key.pem").read_bytes(), None)
    root = x509.load_pem_x509_certificate((authority / "roots.pem").read_bytes())
    key, now = new_key(), datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "odd")]))
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )
    if uris:
        names = [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    leaf = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
    write_private(folder / "key.pem", key_pem(key))
    write_private(folder / "certificate.pem", leaf.public_bytes(serialization.Encoding.PEM))
    write_private(folder / "roots.pem", (authority / "roots.pem").read_bytes())
    return CredentialFiles.in_folder(folder)
