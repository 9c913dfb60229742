"""The ``Store`` port: lists and pages, the order of events, the audit's chain, what is forgotten."""

import asyncio
from dataclasses import asdict, replace
from typing import Any

import pytest

from printfarm_coordinator.adapters.sql.writing import audit_hash
from printfarm_coordinator.app.file_ports import Artifact, FileFilter
from printfarm_coordinator.app.ports import (
    ApiKey,
    EnrollmentToken,
    JobFilter,
    Remembered,
    Role,
    RunFilter,
    Store,
    StoredEvent,
    Upload,
    User,
)
from printfarm_coordinator.domain.events import AuditEntry, DomainEvent
from printfarm_coordinator.domain.job import JobBacklog, JobState, job_backlog, parts_owed
from printfarm_coordinator.domain.run import RunState, Verdict
from tests.support.stores import SECOND, SHA, a_job, a_printer, a_run, forward, furnish, offer, undone


async def test_positions_have_no_gap_and_keep_each_subjects_order(store: Store) -> None:
    async def say(subject: str, what: str) -> None:
        async with store.write("say") as tx:
            await tx.append_events([DomainEvent(f"job.{what}", subject, "coordinator", {"n": 1})])

    for number in range(3):
        await asyncio.gather(*[say(subject, f"e{number}") for subject in ("j1", "j2", "j3")])
    placed = []
    while len(placed) < 9:
        async with store.write("position") as tx:
            placed += await tx.position_events(4)
    async with store.write("position") as tx:
        assert await tx.position_events(4) == []
        assert await tx.last_position() == 9
    async with store.read() as look:
        events = await look.events(0, 100)
        assert [event.position for event in await look.events(4, 3)] == [5, 6, 7]
    assert events == placed
    assert [event.position for event in events] == list(range(1, 10))
    for subject in ("j1", "j2", "j3"):
        mine = [event for event in events if event.event.subject_id == subject]
        assert [(event.event.type, event.subject_sequence) for event in mine] == [
            ("job.e0", 1),
            ("job.e1", 2),
            ("job.e2", 3),
        ]


async def test_events_come_back_as_they_were_told(store: Store) -> None:
    data = {"text": "Düse \u2603", "none": None, "yes": True, "whole": 1 << 53, "part": 0.1}
    told = [
        DomainEvent("job.a", "x", "user/ana", data),
        DomainEvent("run.a", "x", "a1"),
        DomainEvent("job.b", "x", "a1"),
    ]
    async with store.write("tell") as tx:
        await tx.append_events(told)
        at = tx.now
    async with store.write("position") as tx:
        placed = await tx.position_events(9)
    assert [event.event for event in placed] == told
    # A job and a run of the same name are two subjects.
    assert [(event.subject_sequence, event.created_at) for event in placed] == [(1, at), (1, at), (2, at)]
    async with store.read() as look:
        assert await look.events(0, 9) == placed
        assert await look.events(3, 9) == []


async def test_an_undone_event_leaves_no_gap(store: Store) -> None:
    async with undone(store) as tx:
        await tx.append_events([DomainEvent("job.a", "j1", "x")])
    async with store.write("done") as tx:
        await tx.append_events([DomainEvent("job.b", "j1", "x")])
    async with store.write("position") as tx:
        placed = await tx.position_events(10)
    assert [(event.position, event.event.type, event.subject_sequence) for event in placed] == [(1, "job.b", 1)]


async def test_old_events_are_forgotten_and_numbers_go_on(store: Store) -> None:
    async with store.write("say") as tx:
        await tx.append_events([DomainEvent("job.a", f"j{n % 3}", "x") for n in range(9)])
        then = tx.now
    await _position(store)
    forward(store, 10)
    async with store.write("say") as tx:
        await tx.append_events([DomainEvent("job.b", "j0", "x")])
        assert await tx.forget_events(then, None, 100) == 0
        assert await tx.forget_events(then + 1, 4, 100) == 4
        assert await tx.forgotten_position() == 4
        assert await tx.forget_events(then + 1, None, 3) == 3
        assert await tx.forget_events(then + 1, None, 100) == 2
        assert await tx.forget_events(then + 1, None, 100) == 0
        assert await tx.forgotten_position() == 9
    placed = await _position(store)
    assert [(event.position, event.subject_sequence) for event in placed] == [(10, 4)]
    async with store.read() as look:
        assert [event.position for event in await look.events(9, 100)] == [10]
        # The last of each subject is all that is left.
        assert [event.event.subject_id for event in await look.events(0, 100)] == ["j1", "j2", "j0"]


