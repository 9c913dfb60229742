"""Jobs, runs, printers and agents over gRPC: what people do with them, and what they see."""

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from printfarm.control.v1 import (
    agent_admin_service_pb2,
    farm_service_pb2,
    job_service_pb2,
    printer_service_pb2,
    run_service_pb2,
)
from printfarm.model.v1 import job_pb2, printer_pb2, run_pb2, telemetry_pb2
from printfarm_coordinator.adapters.sql import rows, tables
from printfarm_coordinator.adapters.sql.writing import SqlWriting
from printfarm_coordinator.app.telemetry import Heater, Sample
from printfarm_coordinator.domain.events import AuditEntry
from printfarm_coordinator.domain.printer import Abilities, Bed, BedState, PrinterState
from printfarm_coordinator.domain.run import Fact, RunState
from printfarm_coordinator.grpc_api.convert import timestamp
from printfarm_coordinator.grpc_api.job_service import MOST_RUNS
from printfarm_rpc.errors import Code
from tests.support.control_plane import HOUR, SECOND, Client, ControlPlane

PRINTED = (Fact.ACCEPTED, Fact.STARTING, Fact.STARTED, Fact.FINISHING, Fact.FINISHED)


async def get(client: Client, job_id: str) -> job_service_pb2.GetJobResponse:
    answer: job_service_pb2.GetJobResponse = await client(
        client.jobs.GetJob, job_service_pb2.GetJobRequest(job_id=job_id)
    )
    return answer


async def assign(client: Client, job_id: str, printer_id: str, key: str = "") -> run_pb2.Run:
    request = job_service_pb2.AssignJobRequest(job_id=job_id, printer_id=printer_id, idempotency_key=key)
    run: run_pb2.Run = (await client(client.jobs.AssignJob, request)).run
    return run


async def test_a_job_from_order_to_sign_off(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store(), quantity=4, parts_per_plate=2, priority=5)
    assert (job.state, job.estimated_run_duration.seconds) == (job_pb2.JOB_STATE_QUEUED, 3_600)
    assert job.expected_end_time.ToMicroseconds() == plane.clock.now + 2 * HOUR
    run = await assign(client, job.job_id, "left")
    await plane.report(run.run_id, Fact.ACCEPTED, Fact.STARTING, Fact.STARTED)
    plane.farm.latest.put(Sample("left", PrinterState.PRINTING, plane.clock.now, run.run_id, 0.5))
    seen = await get(client, job.job_id)
    assert seen.job.state == job_pb2.JOB_STATE_ACTIVE
    assert seen.job.progress == 0.25
    assert [(r.run_id, r.state, r.progress) for r in seen.runs] == [(run.run_id, run_pb2.RUN_STATE_PRINTING, 0.5)]
    assert seen.job.expected_end_time.ToMicroseconds() == plane.clock.now + HOUR * 3 // 2
    await plane.report(run.run_id, Fact.FINISHING, Fact.FINISHED)
    verdict = run_service_pb2.GiveVerdictRequest(run_id=run.run_id, good_parts=1, reason="one warped")
    judged = (await client(client.runs.GiveVerdict, verdict)).run
    assert (judged.verified, judged.verdict.good_parts, judged.verdict.actor) == (True, 1, "operator/olga")
    assert (await client(client.runs.GiveVerdict, verdict)).run == judged
    other_word = run_service_pb2.GiveVerdictRequest(run_id=run.run_id, good_parts=2)
    assert (await client.refused(client.runs.GiveVerdict, other_word)).code is Code.ILLEGAL_STATE
    after = (await get(client, job.job_id)).job
    assert (after.good_parts, after.state) == (1, job_pb2.JOB_STATE_QUEUED)
    for _ in range(2):
        again = await assign(client, job.job_id, "left")
        await plane.report(again.run_id, *PRINTED)
        await client(client.runs.GiveVerdict, run_service_pb2.GiveVerdictRequest(run_id=again.run_id, good_parts=2))
    done = (await get(client, job.job_id)).job
    assert (done.state, done.good_parts, done.progress) == (job_pb2.JOB_STATE_COMPLETED, 5, 1.0)
    assert not done.HasField("expected_end_time")


