"""What people say of a printer: bed clear, hold, release, emergency stop."""

from dataclasses import dataclass, replace

from .errors import IllegalState
from .events import AuditEntry, DomainEvent
from .printer import Bed, BedState, Printer
from .slice import printer_event
from .wishes import Wish


@dataclass(frozen=True, slots=True)
class PrinterChange:
    """A printer after a person's word, with what is committed beside it."""

    printer: Printer
    events: tuple[DomainEvent, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


def clear_bed(printer: Printer, wish: Wish, now: int, new_token: str, run_id: str | None = None) -> PrinterChange:
    """The part is off the plate. ``run_id``, if given, must be the run on it: what is of unknown origin is cleared without.
    Unchanged if it is clear already."""
    if printer.active_run_id is not None:
        raise IllegalState(f"run {printer.active_run_id} is active on it")
    if printer.bed.state is BedState.CLEAR:
        return PrinterChange(printer)
    if run_id and printer.bed.run_id != run_id:
        lies_there = (
            f"is of run {printer.bed.run_id}" if printer.bed.run_id else "may be another's; look, and name no run"
        )
        raise IllegalState(f"the part on the plate {lies_there}")
    bed = Bed(BedState.CLEAR, new_token, printer.bed.run_id, wish.actor, now)
    return _said(replace(printer, bed=bed, updated_at=now), "bed_cleared", wish, run_id=printer.bed.run_id)


def hold(printer: Printer, wish: Wish, now: int) -> PrinterChange:
    """No new run until released; a run under way goes on."""
    if printer.held and printer.hold_reason == wish.reason:
        return PrinterChange(printer)
    held = replace(printer, held=True, hold_reason=wish.reason, hold_actor=wish.actor, updated_at=now)
    return _said(held, "held", wish)


def release(printer: Printer, wish: Wish, now: int) -> PrinterChange:
    """Ends hold, lock, rest and latched emergency stop. Raises IllegalState while the stop is not yet carried out."""
    if printer.emergency_generation > printer.emergency_done_generation:
        raise IllegalState("the emergency stop is not yet carried out by its agent")
    free = replace(
        printer,
        held=False,
        hold_reason="",
        hold_actor="",
        locked=False,
        lock_reason="",
        refusals=0,
        backoff_until=0,
        emergency_released_generation=printer.emergency_generation,
    )
    return PrinterChange(printer) if free == printer else _said(replace(free, updated_at=now), "released", wish)


def request_emergency_stop(printer: Printer, wish: Wish, now: int) -> PrinterChange:
    """Stop the machine now and latch. Asked again while one is under way: still that one."""
    if printer.emergency_generation > printer.emergency_done_generation:
        return PrinterChange(printer)
    stopped = replace(printer, emergency_generation=printer.emergency_generation + 1, updated_at=now)
    return _said(stopped, "emergency_stop_requested", wish)


def emergency_stopped(printer: Printer, generation: int, now: int) -> PrinterChange:
    """The agent has written the stop to the machine."""
    if not printer.emergency_done_generation < generation <= printer.emergency_generation:
        return PrinterChange(printer)
    done = replace(printer, emergency_done_generation=generation, updated_at=now)
    return PrinterChange(done, (printer_event(done, "emergency_stopped", printer.agent_id, generation=generation),))


def _said(printer: Printer, what: str, wish: Wish, run_id: str | None = None) -> PrinterChange:
    event = printer_event(printer, what, wish.actor, reason=wish.reason, run_id=run_id)
    audit = AuditEntry(f"printer.{what}", "printer", printer.printer_id, wish.actor, wish.reason, printer.epoch)
    return PrinterChange(printer, (event,), (audit,))