async def test_the_farms_last_event_is_never_forgotten(store: Store) -> None:
    """Positions count on from it."""
    async with store.write("say") as tx:
        await tx.append_events([DomainEvent("job.a", "j1", "x"), DomainEvent("job.b", "j1", "x")])
        then = tx.now
        await tx.position_events(1)
        # The second follows the first, and has no place yet.
        assert await tx.forget_events(then + 1, None, 100) == 1
    placed = await _position(store)
    assert [event.position for event in placed] == [2]


async def _position(store: Store) -> list[StoredEvent]:
    async with store.write("position") as tx:
        return await tx.position_events(100)


async def test_the_audit_is_a_chain(store: Store) -> None:
    for number in range(3):
        async with store.write("audit", f"request-{number}") as tx:
            entry = AuditEntry("cancel", "job", f"j{number % 2}", "user/ana", f"reason {number}", number)
            await tx.append_audit([entry])
    async with store.read() as look:
        rows = await look.audit(10, None, "")
        assert [row.sequence for row in await look.audit(10, 3, "")] == [2, 1]
        assert [row.sequence for row in await look.audit(1, None, "j0")] == [3]
    assert [(row.sequence, row.entry.reason, row.request_id) for row in rows] == [
        (3, "reason 2", "request-2"),
        (2, "reason 1", "request-1"),
        (1, "reason 0", "request-0"),
    ]
    chain = ""
    for row in reversed(rows):
        values = asdict(row.entry) | {
            "sequence": row.sequence,
            "created_at": row.created_at,
            "request_id": row.request_id,
        }
        chain = audit_hash(chain, values)
        assert row.hash == chain
    assert audit_hash("", {"a": 1}) != audit_hash("", {"a": 2}) != audit_hash("x", {"a": 2})


async def test_jobs_are_listed_newest_first_in_pages_by_filter(store: Store) -> None:
    await furnish(store)
    async with store.write("more") as tx:
        for number in range(2, 8):
            state = JobState.CANCELLED if number % 2 else JobState.QUEUED
            ended = 5 if number % 2 else None
            client = "key/k2" if number > 5 else "key/k1"
            # Two of the same microsecond: the id decides.
            job = a_job(
                f"j{number}", created_at=1_000 * SECOND + number // 2, state=state, ended_at=ended, client=client
            )
            await tx.add_jobs([replace(job, name=f"Part_{number}%")])
    async with store.read() as look:
        every = await _pages(look, JobFilter(limit=3))
        assert every == ["j7", "j6", "j5", "j4", "j3", "j2", "j1"]
        assert await _pages(look, JobFilter(limit=2, states=(JobState.CANCELLED,))) == ["j7", "j5", "j3"]
        assert await _pages(look, JobFilter(limit=2, client="key/k2")) == ["j7", "j6"]
        assert await _pages(look, JobFilter(limit=9, name_contains="part_")) == ["j7", "j6", "j5", "j4", "j3", "j2"]
        assert await _pages(look, JobFilter(limit=9, name_contains="4%")) == ["j4"]
        assert {job.job_id for job in await look.open_jobs()} == {"j1", "j2", "j4", "j6"}
        assert (await look.count_by_state())["job"] == {"queued": 4, "cancelled": 3}


