"""What people say of printers, and what an agent sees of them beside its runs."""

from dataclasses import replace
from typing import Any

import pytest

from printfarm_coordinator.domain.errors import IllegalState
from printfarm_coordinator.domain.events import AuditEntry
from printfarm_coordinator.domain.gates import (
    PrinterChange,
    clear_bed,
    emergency_stopped,
    hold,
    release,
    request_emergency_stop,
)
from printfarm_coordinator.domain.observations import observed
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, PrinterState
from printfarm_coordinator.domain.silence import lost_printer
from printfarm_coordinator.domain.wishes import Wish
from tests.support.slices import CLEAR, EPOCH, a_printer

NOW = 100
ANA = Wish("user/ana", "why")
OCCUPIED = Bed(BedState.OCCUPIED, None, "r1", "a1", 3)


def said(change: PrinterChange, what: str) -> bool:
    events = [(event.type, event.actor, event.data.get("reason")) for event in change.events]
    audit = (AuditEntry(f"printer.{what}", "printer", "p1", "user/ana", "why", EPOCH),)
    return events == [(f"printer.{what}", "user/ana", "why")] and change.audit == audit


@pytest.mark.parametrize("run_id", [None, "r1"])
@pytest.mark.parametrize("bed", [OCCUPIED, replace(OCCUPIED, state=BedState.UNKNOWN)])
def test_a_person_clears_a_bed_with_a_new_token(bed: Bed, run_id: str | None) -> None:
    before = a_printer(bed=bed)
    change = clear_bed(before, ANA, NOW, "new", run_id)
    assert change.printer == replace(before, bed=Bed(BedState.CLEAR, "new", "r1", "user/ana", NOW), updated_at=NOW)
    assert said(change, "bed_cleared")


def test_a_clear_bed_keeps_its_token() -> None:
    assert clear_bed(a_printer(), ANA, NOW, "new", "r1") == PrinterChange(a_printer())


def test_a_part_of_unknown_origin_is_no_runs() -> None:
    """Whoever says that a run's part is off has not seen that something else was printed there since."""
    with pytest.raises(IllegalState, match="name no run"):
        clear_bed(a_printer(bed=Bed()), ANA, NOW, "new", "r1")
    assert clear_bed(a_printer(bed=Bed()), ANA, NOW, "new").printer.bed.token == "new"


@pytest.mark.parametrize("changes", [{"active_run_id": "r2"}, {"bed": replace(OCCUPIED, run_id="r2")}])
def test_a_bed_is_not_cleared_under_a_run_nor_of_another_part(changes: dict[str, Any]) -> None:
    with pytest.raises(IllegalState):
        clear_bed(a_printer(**{"bed": OCCUPIED} | changes), ANA, NOW, "new", "r1")


def test_a_hold_stays_until_it_is_released() -> None:
    change = hold(a_printer(), ANA, NOW)
    assert change.printer == a_printer(held=True, hold_reason="why", hold_actor="user/ana", updated_at=NOW)
    assert said(change, "held")
    assert hold(change.printer, ANA, NOW + 1) == PrinterChange(change.printer)
    assert hold(change.printer, Wish("user/eva", "another"), NOW + 1).printer.hold_actor == "user/eva"


@pytest.mark.parametrize(
    "changes",
    [
        {"held": True, "hold_reason": "x", "hold_actor": "y"},
        {"locked": True, "lock_reason": "x"},
        {"refusals": 3, "backoff_until": 999},
        {"emergency_generation": 2, "emergency_done_generation": 2, "emergency_released_generation": 1},
    ],
)
def test_a_release_opens_every_gate_of_a_person(changes: dict[str, Any]) -> None:
    latch = {"emergency_generation": 2, "emergency_done_generation": 2, "emergency_released_generation": 2}
    change = release(a_printer(**latch | changes), ANA, NOW)
    assert change.printer == a_printer(**latch, updated_at=NOW)
    assert not change.printer.emergency_stopped
    assert said(change, "released")
    assert release(change.printer, ANA, NOW + 1) == PrinterChange(change.printer)


