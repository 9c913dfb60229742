"""The ``Store`` port: rows, rules, and all or nothing."""

from dataclasses import replace

import pytest

from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import (
    Agent,
    AlreadyExists,
    ApiKey,
    EnrollmentToken,
    Remembered,
    Role,
    StaleWrite,
    Store,
    Upload,
    User,
)
from printfarm_coordinator.domain.assignment import is_open
from printfarm_coordinator.domain.events import AuditEntry, DomainEvent
from printfarm_coordinator.domain.job import JobState
from printfarm_coordinator.domain.printer import Bed, PrinterState
from printfarm_coordinator.domain.run import ACTIVE, RunState
from printfarm_coordinator.domain.slice import Slice
from tests.support.stores import (
    SECOND,
    SHA,
    a_job,
    a_printer,
    a_run,
    forward,
    furnish,
    look_at,
    offer,
    undone,
)


async def test_rows_come_back_as_they_were_written(store: Store) -> None:
    await furnish(store)
    run = a_run(retry_of="r0", bed_token="t", nonce="n", progress=0.25, unconfirmed_from=RunState.PRINTING)
    run = replace(run, state=RunState.UNCONFIRMED, started_at=11, authorised_at=10)
    held = await offer(store, run)
    assert held.run == run
    async with store.read() as look:
        assert await look.run("r1") == run
        job, printer, agent = await look.job("j1"), await look.printer("p1"), await look.agent("a1")
        assert await look.artifact(SHA) == Artifact(SHA, 10, "gcode", "cube.gcode", 1, 61.5)
        assert (await look.job("?"), await look.run("?"), await look.printer("?"), await look.agent("?")) == (None,) * 4
    assert job == a_job(state=JobState.ACTIVE, active_runs=1, version=2)
    assert printer == a_printer(epoch=1, active_run_id="r1", version=2)
    assert agent == Agent("a1", 1, connection_epoch=3, reachable=True)


async def test_an_offer_comes_with_its_event_and_its_audit_row(store: Store) -> None:
    await furnish(store)
    await offer(store, a_run())
    async with store.write("look") as tx:
        events = await tx.position_events(9)
        rows = await tx.audit(9, None, "r1")
    assert [(e.event.type, e.event.subject_id, e.event.data) for e in events] == [("run.offered", "r1", {"epoch": 1})]
    assert [row.entry for row in rows] == [AuditEntry("offer", "run", "r1", "coordinator", "chosen", 1)]


async def test_agents_keys_people_tokens_and_uploads_come_back(store: Store) -> None:
    agent = Agent("a9", 1, 2, "boot", "journal", 3, 4, 5, 6, True, "1.0", "host", True, True, True, True)
    agent = replace(agent, certificate_generation=7, certificate_serial="s", previous_serial="p")
    agent = replace(agent, certificate_expires_at=8, certificate_key_sha256="k", enrollment_expires_at=9)
    key = ApiKey("k1", "erp", Role.OPERATOR, "pf_", "c" * 64, 1, 99, 2, True)
    user = User("ana", Role.ADMIN, "hash", 1, True, 4)
    token = EnrollmentToken("d" * 64, "a9", 50, "e" * 64)
    upload = Upload("u1", 10, SHA, "cube.gcode", 1, 1 << 60, None, "user/ana")
    async with store.write("add") as tx:
        await tx.put_agent(agent)
        await tx.put_api_key(key)
        await tx.add_user(user)
        await tx.put_token(token)
        await tx.put_upload(upload)
    async with store.write("look") as tx:
        assert (await tx.agent("a9"), await tx.lock_agent("a9"), await tx.agents()) == (agent, agent, [agent])
        assert (await tx.api_key_by_secret("c" * 64), await tx.lock_api_key("k1")) == (key, key)
        assert (await tx.user("ana"), await tx.lock_user("ana"), await tx.users()) == (user, user, [user])
        assert (await tx.token("d" * 64), await tx.upload("u1")) == (token, upload)
        assert await tx.api_key_by_secret("x") is None
        assert (await tx.lock_api_key("?"), await tx.lock_user("?"), await tx.token("?")) == (None,) * 3
        assert (await tx.lock_job("?"), await tx.lock_printer("?"), await tx.lock_agent("?")) == (None,) * 3
        assert (await tx.lock_slice("?"), await tx.upload("?"), await tx.artifact("?")) == (None,) * 3
    async with store.write("replace") as tx:
        await tx.put_agent(replace(agent, reachable=False, last_heartbeat_at=None))
        await tx.put_api_key(replace(key, revoked=False, expires_at=None))
        await tx.put_user(replace(user, generation=5))
        await tx.put_token(replace(token, used_by_key_sha256=None))
        await tx.put_upload(replace(upload, artifact_sha256=SHA))
        await tx.note_key_uses(["k1", "unknown"])
    async with store.write("look") as tx:
        assert await tx.agent("a9") == replace(agent, reachable=False, last_heartbeat_at=None)
        assert await tx.api_keys() == [replace(key, revoked=False, expires_at=None, last_used_at=tx.now)]
        assert await tx.user("ana") == replace(user, generation=5)
        assert await tx.token("d" * 64) == replace(token, used_by_key_sha256=None)
        assert await tx.upload("u1") == replace(upload, artifact_sha256=SHA)
        await tx.delete_upload("u1")
        await tx.delete_upload("u1")
        assert await tx.upload("u1") is None