async def test_the_most_urgent_waiting_jobs_of_each_kind(store: Store) -> None:
    picky = replace(a_job().requirements, material="PETG")
    await furnish(store)
    async with store.write("jobs") as tx:
        for name, changes in {
            "late": {"priority": 9, "due_at": None},
            "soon": {"priority": 9, "due_at": 7},
            "old": {"priority": 9, "due_at": 7, "created_at": 1},
            "picky": {"priority": -9, "requirements": picky},
            "held": {"priority": 99, "held": True},
            "cancelled": {"priority": 99, "cancel_requested": True},
            "over": {"priority": 99, "state": JobState.FAILED, "ended_at": 5},
            "exhausted": {"priority": 99, "failed_runs": 4},
            "done": {"priority": 99, "good_parts": 1, "pending_parts": 3},
        }.items():
            await tx.add_jobs([a_job(name, **changes)])
    async with store.read() as look:
        assert await look.is_any_job_waiting()
        assert {job.job_id for job in await look.waiting_jobs(2)} == {"old", "soon", "picky"}
        assert {job.job_id for job in await look.waiting_jobs(9)} == {"old", "soon", "late", "j1", "picky"}


@pytest.mark.parametrize(
    "changes",
    [
        {"held": True},
        {"cancel_requested": True},
        {"prepared": False},
        {"failed_runs": 4},
        {"good_parts": 1, "pending_parts": 3},
        {"state": JobState.FAILED, "ended_at": 5},
    ],
)
async def test_a_job_that_owes_nothing_now_does_not_wait(store: Store, changes: dict[str, Any]) -> None:
    await furnish(store)
    async with store.write("only") as tx:
        job = await tx.lock_job("j1")
        assert job is not None and await tx.is_any_job_waiting()
        await tx.save_job(job, replace(job, **changes))
    async with store.read() as look:
        assert not await look.is_any_job_waiting()
        assert await look.waiting_jobs(9) == []


async def test_the_backlog_is_what_the_open_jobs_owe(store: Store) -> None:
    """As the rules count it over all of them, whatever the database counts it by."""
    async with store.read() as look:
        assert await look.job_backlog() == JobBacklog()
    await furnish(store)
    async with store.write("jobs") as tx:
        for name, changes in {
            "older": {"created_at": 5, "quantity": 7, "parts_per_plate": 3, "good_parts": 2, "pending_parts": 1},
            "unknown": {"estimated_seconds": None, "created_at": 7},
            "late": {"due_at": 7, "active_runs": 1, "pending_parts": 4},
            "not yet": {"due_at": 2**52},
            "held": {"held": True, "created_at": 1},
            "cancelled": {"cancel_requested": True, "created_at": 1},
            "exhausted": {"failed_runs": 4, "created_at": 1},
            "too many": {"good_parts": 9, "created_at": 1},
            "over": {"state": JobState.FAILED, "ended_at": 5, "due_at": 7, "created_at": 1},
        }.items():
            await tx.add_jobs([a_job(name, **{"due_at": None, **changes})])
    async with store.read() as look:
        found, jobs = await look.job_backlog(), await look.open_jobs()
        assert found == job_backlog(jobs, look.now)
    overdue = sum(job.due_at is not None and job.due_at < look.now for job in jobs)
    assert (found.idle_jobs, found.overdue, found.waiting_since) == (8, overdue, 5)
    owed = {job.job_id: parts_owed(job) for job in jobs}
    assert (owed["older"], owed["held"], found.parts_owed) == (4, 0, sum(owed.values()))


async def test_jobs_of_a_file_that_was_refused_are_a_kind_of_their_own(store: Store) -> None:
    """However many there are of them, they hide no other job."""
    await furnish(store)
    other = "b" * 64
    async with store.write("jobs") as tx:
        await tx.put_artifact(Artifact(other, 1, "gcode", "other", 1))
        for number in range(3):
            await tx.add_jobs([a_job(f"bad{number}", priority=50)])
        await tx.add_jobs([a_job("good", artifact_sha256=other)])
    async with store.read() as look:
        assert "good" not in {job.job_id for job in await look.waiting_jobs(2)}
        assert "good" in {job.job_id for job in await look.waiting_jobs(2, {SHA})}


