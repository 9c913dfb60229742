"""Ends the streams of agents that are not to be talked to any more: revoked, expired, superseded, or silent."""

import asyncio

import structlog

from ..app.farm import Farm
from ..app.ports import Agent, DatabaseUnavailable
from ..app.trust import check_agent
from ..domain.errors import RuleError
from .agent_session import AgentSession

_LOG = structlog.get_logger(__name__)
PERIOD_SECONDS = 10.0


async def sweep_once(farm: Farm) -> list[str]:
    """One look at all agents; returns those whose stream was ended."""
    async with farm.store.read() as look:
        agents = {agent.agent_id: agent for agent in await look.agents()}
        now = look.now
    ended = []
    for agent_id, session in farm.hints.sessions().items():
        if isinstance(session, AgentSession) and (fault := _fault(agents.get(agent_id), session, now)):
            farm.hints.end_session(agent_id, fault.reason, fault.code)
            ended.append(agent_id)
    return ended


def _fault(agent: Agent | None, session: AgentSession, now: int) -> RuleError | None:
    try:
        known = check_agent(agent, session.identity, now)
    except RuleError as error:
        return error
    if known.connection_epoch != session.connection_epoch:
        return RuleError("STALE_CONNECTION", "a newer connection of this agent took over")
    if not known.reachable:
        return RuleError("STALE_CONNECTION", "its lease ran out: say Hello again")
    return None


async def sweep_for_ever(farm: Farm) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(PERIOD_SECONDS)
        try:
            for agent_id in await sweep_once(farm):
                _LOG.warning("agent stream ended by the sweep", agent_id=agent_id)
        except DatabaseUnavailable as error:
            _LOG.warning("streams not swept: the database does not answer", why=str(error))
