"""What people do with printers."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ..domain import gates, wishes
from ..domain.errors import Invalid, RuleError
from ..domain.gates import PrinterChange
from ..domain.printer import Overrides, Printer
from ..domain.slice import printer_event
from ..domain.wishes import Wish
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import Writing

Change = Callable[[Printer, int], PrinterChange]


async def _change_printer(farm: Farm, caller: Caller, printer_id: str, name: str, change: Change) -> Printer:
    async def work(tx: Writing) -> Printer:
        printer = await tx.lock_printer(printer_id)
        if printer is None:
            raise missing("printer", printer_id)
        made = change(printer, tx.now)
        await tx.save_printer(printer, made.printer)
        await tx.append_events(made.events)
        await tx.append_audit(made.audit)
        return await tx.printer(printer_id) or made.printer

    printer = await transact(farm, name, work, caller.request_id)
    farm.hints.printer_changed(printer.agent_id, printer_id)
    return printer


async def clear_bed(
    farm: Farm, caller: Caller, printer_id: str, run_id: str, good_parts: int | None, reason: str
) -> Printer:
    """The part is off the plate; with ``good_parts`` also the verdict on its run, in the same transaction."""
    wish = Wish(caller.name, reason)
    token = farm.ids.new()

    async def work(tx: Writing) -> Printer:
        seen = await tx.printer(printer_id)
        if seen is None:
            raise missing("printer", printer_id)
        judged = run_id or seen.bed.run_id
        if good_parts is not None:
            if judged is None:
                raise Invalid("good_parts", "there is no run on the plate to judge")
            held = await tx.lock_slice(judged)
            if held is None or held.run.printer_id != printer_id:
                raise missing("run", judged)
            await tx.save_slice(held, wishes.give_verdict(held, wish, good_parts, tx.now))
        printer = await tx.lock_printer(printer_id) or seen
        made = gates.clear_bed(printer, wish, tx.now, token, run_id or None)
        await tx.save_printer(printer, made.printer)
        await tx.append_events(made.events)
        await tx.append_audit(made.audit)
        return await tx.printer(printer_id) or made.printer

    printer = await transact(farm, "clear_bed", work, caller.request_id)
    farm.hints.printer_changed(printer.agent_id, printer_id)
    return printer


async def hold_printer(farm: Farm, caller: Caller, printer_id: str, reason: str) -> Printer:
    """No new run until released."""
    wish = Wish(caller.name, reason)
    return await _change_printer(farm, caller, printer_id, "hold", lambda p, now: gates.hold(p, wish, now))


async def release_printer(farm: Farm, caller: Caller, printer_id: str, reason: str) -> Printer:
    """Ends hold, lock and latched emergency stop."""
    wish = Wish(caller.name, reason)
    return await _change_printer(farm, caller, printer_id, "release", lambda p, now: gates.release(p, wish, now))


async def emergency_stop(farm: Farm, caller: Caller, printer_id: str, reason: str) -> Printer:
    """Stop the machine at once, and latch."""
    wish = Wish(caller.name, reason)
    return await _change_printer(
        farm, caller, printer_id, "emergency_stop", lambda p, now: gates.request_emergency_stop(p, wish, now)
    )


@dataclass(frozen=True, slots=True)
class PrinterEdit:
    """An operator's word on a printer; None leaves what is there. ``version`` 0 takes whatever is there."""

    version: int = 0
    name: str | None = None
    material: str | None = None
    colour: str | None = None
    nozzle_diameter_mm: float | None = None
    volume_mm: tuple[float, float, float] | None = None
    tags: tuple[str, ...] | None = None


async def update_printer(farm: Farm, caller: Caller, printer_id: str, edit: PrinterEdit) -> Printer:
    """The operator's word laid over the machine's, and kept. Raises NOT_FOUND, VERSION_CONFLICT, INVALID_ARGUMENT."""
    _check_edit(edit)

    def change(printer: Printer, now: int) -> PrinterChange:
        if edit.version and edit.version != printer.version:
            raise RuleError("VERSION_CONFLICT", f"the printer is at version {printer.version}")
        word = printer.overrides
        overrides = Overrides(
            name=edit.name or word.name,
            volume_mm=edit.volume_mm or word.volume_mm,
            nozzle_diameter_mm=edit.nozzle_diameter_mm or word.nozzle_diameter_mm,
            material=edit.material or word.material,
            colour=edit.colour or word.colour,
            tags=word.tags if edit.tags is None else edit.tags,
        )
        after = replace(printer, overrides=overrides, name=overrides.name or printer.name, updated_at=now)
        return PrinterChange(after, (printer_event(after, "updated", caller.name),))

    return await _change_printer(farm, caller, printer_id, "update_printer", change)


def _check_edit(edit: PrinterEdit) -> None:
    for field, text in (("name", edit.name), ("material", edit.material), ("colour", edit.colour)):
        if text is not None and not (0 < len(text) <= 100 and text.isprintable()):
            raise Invalid(field, "must be 1 to 100 printable characters")
    if edit.nozzle_diameter_mm is not None and not 0.05 <= edit.nozzle_diameter_mm <= 5:
        raise Invalid("nozzle_diameter_mm", "must be 0.05 to 5")
    if edit.volume_mm is not None and not all(0 < side <= 10_000 for side in edit.volume_mm):
        raise Invalid("build_volume", "each side must be more than 0 and at most 10000 mm")
    if edit.tags is not None and (
        len(edit.tags) > 64 or not all(0 < len(t) <= 64 and t.isprintable() for t in edit.tags)
    ):
        raise Invalid("tags", "must be at most 64 tags of 1 to 64 printable characters")
