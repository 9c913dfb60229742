"""Klipper away: only an absence without a break proves that it is gone."""

from printfarm_agent.drivers.moonraker.absence import LONGEST_GAP_SECONDS, PROOF_SECONDS, Absence


def asked(absence: Absence, start: float, end: float) -> list[bool]:
    """What it says to questions two seconds apart."""
    times = [start + 2.0 * step for step in range(int((end - start) / 2.0) + 1)]
    return [absence.lasts(now) for now in times]


def test_it_is_proven_by_time_alone() -> None:
    absence = Absence()
    said = asked(absence, 100.0, 100.0 + PROOF_SECONDS + 2.0)
    assert said[-1] and said.count(True) == 1


def test_klipper_that_was_seen_begins_it_anew() -> None:
    absence = Absence()
    asked(absence, 0.0, PROOF_SECONDS - 1.0)
    absence.ends()
    assert not absence.lasts(PROOF_SECONDS + 1.0)


def test_a_time_that_nobody_asked_in_proves_nothing() -> None:
    absence = Absence()
    assert asked(absence, 0.0, 2 * PROOF_SECONDS)[-1]
    assert not absence.lasts(2 * PROOF_SECONDS + LONGEST_GAP_SECONDS + 2.0)
