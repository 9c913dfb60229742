"""The farm's CA: what it signs, what it refuses, and that a crash at any write leaves one that works."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from printfarm_coordinator.adapters.ca import authority as module
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ca.server import COORDINATOR, ensure_server_credentials
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.identity import Identity, PeerRole, from_certificate
from printfarm_rpc.keys import fingerprint, key_pem, new_key, signing_request, write_private
from printfarm_rpc.tls import CredentialFiles, CredentialsError, check

AGENT = Identity(PeerRole.AGENT, "a1")
DAY = timedelta(days=1)
T = TypeVar("T", bound=x509.ExtensionType)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca")


SHA256 = hashes.SHA256()


def request(key, algorithm=SHA256, *, demands: bool = False) -> bytes:  # type: ignore[no-untyped-def]
    """A CSR. ``demands``: it asks for everything that it must not get."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if demands:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "coordinator")])
        uri = x509.UniformResourceIdentifier("spiffe://farm/operator/root")
        builder = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(name)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([uri, x509.DNSName("coordinator")]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([SERVER, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), critical=False)
        )
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def leaf_of(chain_pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificates(chain_pem)[0]


def extension(certificate: x509.Certificate, kind: type[T]) -> T:
    return certificate.extensions.get_extension_for_class(kind).value


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the root


def test_the_root_is_for_signing_only_and_its_key_for_its_owner_only(ca: Authority, tmp_path: Path) -> None:
    (root,) = ca.roots
    root.verify_directly_issued_by(root)
    key = root.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)
    assert extension(root, x509.BasicConstraints).ca
    usage = extension(root, x509.KeyUsage)
    assert (usage.key_cert_sign, usage.crl_sign, usage.digital_signature) == (True, True, False)
    assert timedelta(days=3649) < root.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=3650)
    assert mode(tmp_path / "ca") == 0o700
    assert {mode(path) for path in (tmp_path / "ca").iterdir()} == {0o600}
    assert ca.fingerprint == fingerprint(ca.roots_pem) == root.fingerprint(hashes.SHA256()).hex()


def test_a_ca_is_never_overwritten(ca: Authority, tmp_path: Path) -> None:
    before = ca.fingerprint
    with pytest.raises(CredentialsError, match="rotate"):
        Authority.create(tmp_path / "ca")
    assert Authority.open(tmp_path / "ca").fingerprint == before


