"""How an agent gets its certificates: once by a one-time token, then by renewal."""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from printfarm_rpc.identity import Identity, PeerRole, is_name
from printfarm_rpc.limits import AGENT_CERTIFICATE_SECONDS

from ..domain.errors import Invalid, RuleError
from ..domain.events import AuditEntry, DomainEvent
from .farm import Caller, Farm, transact
from .ports import Agent, EnrollmentToken, Writing
from .trust import agent_was_locked, check_agent, is_ahead, lock_agent, shows_second_host

LONGEST_TOKEN_US = 600_000_000
_TOKEN_BYTES = 32


class Signed(Protocol):
    """A signed chain. ``expires_at`` in seconds since the epoch."""

    @property
    def chain_pem(self) -> bytes: ...
    @property
    def roots_pem(self) -> bytes: ...
    @property
    def serial_hex(self) -> str: ...
    @property
    def expires_at(self) -> int: ...


class Signer(Protocol):
    """The CA, as enrolment needs it."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root, hexadecimal."""
        ...

    def key_sha256(self, csr_der: bytes) -> str:
        """SHA-256 of the request's public key, hexadecimal. Raises FarmError INVALID_ARGUMENT for a bad request."""
        ...

    def sign(self, csr_der: bytes, identity: Identity, lifetime: timedelta) -> Signed:
        """Raises FarmError INVALID_ARGUMENT for a bad request."""
        ...


async def create_token(
    farm: Farm, caller: Caller, agent_id: str, lifetime_us: int = LONGEST_TOKEN_US
) -> tuple[str, int]:
    """A one-time token for one agent, and when it ends (microseconds). Only its hash is kept."""
    if not is_name(agent_id):
        raise Invalid("agent_id", "must be lower case letters, digits and dashes, at most 63")
    if not 0 < lifetime_us <= LONGEST_TOKEN_US:
        raise Invalid("lifetime", "must be more than 0 and at most 10 minutes")
    token = secrets.token_hex(_TOKEN_BYTES)

    async def work(tx: Writing) -> int:
        ends = tx.now + lifetime_us
        await tx.put_token(EnrollmentToken(_hash(token), agent_id, ends))
        await tx.append_audit([AuditEntry("agent.token_created", "agent", agent_id, caller.name, "", 0)])
        return ends

    return token, await transact(farm, "token", work, caller.request_id)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def enroll(farm: Farm, signer: Signer, token: str, csr_der: bytes) -> tuple[str, Signed]:
    """The agent's id and its first certificate. The same key may repeat the call while the token lives.

    Raises TOKEN_INVALID, not telling apart unknown, used and expired."""
    key = signer.key_sha256(csr_der)

    async def work(tx: Writing) -> tuple[str, Signed]:
        known = await tx.token(_hash(token))
        if known is None or known.expires_at <= tx.now or known.used_by_key_sha256 not in (None, key):
            raise RuleError("TOKEN_INVALID", "the token is unknown, used or expired")
        before = await tx.lock_agent(known.agent_id)
        if before is not None and (before.revoked or before.locked) and known.used_by_key_sha256 is not None:
            raise RuleError("TOKEN_INVALID", "the token was used before the agent was revoked or locked")
        signed = signer.sign(csr_der, Identity(PeerRole.AGENT, known.agent_id), _lifetime())
        await tx.put_agent(_enrolled(before or Agent(known.agent_id, tx.now), signed, key))
        await tx.put_token(replace(known, used_by_key_sha256=key))
        actor = f"agent/{known.agent_id}"
        await tx.append_events([DomainEvent("agent.enrolled", known.agent_id, actor, {"again": before is not None})])
        await tx.append_audit([AuditEntry("agent.enrolled", "agent", known.agent_id, actor, "", 0)])
        return known.agent_id, signed

    agent_id, signed = await transact(farm, "enroll", work)
    farm.hints.end_session(agent_id, "the agent was enrolled anew", "CERTIFICATE_SUPERSEDED")
    farm.hints.relay.set()
    return agent_id, signed


