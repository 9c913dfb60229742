"""The farm's own certificate authority: one root on disk, short certificates below it."""

import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from printfarm_rpc.errors import invalid
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.keys import fingerprint, key_pem, new_key, write_private
from printfarm_rpc.tls import CredentialFiles, CredentialsError, read

ROOT_LIFETIME = timedelta(days=3650)
SERVICE_LIFETIME = timedelta(days=90)
# Hosts whose clocks are late must accept a fresh certificate.
BACKDATED = timedelta(minutes=5)
SMALLEST_RSA_BITS = 2048
# No Ed25519: gRPC's TLS knows no such signature, and the certificate could not be used.
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class SignedCertificate:
    """A chain (leaf, root) with what the database keeps of it. ``expires_at`` in seconds since the epoch."""

    chain_pem: bytes
    roots_pem: bytes
    serial_hex: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class _Material:
    """What signs at the moment. ``bridge`` is the signing root, signed by the root before it; None without a rotation."""

    key: ec.EllipticCurvePrivateKey
    root: x509.Certificate
    older: tuple[x509.Certificate, ...]
    bridge: x509.Certificate | None

    @property
    def roots_pem(self) -> bytes:
        return _pem(self.root, *self.older)

    @property
    def above_leaf(self) -> bytes:
        # The bridge first: whoever trusts only the root before it follows the chain in this order.
        return _pem(self.bridge, self.root) if self.bridge else _pem(self.root)


