"""A database restored from an older copy, as the use cases meet it: nothing is printed twice, nor onto what is forgotten."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.app import authorise, printers, report, runs, sessions
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.ports import Agent, Role
from printfarm_coordinator.app.report import AgentEvent
from printfarm_coordinator.domain.authority import AuthorityRequest
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Printer, PrinterState
from printfarm_coordinator.domain.reports import Report
from printfarm_coordinator.domain.reunion import PrinterReport
from printfarm_coordinator.domain.run import Fact, RunState
from printfarm_coordinator.domain.slice import Slice
from tests.support.memory_store import MemoryStore, drive
from tests.support.slices import CLEAR, EPOCH, held

ANA = Caller("ana", Role.OPERATOR)
LEASE_US = 45_000_000
# Of the agent's facts, as many as the copy had applied, and as many as were acknowledged since.
APPLIED, ACKNOWLEDGED = 3, 7


class Ids:
    def __init__(self) -> None:
        self.last = 0

    def new(self) -> str:
        self.last += 1
        return f"new{self.last}"


class Restored:
    """The copy, and agent a1 with its printer p1."""

    def __init__(self, rows: Slice | None = None, bed: Bed = CLEAR) -> None:
        self.store = MemoryStore()
        self.farm = Farm(self.store, None, None, Ids())  # type: ignore[arg-type]
        tables = self.store.tables
        tables.agents["a1"] = Agent("a1", 1, journal_id="journal", last_applied_sequence=APPLIED)
        if rows is not None:
            tables.jobs["j1"], tables.runs["r1"], tables.printers["p1"] = rows.job, rows.run, rows.printer
        else:
            tables.printers["p1"] = replace(held(RunState.CANCELLED).printer, bed=bed)

    def hello(self, *printer_ids: str, acknowledged: int = ACKNOWLEDGED) -> int:
        """The agent is idle, and knows of no run."""
        greeted = [
            sessions.GreetedPrinter(
                name,
                "virtual",
                name,
                Abilities(),
                BedState.CLEAR,
                PrinterReport(EPOCH if name == "p1" else 0, PrinterState.IDLE),
            )
            for name in printer_ids
        ]
        greeting = sessions.Greeting(
            "a1", "boot", "journal", acknowledged, acknowledged, "1", "host", False, False, tuple(greeted)
        )
        return drive(sessions.greet(self.farm, greeting, LEASE_US)).connection_epoch

    def tell(self, connection: int, sequence: int, fact: Fact) -> None:
        drive(report.apply_events(self.farm, "a1", connection, [AgentEvent(sequence, "p1", "r1", EPOCH, Report(fact))]))

    def bed(self, printer_id: str = "p1") -> Bed:
        return self.store.tables.printers[printer_id].bed

    def row(self) -> Any:
        return self.store.tables.runs["r1"]


@pytest.mark.parametrize("came_from", [RunState.OFFERED, RunState.ACCEPTED])
def test_what_was_printed_after_the_copy_is_not_printed_again(came_from: RunState) -> None:
    """In the copy its agent was away; since then it came back, printed the run to its end, and forgot it (I3, I11)."""
    away = {"unconfirmed_from": came_from, "reason_code": "agent_unreachable"}
    made = Restored(held(RunState.UNCONFIRMED, **away))
    connection = made.hello("p1")
    # An agent that begins it all the same is not let.
    made.tell(connection, ACKNOWLEDGED + 1, Fact.ACCEPTED)
    request = AuthorityRequest("a1", EPOCH, "nonce", CLEAR.token or "")
    with pytest.raises(RuleError, match="BED_NOT_CLEAR"):
        drive(authorise.authorise_start(made.farm, "r1", request))
    assert made.bed().state is BedState.UNKNOWN


def test_a_cancel_does_not_clear_a_plate_with_a_part_on_it() -> None:
    """In the copy it was authorised; it had started since, and is stopped now."""
    spent = {"bed": Bed(BedState.OCCUPIED, None, "r1", "a1", 3)}
    made = Restored(held(RunState.AUTHORISED, printer=spent, bed_token="token", nonce="n", authorised_at=1))
    connection = made.hello("p1")
    assert (made.row().state, made.row().reason_code) == (RunState.UNCONFIRMED, "database_behind")
    drive(runs.cancel_run(made.farm, ANA, "r1", ""))
    made.tell(connection, ACKNOWLEDGED + 1, Fact.CANCELLED)
    assert made.row().state is RunState.CANCELLED
    assert (made.bed().state, made.bed().token) == (BedState.UNKNOWN, None)
    # A person has looked.
    drive(printers.clear_bed(made.farm, ANA, "p1", "", None, ""))
    assert made.bed().state is BedState.CLEAR


def test_every_clear_bed_of_the_agent_is_doubted() -> None:
    """Also of a printer that this Hello does not name, or that the copy does not know: Hello tells of it only once."""
    made = Restored()
    made.store.tables.printers["p2"] = Printer("p2", "a1", "P", "virtual", Abilities(), 1, 1, bed=CLEAR)
    made.hello("p1", "p3")
    assert {made.bed(name).state for name in ("p1", "p2", "p3")} == {BedState.UNKNOWN}


def test_a_database_that_forgot_nothing_doubts_nothing() -> None:
    made = Restored()
    made.hello("p1", "p3", acknowledged=APPLIED)
    assert made.bed() == CLEAR
    assert made.bed("p3").state is BedState.CLEAR
