"""AgentAdminService: agents and their enrolment."""

from printfarm.control.v1 import agent_admin_service_pb2 as pb
from printfarm.control.v1 import agent_admin_service_pb2_grpc as rpc
from printfarm_rpc.serving import Context

from ..app import enroll, trust
from ..app.farm import Farm
from ..app.jobs import missing
from ..app.ports import Agent, Reading
from . import convert
from .agent_convert import seconds
from .authorize import caller_of
from .paging import page_size, place, token

_SERVICE = "/printfarm.control.v1.AgentAdminService/"


class AgentAdminServicer(rpc.AgentAdminServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm, signer: enroll.Signer) -> None:
        self._farm = farm
        self._signer = signer

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> pb.GetAgentResponse:
        caller_of(_SERVICE + "GetAgent", context, request)
        async with self._farm.store.read() as look:
            found = await look.agent(request.agent_id)
            if found is None:
                raise missing("agent", request.agent_id)
            return pb.GetAgentResponse(agent=await _with_printers(look, found))

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        caller_of(_SERVICE + "ListAgents", context, request)
        size = page_size(request.page_size)
        after = place("agents", request.page_token)
        async with self._farm.store.read() as look:
            rest = [a for a in await look.agents() if after is None or a.agent_id > str(after[0])]
            printers = await look.printers()
        page = rest[:size]
        made = [convert.agent(a, [p.printer_id for p in printers if p.agent_id == a.agent_id]) for a in page]
        following = token("agents", page[-1].agent_id) if len(rest) > size else ""
        return pb.ListAgentsResponse(agents=made, next_page_token=following)

    async def CreateEnrollmentToken(
        self, request: pb.CreateEnrollmentTokenRequest, context: Context
    ) -> pb.CreateEnrollmentTokenResponse:
        caller = caller_of(_SERVICE + "CreateEnrollmentToken", context, request)
        asked = round(seconds(request.lifetime) * 1e6) if request.HasField("lifetime") else enroll.LONGEST_TOKEN_US
        made, ends = await enroll.create_token(self._farm, caller, request.agent_id, asked)
        return pb.CreateEnrollmentTokenResponse(
            token=made, expire_time=convert.timestamp(ends), ca_sha256=self._signer.fingerprint
        )

    async def RevokeAgent(self, request: pb.RevokeAgentRequest, context: Context) -> pb.RevokeAgentResponse:
        caller = caller_of(_SERVICE + "RevokeAgent", context, request)
        found = await trust.revoke_agent(self._farm, caller, request.agent_id, request.reason[:500])
        async with self._farm.store.read() as look:
            return pb.RevokeAgentResponse(agent=await _with_printers(look, found))

    async def DrainAgent(self, request: pb.DrainAgentRequest, context: Context) -> pb.DrainAgentResponse:
        caller = caller_of(_SERVICE + "DrainAgent", context, request)
        found = await trust.drain_agent(self._farm, caller, request.agent_id, request.reason[:500], drain=request.drain)
        async with self._farm.store.read() as look:
            return pb.DrainAgentResponse(agent=await _with_printers(look, found))


async def _with_printers(look: Reading, found: Agent) -> pb.Agent:
    return convert.agent(found, [p.printer_id for p in await look.printers(found.agent_id)])
