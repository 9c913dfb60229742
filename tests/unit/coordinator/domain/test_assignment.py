"""Which printer gets which job, and what each of the others says."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain.assignment import Candidate, choose, obstacles, offer, plates_owed
from printfarm_coordinator.domain.errors import IllegalState, RuleError
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Overrides, Printer, PrinterState, can_take
from printfarm_coordinator.domain.run import RunState

NOW = 1_000
ABILITIES = Abilities(
    volume_mm=(200.0, 200.0, 180.0), nozzle_diameter_mm=0.4, material="PLA", colour="black", tags=("lab",)
)


def a_job(job_id: str = "j1", **changes: Any) -> Job:
    plain = Job(job_id, "part", "key/k", "a" * 64, 1, 1, 0, None, Requirements(), 3, None, 10, 10)
    return replace(plain, **changes)


def a_candidate(printer_id: str = "p1", *, reachable: bool = True, draining: bool = False, **changes: Any) -> Candidate:
    clear = Bed(BedState.CLEAR, f"token-{printer_id}")
    plain = Printer(printer_id, "a1", "P", "virtual", ABILITIES, 1, 1, bed=clear, observed_state=PrinterState.IDLE)
    return Candidate(replace(plain, **changes), reachable, draining)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (Requirements(), None),
        (Requirements(min_x_mm=200.0, min_y_mm=200.0, min_z_mm=180.0), None),
        (Requirements(min_z_mm=180.1), "volume"),
        (Requirements(nozzle_diameter_mm=0.4), None),
        (Requirements(nozzle_diameter_mm=0.6), "nozzle"),
        (Requirements(material="pla"), None),
        (Requirements(material="PETG"), "material"),
        (Requirements(colour="BLACK"), None),
        (Requirements(colour="red"), "colour"),
        (Requirements(tags=("lab",)), None),
        (Requirements(tags=("lab", "enclosed")), "tags"),
        (Requirements(printer_ids=("p0", "p1")), None),
        (Requirements(printer_ids=("p0",)), "not_named"),
    ],
)
def test_a_requirement_keeps_a_printer_out_and_says_why(wanted: Requirements, code: str | None) -> None:
    assert can_take(ABILITIES, wanted) is (code in (None, "not_named"))
    found = [obstacle.code for obstacle in obstacles(a_job(requirements=wanted), a_candidate(), NOW)]
    assert found == ([code] if code else [])
    assert bool(choose([a_job(requirements=wanted)], [a_candidate()], NOW)) is (code is None)


@pytest.mark.parametrize(
    "wanted",
    [
        Requirements(min_x_mm=1.0),
        Requirements(nozzle_diameter_mm=0.4),
        Requirements(material="PLA"),
        Requirements(colour="black"),
        Requirements(tags=("lab",)),
    ],
)
def test_what_is_unknown_never_fits(wanted: Requirements) -> None:
    blank = a_candidate(abilities=Abilities())
    assert len(obstacles(a_job(requirements=wanted), blank, NOW)) == 1


@pytest.mark.parametrize(
    ("candidate", "wanted", "explanation"),
    [
        (a_candidate(reachable=False), Requirements(), "its agent a1 is out of reach"),
        (a_candidate(draining=True), Requirements(), "its agent a1 is being drained"),
        (a_candidate(locked=True, lock_reason="late start"), Requirements(), "locked: late start"),
        (a_candidate(held=True, hold_actor="user/ana", hold_reason="belt"), Requirements(), "held by user/ana: belt"),
        (a_candidate(active_run_id="r9"), Requirements(), "run r9 is active on it"),
        (a_candidate(bed=Bed(BedState.OCCUPIED)), Requirements(), "its bed is occupied"),
        (a_candidate(observed_state=PrinterState.ERROR), Requirements(), "it is error"),
        (a_candidate(refusals=3, backoff_until=NOW + 1), Requirements(), "it refused 3 offers in a row and rests"),
        (a_candidate(), Requirements(printer_ids=("p8", "p9")), "the job names p8, p9"),
        (
            a_candidate(),
            Requirements(min_x_mm=250.0, min_z_mm=0.5),
            "wanted at least 250 x 0 x 0.5 mm, it has 200 x 200 x 180 mm",
        ),
        (a_candidate(abilities=Abilities()), Requirements(min_y_mm=1.0), "its build volume is unknown"),
        (a_candidate(), Requirements(nozzle_diameter_mm=0.6), "wanted a 0.6 mm nozzle, it has 0.4 mm"),
        (
            a_candidate(abilities=Abilities()),
            Requirements(nozzle_diameter_mm=0.6),
            "wanted a 0.6 mm nozzle, it has an unknown one",
        ),
        (a_candidate(), Requirements(material="PETG"), "wanted material PETG, it has PLA"),
        (a_candidate(abilities=Abilities()), Requirements(colour="red"), "wanted colour red, it has an unknown one"),
        (a_candidate(), Requirements(tags=("lab", "enclosed", "dry")), "lacks enclosed, dry"),
    ],
)
def test_a_person_is_told_why(candidate: Candidate, wanted: Requirements, explanation: str) -> None:
    assert [obstacle.explanation for obstacle in obstacles(a_job(requirements=wanted), candidate, NOW)] == [explanation]


def test_every_reason_is_given_at_once() -> None:
    wanted = Requirements(material="PETG", tags=("dry",))
    found = obstacles(a_job(requirements=wanted), a_candidate(held=True, reachable=False), NOW)
    assert [obstacle.code for obstacle in found] == ["material", "tags", "offline", "held"]


def test_an_operators_word_wins_over_the_machines() -> None:
    told = a_candidate(overrides=Overrides(material="PETG", tags=("enclosed",)))
    assert not obstacles(a_job(requirements=Requirements(material="petg", tags=("enclosed",))), told, NOW)
    assert obstacles(a_job(requirements=Requirements(material="PLA")), told, NOW)


@pytest.mark.parametrize(
    ("candidate", "code"),
    [
        (a_candidate(reachable=False), "offline"),
        (a_candidate(draining=True), "draining"),
        (
            a_candidate(emergency_generation=2, emergency_done_generation=2, emergency_released_generation=1),
            "emergency_stopped",
        ),
        (a_candidate(locked=True), "locked"),
        (a_candidate(held=True), "held"),
        (a_candidate(active_run_id="r9"), "busy"),
        (a_candidate(bed=Bed(BedState.OCCUPIED)), "bed_not_clear"),
        (a_candidate(bed=Bed(BedState.UNKNOWN)), "bed_not_clear"),
        (a_candidate(observed_state=PrinterState.UNKNOWN), "not_idle"),
        (a_candidate(observed_state=PrinterState.BUSY_EXTERNAL), "not_idle"),
        (a_candidate(backoff_until=NOW + 1), "refused"),
    ],
)
def test_a_closed_gate_keeps_every_job_away(candidate: Candidate, code: str) -> None:
    assert [obstacle.code for obstacle in obstacles(a_job(), candidate, NOW)] == [code]
    assert choose([a_job()], [candidate], NOW) == []
    with pytest.raises(RuleError, match="PRINTER_NOT_ELIGIBLE"):
        offer(a_job(), candidate, "r1", NOW, actor="user/ana", retry_of=None)


def test_a_printer_that_has_rested_is_offered_to_again() -> None:
    assert choose([a_job()], [a_candidate(backoff_until=NOW)], NOW) == [("j1", "p1")]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (a_job("b", priority=1), a_job("a", priority=0, due_at=5)),
        (a_job("b", due_at=50), a_job("a", due_at=60, created_at=1)),
        (a_job("b", due_at=50, created_at=99), a_job("a", created_at=1)),
        (a_job("b", created_at=1), a_job("a", created_at=2)),
        (a_job("a"), a_job("b")),
    ],
)
def test_priority_then_due_time_then_age(first: Job, second: Job) -> None:
    for jobs in ([first, second], [second, first]):
        assert choose(jobs, [a_candidate()], NOW) == [(first.job_id, "p1")]


def test_a_job_takes_as_many_printers_as_it_owes_plates() -> None:
    job = a_job(quantity=5, parts_per_plate=2, good_parts=1, pending_parts=1)
    assert plates_owed(job) == 2
    chosen = choose([job, a_job("j2", priority=-1)], [a_candidate(f"p{n}") for n in range(4)], NOW)
    assert [job_id for job_id, _ in chosen] == ["j1", "j1", "j2"]
    assert len({printer_id for _, printer_id in chosen}) == 3


@pytest.mark.parametrize(
    ("quantity", "per_plate", "good", "pending", "plates"),
    [
        (1, 1, 0, 0, 1),
        (4, 2, 0, 0, 2),
        (5, 2, 0, 0, 3),
        (5, 2, 1, 0, 2),
        (5, 2, 1, 4, 0),
        (5, 2, 0, 4, 1),
        (5, 2, 3, 4, 0),
        (1, 10, 0, 0, 1),
        (1_000_000, 1, 999_999, 0, 1),
    ],
)
def test_plates_are_owed_for_what_is_neither_good_nor_pending(
    quantity: int, per_plate: int, good: int, pending: int, plates: int
) -> None:
    job = a_job(quantity=quantity, parts_per_plate=per_plate, good_parts=good, pending_parts=pending)
    assert plates_owed(job) == plates
    assert len(choose([job], [a_candidate(f"p{n}") for n in range(5)], NOW)) == min(plates, 5)


@given(
    quantity=st.integers(1, 40),
    per_plate=st.integers(1, 7),
    good=st.integers(0, 40),
    rounds=st.lists(st.integers(0, 5), max_size=8),
)
def test_offers_never_exceed_what_is_owed_in_whole_plates(
    quantity: int, per_plate: int, good: int, rounds: list[int]
) -> None:
    """I1, however many printers are free at each round; and with enough of them nothing stays owed."""
    job = a_job(quantity=quantity, parts_per_plate=per_plate, good_parts=min(good, quantity - 1))
    plates = -(-(quantity - job.good_parts) // per_plate)
    for number, free in enumerate([*rounds, plates]):
        printers = [a_candidate(f"p{number}-{n}") for n in range(free)]
        for job_id, printer_id in choose([job], printers, NOW):
            assert job_id == job.job_id
            printer = next(c for c in printers if c.printer.printer_id == printer_id)
            job = offer(job, printer, f"r{printer_id}", NOW, actor="coordinator", retry_of=None).job
    assert (job.active_runs, job.pending_parts) == (plates, plates * per_plate)
    assert plates_owed(job) == 0


def test_a_picky_job_behind_is_not_left_without() -> None:
    easy = a_job("easy", priority=1)
    picky = a_job("picky", requirements=Requirements(tags=("enclosed",)))
    plain, enclosed = a_candidate("p2"), a_candidate("p1", overrides=Overrides(tags=("enclosed",)))
    assert set(choose([easy, picky], [enclosed, plain], NOW)) == {("easy", "p2"), ("picky", "p1")}


_WANTS = (
    Requirements(),
    Requirements(material="PLA"),
    Requirements(material="PETG"),
    Requirements(tags=("enclosed",)),
    Requirements(printer_ids=("p1", "p3", "gone")),
    Requirements(material="PLA", printer_ids=("p2",)),
)


@given(
    jobs=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(_WANTS)), max_size=12),
    materials=st.lists(st.sampled_from(("PLA", "PETG")), max_size=6),
)
def test_the_decision_is_that_of_looking_at_every_job_and_printer(
    jobs: list[tuple[int, int, Requirements]], materials: list[str]
) -> None:
    waiting = [
        a_job(f"j{n:02}", priority=priority, quantity=quantity, requirements=wanted)
        for n, (priority, quantity, wanted) in enumerate(jobs)
    ]
    free = [a_candidate(f"p{n}", overrides=Overrides(material=word)) for n, word in enumerate(materials)]
    assert choose(waiting, free, NOW) == _one_by_one(waiting, free)


def _one_by_one(jobs: list[Job], candidates: list[Candidate]) -> list[tuple[str, str]]:
    """The rule as it is told, without any thrift."""
    fits = {job.job_id: {c.printer.printer_id for c in candidates if not obstacles(job, c, NOW)} for job in jobs}
    wanted_by = {c.printer.printer_id: sum(c.printer.printer_id in able for able in fits.values()) for c in candidates}
    left, chosen = set(wanted_by), []
    for job in sorted(jobs, key=lambda job: (-job.priority, job.job_id)):
        able = sorted(fits[job.job_id] & left, key=lambda p: (wanted_by[p], p))[: plates_owed(job)]
        left -= set(able)
        chosen += [(job.job_id, printer_id) for printer_id in able]
    return chosen


@pytest.mark.parametrize(
    "changes",
    [
        {"held": True},
        {"cancel_requested": True},
        {"state": JobState.COMPLETED},
        {"state": JobState.FAILED},
        {"failed_runs": 4},
        {"pending_parts": 1},
        {"good_parts": 1},
    ],
)
def test_a_job_that_owes_nothing_is_offered_to_nobody(changes: dict[str, Any]) -> None:
    job = a_job(**changes)
    assert choose([job], [a_candidate()], NOW) == []
    with pytest.raises(IllegalState):
        offer(job, a_candidate(), "r1", NOW, actor="coordinator", retry_of=None)


def test_an_offer_burns_an_epoch_and_counts_its_parts() -> None:
    job, candidate = a_job(quantity=3, parts_per_plate=2), a_candidate(epoch=7)
    made = offer(job, candidate, "r1", NOW, actor="coordinator", retry_of="r0")
    assert (made.run.state, made.run.epoch, made.run.parts, made.run.retry_of) == (RunState.OFFERED, 8, 2, "r0")
    assert (made.printer.epoch, made.printer.active_run_id) == (8, "r1")
    assert (made.job.state, made.job.active_runs, made.job.pending_parts) == (JobState.ACTIVE, 1, 2)
    assert [event.type for event in made.events] == ["run.offered", "job.active"]
    # The bed's token stays with the printer until the authority takes it.
    assert made.printer.bed == candidate.printer.bed