async def test_one_key_makes_one_job(plane: ControlPlane) -> None:
    client = plane.gateway.acting_for("key/erp", "operator")
    sha256 = await client.store()

    def order(**fields: Any) -> job_service_pb2.CreateJobRequest:
        return job_service_pb2.CreateJobRequest(
            **{"name": "n", "artifact_sha256": sha256, "quantity": 1, "parts_per_plate": 1, "idempotency_key": "k"}
            | fields
        )

    answers = await asyncio.gather(*[client(client.jobs.CreateJob, order()) for _ in range(20)])
    assert len({answer.job.job_id for answer in answers}) == 1
    assert sum(not answer.repeated_request for answer in answers) == 1
    other = await client.refused(client.jobs.CreateJob, order(quantity=2))
    assert other.code is Code.IDEMPOTENCY_MISMATCH
    assert (await client.refused(client.jobs.CreateJob, order(request_digest=b"\1" * 32))).code is (
        Code.IDEMPOTENCY_MISMATCH
    )
    neighbour = plane.gateway.acting_for("key/shop", "operator")
    assert not (await neighbour(neighbour.jobs.CreateJob, order())).repeated_request


NAN = math.nan


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "x" * 256}, "name"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": -1}, "quantity"),
        ({"quantity": 2**31 - 1}, "quantity"),
        ({"parts_per_plate": 0}, "parts_per_plate"),
        ({"priority": 101}, "priority"),
        ({"max_retries": -1}, "max_retries"),
        ({"artifact_sha256": "../../x"}, "artifact_sha256"),
        ({"idempotency_key": "k" * 10_240}, "idempotency_key"),
        ({"request_digest": b"short"}, "request_digest"),
        ({"due_time": {"seconds": -1}}, "due_time"),
        ({"due_time": {"seconds": 2**55}}, "due_time"),
        ({"requirements": {"nozzle_diameter_mm": NAN}}, "requirements.nozzle_diameter_mm"),
        ({"requirements": {"min_build_volume": {"y_mm": NAN}}}, "requirements.min_build_volume.y_mm"),
        ({"requirements": {"min_build_volume": {"x_mm": math.inf}}}, "requirements.min_build_volume.x_mm"),
        ({"requirements": {"tags": ["t"] * 65}}, "requirements"),
        ({"requirements": {"tags": ["a", "b\0"]}}, "requirements.tags[1]"),
    ],
)
async def test_orders_that_cannot_be(plane: ControlPlane, fields: dict[str, Any], field: str) -> None:
    client = plane.operator
    order = {"name": "n", "artifact_sha256": "0" * 64, "quantity": 1, "parts_per_plate": 1} | fields
    error = await client.refused(client.jobs.CreateJob, job_service_pb2.CreateJobRequest(**order))
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, field)
    assert not (await client(client.jobs.ListJobs, job_service_pb2.ListJobsRequest())).jobs


async def test_a_job_needs_its_file(plane: ControlPlane) -> None:
    client = plane.operator
    request = job_service_pb2.CreateJobRequest(name="n", artifact_sha256="0" * 64, quantity=1, parts_per_plate=1)
    assert (await client.refused(client.jobs.CreateJob, request)).code is Code.ARTIFACT_NOT_FOUND


