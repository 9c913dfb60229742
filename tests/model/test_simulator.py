"""Long seeded histories of the whole protocol; and the test of this test: each planted bug must be found."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from printfarm_agent import execution as ex
from printfarm_agent.execution import taking
from printfarm_coordinator.app import assign, leading, overrides, report, sessions, submit
from printfarm_coordinator.app import authorise as authorise_use_case
from printfarm_coordinator.domain import (
    assignment,
    authority,
    inbox,
    own_word,
    preparing,
    printer,
    reports,
    safety_policy,
    slice,
    wishes,
)
from printfarm_coordinator.domain.printer import Bed, BedState
from tests.model.world import TTL, Violation, World
from tests.support import memory_tables
from tests.support.memory_store import Crash, MemoryWriting

STEPS = 2_500
# 10^6 steps in histories of 2,500, in four tests that run side by side.
HISTORIES, LANES = 400, 4
# What must have happened at least so often in each lane, or the histories prove nothing.
COVERED = {
    "physical_start": 500,
    "re-attached": 500,
    "crash.agent": 200,
    "start.reply_lost": 20,
    "ack.lost": 100,
    "fact.repeated": 200,
    "fact.on_an_old_stream": 80,
    "fact.foreign_epoch": 80,
    "asked under another nonce": 30,
    "cancel.offered": 100,
    "cancel.accepted": 50,
    "cancel.authorised": 30,
    "cancel.starting": 10,
    "cancel.printing": 50,
    "cancel.unconfirmed": 10,
    "fact.never_started": 100,
    "fact.start_unknown": 3,
    "run.fenced": 100,
    "run.cancelled": 100,
    "run.failed": 20,
    "run.finished": 100,
    "nature.lie": 5,
    "nature.reset": 10,
    "nature.local_cancel": 10,
    "submit.again": 100,
    "silence": 100,
    "emergency_stop": 50,
    "stop.before_the_start": 20,
    "abandoned": 50,
    "abandoned.too_late": 10,
    "two coordinators": 50,
    "file.known": 100,
    "file.unseen": 100,
    "file.asked": 20,
    "override.revoked": 20,
    "crash.before_commit.judge": 1,
    "crash.after_commit.override_revoked": 1,
    "crash.before_commit.authorise": 2,
    "crash.after_commit.authorise": 2,
    "crash.before_commit.report": 3,
    "crash.after_commit.report": 3,
}


def play(world: World, steps: int = STEPS) -> None:
    """One history. Raises Violation."""
    for _ in range(steps):
        world.step()


@pytest.mark.parametrize("lane", range(LANES))
def test_no_history_breaks_a_guarantee(lane: int) -> None:
    seen: Counter[str] = Counter()
    share = HISTORIES // LANES
    for seed in range(lane * share, (lane + 1) * share):
        world = World(seed)
        try:
            play(world)
        except Violation as violation:
            raise AssertionError(f"seed {seed}: {violation}") from violation
        seen += world.seen
    thin = {what: seen[what] for what, least in COVERED.items() if seen[what] < least}
    assert not thin, f"too little happened: {thin}"


def test_a_stop_before_a_start_that_waits_calls_it_off() -> None:
    """Found in history 302: the start waited for the driver, the printer was stopped, cleared and released meanwhile."""
    play(World(302))


# -- planted bugs


def drop_epoch(patch: pytest.MonkeyPatch) -> None:
    """Alone it is masked by the run's final state, so both go."""
    patch.setattr(authority, "is_believed", lambda run, agent_id, epoch: True)
    patch.setattr(authority, "holds_printer", lambda run, printer: True)
    patch.setattr(authority, "_refuse_unless_open", lambda held: None)
    patch.setattr(authority, "_is_bed_token", lambda printer, token: True)


def ack_before_commit(patch: pytest.MonkeyPatch) -> None:
    plain = World.send_facts

    def send(world: World, hub: Any) -> None:
        if world.facts and world.random.random() < 0.5:
            world.acknowledge(world.facts[0].sequence)
            world.store.crash_at = "before_commit.report"
        plain(world, hub)

    patch.setattr(World, "send_facts", send)


def resend_start_on_reconnect(patch: pytest.MonkeyPatch) -> None:
    plain = World.boot_agent

    def boot(world: World) -> None:
        plain(world)
        for name, state in world.process.states.items():
            run = state.book.run
            if run is not None and run.stage is ex.Stage.STARTING:
                # Number 0: the machine has begun no such thing.
                world.operations.append((world.process.boot, name, ex.Do(ex.Operation.START, 0, run, before=1e12)))

    patch.setattr(World, "boot_agent", boot)


def fenced(held: Any, now: int) -> Any:
    """The run given up without evidence, its parts owed again."""
    raised = replace(held, printer=slice.fenced_printer(held.printer, now))
    return slice.ended(raised, reports.RunState.FENCED, now, "coordinator", bed=held.printer.bed)


