"""Enrolment, renewal and trust of agents, over real TLS, on every database. Time is turned by hand."""

import asyncio
import itertools
import socket
import ssl
import time
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from printfarm.agent.v1 import agent_service_pb2 as agent_pb
from printfarm.agent.v1 import agent_service_pb2_grpc as agent_rpc
from printfarm.agent.v1 import enrollment_service_pb2 as pb
from printfarm_agent.enroll import enroll as enroll_agent
from printfarm_agent.enroll import fetch_root
from printfarm_coordinator.adapters.ca.authority import Authority
from printfarm_coordinator.adapters.ca.server import ensure_server_credentials
from printfarm_coordinator.app import enroll as enroll_module
from printfarm_coordinator.app.boots import RETURNS
from printfarm_coordinator.app.enroll import LONGEST_TOKEN_US
from printfarm_coordinator.app.farm import transact
from printfarm_coordinator.app.ports import Writing
from printfarm_coordinator.app.trust import revoke_agent
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.grpc_api.enrollment_service import ATTEMPTS_PER_MINUTE
from printfarm_coordinator.grpc_api.sweep import sweep_once
from printfarm_rpc.channel import open_channel
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.identity import Identity, PeerRole
from printfarm_rpc.keys import key_pem, new_key, signing_request, write_private
from printfarm_rpc.limits import AGENT_CONTROL_CHANNEL
from printfarm_rpc.tls import (
    CredentialFiles,
    roots_only_credentials,
)
from tests.support.agent_plane import (
    AGENT_URI,
    EVA,
    SECONDS,
    Host,
    Plane,
    answer,
    code_of,
    csr_of,
    open_agent_plane,
)
from tests.support.certificates import SERVER, odd_certificate
from tests.support.control_plane import HOUR


