"""What people do with runs."""

from collections.abc import Callable

from ..domain import gates, wishes
from ..domain.errors import RuleError
from ..domain.printer import BedState
from ..domain.run import Run
from ..domain.slice import Slice
from ..domain.wishes import Wish
from .costing import save
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import Writing

Change = Callable[[Slice, int], Slice]


async def _change_run(farm: Farm, caller: Caller, run_id: str, name: str, change: Change) -> Run:
    async def work(tx: Writing) -> Run:
        held = await tx.lock_slice(run_id)
        if held is None:
            raise missing("run", run_id)
        after = change(held, tx.now)
        await save(farm, tx, held, after)
        return after.run

    run = await transact(farm, name, work, caller.request_id)
    farm.hints.printer_changed(run.agent_id, run.printer_id)
    return run


async def cancel_run(farm: Farm, caller: Caller, run_id: str, reason: str) -> Run:
    """The run wanted cancelled; its parts are owed again once that is proven."""
    wish = Wish(caller.name, reason)
    return await _change_run(
        farm, caller, run_id, "cancel_run", lambda held, now: wishes.request_cancel(held, wish, now)
    )


async def pause_run(farm: Farm, caller: Caller, run_id: str, reason: str, *, pause: bool) -> Run:
    """The run wanted paused, or printing again."""
    wish = Wish(caller.name, reason)

    def change(held: Slice, now: int) -> Slice:
        if pause and not held.printer.abilities.can_pause:
            raise RuleError("CAPABILITY_MISSING", f"printer {held.printer.printer_id} cannot pause")
        return wishes.request_pause(held, wish, now, pause=pause)

    return await _change_run(farm, caller, run_id, "pause_run", change)


async def give_verdict(
    farm: Farm, caller: Caller, run_id: str, good_parts: int, reason: str, *, clear_bed: bool
) -> Run:
    """Good parts of those on the plate; and, unless told not to, the word that the plate is clear.

    A repetition says nothing of the plate: another thing may lie there since (I11)."""
    wish = Wish(caller.name, reason)
    token = farm.ids.new()

    async def work(tx: Writing) -> Run:
        held = await tx.lock_slice(run_id)
        if held is None:
            raise missing("run", run_id)
        await tx.save_slice(held, wishes.give_verdict(held, wish, good_parts, tx.now))
        printer = await tx.lock_printer(held.run.printer_id)
        on_plate = printer is not None and printer.bed.run_id == run_id and printer.bed.state is not BedState.CLEAR
        is_new = held.run.verdict is None
        if clear_bed and is_new and printer and on_plate and printer.active_run_id is None:
            change = gates.clear_bed(printer, wish, tx.now, token, run_id)
            await tx.save_printer(printer, change.printer)
            await tx.append_events(change.events)
            await tx.append_audit(change.audit)
        return await tx.run(run_id) or held.run

    run = await transact(farm, "verdict", work, caller.request_id)
    farm.hints.printer_changed(run.agent_id, run.printer_id)
    return run


async def resolve_run(farm: Farm, caller: Caller, run_id: str, outcome: str, reason: str) -> Run:
    """An unconfirmed run ended by a person's word, audited."""
    wish = Wish(caller.name, reason)
    token = farm.ids.new()
    return await _change_run(
        farm, caller, run_id, "resolve_run", lambda held, now: wishes.resolve(held, wish, outcome, now, token)
    )