async def test_lists_in_pages_newest_first_and_filtered(plane: ControlPlane) -> None:
    client, shop = plane.operator, plane.gateway.acting_for("key/shop", "operator")
    sha256 = await client.store()
    made = []
    for number in range(7):
        plane.clock.forward(SECOND)
        made.append((await (shop if number % 2 else client).submit(sha256, name=f"Part {number}")).job_id)

    async def listed(**fields: Any) -> list[str]:
        found, token = [], ""
        while True:
            request = job_service_pb2.ListJobsRequest(page_size=2, page_token=token, **fields)
            page = await client(client.jobs.ListJobs, request)
            assert len(page.jobs) <= 2
            found.extend(job.job_id for job in page.jobs)
            if not (token := page.next_page_token):
                return found

    assert await listed() == made[::-1]
    assert await listed(client="key/shop") == made[5::-2]
    assert await listed(name_contains="part 3") == [made[3]]
    assert await listed(name_contains="' OR 1=1--%") == []
    assert await listed(states=[job_pb2.JOB_STATE_COMPLETED]) == []
    await client(client.jobs.CancelJob, job_service_pb2.CancelJobRequest(job_id=made[0]))
    assert await listed(states=[job_pb2.JOB_STATE_CANCELLED]) == [made[0]]


async def test_jobs_that_name_a_thousand_printers_are_listed_and_explained(plane: ControlPlane) -> None:
    client = plane.operator
    for printer_id in ("left", "right"):
        await plane.add_printer(printer_id)
    sha256 = await client.store()
    named = [f"{n:063d}" for n in range(1_000)]
    wanted = {"printer_ids": named, "tags": [f"{n:063d}" for n in range(64)]}
    made = [(await client.submit(sha256, requirements=wanted)).job_id for _ in range(34)]
    found, token = [], ""
    while True:
        request = job_service_pb2.ListJobsRequest(page_size=500, page_token=token)
        page = await client(client.jobs.ListJobs, request)
        found += [job.job_id for job in page.jobs]
        if not (token := page.next_page_token):
            break
        assert 1 <= len(page.jobs) < 34
    assert sorted(found) == sorted(made)
    why = await client(client.jobs.ExplainJob, job_service_pb2.ExplainJobRequest(job_id=made[0]))
    told = {reason.code: reason.explanation for reason in why.reasons}
    assert told["not_named"] == f"the job names {', '.join(named[:5])} and 995 more"
    assert told["tags"].endswith(" and 59 more")


async def test_a_job_of_many_runs_shows_the_newest_and_counts_them_all(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store(), quantity=1_000)
    one = await assign(client, job.job_id, "left")
    async with plane.farm.store.write("test") as tx:
        held = await tx.lock_slice(one.run_id)
        assert held is not None
        assert isinstance(tx, SqlWriting)
        for n in range(MOST_RUNS):
            over = replace(
                held.run,
                run_id=f"r{n:04}",
                epoch=1_000 + n,
                state=RunState.FAILED,
                created_at=plane.clock.now + n + 1,
                ended_at=1,
                # As long as a word of people may be, and longer.
                reason="\U0001f9f5" * (1_200 if n < 450 else 0),
            )
            await tx._insert(tables.run, rows.run_row(over))
    seen = await get(client, job.job_id)
    assert seen.run_count == MOST_RUNS + 1
    assert 50 < len(seen.runs) < MOST_RUNS
    assert [run.run_id for run in seen.runs] == [f"r{n:04}" for n in range(MOST_RUNS)][-len(seen.runs) :]
    listed = await paged(client, client.runs.ListRuns, run_service_pb2.ListRunsRequest(page_size=500), "runs")
    assert [run.run_id for run in listed] == [f"r{n:04}" for n in reversed(range(MOST_RUNS))] + [one.run_id]


async def paged(client: Client, method: Any, request: Any, name: str) -> list[Any]:
    """All of a list that does not fit into one answer."""
    found: list[Any] = []
    while True:
        page = await client(method, request)
        found += getattr(page, name)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            assert len(getattr(page, name)) < len(found), "it took several pages"
            return found


async def test_records_and_printers_with_long_words_are_listed_in_pages(plane: ControlPlane) -> None:
    client, long = plane.operator, "\U0001f9f5" * 500
    printer = await plane.add_printer("p", held=True, hold_actor="eva", hold_reason=long, locked=True, lock_reason=long)
    async with plane.farm.store.write("test") as tx:
        await tx.append_audit([AuditEntry("job.override", "job", "j", "ana", 4 * long, n) for n in range(400)])
        for n in range(600):
            await tx.add_printer(replace(printer, printer_id=f"p{n:03}"))
    audit = farm_service_pb2.ListAuditEntriesRequest(page_size=500, subject_id="j")
    assert len(await paged(client, client.farm.ListAuditEntries, audit, "entries")) == 400
    printers = printer_service_pb2.ListPrintersRequest(page_size=500)
    listed = await paged(client, client.printers.ListPrinters, printers, "printers")
    assert [each.printer_id for each in listed] == ["p", *(f"p{n:03}" for n in range(600))]


