"""Which of an agent's events are new (I12), and which words count at all (I6, bad input 69 and 70)."""

from enum import StrEnum

from .printer import Printer
from .run import Run


class Admission(StrEnum):
    """What to do with an event."""

    APPLY = "apply"
    REPEATED = "repeated"
    GAP = "gap"


def admit(last_applied: int, sequence: int) -> Admission:
    """The applied events are a gap-free prefix of the journal, each applied once."""
    if sequence <= last_applied:
        return Admission.REPEATED
    return Admission.APPLY if sequence == last_applied + 1 else Admission.GAP


def is_from_future(printer: Printer, epoch: int) -> bool:
    """An epoch that was never given. Only Hello may raise a printer's epoch, and only so far."""
    return epoch > printer.epoch


def holds_printer(run: Run, printer: Printer) -> bool:
    """The run's epoch is the printer's newest: nothing was offered, fenced or resolved on it since."""
    return printer.epoch == run.epoch


def is_believed(run: Run, agent_id: str, epoch: int) -> bool:
    """I6: a word on a run counts only under the run's own epoch and from the run's own agent."""
    return run.epoch == epoch and run.agent_id == agent_id
