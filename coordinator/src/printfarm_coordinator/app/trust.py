"""Whom among the agents to talk to, and ending that."""

from collections.abc import Callable
from dataclasses import replace

from printfarm_rpc.identity import Identity

from ..domain.errors import RuleError
from ..domain.events import AuditEntry, DomainEvent
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import Agent, Writing

Change = Callable[[Agent], Agent]


def check_agent(agent: Agent | None, identity: Identity, now: int) -> Agent:
    """The agent, if its certificate may be used now (microseconds, by the database).

    Raises AGENT_REVOKED, AGENT_LOCKED, CERTIFICATE_SUPERSEDED, CERTIFICATE_EXPIRED. The certificate before the newest is
    good until the newest was used: the answer to a renewal may have been lost.
    """
    if agent is None or agent.revoked:
        raise RuleError("AGENT_REVOKED", "this agent is not, or no longer, enrolled")
    if agent.locked:
        raise RuleError("AGENT_LOCKED", "two hosts used this agent's identity; enrol it anew")
    if not is_known(agent, identity):
        raise RuleError("CERTIFICATE_SUPERSEDED", "a newer certificate of this agent exists")
    if identity.expires_at and identity.expires_at * 1_000_000 <= now:
        raise RuleError("CERTIFICATE_EXPIRED", "this certificate has expired; enrol the agent anew")
    return agent


def is_known(agent: Agent, identity: Identity) -> bool:
    """The certificate is the newest one, or the one before it while the newest was not used yet, or newer than both."""
    if identity.serial in (agent.certificate_serial, agent.previous_serial):
        return identity.serial != ""
    return is_ahead(agent, identity)


def is_ahead(agent: Agent, identity: Identity) -> bool:
    """The CA signed it after the newest that the database knows: the database was restored from a copy, and forgot it."""
    return agent.certificate_serial != "" and identity.expires_at * 1_000_000 > agent.certificate_expires_at


def shows_second_host(agent: Agent, identity: Identity) -> bool:
    """A superseded certificate of this very enrolment: its host renewed it and would not come back to it.

    One of an enrolment before proves nothing: a host that was replaced may still be switched on.
    """
    return not is_known(agent, identity) and identity.expires_at * 1_000_000 >= agent.enrollment_expires_at


async def lock_second_host(farm: Farm, identity: Identity) -> None:
    """Locks the agent out, with all its certificates, if this one shows that two hosts use its identity.

    Prints under way go on. A person enrols it anew.
    """

    async def work(tx: Writing) -> bool:
        agent = await tx.lock_agent(identity.name)
        if agent is None or agent.revoked or agent.locked or not shows_second_host(agent, identity):
            return False
        await lock_agent(tx, agent, "a superseded certificate was used: two hosts use one identity")
        return True

    if await transact(farm, "lock_agent", work):
        agent_was_locked(farm, identity.name)


async def lock_two_hosts(farm: Farm, agent_id: str) -> None:
    """Locks the agent out: two processes that take turns proved it (``Boots``). Prints go on. A person enrols it anew."""

    async def work(tx: Writing) -> None:
        agent = await tx.lock_agent(agent_id)
        if agent is not None and not agent.locked:
            await lock_agent(tx, agent, "two running agents take turns: two hosts use one identity")

    await transact(farm, "lock_agent", work)
    agent_was_locked(farm, agent_id)


async def lock_agent(tx: Writing, agent: Agent, why: str) -> None:
    """In the transaction of whoever found out."""
    await tx.put_agent(replace(agent, locked=True))
    await tx.append_events([DomainEvent("agent.locked", agent.agent_id, "coordinator", {"reason": why})])
    await tx.append_audit([AuditEntry("agent.locked", "agent", agent.agent_id, "coordinator", why, 0)])


def agent_was_locked(farm: Farm, agent_id: str) -> None:
    """After the commit: its stream ends, and people are told."""
    farm.hints.end_session(agent_id, "two hosts used this agent's identity", "AGENT_LOCKED")
    farm.hints.relay.set()
    farm.hints.assign.set()


async def revoke_agent(farm: Farm, caller: Caller, agent_id: str, reason: str) -> Agent:
    """Its certificates are refused from now on, its streams ended. Prints under way go on."""

    def revoked(agent: Agent) -> Agent:
        return replace(agent, revoked=True, certificate_serial="", previous_serial="")

    agent = await _change_agent(farm, caller, agent_id, reason, "revoked", revoked)
    farm.hints.end_session(agent_id, "the agent was revoked", "AGENT_REVOKED")
    return agent


async def drain_agent(farm: Farm, caller: Caller, agent_id: str, reason: str, *, drain: bool) -> Agent:
    """Nothing new is offered to it, or again something."""
    what = "drained" if drain else "undrained"
    return await _change_agent(farm, caller, agent_id, reason, what, lambda agent: replace(agent, draining=drain))


async def _change_agent(farm: Farm, caller: Caller, agent_id: str, reason: str, what: str, change: Change) -> Agent:
    async def work(tx: Writing) -> Agent:
        agent = await tx.lock_agent(agent_id)
        if agent is None:
            raise missing("agent", agent_id)
        after = change(agent)
        if after != agent:
            await tx.put_agent(after)
            await tx.append_events([DomainEvent(f"agent.{what}", agent_id, caller.name, {"reason": reason})])
            await tx.append_audit([AuditEntry(f"agent.{what}", "agent", agent_id, caller.name, reason, 0)])
        return after

    agent = await transact(farm, f"agent_{what}", work, caller.request_id)
    farm.hints.assign.set()
    farm.hints.relay.set()
    return agent
