"""The authority to start a run, asked for by its agent (I3, I4, I5, I11)."""

from ..domain.authority import AuthorityRequest, authorise
from ..domain.errors import RuleError
from .farm import Farm, transact
from .ports import Writing


async def authorise_start(farm: Farm, run_id: str, request: AuthorityRequest) -> None:
    """Returns once the authority is committed. Raises RuleError as ``domain.authority.authorise`` does.

    The answer may be lost: the same request is granted again, another nonce never.
    """

    async def work(tx: Writing) -> str:
        held = await tx.lock_slice(run_id)
        if held is None or held.run.agent_id != request.agent_id:
            # Not told apart: an agent learns nothing of other agents' runs (I22).
            raise RuleError("FENCED", "there is no such run")
        after = authorise(held, request, tx.now)
        await tx.save_slice(held, after)
        return held.run.printer_id

    await transact(farm, "authorise", work)
    farm.hints.relay.set()