async def test_refused_files_are_remembered_with_their_printer(store: Store) -> None:
    await furnish(store)
    held = await offer(store, a_run("r1"))
    async with store.write("refused") as tx:
        before = await tx.lock_slice(held.run.run_id)
        assert before is not None
        over = replace(before.run, state=RunState.FENCED, reason_code="limits", reason="line 3: too hot", ended_at=50)
        await tx.save_slice(before, replace(before, run=over))
    async with store.read() as look:
        file = before.run.artifact_sha256 or before.job.artifact_sha256
        assert await look.refused_files(49) == {(file, "p1"): "line 3: too hot"}
        assert await look.refused_files(50) == {}


async def _pages(look: Any, wanted: JobFilter) -> list[str]:
    found: list[str] = []
    while page := await look.jobs(wanted):
        found += [job.job_id for job in page]
        wanted = replace(wanted, after=(page[-1].created_at, page[-1].job_id))
    return found


async def test_runs_are_listed_by_filter_and_by_time(store: Store) -> None:
    await furnish(store, a_printer("p1"), a_printer("p2"))
    verdict = Verdict(2, "good", "user/ana", 50)
    ended = a_run("r1", state=RunState.FINISHED, started_at=10, ended_at=40, verified=True, verdict=verdict)
    await offer(store, ended)
    await offer(store, a_run("r2", epoch=2, state=RunState.FINISHED, started_at=45, ended_at=60, created_at=20))
    await offer(store, a_run("r3", epoch=3, state=RunState.PRINTING, started_at=70, created_at=30))
    await offer(store, a_run("r4", printer_id="p2", created_at=40))
    async with store.read() as look:
        assert await look.run("r1") == ended
        assert [run.run_id for run in await look.runs(RunFilter(limit=2))] == ["r4", "r3"]
        assert [run.run_id for run in await look.runs(RunFilter(limit=9, after=(30, "r3")))] == ["r2", "r1"]
        assert [run.run_id for run in await look.runs(RunFilter(limit=9, printer_id="p2"))] == ["r4"]
        finished = RunFilter(limit=9, job_id="j1", states=(RunState.FINISHED,))
        assert [run.run_id for run in await look.runs(finished)] == ["r2", "r1"]
        assert {run.run_id for run in await look.runs_between(41, 65)} == {"r2"}
        assert {run.run_id for run in await look.runs_between(39, 80)} == {"r1", "r2", "r3"}
        # What ends when the range begins, and begins when it ends, is not in it.
        assert await look.runs_between(40, 45) == []
        assert await look.count_ended_runs(41) == {"finished": 1}
        assert await look.count_ended_runs(40) == {"finished": 2}
        assert await look.runs_without_verdict() == 1
        assert (await look.count_by_state())["run"] == {"finished": 2, "printing": 1, "offered": 1}


async def test_runs_of_jobs_come_oldest_first(store: Store) -> None:
    await furnish(store, a_printer("p1"), a_printer("p2"), a_printer("p3"))
    async with store.write("more") as tx:
        await tx.add_jobs([a_job("j2")])
    await offer(store, a_run("r3", created_at=20))
    await offer(store, a_run("r2", printer_id="p2", created_at=10))
    await offer(store, a_run("r1", printer_id="p3", job_id="j2", created_at=20))
    async with store.read() as look:
        assert [run.run_id for run in await look.runs_of_jobs(["j1", "j2"])] == ["r2", "r1", "r3"]
        assert [run.run_id for run in await look.runs_of_jobs(["j2"])] == ["r1"]
        assert await look.runs_of_jobs([]) == []


async def test_printers_are_listed_by_id_and_agent(store: Store) -> None:
    await furnish(store, a_printer("p2"), a_printer("p1"), a_printer("p3", agent_id="a2"))
    async with store.read() as look:
        assert [printer.printer_id for printer in await look.printers()] == ["p1", "p2", "p3"]
        assert [printer.printer_id for printer in await look.printers("a1")] == ["p1", "p2"]
        assert await look.printers("a3") == []