@pytest.fixture(autouse=True)
def seconds_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates tell time in whole seconds: each one ends later than the one before, as if a while had passed."""
    later = itertools.count()
    monkeypatch.setattr(enroll_module, "_lifetime", lambda: timedelta(hours=24, seconds=next(later)))


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Plane]:
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database()
    async with open_agent_plane(url, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def one_plane(tmp_path: Path) -> AsyncGenerator[Plane]:
    """On SQLite: for what the database has no part in."""
    async with open_agent_plane(f"sqlite:///{tmp_path / 'farm.db'}", tmp_path) as made:
        yield made


# -- the first certificate


async def test_the_agents_own_program_enrols_and_is_welcome(plane: Plane) -> None:
    token = await plane.token()
    state = plane.folder / "agent"
    found = await asyncio.to_thread(
        enroll_agent, plane.enrollment_address, token, plane.authority.fingerprint.upper(), state
    )
    assert found == "a1"
    files = CredentialFiles.in_folder(state / "credentials")
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    await Host(plane.agents_stub(files), files, key).use()
    assert await plane.audited("agent.token_created") == ["user/eva"]
    assert await plane.audited("agent.enrolled") == ["agent/a1"]
    assert (await plane.told())[0] == "agent.enrolled"


async def test_a_coordinator_that_does_not_show_the_right_ca_never_sees_the_token(plane: Plane) -> None:
    token = await plane.token()
    with pytest.raises(FarmError, match="does not show a CA") as refused:
        await asyncio.to_thread(enroll_agent, plane.enrollment_address, token, "00" * 32, plane.folder / "agent")
    assert refused.value.code is Code.PERMISSION_DENIED
    assert await plane.agent() is None
    await plane.enroll(token, csr_of(new_key()))


async def test_a_token_works_once_and_again_for_the_same_key_only(plane: Plane) -> None:
    token, key = await plane.token(), new_key()
    first = await plane.enroll(token, csr_of(key))
    again = await plane.enroll(token, csr_of(key))
    assert (first.agent_id, again.agent_id) == ("a1", "a1")
    assert await code_of(plane.enroll(token, csr_of(new_key()))) is Code.TOKEN_INVALID
    # The repeated answer is the one that counts: the first was lost.
    await plane.host(key, again.certificate_chain, again.trusted_roots).use()
    earlier = plane.host(key, first.certificate_chain, first.trusted_roots)
    assert await code_of(earlier.renew(key)) is Code.CERTIFICATE_SUPERSEDED


async def test_of_many_that_come_with_one_token_one_gets_in(plane: Plane) -> None:
    token = await plane.token()
    outcomes = await asyncio.gather(*(plane.enroll(token, csr_of(new_key())) for _ in range(8)), return_exceptions=True)
    refused = [found for found in outcomes if isinstance(found, FarmError)]
    assert [error.code for error in refused] == [Code.TOKEN_INVALID] * 7
    found = await plane.agent()
    assert found is not None
    assert found.certificate_generation == 1


async def test_a_token_ends_by_the_databases_clock(plane: Plane) -> None:
    token, key = await plane.token(), new_key()
    plane.clock.forward(LONGEST_TOKEN_US - 1)
    await plane.enroll(token, csr_of(key))
    plane.clock.forward(1)
    assert await code_of(plane.enroll(token, csr_of(key))) is Code.TOKEN_INVALID


async def test_no_token_lives_longer_than_ten_minutes_and_every_one_names_an_agent(plane: Plane) -> None:
    for lifetime in (0, -1, LONGEST_TOKEN_US + 1):
        with pytest.raises(RuleError, match="10 minutes"):
            await plane.token(lifetime)
    for name in ("", "A1", "a/1", "../a", "a" * 64, "a1\n"):
        with pytest.raises(RuleError) as refused:
            await plane.token(agent_id=name)
        assert refused.value.field == "agent_id"


async def test_tokens_are_long_and_only_their_hashes_are_kept(one_plane: Plane) -> None:
    tokens = {await one_plane.token() for _ in range(5)}
    assert {len(bytes.fromhex(token)) for token in tokens} == {32}
    await one_plane.enroll(next(iter(tokens)), csr_of(new_key()))
    kept = b"".join(path.read_bytes() for path in one_plane.folder.glob("farm.db*"))
    assert not [token for token in tokens if token.encode() in kept or bytes.fromhex(token) in kept]


@pytest.mark.parametrize("token", ["", "x", "0" * 64, "0" * 201, "' OR 1=1--", "ü\u0000"])
async def test_a_token_that_never_was_is_not_told_apart(one_plane: Plane, token: str) -> None:
    assert await code_of(one_plane.enroll(token, csr_of(new_key()))) is Code.TOKEN_INVALID


@pytest.mark.parametrize("csr", [b"", b"x", b"0" * 16_385, b"\x30\x82\xff\xff"], ids=["empty", "x", "long", "torn"])
async def test_a_request_that_is_none_leaves_the_token_unused(one_plane: Plane, csr: bytes) -> None:
    token = await one_plane.token()
    with pytest.raises(FarmError) as refused:
        await one_plane.enroll(token, csr)
    assert refused.value.code is Code.INVALID_ARGUMENT
    assert refused.value.fields[0].field == "certificate_signing_request"
    await one_plane.enroll(token, csr_of(new_key()))


async def test_a_weak_key_is_refused_and_a_strong_one_of_another_kind_serves(one_plane: Plane) -> None:
    token = await one_plane.token()
    weak = rsa.generate_private_key(65_537, 1_024)
    assert await code_of(one_plane.enroll(token, csr_of(weak))) is Code.INVALID_ARGUMENT
    for key in (rsa.generate_private_key(65_537, 2_048), ec.generate_private_key(ec.SECP384R1())):
        token = await one_plane.token()
        got = await one_plane.enroll(token, csr_of(key))
        await one_plane.host(key, got.certificate_chain, got.trusted_roots).use()


async def test_too_large_a_message_is_not_read(one_plane: Plane) -> None:
    with pytest.raises(FarmError):
        await one_plane.enroll(await one_plane.token(), b"0" * (64 * 1024))
    assert await one_plane.agent() is None


async def test_attempts_are_limited_by_source_before_anything_is_looked_up(
    one_plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, stub = await one_plane.token(), one_plane.enrollment()
    wrong = pb.EnrollRequest(token="0" * 64, certificate_signing_request=csr_of(new_key()))
    for _ in range(ATTEMPTS_PER_MINUTE):
        assert await code_of(stub.Enroll(wrong, timeout=SECONDS)) is Code.TOKEN_INVALID
    good = pb.EnrollRequest(token=token, certificate_signing_request=csr_of(new_key()))
    with pytest.raises(FarmError) as refused:
        await answer(stub.Enroll(good, timeout=SECONDS))
    assert refused.value.code is Code.RATE_LIMITED
    assert 1 <= int(refused.value.facts["retry_after"]) <= 60
    assert await one_plane.agent() is None
    # Another connection from the same address is no way round.
    assert await code_of(one_plane.enroll(token, csr_of(new_key()))) is Code.RATE_LIMITED
    # Nor is a clock that was set.
    hour_later = time.time() + 3_600.0
    monkeypatch.setattr(time, "time", lambda: hour_later)
    assert await code_of(stub.Enroll(good, timeout=SECONDS)) is Code.RATE_LIMITED
    monkeypatch.undo()
    one_plane.seconds += 60.0
    assert (await answer(stub.Enroll(good, timeout=SECONDS))).agent_id == "a1"


# -- renewal


async def test_a_renewal_keeps_the_old_certificate_until_the_new_one_was_used(plane: Plane) -> None:
    first = await plane.enrolled()
    await first.use()
    second = await plane.renewed(first)
    # The answer might have been lost: the first one still serves.
    await first.use()
    await second.use()
    assert await first.refused() is Code.CERTIFICATE_SUPERSEDED


async def test_a_lost_answer_is_asked_for_again_with_the_same_key(plane: Plane) -> None:
    first, key = await plane.enrolled(), new_key()
    for _ in range(3):
        await first.renew(key)
    second = await plane.renewed(first, key)
    await second.use()
    third = await plane.renewed(second)
    await third.use()
    found = await plane.agent()
    assert found is not None
    assert (found.locked, found.previous_serial, found.certificate_generation) == (False, "", 6)
    assert "agent.locked" not in await plane.told()


async def test_two_hosts_with_one_identity_are_both_locked_when_the_second_renews(plane: Plane) -> None:
    real = await plane.enrolled()
    clone = plane.host(real.key, real.files.chain.read_bytes(), real.files.roots.read_bytes())
    renewed = await plane.renewed(real)
    await renewed.use()
    assert await code_of(clone.renew(new_key())) is Code.CERTIFICATE_SUPERSEDED
    await expect_locked(plane, real, clone, renewed)


async def test_two_hosts_with_one_identity_are_both_locked_when_the_robbed_one_comes_back(plane: Plane) -> None:
    real = await plane.enrolled()
    clone = plane.host(real.key, real.files.chain.read_bytes(), real.files.roots.read_bytes())
    stolen = await plane.renewed(clone)
    await stolen.use()
    assert await real.refused() is Code.CERTIFICATE_SUPERSEDED
    await expect_locked(plane, real, clone, stolen)


async def test_two_hosts_that_renew_from_one_certificate_are_both_locked(plane: Plane) -> None:
    real = await plane.enrolled()
    clone = plane.host(real.key, real.files.chain.read_bytes(), real.files.roots.read_bytes())
    renewed = await plane.renewed(real)
    assert await code_of(clone.renew(new_key())) is Code.CERTIFICATE_SUPERSEDED
    await expect_locked(plane, real, clone, renewed)


async def expect_locked(plane: Plane, *hosts: Host) -> None:
    for host in hosts:
        assert await host.refused() is Code.AGENT_LOCKED
        assert await code_of(host.renew(new_key())) is Code.AGENT_LOCKED
    assert (await plane.told()).count("agent.locked") == 1
    assert await plane.audited("agent.locked") == ["coordinator"]
    again = await plane.enrolled()
    await again.use()
    for host in hosts:
        assert await host.refused() is Code.CERTIFICATE_SUPERSEDED
    await again.use()


async def test_a_lock_ends_the_stream_that_is_open(plane: Plane) -> None:
    real = await plane.enrolled()
    clone = plane.host(real.key, real.files.chain.read_bytes(), real.files.roots.read_bytes())
    renewed = await plane.renewed(real)
    stream = await renewed.connect()
    await code_of(clone.renew(new_key()))
    assert await code_of(_to_the_end(stream)) is Code.AGENT_LOCKED


async def test_two_hosts_that_take_turns_are_both_locked_before_either_renews(plane: Plane) -> None:
    real = await plane.enrolled()
    clone = plane.host(real.key, real.files.chain.read_bytes(), real.files.roots.read_bytes())
    turns = [(real, "one"), (clone, "two")] * (RETURNS + 1)
    for host, boot_id in turns[:-1]:
        stream, first = await host.hello(boot_id)
        assert first.WhichOneof("message") == "welcome"
        stream.cancel()
    assert await code_of(clone.hello("two")) is Code.AGENT_LOCKED
    await expect_locked(plane, real, clone)


async def _to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_replaced_host_that_is_still_switched_on_locks_nobody(plane: Plane) -> None:
    replaced = await plane.enrolled()
    await replaced.use()
    replaced = await plane.renewed(replaced)
    stream = await replaced.connect()
    fresh = await plane.enrolled()
    assert await code_of(_to_the_end(stream)) is Code.CERTIFICATE_SUPERSEDED
    assert await replaced.refused() is Code.CERTIFICATE_SUPERSEDED
    assert await code_of(replaced.renew(new_key())) is Code.CERTIFICATE_SUPERSEDED
    await fresh.use()
    assert "agent.locked" not in await plane.told()


async def test_a_database_restored_from_a_copy_takes_back_agents_that_renewed_since(plane: Plane) -> None:
    first = await plane.enrolled()
    await first.use()
    copy = await plane.agent()
    assert copy is not None
    second = await plane.renewed(first)
    await second.use()
    third = await plane.renewed(second)

    async def restore(tx: Writing) -> None:
        await tx.put_agent(copy)

    await transact(plane.farm, "test", restore)
    await second.use()
    assert await plane.audited("agent.certificate_adopted") == ["coordinator"]
    await third.use()
    found = await plane.agent()
    assert found is not None
    assert (found.locked, found.previous_serial) == (False, "")
    # What the copy took for the newest is not a way back.
    assert await first.refused() is Code.CERTIFICATE_SUPERSEDED
    assert await third.refused() is Code.AGENT_LOCKED


async def test_a_revocation_holds_for_certificates_that_the_database_forgot(plane: Plane) -> None:
    first = await plane.enrolled()
    copy = await plane.agent()
    assert copy is not None
    second = await plane.renewed(first)
    await second.use()

    async def restore(tx: Writing) -> None:
        await tx.put_agent(copy)

    await transact(plane.farm, "test", restore)
    await revoke_agent(plane.farm, EVA, "a1", "")
    assert await second.refused() is Code.AGENT_REVOKED
    assert await code_of(second.renew(new_key())) is Code.AGENT_REVOKED


async def test_an_expired_certificate_neither_connects_nor_renews(plane: Plane) -> None:
    host = await plane.enrolled()
    plane.clock.forward(25 * HOUR)
    assert await host.refused() is Code.CERTIFICATE_EXPIRED
    assert await code_of(host.renew(new_key())) is Code.CERTIFICATE_EXPIRED
    found = await plane.agent()
    assert found is not None
    assert found.certificate_generation == 1


async def test_a_certificate_that_ends_under_an_open_stream_ends_it(plane: Plane) -> None:
    """TLS would let it go on (5. H); the sweep does not."""
    host = await plane.enrolled()
    stream = await host.connect()
    assert await sweep_once(plane.farm) == []
    plane.clock.forward(25 * HOUR)
    assert await sweep_once(plane.farm) == ["a1"]
    assert await code_of(read_to_the_end(stream)) is Code.CERTIFICATE_EXPIRED


async def read_to_the_end(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_bad_renewal_request_changes_nothing(plane: Plane) -> None:
    host = await plane.enrolled()
    before = await plane.agent()
    request = agent_pb.RenewCertificateRequest(certificate_signing_request=b"no request")
    assert await code_of(host.stub.RenewCertificate(request, timeout=SECONDS)) is Code.INVALID_ARGUMENT
    assert await plane.agent() == before


# -- revocation


async def test_a_revoked_agent_is_turned_away_at_once_until_it_is_enrolled_anew(plane: Plane) -> None:
    host = await plane.enrolled()
    stream = await host.connect()
    await revoke_agent(plane.farm, EVA, "a1", "host was stolen")
    assert await code_of(_to_the_end(stream)) is Code.AGENT_REVOKED
    assert await host.refused() is Code.AGENT_REVOKED
    assert await code_of(host.renew(new_key())) is Code.AGENT_REVOKED
    await revoke_agent(plane.farm, EVA, "a1", "again")
    assert (await plane.told()).count("agent.revoked") == 1
    assert await plane.audited("agent.revoked") == ["user/eva"]
    fresh = await plane.enrolled()
    await fresh.use()
    assert await host.refused() is Code.CERTIFICATE_SUPERSEDED


async def test_a_used_token_is_no_way_back_from_a_revocation(plane: Plane) -> None:
    token, key = await plane.token(), new_key()
    await plane.enroll(token, csr_of(key))
    await revoke_agent(plane.farm, EVA, "a1", "host was stolen")
    assert await code_of(plane.enroll(token, csr_of(key))) is Code.TOKEN_INVALID
    found = await plane.agent()
    assert found is not None
    assert found.revoked


# -- the handshake (bad input 66)


@pytest.mark.parametrize(
    "odd",
    [
        {"usages": SERVER},
        {"ends": timedelta(hours=-1)},
        {"begins": timedelta(minutes=30), "ends": timedelta(hours=1)},
    ],
    ids=["server-auth only", "expired", "not yet valid"],
)
async def test_certificates_that_fail_the_handshake(one_plane: Plane, odd: dict[str, Any]) -> None:
    await one_plane.enrolled()
    files = odd_certificate(one_plane.folder / "ca", one_plane.folder / "odd", [AGENT_URI], **odd)
    assert await _code_of_use(one_plane, files) is grpc.StatusCode.UNAVAILABLE


async def test_another_ca_and_no_certificate_fail_the_handshake(one_plane: Plane) -> None:
    stranger = Authority.create(one_plane.folder / "stranger")
    files = stranger.issue(one_plane.folder / "odd", Identity(PeerRole.AGENT, "a1"))
    write_private(files.roots, one_plane.authority.roots_pem)
    assert await _code_of_use(one_plane, files) is grpc.StatusCode.UNAVAILABLE
    roots = roots_only_credentials(one_plane.authority.roots_pem)
    channel = open_channel(one_plane.agents_address, roots, AGENT_CONTROL_CHANNEL, "coordinator")
    one_plane.channels.append(channel)
    call = agent_rpc.AgentServiceStub(channel).AuthoriseStart(agent_pb.AuthoriseStartRequest(), timeout=SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def _code_of_use(plane: Plane, files: CredentialFiles) -> grpc.StatusCode:
    call = plane.agents_stub(files).AuthoriseStart(agent_pb.AuthoriseStartRequest(), timeout=SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    found: grpc.StatusCode = refused.value.code()
    return found


@pytest.mark.parametrize(
    ("uris", "code"),
    [
        ([], Code.UNAUTHENTICATED),
        ([AGENT_URI, "spiffe://farm/agent/a2"], Code.UNAUTHENTICATED),
        (["spiffe://other/agent/a1"], Code.UNAUTHENTICATED),
        (["spiffe://farm/agent/a1/x"], Code.UNAUTHENTICATED),
        (["spiffe://farm/gateway/a1"], Code.PERMISSION_DENIED),
        (["spiffe://farm/operator/a1"], Code.PERMISSION_DENIED),
        # The right name, but a certificate that the database knows nothing of.
        ([AGENT_URI], Code.CERTIFICATE_SUPERSEDED),
        (["spiffe://farm/agent/never-enrolled"], Code.AGENT_REVOKED),
    ],
)
async def test_whom_a_certificate_of_the_farm_names_decides(one_plane: Plane, uris: list[str], code: Code) -> None:
    await one_plane.enrolled()
    files = odd_certificate(one_plane.folder / "ca", one_plane.folder / "odd", uris)
    assert await Host(one_plane.agents_stub(files), files, new_key()).refused() is code


async def test_tls_12_is_refused(one_plane: Plane) -> None:
    host = await one_plane.enrolled()

    def shake(address: str, version: ssl.TLSVersion) -> str | None:
        context = ssl.create_default_context(cafile=host.files.roots)
        context.load_cert_chain(host.files.chain, host.files.key)
        context.set_alpn_protocols(["h2"])
        context.minimum_version = context.maximum_version = version
        with (
            socket.create_connection(_pair(address), SECONDS) as raw,
            context.wrap_socket(raw, server_hostname="coordinator") as wrapped,
        ):
            return str(wrapped.version())

    for address in (one_plane.agents_address, one_plane.enrollment_address):
        assert await asyncio.to_thread(shake, address, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
        with pytest.raises(OSError):
            await asyncio.to_thread(shake, address, ssl.TLSVersion.TLSv1_2)


# -- rotation of the CA


async def test_a_rotation_interrupts_nobody_and_its_end_only_who_missed_it(one_plane: Plane) -> None:
    plane = one_plane
    old = await plane.enrolled()
    late = await plane.enrolled("a2")
    await old.use()
    plane.authority.rotate()
    ensure_server_credentials(plane.authority, plane.folder / "coordinator")
    # Both sides anew: old roots and an old certificate against a server under the new root.
    old = plane.host(old.key, old.files.chain.read_bytes(), old.files.roots.read_bytes())
    await old.use()
    fresh = await plane.renewed(old)
    assert fresh.files.roots.read_bytes() == plane.authority.roots_pem
    await fresh.use()
    newcomer = await plane.enrolled("a3")
    await newcomer.use()
    root = await asyncio.to_thread(fetch_root, plane.enrollment_address, plane.authority.fingerprint)
    assert x509.load_pem_x509_certificate(root) == plane.authority.roots[0]

    plane.authority.retire()
    ensure_server_credentials(plane.authority, plane.folder / "coordinator")
    fresh = plane.host(fresh.key, fresh.files.chain.read_bytes(), fresh.files.roots.read_bytes())
    await fresh.use()
    assert await _code_of_use(plane, late.files) is grpc.StatusCode.UNAVAILABLE


async def test_the_servers_renewed_certificate_serves_without_a_restart(one_plane: Plane) -> None:
    host = await one_plane.enrolled()

    def shown() -> bytes:
        return ssl.get_server_certificate(_pair(one_plane.enrollment_address), timeout=SECONDS).encode()

    before = await asyncio.to_thread(shown)
    await asyncio.sleep(0.02)
    write_private(one_plane.server_files.chain, b"half-way")
    assert await asyncio.to_thread(shown) == before
    ensure_server_credentials(one_plane.authority, one_plane.folder / "coordinator")
    after = await asyncio.to_thread(shown)
    assert after != before
    await one_plane.host(host.key, host.files.chain.read_bytes(), host.files.roots.read_bytes()).use()


def _pair(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def test_keys_and_requests_of_the_shared_library_are_what_the_ca_takes(tmp_path: Path) -> None:
    key = new_key()
    signed = Authority.create(tmp_path / "ca").sign(
        signing_request(key), Identity(PeerRole.AGENT, "a1"), timedelta(hours=1)
    )
    assert x509.load_pem_x509_certificates(signed.chain_pem)[0].public_key() == key.public_key()
    assert b"PRIVATE KEY" in key_pem(key)
