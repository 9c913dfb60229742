"""Which slicings a job of a model needs, and which file a printer gets."""

from dataclasses import replace
from typing import Any

from printfarm_coordinator.domain.assignment import Candidate, choose, offer
from printfarm_coordinator.domain.job import Job, JobState, Requirements, settled, unprintable, with_print_file
from printfarm_coordinator.domain.preparing import Workshop
from printfarm_coordinator.domain.print_file import PrintFile, print_file_of
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, Obstacle, Overrides, Printer
from printfarm_coordinator.domain.profile import ProfileKind
from printfarm_coordinator.domain.setup import Catalogue, Setup
from printfarm_coordinator.domain.slicing import Slicing, SlicingKey, SlicingState, without_result
from tests.support.slicings import MATERIAL_SETTINGS, a_profile, a_slicing, profiles_of, three_profiles
from tests.support.stores import SECOND, SHA, a_job, a_printer

NOW = 2_000 * SECOND
ENGINES = {"prusaslicer": "2.5.0"}
PETG = a_profile(ProfileKind.MATERIAL, "petg", settings={**MATERIAL_SETTINGS, "filament_type": "PETG"})
PROFILES = [*three_profiles(), PETG]


def a_model_job(**changes: Any) -> Job:
    plain = {
        "requirements": Requirements(),
        "needs_slicing": True,
        "prepared": False,
        "state": JobState.PREPARING,
        "quantity": 1,
        "parts_per_plate": 1,
        "estimated_seconds": None,
        "created_at": 1_000 * SECOND,
    }
    return a_job(**plain | changes)


def printer(printer_id: str, material: str = "PLA", *, is_open: bool = True) -> Printer:
    bed = Bed(BedState.CLEAR, f"token-{printer_id}") if is_open else Bed(BedState.OCCUPIED)
    return a_printer(
        printer_id, abilities=Abilities("M", nozzle_diameter_mm=0.4, material=material), overrides=Overrides(), bed=bed
    )


def candidates(*printers: Printer) -> list[Candidate]:
    return [Candidate(each, agent_reachable=True, agent_draining=False) for each in printers]


def setup(material: str = "PLA") -> Setup:
    found = Catalogue(PROFILES).setups_for(printer("x", material), a_model_job())
    assert not isinstance(found, Obstacle)
    return found[0]


def task(material: str = "PLA", version: str = "2.5.0", **changes: Any) -> Slicing:
    key = SlicingKey(SHA, setup(material).settings_hash, 1, "prusaslicer", version)
    state = changes.get("state", SlicingState.QUEUED)
    if state is SlicingState.DONE:
        changes = {"result_sha256": "f" * 64, "estimated_seconds": 90.0, "ended_at": 1_500 * SECOND} | changes
    if state is SlicingState.FAILED:
        changes = {"error_code": "slicer_refused", "error": "no layers", "ended_at": 1_500 * SECOND} | changes
    return a_slicing(f"s-{material}-{version}", key=key, **changes)


def workshop(*tasks: Slicing, engines: dict[str, str] | None = None) -> Workshop:
    return Workshop(Catalogue(PROFILES), {SHA: tasks}, ENGINES if engines is None else engines)


def ordered(shop: Workshop, job: Job, *printers: Printer) -> list[str]:
    return [made.labels[1] for _, made in shop.plan(job, candidates(*printers), NOW).order]


def test_one_plate_is_sliced_once_for_the_printer_that_is_open() -> None:
    two = (printer("p1", is_open=False), printer("p2", "PETG"))
    assert ordered(workshop(), a_model_job(), *two) == ["petg@1"]
    assert ordered(workshop(), a_model_job(), printer("p1"), printer("p2"), printer("p3", "PETG")) == ["material@1"]


def test_more_plates_are_sliced_for_more_kinds_of_printers() -> None:
    job = a_model_job(quantity=5)
    assert ordered(workshop(), job, printer("p1"), printer("p2", "PETG")) == ["material@1", "petg@1"]
    assert ordered(workshop(task()), job, printer("p1"), printer("p2", "PETG")) == ["petg@1"]