async def test_artifacts_are_listed_newest_first_in_pages(store: Store) -> None:
    names = [digit * 64 for digit in "abcde"]
    async with store.write("artifacts") as tx:
        for age, sha256 in enumerate(names):
            await tx.put_artifact(Artifact(sha256, 1, "gcode", "n", 100 + age // 2))
    found: list[str] = []
    after = None
    async with store.read() as look:
        while page := await look.artifacts(FileFilter(2, after)):
            found += [artifact.sha256 for artifact in page]
            after = (page[-1].created_at, page[-1].sha256)
        named = await look.artifacts_named([names[0], names[3], "unknown"])
        assert await look.artifacts_named([]) == []
    assert found == names[::-1]
    assert {artifact.sha256 for artifact in named} == {names[0], names[3]}


async def test_artifacts_are_found_by_name_and_kind(store: Store) -> None:
    named = {"a": ("Bracket 50%.stl", "stl"), "b": ("bracket_50.gcode", "gcode"), "c": ("cube.stl", "stl")}
    async with store.write("artifacts") as tx:
        for age, (digit, (name, kind)) in enumerate(named.items()):
            await tx.put_artifact(Artifact(digit * 64, 1, kind, name, 100 + age))

    async def found(name: str = "", kind: str = "", after: tuple[int, str] | None = None) -> str:
        async with store.read() as look:
            page = await look.artifacts(FileFilter(10, after, name, kind))
        return "".join(artifact.sha256[0] for artifact in page)

    assert await found() == "cba"
    assert await found("BRACKET") == "ba"
    assert await found("50%") == "a"
    assert await found("_") == "b"
    assert await found(kind="stl") == "ca"
    assert await found("bracket", "stl") == "a"
    assert await found(kind="stl", after=(102, "c" * 64)) == "a"
    assert await found(kind="3mf") == ""


async def test_keys_and_people_are_listed_in_order(store: Store) -> None:
    async with store.write("people") as tx:
        for name, at in (("k3", 1), ("k1", 2), ("k2", 1)):
            await tx.put_api_key(ApiKey(name, name, Role.VIEWER, "pf_", name * 32, at, None))
        for name in ("eva", "ana"):
            await tx.add_user(User(name, Role.VIEWER, "hash", 1))
    async with store.read() as look:
        assert [key.key_id for key in await look.api_keys()] == ["k2", "k3", "k1"]
        assert [user.name for user in await look.users()] == ["ana", "eva"]


async def test_an_upload_is_open_until_it_is_finished_or_expires(store: Store) -> None:
    async with store.write("uploads") as tx:
        ends = tx.now + 10
        await tx.put_upload(Upload("open", 1, SHA, "n", 1, ends))
        await tx.put_upload(Upload("finished", 1, SHA, "n", 1, ends, SHA))
        await tx.put_upload(Upload("short", 1, SHA, "n", 1, tx.now))
    async with store.read() as look:
        assert [upload.upload_id for upload in await look.open_uploads()] == ["open"]
    forward(store, 10)
    async with store.read() as look:
        assert await look.open_uploads() == []


async def test_what_is_old_is_forgotten_and_what_is_young_is_kept(store: Store) -> None:
    async with store.write("old") as tx:
        then = tx.now
        await tx.remember("k", "old", Remembered("b" * 64, "j1"))
        await tx.put_token(EnrollmentToken("old", "a1", then + 4))
        await tx.put_token(EnrollmentToken("young", "a1", then + 5))
        await tx.put_upload(Upload("old", 1, SHA, "n", 1, then + 9))
        await tx.put_upload(Upload("young", 1, SHA, "n", 1, then + 10))
    forward(store, 5)
    async with store.write("just") as tx:
        await tx.remember("k", "just", Remembered("b" * 64, "j2"))
    forward(store, 5)
    async with store.write("forget") as tx:
        assert await tx.forget_before(then + 5) == 3
        assert (await tx.remembered("k", "old"), await tx.token("old"), await tx.upload("old")) == (None,) * 3
        assert await tx.remembered("k", "just") is not None
        assert await tx.token("young") is not None
        assert await tx.upload("young") is not None
        assert await tx.forget_before(then + 5) == 0


async def test_a_cursor_stays_where_it_was_put(store: Store) -> None:
    async with store.write("read") as tx:
        assert await tx.cursor("webhook") == 0
        await tx.save_cursor("webhook", 12)
    async with store.write("read") as tx:
        assert await tx.cursor("webhook") == 12
        assert await tx.cursor("other") == 0