def test_no_ca_no_key_wrong_key(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(CredentialsError):
        Authority.open(tmp_path / "none")
    write_private(tmp_path / "ca" / "key.pem", key_pem(new_key()))
    with pytest.raises(CredentialsError, match="belongs to none"):
        ca.sign(signing_request(new_key()), AGENT, DAY)
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(tmp_path / "ca" / "key.pem", pem)
    with pytest.raises(CredentialsError, match="elliptic"):
        Authority.open(tmp_path / "ca")


# -- what it signs


def test_an_agents_certificate_says_who_it_is_and_nothing_else(ca: Authority) -> None:
    key = new_key()
    signed = ca.sign(request(key, demands=True), AGENT, DAY)
    leaf, root = x509.load_pem_x509_certificates(signed.chain_pem)
    leaf.verify_directly_issued_by(root)
    assert root == ca.roots[0]
    assert leaf.public_key() == key.public_key()
    names = extension(leaf, x509.SubjectAlternativeName)
    assert list(names) == [x509.UniformResourceIdentifier("spiffe://farm/agent/a1")]
    assert list(extension(leaf, x509.ExtendedKeyUsage)) == [CLIENT]
    assert not extension(leaf, x509.BasicConstraints).ca
    usage = extension(leaf, x509.KeyUsage)
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert "coordinator" not in leaf.subject.rfc4514_string()
    own = extension(leaf, x509.SubjectKeyIdentifier)
    assert own == x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    issuer = extension(leaf, x509.AuthorityKeyIdentifier)
    assert issuer.key_identifier == extension(root, x509.SubjectKeyIdentifier).digest
    found = from_certificate(leaf)
    assert (found.role, found.name) == (PeerRole.AGENT, "a1")
    assert (found.serial, found.expires_at) == (signed.serial_hex, signed.expires_at)


def test_it_is_valid_for_late_clocks_and_ends_when_it_should(ca: Authority) -> None:
    before = datetime.now(UTC)
    leaf = leaf_of(ca.sign(signing_request(new_key()), AGENT, DAY).chain_pem)
    assert leaf.not_valid_before_utc <= before - timedelta(minutes=4, seconds=59)
    assert timedelta(0) <= leaf.not_valid_after_utc - (before + DAY) + timedelta(seconds=1) <= timedelta(minutes=1)


def test_serials_are_random_and_fit(ca: Authority) -> None:
    csr = signing_request(new_key())
    serials = {leaf_of(ca.sign(csr, AGENT, DAY).chain_pem).serial_number for _ in range(20)}
    assert len(serials) == 20
    assert all(0 < serial < 1 << 159 for serial in serials)
    assert max(serials).bit_length() > 128


def test_only_the_coordinator_may_be_a_server(ca: Authority, tmp_path: Path) -> None:
    files = ca.issue(tmp_path / "c", COORDINATOR, ["coordinator", "farm.example.lan", "10.1.2.3", "::1"])
    leaf = check(files, datetime.now(UTC).timestamp())
    assert set(extension(leaf, x509.ExtendedKeyUsage)) == {CLIENT, SERVER}
    names = extension(leaf, x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["coordinator", "farm.example.lan"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["10.1.2.3", "::1"]
    assert from_certificate(leaf).uri == "spiffe://farm/coordinator/coordinator"
    for role in (PeerRole.GATEWAY, PeerRole.OPERATOR):
        files = ca.issue(tmp_path / role, Identity(role, "x"))
        leaf = check(files, datetime.now(UTC).timestamp())
        assert list(extension(leaf, x509.ExtendedKeyUsage)) == [CLIENT]
        assert timedelta(days=89) < leaf.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=90)
        assert mode(files.key) == 0o600
        assert mode(tmp_path / role) == 0o700


# -- what it refuses


@pytest.mark.parametrize(
    "make",
    [
        new_key,
        lambda: ec.generate_private_key(ec.SECP384R1()),
        lambda: rsa.generate_private_key(65_537, 2_048),
    ],
    ids=["P-256", "P-384", "RSA 2048"],
)
def test_good_keys_are_signed(ca: Authority, make: Callable[[], ec.EllipticCurvePrivateKey]) -> None:
    key = make()
    assert leaf_of(ca.sign(request(key), AGENT, DAY).chain_pem).public_key() == key.public_key()


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: rsa.generate_private_key(65_537, 1_024), hashes.SHA256()),
        (lambda: dsa.generate_private_key(2_048), hashes.SHA256()),
        (lambda: ec.generate_private_key(ec.SECP521R1()), hashes.SHA256()),
        (lambda: ec.generate_private_key(ec.SECP256K1()), hashes.SHA256()),
        (ed25519.Ed25519PrivateKey.generate, None),
        (ed448.Ed448PrivateKey.generate, None),
    ],
    ids=["RSA 1024", "DSA", "P-521", "secp256k1", "Ed25519", "Ed448"],
)
def test_other_keys_are_refused(ca: Authority, make: Callable[[], object], algorithm: hashes.HashAlgorithm) -> None:
    with pytest.raises(FarmError) as refused:
        ca.sign(request(make(), algorithm), AGENT, DAY)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.fields[0].field == "certificate_signing_request"


def test_a_request_that_its_key_did_not_sign_is_refused(ca: Authority) -> None:
    csr = bytearray(signing_request(new_key()))
    csr[-3] ^= 1
    with pytest.raises(FarmError) as refused:
        ca.sign(bytes(csr), AGENT, DAY)
    assert refused.value.code is Code.INVALID_ARGUMENT


CSR = request(new_key(), demands=True)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(st.tuples(st.integers(0, len(CSR) - 1), st.integers(1, 255)), min_size=1, max_size=4),
    length=st.integers(0, len(CSR)),
)
def test_damaged_requests_are_refused_and_nothing_else(
    ca: Authority, damage: list[tuple[int, int]], length: int
) -> None:
    csr = bytearray(CSR)
    for at, mask in damage:
        csr[at] ^= mask
    if bytes(csr) == CSR:
        return
    for wrong in (bytes(csr), CSR[:length] if length < len(CSR) else b"", bytes(csr[:length])):
        code = refusal(ca, wrong)
        # DER has a few bits that say nothing, as how many of the signature's last byte do not count.
        assert code is Code.INVALID_ARGUMENT or (code is None and what_counts(wrong) == what_counts(CSR))


def refusal(ca: Authority, csr: bytes) -> Code | None:
    try:
        ca.key_sha256(csr)
    except FarmError as error:
        return error.code
    return None


def what_counts(csr: bytes) -> tuple[bytes, bytes]:
    """What is signed, and its signature."""
    read = x509.load_der_x509_csr(csr)
    return read.tbs_certrequest_bytes, read.signature


def test_a_key_is_known_by_its_hash_whatever_the_request_says(ca: Authority) -> None:
    key = new_key()
    assert ca.key_sha256(request(key)) == ca.key_sha256(request(key, demands=True))
    assert ca.key_sha256(request(key)) != ca.key_sha256(request(new_key()))


# -- the coordinator's own certificate


def test_the_servers_certificate_is_kept_while_it_is_good(ca: Authority, tmp_path: Path) -> None:
    files = ensure_server_credentials(ca, tmp_path / "c", ["farm.lan", "10.0.0.9"])
    names = extension(leaf_of(files.chain.read_bytes()), x509.SubjectAlternativeName)
    assert names.get_values_for_type(x509.DNSName) == ["coordinator", "localhost", "farm.lan"]
    assert {str(ip) for ip in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "::1", "10.0.0.9"}
    before = files.chain.read_bytes()
    ensure_server_credentials(ca, tmp_path / "c", ["farm.lan"])
    assert files.chain.read_bytes() == before