def test_with_no_printer_open_it_is_sliced_for_most() -> None:
    closed = [printer(f"p{n}", m, is_open=False) for n, m in enumerate(["PETG", "PLA", "PETG"])]
    assert ordered(workshop(), a_model_job(quantity=9), *closed) == ["petg@1"]
    assert ordered(workshop(task("PETG")), a_model_job(quantity=9), *closed) == []


def test_a_printer_that_came_free_gets_its_own_slicing() -> None:
    done = task(state=SlicingState.DONE)
    assert ordered(workshop(done), a_model_job(), printer("p1", is_open=False), printer("p2", "PETG")) == ["petg@1"]
    assert ordered(workshop(done), a_model_job(), printer("p1"), printer("p2", "PETG")) == []


def test_requirements_and_missing_profiles_and_workers_order_nothing() -> None:
    assert ordered(workshop(), a_model_job(requirements=Requirements(material="ABS")), printer("p1")) == []
    assert ordered(workshop(), a_model_job(), printer("p1", "ABS")) == []
    assert ordered(workshop(engines={}), a_model_job(), printer("p1")) == []


def test_the_file_is_of_the_printers_own_setup() -> None:
    shop = workshop(task(state=SlicingState.DONE))
    assert shop.file_for(a_model_job(), printer("p1")) == PrintFile("f" * 64, 90.0, parts=1)
    other = shop.file_for(a_model_job(), printer("p2", "PETG"))
    assert isinstance(other, Obstacle)
    assert other.code == "not_sliced"


def test_obstacles_say_how_far_it_is() -> None:
    half = workshop(task(state=SlicingState.RUNNING, progress=0.45)).file_for(a_model_job(), printer("p1"))
    assert isinstance(half, Obstacle) and "45%" in half.explanation
    refused = workshop(task(state=SlicingState.FAILED)).file_for(a_model_job(), printer("p1"))
    assert isinstance(refused, Obstacle) and (refused.code, "no layers" in refused.explanation) == (
        "slicing_failed",
        True,
    )
    nobody = workshop(engines={}).file_for(a_model_job(), printer("p1"))
    assert isinstance(nobody, Obstacle) and nobody.code == "no_slicer"
    # Ordered when there was a worker, and nobody to claim it since.
    left = workshop(task(), engines={}).file_for(a_model_job(), printer("p1"))
    assert isinstance(left, Obstacle) and left.code == "no_slicer"


def test_a_refusal_fails_the_job_only_when_nothing_else_is_left_to_try() -> None:
    refused = task(state=SlicingState.FAILED)
    both = candidates(printer("p1"), printer("p2", "PETG"))
    plan = workshop(refused).plan(a_model_job(), both, NOW)
    assert (plan.failure, [made.labels[1] for _, made in plan.order]) == ("", ["petg@1"])
    plan = workshop(refused, task("PETG", state=SlicingState.FAILED)).plan(a_model_job(), both, NOW)
    assert plan.failure == "no layers"
    job = unprintable(a_model_job(), plan.failure, NOW)
    assert (job.state, job.failure_reason, job.ended_at) == (JobState.FAILED, "no layers", NOW)
    printing = a_model_job(active_runs=1, pending_parts=1, state=JobState.ACTIVE)
    assert unprintable(printing, "no layers", NOW) == printing


def test_another_slicer_version_slices_anew_for_new_jobs_alone() -> None:
    old = task(version="2.4.0", state=SlicingState.DONE)
    p1 = printer("p1")
    assert ordered(workshop(old), a_model_job(created_at=1_600 * SECOND), p1) == ["material@1"]
    assert ordered(workshop(old), a_model_job(created_at=1_400 * SECOND), p1) == []
    # With no worker there, what is done serves.
    assert isinstance(workshop(old, engines={}).file_for(a_model_job(created_at=1_600 * SECOND), p1), PrintFile)


def test_a_workers_failure_is_forgotten_for_the_next_job() -> None:
    lost = task(state=SlicingState.FAILED, error_code="slicer_lost")
    assert ordered(workshop(lost), a_model_job(created_at=1_600 * SECOND), printer("p1")) == ["material@1"]
    assert workshop(lost).plan(a_model_job(), candidates(printer("p1")), NOW).failure == "no layers"