def _lifetime() -> timedelta:
    return timedelta(seconds=AGENT_CERTIFICATE_SECONDS)


def _enrolled(agent: Agent, signed: Signed, key_sha256: str) -> Agent:
    """A new enrolment ends a revocation and a lock: a person has said so by making the token."""
    return replace(
        agent,
        revoked=False,
        locked=False,
        certificate_generation=agent.certificate_generation + 1,
        certificate_serial=signed.serial_hex,
        previous_serial="",
        certificate_expires_at=signed.expires_at * 1_000_000,
        certificate_key_sha256=key_sha256,
        enrollment_expires_at=signed.expires_at * 1_000_000,
    )


async def renew(farm: Farm, signer: Signer, identity: Identity, csr_der: bytes) -> Signed:
    """A new certificate for the same agent; the one that asks stays good until the new one was used.

    Asked again by that one (an answer was lost), the key must be the same. Anything else means that two hosts use one
    identity: both are locked out, and people are told.
    Raises CERTIFICATE_SUPERSEDED, CERTIFICATE_EXPIRED, AGENT_REVOKED, AGENT_LOCKED.
    """
    key = signer.key_sha256(csr_der)

    async def work(tx: Writing) -> Signed | None:
        agent = await tx.lock_agent(identity.name)
        if agent is not None and not agent.revoked and not agent.locked and _is_second_host(agent, identity, key):
            await lock_agent(tx, agent, "renewal was asked for twice with different keys: two hosts use one identity")
            return None
        agent = check_agent(agent, identity, tx.now)
        signed = signer.sign(csr_der, Identity(PeerRole.AGENT, agent.agent_id), _lifetime())
        await tx.put_agent(_renewed(agent, identity, signed, key))
        return signed

    signed = await transact(farm, "renew", work)
    if signed is None:
        agent_was_locked(farm, identity.name)
        raise RuleError("CERTIFICATE_SUPERSEDED", "a newer certificate of this agent exists; the agent is locked")
    return signed


def _is_second_host(agent: Agent, identity: Identity, key_sha256: str) -> bool:
    if identity.serial == agent.previous_serial:
        return key_sha256 != agent.certificate_key_sha256
    return shows_second_host(agent, identity)


def _renewed(agent: Agent, identity: Identity, signed: Signed, key_sha256: str) -> Agent:
    return replace(
        agent,
        certificate_generation=agent.certificate_generation + 1,
        certificate_serial=signed.serial_hex,
        # Repeated after a lost answer, the asking certificate is the previous one: it stays so.
        previous_serial=identity.serial,
        certificate_expires_at=signed.expires_at * 1_000_000,
        certificate_key_sha256=key_sha256,
    )


def is_first_use(agent: Agent, identity: Identity) -> bool:
    """Of the newest certificate, or of one that is newer than the database knows."""
    is_newest = identity.serial == agent.certificate_serial
    return is_ahead(agent, identity) or (is_newest and agent.previous_serial != "")


async def note_first_use(farm: Farm, identity: Identity) -> None:
    """The newest certificate was used: the one before it is over, and its use from now on is a second host."""

    async def work(tx: Writing) -> None:
        agent = await tx.lock_agent(identity.name)
        if agent is None or not is_first_use(agent, identity):
            return
        if is_ahead(agent, identity):
            why = "the database was restored from a copy made before this certificate"
            await tx.append_audit(
                [AuditEntry("agent.certificate_adopted", "agent", agent.agent_id, "coordinator", why, 0)]
            )
            agent = replace(agent, certificate_expires_at=identity.expires_at * 1_000_000, certificate_key_sha256="")
        await tx.put_agent(replace(agent, certificate_serial=identity.serial, previous_serial=""))

    await transact(farm, "first_use", work)
