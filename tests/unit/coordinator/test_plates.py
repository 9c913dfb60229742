"""Which word clears a plate: one on what lies there, once; not one that is said again after another print (I11)."""

from dataclasses import replace

import pytest

from printfarm_coordinator.app import printers, report, runs
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import Agent, Role
from printfarm_coordinator.app.report import AgentEvent, PrinterSeen
from printfarm_coordinator.domain.errors import IllegalState, Invalid
from printfarm_coordinator.domain.printer import Bed, BedState, PrinterState
from printfarm_coordinator.domain.reports import Report
from printfarm_coordinator.domain.run import Fact, RunState
from tests.support.memory_store import MemoryStore, drive
from tests.support.slices import EPOCH, PARTS, held

ANA = Caller("ana", Role.OPERATOR)
ON_PLATE = Bed(BedState.OCCUPIED, None, "r1", "a1", 3)


class Ids:
    def __init__(self) -> None:
        self.last = 0

    def new(self) -> str:
        self.last += 1
        return f"new{self.last}"


class Plate:
    """Run r1 has finished, and its part lies on printer p1."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.farm = Farm(self.store, None, None, Ids())  # type: ignore[arg-type]
        rows = held(RunState.FINISHED, printer={"bed": ON_PLATE}, job={"pending_parts": PARTS}, verified=True)
        tables = self.store.tables
        tables.agents["a1"] = Agent("a1", 1, journal_id="journal")
        tables.jobs["j1"], tables.runs["r1"], tables.printers["p1"] = rows.job, rows.run, rows.printer

    def say(self, *, clear_bed: bool = True) -> None:
        run = drive(runs.give_verdict(self.farm, ANA, "r1", PARTS, "", clear_bed=clear_bed))
        assert run.verdict is not None
        assert run.verdict.good_parts == PARTS

    def clear(self, run_id: str = "", good_parts: int | None = None) -> None:
        drive(printers.clear_bed(self.farm, ANA, "p1", run_id, good_parts, ""))

    def print_at_the_machine(self) -> None:
        """From beginning to end; the farm did not start it."""
        states = (PrinterState.BUSY_EXTERNAL, PrinterState.IDLE)
        last = self.store.tables.agents["a1"].last_applied_sequence
        events = [AgentEvent(last + n, "p1", "", 0, PrinterSeen(state)) for n, state in enumerate(states, 1)]
        drive(report.apply_events(self.farm, "a1", 0, events))

    @property
    def bed(self) -> BedState:
        return self.store.tables.printers["p1"].bed.state


def test_a_verdict_clears_the_plate_once() -> None:
    """Its answer was lost, and it is sent again: the same answer, and no look at the plate."""
    made = Plate()
    made.say()
    assert made.bed is BedState.CLEAR
    made.print_at_the_machine()
    assert made.bed is BedState.UNKNOWN
    made.say()
    assert made.bed is BedState.UNKNOWN
    made.clear()
    assert made.bed is BedState.CLEAR


def test_nor_does_it_where_the_run_itself_lies_there_again() -> None:
    """Its agent was found printing it although it was over."""
    made = Plate()
    made.say()
    printer = made.store.tables.printers["p1"]
    made.store.tables.printers["p1"] = replace(printer, bed=replace(ON_PLATE, state=BedState.UNKNOWN))
    made.say()
    assert made.bed is BedState.UNKNOWN


def test_a_plate_that_was_left_occupied_is_cleared_by_its_own_word() -> None:
    made = Plate()
    made.say(clear_bed=False)
    assert made.bed is BedState.OCCUPIED
    made.clear("r1")
    assert made.bed is BedState.CLEAR


@pytest.mark.parametrize("good_parts", [None, PARTS])
def test_a_word_on_a_runs_part_is_none_on_what_was_printed_since(good_parts: int | None) -> None:
    made = Plate()
    made.clear("r1", good_parts)
    made.clear("r1", good_parts)
    assert made.bed is BedState.CLEAR
    made.print_at_the_machine()
    with pytest.raises(IllegalState, match="name no run"):
        made.clear("r1", good_parts)
    # Which run would be judged, nobody can say.
    with pytest.raises(Invalid):
        made.clear("", PARTS)
    assert made.bed is BedState.UNKNOWN


def test_a_verdict_on_a_part_that_was_taken_off_is_none_on_what_was_printed_since() -> None:
    """Nobody said that the plate was clear; whoever printed at the machine took the part off."""
    made = Plate()
    made.print_at_the_machine()
    made.say()
    assert made.bed is BedState.UNKNOWN


@pytest.mark.parametrize("fact", [Fact.NEVER_STARTED, Fact.CANCELLED])
def test_a_bed_that_was_taken_before_the_start_is_not_given_back(fact: Fact) -> None:
    """The run was authorised when somebody started a print at the machine."""
    made = Plate()
    rows = held(RunState.AUTHORISED, printer={"bed": ON_PLATE}, bed_token="t", nonce="n", authorised_at=1)
    tables = made.store.tables
    tables.jobs["j1"], tables.runs["r1"], tables.printers["p1"] = rows.job, rows.run, rows.printer
    made.print_at_the_machine()
    last = made.store.tables.agents["a1"].last_applied_sequence
    drive(report.apply_events(made.farm, "a1", 0, [AgentEvent(last + 1, "p1", "r1", EPOCH, Report(fact))]))
    assert made.store.tables.printers["p1"].active_run_id is None
    assert made.bed is BedState.UNKNOWN


def test_a_run_that_prints_all_the_same_has_its_plate() -> None:
    """For a moment its printer told another name than that of its file."""
    made = Plate()
    rows = held(RunState.STARTING, printer={"bed": ON_PLATE}, bed_token="t", nonce="n", authorised_at=1)
    tables = made.store.tables
    tables.jobs["j1"], tables.runs["r1"], tables.printers["p1"] = rows.job, rows.run, rows.printer
    made.print_at_the_machine()
    last = made.store.tables.agents["a1"].last_applied_sequence
    drive(report.apply_events(made.farm, "a1", 0, [AgentEvent(last + 1, "p1", "r1", EPOCH, Report(Fact.STARTED))]))
    bed = made.store.tables.printers["p1"].bed
    assert (bed.state, bed.run_id) == (BedState.OCCUPIED, "r1")