def test_a_job_of_a_model_waits_for_its_file_and_then_is_queued() -> None:
    job = settled(a_model_job(), NOW)
    assert job.state is JobState.PREPARING
    assert choose([job], candidates(printer("p1")), NOW) == []
    shop = workshop(task(state=SlicingState.DONE))
    plan = shop.plan(job, candidates(printer("p1")), NOW)
    assert plan.ready is not None
    queued = with_print_file(job, plan.ready.estimated_seconds, NOW)
    assert (queued.state, queued.estimated_seconds) == (JobState.QUEUED, 90.0)
    pla, petg = candidates(printer("p1"), printer("p2", "PETG"))
    assert choose([queued], [pla, petg], NOW, shop.file_for) == [("j1", "p1")]
    assert choose([queued], [petg], NOW, shop.file_for) == []
    made = offer(queued, pla, "r1", NOW, actor="coordinator", retry_of=None, fit=shop.file_for)
    assert print_file_of(made.run, made.job) == PrintFile("f" * 64, 90.0)


def test_a_run_from_before_prints_the_jobs_file() -> None:
    job = a_job()
    candidate = candidates(printer("p1"))[0]
    made = offer(replace(job, requirements=Requirements()), candidate, "r1", NOW, actor="c", retry_of=None)
    assert made.run.artifact_sha256 == SHA
    assert print_file_of(replace(made.run, artifact_sha256=""), job) == PrintFile(SHA, 61.5)


def test_a_result_that_was_deleted_is_made_again_and_fails_no_job() -> None:
    gone = without_result(task(state=SlicingState.DONE), NOW)
    for created_at in (1_000 * SECOND, NOW + SECOND):
        job = a_model_job(created_at=created_at)
        shop = Workshop(Catalogue(PROFILES), {SHA: [gone]}, ENGINES)
        plan = shop.plan(job, candidates(printer("p1")), NOW)
        assert (len(plan.order), plan.ready, plan.failure) == (1, None, "")
        found = shop.file_for(job, printer("p1"))
        assert isinstance(found, Obstacle)
        assert found.code == "not_sliced"


BOTH = Catalogue([*PROFILES, *profiles_of("curaengine")])


def of_two_slicers(*tasks: Slicing, engines: dict[str, str]) -> Workshop:
    """Two setups fit; Cura's is the preferred one, by its name."""
    return Workshop(BOTH, {SHA: tasks}, engines)


def test_the_setup_is_one_that_a_worker_can_slice() -> None:
    for engines, expected in (
        ({"prusaslicer": "2.5.0", "curaengine": "4.13.0"}, "curaengine-material@1"),
        (ENGINES, "material@1"),
        ({"curaengine": "4.13.0"}, "curaengine-material@1"),
    ):
        assert ordered(of_two_slicers(engines=engines), a_model_job(), printer("p1")) == [expected]


def test_what_the_preferred_slicer_has_made_is_printed_without_it() -> None:
    made = BOTH.setups_for(printer("p1"), a_model_job())
    assert not isinstance(made, Obstacle)
    key = SlicingKey(SHA, made[0].settings_hash, 1, "curaengine", "4.13.0")
    done = a_slicing(
        "c", key=key, state=SlicingState.DONE, result_sha256="c" * 64, estimated_seconds=9.0, ended_at=1_500 * SECOND
    )
    assert of_two_slicers(done, engines=ENGINES).file_for(a_model_job(), printer("p1")) == PrintFile(
        "c" * 64, 9.0, parts=1
    )
    assert ordered(of_two_slicers(done, engines=ENGINES), a_model_job(), printer("p1")) == []


def test_a_slicer_that_no_worker_has_is_named() -> None:
    file = of_two_slicers(engines={"orcaslicer": "2.3"}).file_for(a_model_job(), printer("p1"))
    assert isinstance(file, Obstacle) and file.code == "no_slicer"
    assert "no worker with curaengine is connected" in file.explanation