class Authority:
    """The CA of a folder: ``key.pem``, ``roots.pem`` (all that is trusted), ``bridge.pem`` during a rotation.

    The files are read at each use, so a rotation by the command line needs no restart. The key decides which root signs, and it
    is always written last: a crash in between leaves the CA as it was.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def create(cls, folder: Path) -> "Authority":
        """A new root in the folder. Raises CredentialsError if one is there: it is never overwritten."""
        if (folder / "key.pem").exists():
            raise CredentialsError("there is a CA in that folder already; `ca rotate` replaces its root")
        key = new_key()
        write_private(folder / "roots.pem", _pem(_root_certificate(key)))
        write_private(folder / "key.pem", key_pem(key))
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Authority":
        """The CA of the folder. Raises CredentialsError if there is none, or its files do not belong together."""
        authority = cls(folder)
        authority._material()
        return authority

    def rotate(self) -> None:
        """A new root that signs from now on. The old one stays trusted, and vouches for the new one, until ``retire``.

        Raises CredentialsError while an older root is still trusted."""
        old = self._material()
        if old.older:
            raise CredentialsError("an older root is still trusted: `ca retire` ends its rotation first")
        key = new_key()
        root = _root_certificate(key)
        write_private(self._folder / "bridge.pem", _pem(_bridge_certificate(root, key.public_key(), old)))
        write_private(self._folder / "roots.pem", _pem(root) + old.roots_pem)
        write_private(self._folder / "key.pem", key_pem(key))

    def retire(self) -> int:
        """Only the root that signs is trusted from now on. Returns how many others were; may be repeated."""
        now = self._material()
        write_private(self._folder / "roots.pem", _pem(now.root))
        (self._folder / "bridge.pem").unlink(missing_ok=True)
        return len(now.older)

    def _material(self) -> _Material:
        key = serialization.load_pem_private_key(read(self._folder / "key.pem"), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CredentialsError("the CA's key.pem is not an elliptic-curve key")
        roots = x509.load_pem_x509_certificates(read(self._folder / "roots.pem"))
        mine = [root for root in roots if root.public_key() == key.public_key()]
        if not mine:
            raise CredentialsError(
                "the CA's key.pem belongs to none of its roots.pem: restore the folder from its copy"
            )
        return _Material(key, mine[0], tuple(root for root in roots if root != mine[0]), self._bridge(mine[0]))

    def _bridge(self, root: x509.Certificate) -> x509.Certificate | None:
        try:
            bridge = x509.load_pem_x509_certificate((self._folder / "bridge.pem").read_bytes())
        except FileNotFoundError:
            return None
        return bridge if bridge.public_key() == root.public_key() else None

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """All that are trusted; the first one signs."""
        now = self._material()
        return (now.root, *now.older)

    @property
    def roots_pem(self) -> bytes:
        """The bundle for peers."""
        return self._material().roots_pem

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root, hexadecimal: what an operator compares."""
        return fingerprint(self.roots_pem)

    def key_sha256(self, csr_der: bytes) -> str:
        """SHA-256 of the request's public key (SubjectPublicKeyInfo, DER), hexadecimal."""
        form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        return hashlib.sha256(_request_key(csr_der).public_bytes(*form)).hexdigest()

    def sign(self, csr_der: bytes, identity: Identity, lifetime: timedelta) -> SignedCertificate:
        """A client certificate for that identity. Of the request only the key counts.

        Raises FarmError INVALID_ARGUMENT if it is no request, or its key is too weak."""
        return self._issue(_request_key(csr_der), identity, lifetime, names=(), is_server=False)

    def issue(
        self, folder: Path, identity: Identity, names: Sequence[str] = (), lifetime: timedelta = SERVICE_LIFETIME
    ) -> CredentialFiles:
        """A new key with its certificate, as files. ``names``: DNS names and IP addresses, for servers."""
        key = new_key()
        is_server = identity.role is PeerRole.COORDINATOR
        signed = self._issue(key.public_key(), identity, lifetime, names=names, is_server=is_server)
        # The certificate last: after a crash in between, `tls.check` sees that it does not belong to the key.
        write_private(folder / "roots.pem", signed.roots_pem)
        write_private(folder / "key.pem", key_pem(key))
        write_private(folder / "certificate.pem", signed.chain_pem)
        return CredentialFiles.in_folder(folder)

    def _issue(
        self, key: PublicKey, identity: Identity, lifetime: timedelta, *, names: Sequence[str], is_server: bool
    ) -> SignedCertificate:
        authority, now = self._material(), datetime.now(UTC)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if is_server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        alternatives = [x509.UniformResourceIdentifier(identity.uri), *map(_general_name, names)]
        leaf = (
            x509.CertificateBuilder()
            .subject_name(_common_name(f"{identity.role} {identity.name}"[:64]))
            .issuer_name(authority.root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(_issuer_key(authority.key), critical=False)
            .sign(authority.key, hashes.SHA256())
        )
        expires = int(leaf.not_valid_after_utc.timestamp())
        chain = _pem(leaf) + authority.above_leaf
        return SignedCertificate(chain, authority.roots_pem, f"{leaf.serial_number:x}", expires)


def _root_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _common_name(f"PrintFarm CA {x509.random_serial_number():x}"[:32])
    now = datetime.now(UTC)
    # One certificate may stand between a root and a leaf: the bridge of a rotation.
    return _ca_certificate(name, name, key.public_key(), key, now + ROOT_LIFETIME, path_length=1)


def _bridge_certificate(root: x509.Certificate, key: ec.EllipticCurvePublicKey, old: _Material) -> x509.Certificate:
    """The new root as the old one vouches for it, and no longer than the old one lives."""
    ends = min(root.not_valid_after_utc, old.root.not_valid_after_utc)
    return _ca_certificate(root.subject, old.root.subject, key, old.key, ends, path_length=0)


def _ca_certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    ends: datetime,
    *,
    path_length: int,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - BACKDATED)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(_issuer_key(signer), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _issuer_key(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in certificates)


def _request_key(csr_der: bytes) -> PublicKey:
    field = "certificate_signing_request"
    try:
        request = x509.load_der_x509_csr(csr_der)
        valid, key = request.is_signature_valid, request.public_key()
    except (ValueError, x509.InvalidVersion, InvalidSignature, UnsupportedAlgorithm) as error:
        raise invalid(field, "must be a PKCS #10 request, DER") from error
    if not valid:
        raise invalid(field, "must be signed by its own key")
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= SMALLEST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        return key
    raise invalid(field, f"must carry a key on P-256 or P-384, or RSA of {SMALLEST_RSA_BITS} bits or more")
