"""When a job will be done, and whether it is at risk."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from printfarm_coordinator.domain.estimate import outlook
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.run import Run, RunState

NOW = 1_000_000_000_000
HOUR = 3_600_000_000
JOB = Job("j", "n", "c", "a" * 64, 10, 2, 0, None, Requirements(), 3, 3_600.0, NOW - HOUR, NOW - HOUR)


def a_run(number: int, parts: int = 2) -> Run:
    return Run(f"r{number}", "j", f"p{number}", "a", 1, parts, NOW, NOW, state=RunState.PRINTING)


def with_active(job: Job, count: int) -> Job:
    return replace(job, active_runs=count, pending_parts=2 * count, state=JobState.ACTIVE)


def test_waves_over_the_printers_that_can_take_it() -> None:
    assert outlook(JOB, [], 1, NOW).expected_end == NOW + 5 * HOUR
    assert outlook(JOB, [], 2, NOW).expected_end == NOW + 3 * HOUR
    assert outlook(JOB, [], 100, NOW).expected_end == NOW + HOUR


def test_runs_under_way_end_first() -> None:
    active = [(a_run(1), 0.5), (a_run(2), 0.75)]
    view = outlook(with_active(JOB, 2), active, 2, NOW)
    assert view.expected_end == NOW + round(2.5 * HOUR)
    assert view.progress == (2 * 0.5 + 2 * 0.75) / 10


def test_what_is_printed_and_waits_for_a_verdict_is_progress() -> None:
    job = replace(with_active(JOB, 1), pending_parts=2 + 4, good_parts=1)
    assert outlook(job, [(a_run(1), 0.5)], 1, NOW).progress == (1 + 4 + 2 * 0.5) / 10


def test_only_the_last_run_is_left() -> None:
    job = replace(with_active(JOB, 1), good_parts=8)
    assert outlook(job, [(a_run(1), 0.25)], 0, NOW).expected_end == NOW + round(0.75 * HOUR)


def test_nothing_is_said_without_an_estimate_a_printer_or_leave_to_start() -> None:
    assert outlook(replace(JOB, estimated_seconds=None), [], 3, NOW).expected_end is None
    assert outlook(JOB, [], 0, NOW).expected_end is None
    assert outlook(replace(JOB, held=True), [], 3, NOW).expected_end is None
    done = replace(JOB, state=JobState.COMPLETED, good_parts=10)
    assert outlook(done, [], 3, NOW).expected_end is None
    assert outlook(done, [], 3, NOW).progress == 1.0


def test_at_risk_before_the_due_time_passes_and_after() -> None:
    assert outlook(replace(JOB, due_at=NOW + 4 * HOUR), [], 1, NOW).at_risk
    assert not outlook(replace(JOB, due_at=NOW + 5 * HOUR), [], 1, NOW).at_risk
    assert outlook(replace(JOB, due_at=NOW - 1, estimated_seconds=None), [], 1, NOW).at_risk
    assert not outlook(replace(JOB, due_at=NOW - 1, state=JobState.CANCELLED), [], 1, NOW).at_risk


@given(st.integers(0, 10), st.lists(st.floats(0, 1), max_size=5), st.integers(0, 10))
def test_progress_is_a_fraction_and_the_end_never_in_the_past(good: int, progress: list[float], printers: int) -> None:
    job = replace(with_active(JOB, len(progress)), good_parts=good)
    view = outlook(job, [(a_run(n), each) for n, each in enumerate(progress)], printers, NOW)
    assert 0.0 <= view.progress <= 1.0
    assert view.expected_end is None or view.expected_end >= NOW