def test_an_emergency_stop_latches_until_it_is_done_and_released() -> None:
    asked = request_emergency_stop(a_printer(), ANA, NOW)
    assert (asked.printer.emergency_generation, asked.printer.emergency_stopped) == (1, True)
    assert said(asked, "emergency_stop_requested")
    assert request_emergency_stop(asked.printer, ANA, NOW + 1) == PrinterChange(asked.printer)
    with pytest.raises(IllegalState):
        release(asked.printer, ANA, NOW)
    done = emergency_stopped(asked.printer, 1, NOW)
    assert (done.printer.emergency_done_generation, done.printer.emergency_stopped) == (1, True)
    assert [event.type for event in done.events] == ["printer.emergency_stopped"]
    assert not release(done.printer, ANA, NOW).printer.emergency_stopped
    # One that was done may be asked for again.
    assert request_emergency_stop(done.printer, ANA, NOW).printer.emergency_generation == 2


@pytest.mark.parametrize("generation", [0, 1, 3])
def test_a_stop_that_was_done_before_or_never_asked_for_changes_nothing(generation: int) -> None:
    printer = a_printer(emergency_generation=2, emergency_done_generation=1)
    assert emergency_stopped(printer, generation, NOW) == PrinterChange(printer)


@pytest.mark.parametrize(
    ("bed", "state", "plate", "doubted"),
    [
        (CLEAR, PrinterState.IDLE, None, False),
        (CLEAR, PrinterState.IDLE, BedState.CLEAR, False),
        (CLEAR, PrinterState.IDLE, BedState.UNKNOWN, False),
        (CLEAR, PrinterState.ERROR, None, False),
        (CLEAR, PrinterState.IDLE, BedState.OCCUPIED, True),
        (CLEAR, PrinterState.BUSY_EXTERNAL, None, True),
        # The run whose part was taken off is not what lies there.
        (replace(CLEAR, run_id="r1"), PrinterState.BUSY_EXTERNAL, None, True),
        (replace(CLEAR, run_id="r1"), PrinterState.IDLE, BedState.OCCUPIED, True),
        # A sensor that sees nothing clears no bed: only a person does.
        (OCCUPIED, PrinterState.IDLE, BedState.CLEAR, False),
        # Whoever prints there has taken the run's part off.
        (OCCUPIED, PrinterState.BUSY_EXTERNAL, BedState.OCCUPIED, True),
        (replace(OCCUPIED, state=BedState.UNKNOWN), PrinterState.BUSY_EXTERNAL, None, True),
        (Bed(BedState.UNKNOWN, None, None, "a1", 3), PrinterState.BUSY_EXTERNAL, None, False),
    ],
)
def test_a_bed_is_doubted_by_what_is_seen(bed: Bed, state: PrinterState, plate: BedState | None, doubted: bool) -> None:
    change = observed(a_printer(bed=bed), state, None, plate, NOW)
    assert change.printer.bed == (Bed(BedState.UNKNOWN, None, None, "a1", NOW) if doubted else bed)
    assert ("printer.bed_doubted" in [event.type for event in change.events]) is doubted


def test_what_is_seen_anew_is_told_once() -> None:
    abilities = Abilities(model="M")
    change = observed(a_printer(), PrinterState.ERROR, abilities, None, NOW)
    assert [event.type for event in change.events] == ["printer.error", "printer.abilities_changed"]
    seen = replace(a_printer(), abilities=abilities, observed_state=PrinterState.ERROR, updated_at=NOW)
    assert change.printer == seen
    assert observed(change.printer, PrinterState.ERROR, abilities, None, NOW + 1) == PrinterChange(change.printer)
    assert observed(change.printer, PrinterState.ERROR, None, None, NOW + 1) == PrinterChange(change.printer)


def test_a_printer_of_a_lost_agent_is_offline_and_keeps_the_rest() -> None:
    assert lost_printer(a_printer(), NOW) == replace(a_printer(), observed_state=PrinterState.OFFLINE, updated_at=NOW)
