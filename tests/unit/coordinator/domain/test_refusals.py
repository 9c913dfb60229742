"""A file that an agent refused for a printer goes elsewhere, and stands in nobody's way."""

from dataclasses import replace

from printfarm_coordinator.domain.assignment import Candidate, choose, obstacles
from printfarm_coordinator.domain.job import Job, JobState, Requirements
from printfarm_coordinator.domain.preparing import Workshop
from printfarm_coordinator.domain.printer import Bed, BedState, Printer
from printfarm_coordinator.domain.setup import Catalogue
from tests.support.stores import SHA, a_job, a_printer

NOW = 10
REFUSED = {(SHA, "p1"): "line 3: M104 asks 400 C"}


def job(job_id: str, sha256: str = SHA, **changes: object) -> Job:
    plain = {"requirements": Requirements(), "state": JobState.QUEUED, "quantity": 1, "parts_per_plate": 1}
    return a_job(job_id, artifact_sha256=sha256, **plain | changes)


def candidate(printer_id: str) -> Candidate:
    printer: Printer = a_printer(printer_id, bed=Bed(BedState.CLEAR, f"token-{printer_id}"))
    return Candidate(printer, agent_reachable=True, agent_draining=False)


def workshop() -> Workshop:
    return Workshop(Catalogue(()), {}, {}, REFUSED)


def test_the_file_goes_to_another_printer_and_the_printer_to_another_file() -> None:
    bad, good = job("bad", priority=50), job("good", "b" * 64)
    p1, p2 = candidate("p1"), candidate("p2")
    fit = workshop().file_for
    assert choose([bad, good], [p1], NOW, fit, {SHA}) == [("good", "p1")]
    assert set(choose([bad, good], [p1, p2], NOW, fit, {SHA})) == {("bad", "p2"), ("good", "p1")}
    # Another job of the same file fares no better.
    assert choose([replace(bad, job_id="again")], [p1], NOW, fit, {SHA}) == []


def test_who_asks_why_it_waits_is_told_the_line() -> None:
    [why] = obstacles(job("bad"), candidate("p1"), NOW, workshop().file_for)
    assert why.code == "file_refused"
    assert "line 3: M104 asks 400 C" in why.explanation
    assert obstacles(job("bad"), candidate("p2"), NOW, workshop().file_for) == []