@pytest.mark.parametrize("states", [[0], [99], [1, -1]])
async def test_states_that_nobody_knows(plane: ControlPlane, states: list[int]) -> None:
    client = plane.operator
    jobs = job_service_pb2.ListJobsRequest(states=states)  # type: ignore[arg-type]
    runs = run_service_pb2.ListRunsRequest(states=states)  # type: ignore[arg-type]
    printers = printer_service_pb2.ListPrintersRequest(states=states)  # type: ignore[arg-type]
    for method, request in (
        (client.jobs.ListJobs, jobs),
        (client.runs.ListRuns, runs),
        (client.printers.ListPrinters, printers),
    ):
        error = await client.refused(method, request)
        assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "states")


async def test_a_page_token_of_elsewhere(plane: ControlPlane) -> None:
    client = plane.operator
    sha256 = await client.store()
    for _ in range(2):
        await client.submit(sha256)
    page = await client(client.jobs.ListJobs, job_service_pb2.ListJobsRequest(page_size=1))
    for token in (page.next_page_token, "forged", "\u00e4"):
        error = await client.refused(client.runs.ListRuns, run_service_pb2.ListRunsRequest(page_token=token))
        assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "page_token")


async def test_changes_lose_against_newer_ones(plane: ControlPlane) -> None:
    client = plane.operator
    job = await client.submit(await client.store(), due_time=timestamp(plane.clock.now + HOUR // 2))
    assert job.version == 1
    update = job_service_pb2.UpdateJobRequest(job_id=job.job_id, version=1, priority=7, quantity=3)
    changed = (await client(client.jobs.UpdateJob, update)).job
    assert (changed.priority, changed.quantity, changed.version) == (7, 3, 2)
    assert changed.due_time == job.due_time
    assert (await client.refused(client.jobs.UpdateJob, update)).code is Code.VERSION_CONFLICT
    cleared = job_service_pb2.UpdateJobRequest(job_id=job.job_id, clear_due_time=True)
    assert not (await client(client.jobs.UpdateJob, cleared)).job.HasField("due_time")
    for field, value in (("quantity", 0), ("priority", 101), ("max_retries", -1), ("name", "")):
        bad = job_service_pb2.UpdateJobRequest(job_id=job.job_id, **{field: value})  # type: ignore[arg-type]
        assert (await client.refused(client.jobs.UpdateJob, bad)).fields[0].field == field


async def test_at_risk_is_said_before_the_due_time(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    sha256 = await client.store()
    late = await client.submit(sha256, quantity=2, due_time=timestamp(plane.clock.now + HOUR * 3 // 2))
    fine = await client.submit(sha256, quantity=1, due_time=timestamp(plane.clock.now + HOUR * 3 // 2))
    assert (late.at_risk, fine.at_risk) == (True, False)
    figures = await client(client.farm.GetStats, farm_service_pb2.GetStatsRequest())
    assert (figures.jobs_at_risk, figures.jobs_overdue, figures.parts_owed) == (1, 0, 3)


async def test_cancelled_a_hundred_times_at_once_it_is_cancelled_once(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store())
    run = await assign(client, job.job_id, "left")
    await plane.report(run.run_id, Fact.ACCEPTED)
    request = job_service_pb2.CancelJobRequest(job_id=job.job_id, reason="no longer wanted")
    answers = await asyncio.gather(*[client(client.jobs.CancelJob, request) for _ in range(100)])
    assert {answer.job.state for answer in answers} == {job_pb2.JOB_STATE_CANCELLED}
    audit = await client(client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest(subject_id=run.run_id))
    assert [entry.action for entry in audit.entries] == ["run.cancel"]


async def test_a_cancel_of_a_printing_run_is_a_wish_until_it_is_proven(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store())
    run = await assign(client, job.job_id, "left")
    await plane.report(run.run_id, Fact.ACCEPTED, Fact.STARTING, Fact.STARTED)
    wanted = (await client(client.runs.CancelRun, run_service_pb2.CancelRunRequest(run_id=run.run_id))).run
    assert (wanted.state, wanted.cancel_requested) == (run_pb2.RUN_STATE_PRINTING, True)
    await plane.report(run.run_id, Fact.CANCELLED)
    proven = (await client(client.runs.GetRun, run_service_pb2.GetRunRequest(run_id=run.run_id))).run
    assert proven.state == run_pb2.RUN_STATE_CANCELLED


async def test_pause_and_resume(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    await plane.add_printer("right", agent_id="other", abilities=Abilities())
    job = await client.submit(await client.store(), quantity=2)
    pausing, stubborn = await assign(client, job.job_id, "left"), await assign(client, job.job_id, "right")
    pause = run_service_pb2.PauseRunRequest(run_id=pausing.run_id, reason="look at it")
    assert (await client.refused(client.runs.PauseRun, pause)).code is Code.ILLEGAL_STATE
    for run in (pausing, stubborn):
        await plane.report(run.run_id, Fact.ACCEPTED, Fact.STARTING, Fact.STARTED)
    assert (await client(client.runs.PauseRun, pause)).run.pause_requested
    assert (await client(client.runs.PauseRun, pause)).run.pause_requested
    resume = run_service_pb2.ResumeRunRequest(run_id=pausing.run_id)
    assert not (await client(client.runs.ResumeRun, resume)).run.pause_requested
    other = run_service_pb2.PauseRunRequest(run_id=stubborn.run_id)
    assert (await client.refused(client.runs.PauseRun, other)).code is Code.CAPABILITY_MISSING


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (run_service_pb2.RESOLUTION_FINISHED, run_pb2.RUN_STATE_FINISHED),
        (run_service_pb2.RESOLUTION_FAILED, run_pb2.RUN_STATE_FAILED),
        (run_service_pb2.RESOLUTION_NEVER_STARTED, run_pb2.RUN_STATE_FENCED),
    ],
)
async def test_a_person_resolves_what_no_machine_knows(plane: ControlPlane, outcome: Any, state: Any) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store())
    run = await assign(client, job.job_id, "left")
    request = run_service_pb2.ResolveRunRequest(run_id=run.run_id, outcome=outcome, reason="I looked")
    assert (await client.refused(client.runs.ResolveRun, request)).code is Code.ILLEGAL_STATE
    await plane.report(run.run_id, Fact.ACCEPTED, Fact.STARTING, Fact.START_UNKNOWN)
    for _ in range(2):
        assert (await client(client.runs.ResolveRun, request)).run.state == state
    audit = await client(client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest(subject_id=run.run_id))
    assert [entry.reason for entry in audit.entries if entry.action.startswith("run.resolve.")] == ["I looked"]


@pytest.mark.parametrize("outcome", [0, 9])
async def test_an_outcome_that_nobody_knows(plane: ControlPlane, outcome: int) -> None:
    client = plane.operator
    request = run_service_pb2.ResolveRunRequest(run_id="r", outcome=outcome)  # type: ignore[arg-type]
    error = await client.refused(client.runs.ResolveRun, request)
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, "outcome")


async def test_assigning_says_why_not_and_keeps_its_key(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left", bed=Bed(BedState.OCCUPIED))
    await plane.add_printer("right", agent_id="other")
    job = await client.submit(await client.store(), quantity=5)
    request = job_service_pb2.AssignJobRequest(job_id=job.job_id, printer_id="left")
    error = await client.refused(client.jobs.AssignJob, request)
    assert (error.code, error.facts["codes"]) == (Code.PRINTER_NOT_ELIGIBLE, "bed_not_clear")
    runs = await asyncio.gather(*[assign(client, job.job_id, "right", "key-1") for _ in range(5)])
    assert len({run.run_id for run in runs}) == 1
    elsewhere = job_service_pb2.AssignJobRequest(job_id=job.job_id, printer_id="left", idempotency_key="key-1")
    assert (await client.refused(client.jobs.AssignJob, elsewhere)).code is Code.IDEMPOTENCY_MISMATCH


async def test_a_waiting_job_says_why_per_printer(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left", bed=Bed(BedState.UNKNOWN))
    await plane.add_printer("right", agent_id="other", held=True, hold_actor="eva", hold_reason="new belt")
    job = await client.submit(await client.store())
    why = await client(client.jobs.ExplainJob, job_service_pb2.ExplainJobRequest(job_id=job.job_id))
    assert {(reason.printer_id, reason.code) for reason in why.reasons} == {
        ("left", "bed_not_clear"),
        ("right", "held"),
    }
    assert "new belt" in next(reason.explanation for reason in why.reasons if reason.printer_id == "right")
    assert "2 printers" in why.summary
    await client(client.printers.ReleasePrinter, printer_service_pb2.ReleasePrinterRequest(printer_id="right"))
    why = await client(client.jobs.ExplainJob, job_service_pb2.ExplainJobRequest(job_id=job.job_id))
    assert list(why.eligible_printer_ids) == ["right"]


async def test_hold_and_release_of_a_job(plane: ControlPlane) -> None:
    client = plane.operator
    job = await client.submit(await client.store())
    hold = job_service_pb2.HoldJobRequest(job_id=job.job_id, reason="wait for the colour")
    held = (await client(client.jobs.HoldJob, hold)).job
    assert (held.held, held.hold_reason) == (True, "wait for the colour")
    assert not held.HasField("expected_end_time")
    release = job_service_pb2.ReleaseJobRequest(job_id=job.job_id)
    assert not (await client(client.jobs.ReleaseJob, release)).job.held


async def test_a_printer_and_its_newest_reading(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    reading = Sample(
        "left", PrinterState.PRINTING, plane.clock.now - 2 * SECOND, "r1", 0.25, 3, 10, 60.0, 180.0,
        (Heater("bed", 59.5, 60.0),), (1.0, 2.0, 3.0), "fine",
    )  # fmt: skip
    plane.farm.latest.put(reading)
    request = printer_service_pb2.GetPrinterRequest(printer_id="left")
    found = (await client(client.printers.GetPrinter, request)).printer
    assert (found.agent_reachable, found.bed.state) == (True, printer_pb2.BED_STATE_CLEAR)
    latest = found.latest
    assert (latest.state, latest.progress, latest.layer) == (telemetry_pb2.PRINTER_STATE_PRINTING, 0.25, 3)
    assert (latest.age.seconds, latest.elapsed.seconds, latest.heaters[0].name) == (2, 60, "bed")
    assert latest.position.z_mm == 3.0


async def test_an_operators_word_on_a_printer(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    update = printer_service_pb2.UpdatePrinterRequest(
        printer_id="left", version=1, name="Left one", material="PETG", tags=["fast"], set_tags=True
    )
    changed = (await client(client.printers.UpdatePrinter, update)).printer
    assert (changed.name, changed.abilities.material, list(changed.abilities.tags)) == ("Left one", "PETG", ["fast"])
    assert (await client.refused(client.printers.UpdatePrinter, update)).code is Code.VERSION_CONFLICT
    for fields, field in (
        ({"nozzle_diameter_mm": NAN}, "nozzle_diameter_mm"),
        ({"build_volume": {"x_mm": 1, "y_mm": 1, "z_mm": NAN}}, "build_volume"),
        ({"material": ""}, "material"),
        ({"tags": [""], "set_tags": True}, "tags"),
    ):
        bad = printer_service_pb2.UpdatePrinterRequest(printer_id="left", **fields)  # type: ignore[arg-type]
        assert (await client.refused(client.printers.UpdatePrinter, bad)).fields[0].field == field


async def test_gates_beds_and_the_emergency_stop(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store())
    run = await assign(client, job.job_id, "left")
    await plane.report(run.run_id, *PRINTED)
    clear = printer_service_pb2.ClearBedRequest(printer_id="left", good_parts=1, reason="taken off")
    cleared = (await client(client.printers.ClearBed, clear)).printer
    assert (cleared.bed.state, cleared.bed.actor) == (printer_pb2.BED_STATE_CLEAR, "operator/olga")
    assert (await get(client, job.job_id)).job.state == job_pb2.JOB_STATE_COMPLETED
    hold = printer_service_pb2.HoldPrinterRequest(printer_id="left", reason="new belt")
    assert (await client(client.printers.HoldPrinter, hold)).printer.gates.hold_reason == "new belt"
    stop = printer_service_pb2.EmergencyStopRequest(printer_id="left", reason="smoke")
    assert (await client(client.printers.EmergencyStop, stop)).printer.gates.emergency_stopped
    release = printer_service_pb2.ReleasePrinterRequest(printer_id="left")
    assert (await client.refused(client.printers.ReleasePrinter, release)).code is Code.ILLEGAL_STATE
    audit = await client(client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest(subject_id="left"))
    assert [entry.action for entry in audit.entries][:1] == ["printer.emergency_stop_requested"]


async def test_agents(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    listed = await client(client.agents.ListAgents, agent_admin_service_pb2.ListAgentsRequest())
    assert [(agent.agent_id, list(agent.printer_ids)) for agent in listed.agents] == [("host", ["left"])]
    drain = agent_admin_service_pb2.DrainAgentRequest(agent_id="host", drain=True, reason="new kernel")
    assert (await client(client.agents.DrainAgent, drain)).agent.draining
    revoke = agent_admin_service_pb2.RevokeAgentRequest(agent_id="host", reason="stolen")
    assert (await client(client.agents.RevokeAgent, revoke)).agent.revoked
    token = await client(
        client.agents.CreateEnrollmentToken,
        agent_admin_service_pb2.CreateEnrollmentTokenRequest(agent_id="new-host"),
    )
    assert len(token.token) == 64
    assert token.ca_sha256 == plane.authority.fingerprint
    assert token.expire_time.ToMicroseconds() == plane.clock.now + 600 * SECOND
    for fields, field in (
        ({"agent_id": "Bad Name"}, "agent_id"),
        ({"agent_id": "x", "lifetime": {"seconds": 601}}, "lifetime"),
        ({"agent_id": "x", "lifetime": {"seconds": -1}}, "lifetime"),
    ):
        bad = agent_admin_service_pb2.CreateEnrollmentTokenRequest(**fields)  # type: ignore[arg-type]
        assert (await client.refused(client.agents.CreateEnrollmentToken, bad)).fields[0].field == field


async def test_utilisation_counts_overlap_in_known_time(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    began = plane.clock.now
    job = await client.submit(await client.store(), quantity=2)
    plane.clock.forward(HOUR)
    run = await assign(client, job.job_id, "left")
    await plane.report(run.run_id, Fact.ACCEPTED, Fact.STARTING, Fact.STARTED)
    plane.clock.forward(2 * HOUR)
    await plane.report(run.run_id, Fact.FINISHING, Fact.FINISHED)
    plane.clock.forward(HOUR)

    async def used(start: int, end: int) -> farm_service_pb2.GetUtilizationResponse:
        request = farm_service_pb2.GetUtilizationRequest(start_time=timestamp(start), end_time=timestamp(end))
        answer: farm_service_pb2.GetUtilizationResponse = await client(client.farm.GetUtilization, request)
        return answer

    whole = await used(began - 10 * HOUR, began + 100 * HOUR)
    [left] = whole.printers
    assert (left.printing.seconds, left.known.seconds, left.utilization) == (2 * 3600, 4 * 3600, 0.5)
    assert (left.runs_started, left.runs_finished, left.runs_failed, whole.utilization) == (1, 1, 0, 0.5)
    assert (await used(began + 2 * HOUR, began + 4 * HOUR)).utilization == 0.5
    assert (await used(began + 3 * HOUR, began + 4 * HOUR)).utilization == 0.0
    for start, end in ((began, began), (began + HOUR, began), (began - 401 * 24 * HOUR, began)):
        request = farm_service_pb2.GetUtilizationRequest(start_time=timestamp(start), end_time=timestamp(end))
        assert (await client.refused(client.farm.GetUtilization, request)).fields[0].field == "end_time"


async def test_figures(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    await plane.add_printer("right", agent_id="other", held=True, bed=Bed(BedState.OCCUPIED))
    sha256 = await client.store()
    await client.submit(sha256, quantity=3)
    due = await client.submit(sha256, due_time=timestamp(plane.clock.now + HOUR))
    run = await assign(client, due.job_id, "left")
    await plane.report(run.run_id, *PRINTED)
    plane.clock.forward(2 * HOUR)
    figures = await client(client.farm.GetStats, farm_service_pb2.GetStatsRequest())
    assert dict(figures.jobs_by_state) == {"queued": 1, "active": 1}
    assert dict(figures.runs_by_state) == {"finished": 1}
    assert (figures.printers_held, figures.printers_waiting_for_bed_clear) == (1, 2)
    assert (figures.runs_waiting_for_verdict, figures.parts_owed, figures.jobs_overdue) == (1, 3, 1)
    assert (figures.oldest_waiting.seconds, figures.estimated_backlog.seconds) == (7_200, 3 * 3_600)
    assert figures.agents_connected == 2


async def test_what_is_not_there(plane: ControlPlane) -> None:
    client = plane.operator
    for method, request in (
        (client.jobs.GetJob, job_service_pb2.GetJobRequest(job_id="x" * 10_000)),
        (client.jobs.CancelJob, job_service_pb2.CancelJobRequest(job_id="none")),
        (client.jobs.ExplainJob, job_service_pb2.ExplainJobRequest(job_id="' OR 1=1--")),
        (client.runs.GetRun, run_service_pb2.GetRunRequest(run_id="none")),
        (client.runs.GiveVerdict, run_service_pb2.GiveVerdictRequest(run_id="none")),
        (client.printers.GetPrinter, printer_service_pb2.GetPrinterRequest(printer_id="none")),
        (client.printers.ClearBed, printer_service_pb2.ClearBedRequest(printer_id="none")),
        (client.agents.GetAgent, agent_admin_service_pb2.GetAgentRequest(agent_id="none")),
        (client.agents.RevokeAgent, agent_admin_service_pb2.RevokeAgentRequest(agent_id="none")),
    ):
        assert (await client.refused(method, request)).code is Code.NOT_FOUND


async def test_ids_with_nul_are_refused_with_their_field(plane: ControlPlane) -> None:
    client = plane.operator
    for method, request, field in (
        (client.jobs.GetJob, job_service_pb2.GetJobRequest(job_id="a\0"), "job_id"),
        (client.jobs.ListJobs, job_service_pb2.ListJobsRequest(name_contains="\0"), "name_contains"),
        (client.runs.CancelRun, run_service_pb2.CancelRunRequest(run_id="r", reason="\0"), "reason"),
        (client.printers.GetPrinter, printer_service_pb2.GetPrinterRequest(printer_id="\0"), "printer_id"),
        (client.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest(subject_id="\0"), "subject_id"),
    ):
        error = await client.refused(method, request)
        assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, field)


async def test_an_unreachable_agents_printers_do_not_count_for_the_end(plane: ControlPlane) -> None:
    client = plane.operator
    await plane.add_printer("left")
    job = await client.submit(await client.store())
    assert job.HasField("expected_end_time")
    async with plane.farm.store.write("test") as tx:
        agent = await tx.lock_agent("host")
        assert agent is not None
        await tx.put_agent(replace(agent, reachable=False))
    assert not (await get(client, job.job_id)).job.HasField("expected_end_time")