async def test_a_printer_without_a_bed_token_comes_back(store: Store) -> None:
    bare = a_printer(bed=Bed(), emergency_generation=3, backoff_until=9, locked=True, lock_reason="why")
    await furnish(store, bare)
    async with store.read() as look:
        assert await look.printer("p1") == bare


async def test_an_error_undoes_everything(store: Store) -> None:
    await furnish(store)
    before = await _everything(store)
    async with undone(store) as tx:
        job = await tx.lock_job("j1")
        assert job is not None
        await tx.save_job(job, replace(job, priority=9))
        await tx.add_printer(a_printer("p2"))
        await tx.put_agent(Agent("a2", 1))
        await tx.append_events([DomainEvent("job.changed", "j1", "user/ana")])
        await tx.append_audit([AuditEntry("change", "job", "j1", "user/ana", "", 0)])
        await tx.remember("key/k1", "order", Remembered("b" * 64, "j1"))
        assert await tx.last_position() == 0
        assert await tx.job("j1") != job
    assert await _everything(store) == before


async def _everything(store: Store) -> tuple[object, ...]:
    async with store.write("look") as tx:
        return (
            await tx.open_jobs(),
            await tx.printers(),
            await tx.agents(),
            await tx.remembered("key/k1", "order"),
            await tx.audit(9, None, ""),
            await tx.position_events(9),
        )


@pytest.mark.parametrize("changed", ["job", "run", "printer"])
async def test_a_late_writer_loses_and_changes_nothing(store: Store, changed: str) -> None:
    await furnish(store)
    read = await offer(store, a_run())
    async with store.write("first") as tx:
        first = await tx.lock_slice("r1")
        assert first is not None
        row = replace(getattr(first, changed), updated_at=11)
        await tx.save_slice(first, replace(first, **{changed: row}))
    before = await look_at(store, "r1")
    assert before is not None
    assert getattr(before, changed).version == getattr(read, changed).version + 1
    with pytest.raises(StaleWrite):
        await _end_late(store, read)
    assert await look_at(store, "r1") == before
    async with store.read() as look:
        assert await look.printer("p9") is None


async def _end_late(store: Store, held: Slice) -> None:
    over = replace(
        held,
        job=replace(held.job, active_runs=0),
        run=replace(held.run, state=RunState.FENCED, ended_at=12),
        printer=replace(held.printer, active_run_id=None),
    )
    async with store.write("late") as tx:
        await tx.add_printer(a_printer("p9"))
        await tx.save_slice(held, over)


async def test_what_is_unchanged_is_not_written(store: Store) -> None:
    await furnish(store)
    read = await offer(store, a_run())
    async with store.write("same") as tx:
        await tx.save_slice(read, read)
        await tx.save_job(read.job, read.job)
        await tx.save_printer(read.printer, read.printer)
    assert await look_at(store, "r1") == read


async def test_a_printer_never_has_two_active_runs(store: Store) -> None:
    await furnish(store)
    await offer(store, a_run())
    with pytest.raises(AlreadyExists):
        await offer(store, a_run("r2", epoch=2))
    async with store.read() as look:
        assert [run.run_id for run in await look.active_runs()] == ["r1"]
        assert [run.run_id for run in await look.active_runs("a1")] == ["r1"]
        assert await look.active_runs("a2") == []
        job = await look.job("j1")
    assert job is not None
    assert job.active_runs == 1


async def test_every_active_state_holds_the_printer_and_no_other(store: Store) -> None:
    """The index of the rows, and the rules, mean the same by active."""
    await furnish(store, *[a_printer(state.value) for state in RunState])
    for state in RunState:
        await offer(store, a_run(f"first-{state}", printer_id=state.value, state=state))
    holding = set()
    for state in RunState:
        try:
            await offer(store, a_run(f"second-{state}", printer_id=state.value, epoch=2))
        except AlreadyExists:
            holding.add(state)
    assert holding == ACTIVE