@pytest.mark.parametrize("what", ["key", "chain", "roots", "other key", "half over", "new name", "rotated", "garbage"])
def test_the_servers_certificate_is_made_anew_when_it_is_not(ca: Authority, tmp_path: Path, what: str) -> None:
    files = ensure_server_credentials(ca, tmp_path / "c")
    names: list[str] = []
    match what:
        case "key" | "chain" | "roots":
            getattr(files, what).unlink()
        case "other key":
            write_private(files.key, key_pem(new_key()))
        case "half over":
            # Backdated by five minutes: of six minutes, more than half are over.
            ca.issue(
                tmp_path / "c", COORDINATOR, ["coordinator", "localhost", "127.0.0.1", "::1"], timedelta(minutes=1)
            )
        case "new name":
            names = ["farm.lan"]
        case "rotated":
            ca.rotate()
        case _:
            write_private(files.chain, b"no certificate")
    before = files.chain.read_bytes() if files.chain.exists() else b""
    assert ensure_server_credentials(ca, tmp_path / "c", names) == files
    after = files.chain.read_bytes()
    assert after != before
    check(files, datetime.now(UTC).timestamp())
    ensure_server_credentials(ca, tmp_path / "c", names)
    assert files.chain.read_bytes() == after


# -- rotation


def test_a_rotation_signs_with_the_new_root_and_trusts_both_until_it_is_over(ca: Authority, tmp_path: Path) -> None:
    (old,) = ca.roots
    ca.rotate()
    new, still = ca.roots
    assert still == old != new
    assert ca.fingerprint == new.fingerprint(hashes.SHA256()).hex()
    leaf, bridge, root = x509.load_pem_x509_certificates(ca.sign(signing_request(new_key()), AGENT, DAY).chain_pem)
    leaf.verify_directly_issued_by(root)
    leaf.verify_directly_issued_by(bridge)
    bridge.verify_directly_issued_by(old)
    assert (root, bridge.subject, bridge.public_key()) == (new, new.subject, new.public_key())
    assert extension(bridge, x509.BasicConstraints) == x509.BasicConstraints(ca=True, path_length=0)
    assert bridge.not_valid_after_utc <= old.not_valid_after_utc
    with pytest.raises(CredentialsError, match="retire"):
        ca.rotate()
    assert ca.retire() == 1
    assert ca.retire() == 0
    assert ca.roots == (new,)
    signed = ca.sign(signing_request(new_key()), AGENT, DAY)
    assert len(x509.load_pem_x509_certificates(signed.chain_pem)) == 2
    assert signed.roots_pem == Authority.open(tmp_path / "ca").roots_pem
    ca.rotate()
    assert len(ca.roots) == 2


class Crash(Exception):
    """Power is gone."""


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_crash_in_a_rotation_leaves_the_ca_as_it_was(
    ca: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    (old,) = ca.roots
    with monkeypatch.context() as patch:
        done = 0

        def write(path: Path, content: bytes) -> None:
            nonlocal done
            if done == writes:
                raise Crash
            done += 1
            write_private(path, content)

        patch.setattr(module, "write_private", write)
        with pytest.raises(Crash):
            ca.rotate()
    after = Authority.open(tmp_path / "ca")
    assert after.roots[0] == old
    leaf, root = x509.load_pem_x509_certificates(after.sign(signing_request(new_key()), AGENT, DAY).chain_pem)
    leaf.verify_directly_issued_by(root)
    assert root == old
    after.retire()
    after.rotate()
    assert after.roots[1] == old


@pytest.mark.parametrize("writes", [0, 1])
def test_a_crash_in_the_making_is_made_good_by_making_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    with monkeypatch.context() as patch:
        done = 0

        def write(path: Path, content: bytes) -> None:
            nonlocal done
            if done == writes:
                raise Crash
            done += 1
            write_private(path, content)

        patch.setattr(module, "write_private", write)
        with pytest.raises(Crash):
            Authority.create(tmp_path / "ca")
    leaf, root = x509.load_pem_x509_certificates(
        Authority.create(tmp_path / "ca").sign(signing_request(new_key()), AGENT, DAY).chain_pem
    )
    leaf.verify_directly_issued_by(root)


def test_files_that_do_not_belong_together_are_named(ca: Authority, tmp_path: Path) -> None:
    files = ca.issue(tmp_path / "g", Identity(PeerRole.GATEWAY, "g"))
    write_private(files.key, key_pem(new_key()))
    with pytest.raises(CredentialsError, match=r"key\.pem does not belong to certificate\.pem"):
        check(CredentialFiles.in_folder(tmp_path / "g"), datetime.now(UTC).timestamp())