def forget_whom_a_file_waits_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(own_word, "suits_file", lambda has, wanted: True)
    patch.setattr(printer, "suits_file", lambda has, wanted: True)
    patch.setattr(printer, "file_mismatches", lambda has, wanted: [])


def one_person_is_two(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(safety_policy, "PEOPLE_NEEDED", 1)


def revoke_leaves_offers(patch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> list[tuple[str, str]]:
        return []

    patch.setattr(overrides, "_take_back", nothing)


def offer_what_nobody_looked_at(patch: pytest.MonkeyPatch) -> None:
    plain = submit.job_of
    patch.setattr(submit, "job_of", lambda *given: replace(plain(*given), prepared=True))
    patch.setattr(assign, "is_judged", lambda job, rules: True)
    patch.setattr(preparing, "is_judged", lambda job, rules: True)


def rescue_by_timeout(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sessions, "lost", fenced)


def epoch_only_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Masked by the coordinator's conditional update, so that goes too; and an old stream's wish comes late."""
    drop_epoch(patch)
    plain_commit, plain_boot = World.commit, World.boot_agent
    kept: dict[str, ex.Wanted] = {}

    def commit(world: World, name: str, effect: ex.Commit) -> None:
        plain_commit(world, name, effect)
        wanted = world.process.states[name].wanted
        if wanted is not None and wanted.run is not None:
            kept[name] = wanted

    def boot(world: World) -> None:
        world.pages = {name: replace(page, max_epoch=0) for name, page in world.pages.items()}
        plain_boot(world)
        for name, wanted in kept.items():
            world.feed(name, wanted)

    patch.setattr(World, "commit", commit)
    patch.setattr(World, "boot_agent", boot)


def journal_after_command(patch: pytest.MonkeyPatch) -> None:
    plain = World.carry_out

    def carry_out(world: World, name: str, state: ex.State, effects: tuple[ex.Effect, ...]) -> None:
        starts = [e for e in effects if isinstance(e, ex.Do) and e.operation is ex.Operation.START]
        machine = world.machines[name]
        if starts and starts[0].run and not machine.printing and not machine.halted and world.random.random() < 0.5:
            world.physical_start(name, starts[0].run)
            world.boot_agent()
            return
        plain(world, name, state, effects)

    patch.setattr(World, "carry_out", carry_out)


def cancel_acked_from_memory(patch: pytest.MonkeyPatch) -> None:
    def cancelled(held: Any, wish: Any, now: int) -> Any:
        if not held.run.state.is_active:
            return held
        return wishes.ended(held, wishes.RunState.CANCELLED, now, wish.actor, bed=held.printer.bed)

    patch.setattr(wishes, "request_cancel", cancelled)


def inbox_in_another_transaction(patch: pytest.MonkeyPatch) -> None:
    plain = report.apply_events

    async def nothing(self: MemoryWriting, agent_id: str, last: int) -> None:
        return

    advance = MemoryWriting.advance_agent

    async def apply(farm: Any, agent_id: str, connection_epoch: int, events: Any) -> int:
        patch.setattr(MemoryWriting, "advance_agent", nothing)
        try:
            last = await plain(farm, agent_id, connection_epoch, events)
        finally:
            patch.setattr(MemoryWriting, "advance_agent", advance)
        if farm.ids.last % 7 == 0:
            raise Crash("between the two")
        async with farm.store.write("inbox") as tx:
            await tx.advance_agent(agent_id, last)
        return int(last)

    patch.setattr(report, "apply_events", apply)


def bed_token_reusable(patch: pytest.MonkeyPatch) -> None:
    """Alone it is masked by the rows: a token is unique among runs; so both go."""
    patch.setattr(MemoryWriting, "refuse_used_token", lambda self, run: None)

    def still_clear(run: Any, now: int) -> Bed:
        return Bed(BedState.CLEAR, run.bed_token or f"again{run.run_id}", run.run_id, run.agent_id, now)

    for module in (authority, slice, reports):
        patch.setattr(module, "occupied_by", still_clear)


def eof_as_goodbye(patch: pytest.MonkeyPatch) -> None:
    """A goodbye that is taken for "I do nothing any more"."""
    plain = World.cut

    def cut(world: World) -> None:
        plain(world)

        async def fence() -> None:
            async with world.store.write("eof") as tx:
                for run in await tx.active_runs("a1"):
                    held = await tx.lock_slice(run.run_id)
                    assert held is not None
                    await tx.save_slice(held, fenced(held, tx.now))

        world._run(fence())

    patch.setattr(World, "cut", cut)


def queue_drops_oldest(patch: pytest.MonkeyPatch) -> None:
    plain = World.commit

    def commit(world: World, name: str, effect: ex.Commit) -> None:
        plain(world, name, effect)
        world.facts = world.facts[-3:]

    patch.setattr(World, "commit", commit)


def ttl_by_wall_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "clock", lambda world: world.now + world.wall)


def no_ttl(patch: pytest.MonkeyPatch) -> None:
    plain = World.rules
    patch.setattr(World, "rules", lambda world: replace(plain(world), start_ttl=1e9))
    patch.setattr("tests.model.world.TTL", TTL * 1e6)
    patch.setattr(World, "judge_start", judge_start_with(TTL))


def judge_start_with(ttl: float) -> Callable[[World, str, ex.LocalRun], None]:
    """The observer keeps the true limit."""
    from tests.model import world as module

    plain = World.judge_start

    def judge(world: World, name: str, run: ex.LocalRun) -> None:
        patched, module.TTL = module.TTL, ttl
        try:
            plain(world, name, run)
        finally:
            module.TTL = patched

    return judge


def epoch_forgotten_by_the_journal(patch: pytest.MonkeyPatch) -> None:
    plain = World.boot_agent

    def boot(world: World) -> None:
        world.pages = {name: replace(page, max_epoch=0) for name, page in world.pages.items()}
        plain(world)

    patch.setattr(World, "boot_agent", boot)


def term_not_confirmed(patch: pytest.MonkeyPatch) -> None:
    """Who once led believes that it still does."""

    async def confirm(self: leading.Leadership, tx: Any) -> bool:
        return self.term is not None

    patch.setattr(leading.Leadership, "confirm", confirm)


def pending_parts_forgotten(patch: pytest.MonkeyPatch) -> None:
    plain = assignment.parts_owed
    for module in (assignment, memory_tables):
        patch.setattr(module, "parts_owed", lambda job: plain(replace(job, pending_parts=0)))


def facts_are_applied_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(report, "admit", lambda last, sequence: inbox.Admission.APPLY)


def an_old_stream_is_believed(patch: pytest.MonkeyPatch) -> None:
    async def newest(tx: Any, agent_id: str, connection_epoch: int) -> Any:
        return await tx.lock_agent(agent_id)

    patch.setattr(report, "current_agent", newest)


def any_epoch_is_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(report, "is_believed", lambda run, agent_id, epoch: True)
    patch.setattr(report, "is_from_future", lambda printer, epoch: False)


def any_nonce_is_the_same(patch: pytest.MonkeyPatch) -> None:
    """The answer to a question that was asked before, whoever asks."""
    plain = authority.authorise

    def authorise(held: Any, request: Any, *rest: Any) -> Any:
        asked = replace(request, nonce=held.run.nonce) if held.run.nonce else request
        return plain(held, asked, *rest)

    patch.setattr(authorise_use_case, "authorise", authorise)


def any_stop_counts(patch: pytest.MonkeyPatch) -> None:
    """One that came before the start reached the machine, too, if its word comes behind that of the start."""
    patch.setattr(taking, "_may_have_come_before_a_start", lambda state: state.busy is ex.Operation.START)


# reliability.md's list, and one for each guarantee that it leaves out; with the guarantees that may tell of it first.
PLANTED: dict[Callable[[pytest.MonkeyPatch], None], set[str]] = {
    drop_epoch: {"I4", "I6", "I15"},
    ack_before_commit: {"I12"},
    resend_start_on_reconnect: {"I3", "I4"},
    rescue_by_timeout: {"I10"},
    epoch_only_in_memory: {"I4", "I6", "I15"},
    journal_after_command: {"I3", "I10", "I11"},
    cancel_acked_from_memory: {"I5"},
    inbox_in_another_transaction: {"I12"},
    bed_token_reusable: {"I11"},
    eof_as_goodbye: {"I10"},
    queue_drops_oldest: {"I12"},
    ttl_by_wall_clock: {"I4"},
    no_ttl: {"I4"},
    epoch_forgotten_by_the_journal: {"I6"},
    term_not_confirmed: {"I20"},
    pending_parts_forgotten: {"I1"},
    facts_are_applied_again: {"I12"},
    an_old_stream_is_believed: {"I6"},
    any_epoch_is_believed: {"I6"},
    any_nonce_is_the_same: {"I4"},
    forget_whom_a_file_waits_for: {"FILE"},
    one_person_is_two: {"FILE"},
    revoke_leaves_offers: {"FILE"},
    offer_what_nobody_looked_at: {"FILE"},
    any_stop_counts: {"STOP"},
}


@pytest.mark.parametrize(("plant", "guarantees"), PLANTED.items(), ids=[plant.__name__ for plant in PLANTED])
def test_a_planted_bug_is_found_for_its_reason(
    plant: Callable[[pytest.MonkeyPatch], None], guarantees: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    violation = first_violation(60)
    print(f"{plant.__name__}: {violation}")
    assert violation.partition(":")[0] in guarantees


def first_violation(histories: int) -> str:
    """What the observer says; empty if nothing is wrong in so many histories."""
    for seed in range(histories):
        try:
            play(World(seed))
        except Violation as violation:
            return str(violation)
    return ""