async def test_a_final_run_never_becomes_active_beside_another(store: Store) -> None:
    await furnish(store)
    await offer(store, a_run("r1", state=RunState.FENCED, ended_at=9))
    await offer(store, a_run("r2", epoch=2))
    held = await look_at(store, "r1")
    assert held is not None
    with pytest.raises(AlreadyExists):
        await _save(store, held, replace(held, run=replace(held.run, state=RunState.UNCONFIRMED)))


async def _save(store: Store, before: Slice, after: Slice) -> None:
    async with store.write("save") as tx:
        await tx.save_slice(before, after)


async def test_an_ended_run_leaves_its_printer_to_the_next(store: Store) -> None:
    await furnish(store)
    held = await offer(store, a_run())
    async with store.write("end") as tx:
        over = replace(held.run, state=RunState.FENCED, ended_at=20)
        await tx.save_slice(held, replace(held, run=over, job=replace(held.job, active_runs=0)))
    await offer(store, a_run("r2", epoch=2))
    async with store.read() as look:
        assert [run.run_id for run in await look.active_runs()] == ["r2"]
        assert [run.run_id for run in await look.runs_of_jobs(["j1"])] == ["r1", "r2"]


async def test_an_epoch_is_never_reused_on_a_printer(store: Store) -> None:
    await furnish(store)
    held = await offer(store, a_run())
    async with store.write("end") as tx:
        over = replace(held.run, state=RunState.FAILED, ended_at=20)
        await tx.save_slice(held, replace(held, run=over, job=replace(held.job, active_runs=0)))
    with pytest.raises(AlreadyExists):
        await offer(store, a_run("r2", epoch=1))


async def test_a_bed_token_starts_one_run(store: Store) -> None:
    await furnish(store, a_printer("p1"), a_printer("p2"))
    await offer(store, a_run(bed_token="t"))
    with pytest.raises(AlreadyExists):
        await offer(store, a_run("r2", printer_id="p2", bed_token="t"))


async def test_a_bed_token_authorises_one_run(store: Store) -> None:
    await furnish(store, a_printer("p1"), a_printer("p2"))
    await offer(store, a_run(bed_token="t"))
    held = await offer(store, a_run("r2", printer_id="p2"))
    with pytest.raises(AlreadyExists):
        await _save(store, held, replace(held, run=replace(held.run, state=RunState.AUTHORISED, bed_token="t")))


async def test_the_same_id_is_given_once(store: Store) -> None:
    await furnish(store)
    with pytest.raises(AlreadyExists):
        async with store.write("again") as tx:
            await tx.add_jobs([a_job(name="other")])
    with pytest.raises(AlreadyExists):
        async with store.write("again") as tx:
            await tx.add_printer(a_printer(name="other"))
    user = User("ana", Role.VIEWER, "hash", 1)
    async with store.write("user") as tx:
        await tx.add_user(user)
    with pytest.raises(AlreadyExists):
        async with store.write("again") as tx:
            await tx.add_user(replace(user, role=Role.ADMIN))
    async with store.read() as look:
        assert (await look.job("j1"), await look.printer("p1")) == (a_job(), a_printer())
        assert await look.user("ana") == user


async def test_an_idempotency_key_is_taken_once(store: Store) -> None:
    async with store.write("first") as tx:
        await tx.remember("key/k1", "order", Remembered("b" * 64, "j1"))
    with pytest.raises(AlreadyExists):
        async with store.write("again") as tx:
            await tx.remember("key/k1", "order", Remembered("c" * 64, "j2"))
    async with store.write("another client") as tx:
        await tx.remember("key/k2", "order", Remembered("c" * 64, "j2"))
        assert await tx.remembered("key/k1", "order") == Remembered("b" * 64, "j1")
        assert await tx.remembered("key/k1", "other") is None


async def test_the_inbox_moves_with_its_transaction(store: Store) -> None:
    await furnish(store)
    async with undone(store) as tx:
        await tx.lock_agent("a1")
        await tx.advance_agent("a1", 7)
    async with store.write("done") as tx:
        agent = await tx.lock_agent("a1")
        assert agent is not None
        assert agent.last_applied_sequence == 0
        await tx.advance_agent("a1", 3)
    async with store.read() as look:
        agent = await look.agent("a1")
    assert agent is not None
    assert agent.last_applied_sequence == 3


async def test_a_lease_is_prolonged_for_the_newest_connection_alone(store: Store) -> None:
    await furnish(store)
    async with store.write("away") as tx:
        await tx.put_agent(Agent("a2", 1, connection_epoch=1, reachable=False, lease_expires_at=5))
    async with store.write("leases") as tx:
        await tx.extend_leases({"a1": 2, "a2": 1}, until=99)
    async with store.read() as look:
        assert {agent.agent_id: agent.lease_expires_at for agent in await look.agents()} == {"a1": 0, "a2": 5}
    async with store.write("leases") as tx:
        await tx.extend_leases({"a1": 3}, until=99)
        await tx.extend_leases({}, until=100)
    async with store.read() as look:
        agent = await look.agent("a1")
        assert agent is not None
        assert (agent.lease_expires_at, agent.last_heartbeat_at) == (99, look.now)


