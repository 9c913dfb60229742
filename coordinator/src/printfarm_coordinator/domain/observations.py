"""What an agent sees of a printer beside its runs."""

from dataclasses import replace

from .gates import PrinterChange
from .printer import Abilities, Bed, BedState, Printer, PrinterState
from .slice import printer_event


def observed(
    printer: Printer, state: PrinterState, abilities: Abilities | None, plate: BedState | None, now: int
) -> PrinterChange:
    """The printer as it was seen. A plate that something was put on, or printed on, by others is clear no more (I11)."""
    agent = printer.agent_id
    after = replace(printer, observed_state=state, abilities=abilities or printer.abilities)
    events = []
    if state is not printer.observed_state:
        events.append(printer_event(after, state.value, agent, from_state=printer.observed_state.value))
    if abilities and abilities != printer.abilities:
        events.append(printer_event(after, "abilities_changed", agent))
    doubt = _doubt(printer, state, plate)
    if doubt:
        # Of no run: a word on the one that lay there before is none on what lies there now.
        after = replace(after, bed=Bed(BedState.UNKNOWN, None, None, agent, now))
        events.append(printer_event(after, "bed_doubted", agent, reason=doubt))
    if after == printer:
        return PrinterChange(printer)
    return PrinterChange(replace(after, updated_at=now), tuple(events))


def _doubt(printer: Printer, state: PrinterState, plate: BedState | None) -> str:
    """Why the bed may not be clear although a person said so; empty if nothing speaks against it."""
    if printer.bed.state is not BedState.CLEAR:
        return ""
    if plate is BedState.OCCUPIED:
        return "the plate sensor sees something on the plate"
    if state is PrinterState.BUSY_EXTERNAL:
        return "the printer prints something that this farm did not start"
    return ""
