"""What an agent sees of a printer beside its runs."""

from dataclasses import replace

from .gates import PrinterChange
from .printer import Abilities, Bed, BedState, Printer, PrinterState
from .slice import printer_event


def observed(
    printer: Printer, state: PrinterState, abilities: Abilities | None, plate: BedState | None, now: int
) -> PrinterChange:
    """The printer as it was seen. A plate that something was put on, or printed on, by others is of unknown state (I11)."""
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
    """Why the bed may not be as the farm knows it; empty if nothing speaks against it."""
    bed = printer.bed
    if bed.state is BedState.CLEAR and plate is BedState.OCCUPIED:
        return "the plate sensor sees something on the plate"
    is_doubted = bed.state is BedState.UNKNOWN and bed.run_id is None
    if state is PrinterState.BUSY_EXTERNAL and not is_doubted:
        # Also where a run's part lay, or one was to start: no word on that run, nor its end, may clear what lies there now.
        return "the printer prints something that this farm did not start"
    return ""