async def test_one_leads_and_each_new_leader_has_a_new_term(store: Store) -> None:
    async with store.write("a") as tx:
        assert await tx.take_term("a", 30 * SECOND) == 1
        assert await tx.holds_term("a", 1)
    forward(store, 10 * SECOND)
    async with store.write("b") as tx:
        assert await tx.take_term("b", 30 * SECOND) is None
        assert not await tx.holds_term("b", 1)
    async with store.write("a") as tx:
        assert await tx.take_term("a", 30 * SECOND) == 1
    forward(store, 30 * SECOND)
    async with store.write("a") as tx:
        assert not await tx.holds_term("a", 1)
    async with store.write("b") as tx:
        assert await tx.take_term("b", 30 * SECOND) == 2
    async with store.write("a") as tx:
        assert await tx.take_term("a", 30 * SECOND) is None
    forward(store, 31 * SECOND)
    async with store.write("b") as tx:
        assert await tx.take_term("b", 30 * SECOND) == 3


async def test_the_term_of_a_leader_that_is_gone_is_not_waited_for(store: Store) -> None:
    async with store.write("a") as tx:
        assert await tx.take_term("a", 30 * SECOND) == 1
    async with store.write("b") as tx:
        assert await tx.take_term("b", 30 * SECOND, inherit=True) == 2
        assert await tx.take_term("b", 30 * SECOND, inherit=True) == 2
    async with store.write("a") as tx:
        assert not await tx.holds_term("a", 1)
        assert await tx.take_term("a", 30 * SECOND) is None


async def test_candidates_know_what_their_agent_is(store: Store) -> None:
    await furnish(store, a_printer("p1"), a_printer("p2", agent_id="a2"), a_printer("p3", agent_id="a3"))
    async with store.write("agents") as tx:
        await tx.put_agent(Agent("a2", 1, reachable=True, journal_max_sequence=4, last_applied_sequence=3))
        await tx.put_agent(Agent("a3", 1, reachable=True, wants_drain=True, locked=True))
    async with store.read() as look:
        found = {c.printer.printer_id: (c.agent_reachable, c.agent_draining) for c in await look.candidates()}
        one = await look.candidate("p1")
        assert await look.candidate("?") is None
    assert found == {"p1": (True, False), "p2": (False, False), "p3": (False, True)}
    assert one is not None
    assert one.printer == a_printer("p1")


async def test_free_candidates_are_those_that_a_run_may_go_to(store: Store) -> None:
    """Every one that the rules call open is among them; the busy and the dead are not read."""
    free = {"active_run_id": None, "observed_state": PrinterState.IDLE}
    printers = [
        a_printer("p1", **free),
        a_printer("p2", **free, agent_id="a2"),
        a_printer("p3", **free | {"observed_state": PrinterState.ERROR}),
        a_printer("p4", **free | {"active_run_id": "r1"}),
        a_printer("p5", **free, held=True),
        a_printer("p6", **free),
    ]
    await furnish(store, *printers)
    async with store.write("agents") as tx:
        await tx.put_agent(Agent("a2", 1, reachable=False))
    async with store.read() as look:
        every, found = await look.candidates(), await look.free_candidates()
        now = look.now
    assert [each.printer.printer_id for each in found] == ["p1", "p5", "p6"]
    assert found == [each for each in every if each in found]
    assert [each for each in every if is_open(each, now)] == [each for each in found if is_open(each, now)]


async def test_an_artifact_is_immutable(store: Store) -> None:
    await furnish(store)
    async with store.write("again") as tx:
        await tx.put_artifact(Artifact(SHA, 11, "gcode", "other", 9))
    async with store.read() as look:
        artifact = await look.artifact(SHA)
    assert artifact is not None
    assert (artifact.size_bytes, artifact.display_name) == (10, "cube.gcode")


async def test_progress_is_noted_and_changes_no_version(store: Store) -> None:
    await furnish(store)
    held = await offer(store, a_run(state=RunState.PRINTING))
    async with store.write("progress") as tx:
        await tx.save_progress({"r1": 0.5, "unknown": 0.1})
        await tx.save_progress({})
    async with store.write("end") as tx:
        await tx.save_slice(held, replace(held, run=replace(held.run, state=RunState.FAILED, ended_at=9, progress=0.6)))
    async with store.write("late") as tx:
        await tx.save_progress({"r1": 0.9})
    async with store.read() as look:
        run = await look.run("r1")
    assert run is not None
    assert run.progress == 0.6
