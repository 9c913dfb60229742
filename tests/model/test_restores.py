"""The same world, whose database is now and then an older copy of itself, and whose machines print things of their own.

What a restored database forgot is forgiven; what is printed twice, or onto something, is not.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from printfarm_agent import execution as ex
from printfarm_agent.driver import Ending
from printfarm_coordinator.app import runs, sessions
from printfarm_coordinator.domain import observations, reports, reunion, wishes
from printfarm_coordinator.domain.authority import AuthorityRequest
from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_coordinator.domain.run import BEFORE_AUTHORITY, RunState
from tests.model.world import ESTIMATE, PERSON, PRINTERS, TTL, Violation, World

STEPS, HISTORIES = 2_000, 100
OWN = "own"
COVERED = {
    "restored": 250,
    "copied": 500,
    "database_behind": 100,
    "own print": 300,
    "verdict again": 300,
    "physical_start": 250,
    "run.finished": 100,
    "resolve.never_started": 50,
    "cancel.unconfirmed": 100,
}


class Restored(World):
    """Copies are made at any time. Restoring one takes longer than an authority lasts; the agent goes on meanwhile."""

    def __post_init__(self) -> None:
        self.copy: Any = None
        self.down_until = 0.0
        self.is_greeted = True
        # The agent's facts at its first Hello after a restore.
        self.told_until = 0
        super().__post_init__()

    def step(self) -> None:
        luck = self.luck.random()
        if self.now < self.down_until:
            self.go_on_alone()
        elif luck < 0.006:
            self.make_copy()
        elif luck < (0.02 if self.own_part_lies() else 0.008) and self.copy is not None and self.is_greeted:
            self.restore()
        elif luck < 0.03:
            self.repeat_a_verdict()
        elif luck < 0.034 or (luck < 0.045 and self.asking()):
            self.print_at_the_machine(self.luck.choice(self.asking() or PRINTERS))
        else:
            super().step()

    def make_copy(self) -> None:
        """Often one in which a run that has not started yet is out of reach."""
        states = {run.state for run in self.store.tables.runs.values()}
        if states & BEFORE_AUTHORITY and self.luck.random() < 0.5:
            self.long_silence()
        self.copy = self.store.tables.copy()
        self.seen["copied"] += 1

    def restore(self) -> None:
        self.seen["restored"] += 1
        self.store.tables, self.copy = self.copy, None
        self.store.applied.clear()
        self.down_until, self.is_greeted = self.now + TTL + 10.0, False
        self.ended_as.clear()
        self.highest = Counter({place: at for place, at in self.highest.items() if place[0] == "journal"})
        self.boot_coordinator()

    def go_on_alone(self) -> None:
        """There is no coordinator: questions are lost, people wait."""
        luck = self.luck.random()
        if luck < 0.3 and self.operations:
            self.perform(self.luck.randrange(len(self.operations)))
        elif luck < 0.4 and self.questions:
            boot, _, (name, run) = self.questions.pop()
            self.answers.append((boot, name, ex.NoAnswer(run.nonce)))
        elif luck < 0.5 and self.answers:
            self.answer(self.luck.randrange(len(self.answers)))
        elif luck < 0.7:
            self.observe(self.luck.choice(PRINTERS))
        elif luck < 0.71:
            self.boot_agent()
        else:
            self.pass_time()

    def connect(self) -> None:
        super().connect()
        if self.hub is not None and not self.is_greeted:
            self.is_greeted = True
            active = [run for run in self.store.tables.runs.values() if run.state.is_active]
            self.seen["database_behind"] += sum(run.reason_code == "database_behind" for run in active)
            self.told_until = self.last_fact

    def is_told(self) -> bool:
        """Before its agent has told what it knows, nobody can tell a copy from the truth: people wait (docs/operations.md)."""
        return self.is_greeted and self.store.tables.agents["a1"].last_applied_sequence >= self.told_until

    def cancel(self) -> None:
        if self.is_told():
            super().cancel()

    def tidy(self, name: str) -> None:
        """Nobody looks at a printer that the farm says nothing of."""
        row = self.store.tables.printers.get(name)
        if row is None or not self.is_told():
            return
        run = self.store.tables.runs.get(row.active_run_id or "")
        is_unconfirmed = run is not None and run.state is RunState.UNCONFIRMED
        if is_unconfirmed or row.bed.state is not BedState.CLEAR or row.locked or row.emergency_stopped:
            super().tidy(name)

    def ask_under_another_nonce(self, run_id: str, request: AuthorityRequest) -> None:
        row = self.store.tables.runs.get(run_id)
        if row is not None and row.nonce is not None:
            super().ask_under_another_nonce(run_id, request)

    def judge(self) -> None:
        if self.is_greeted:
            super().judge()

    def judge_start(self, name: str, run: ex.LocalRun) -> None:
        if run.run_id in self.store.tables.runs:
            super().judge_start(name, run)
        elif self.started[run.run_id] > 1 or self.machines[name].plate:
            raise Violation(f"I11: {run.run_id} started again, or on an occupied plate")

    # -- machines and people

    def print_at_the_machine(self, name: str) -> None:
        """Somebody who does not look at the farm starts a print; the agent sees it, if it lives."""
        machine = self.machines[name]
        if machine.printing or machine.halted or not machine.reachable or machine.plate:
            return
        self.seen["own print"] += 1
        machine.printing, machine.file, machine.number = OWN, "own.gcode", machine.number + 1
        machine.plate, machine.paused, machine.lies = True, False, False
        machine.began, machine.done, machine.ending, machine.by_farm = self.now, 0.0, None, False
        while self.process.states[name].reported[0] != "busy_external":
            self.observe(name)

    def own_part_lies(self) -> bool:
        return any(machine.plate and machine.file == "own.gcode" for machine in self.machines.values())

    def asking(self) -> list[str]:
        """Printers whose run has asked for its authority, and has not started."""
        stages = {name: page.run.stage for name, page in self.pages.items() if page.run}
        return [name for name, stage in stages.items() if stage is ex.Stage.AUTHORISING]

    def nature(self, name: str) -> None:
        machine = self.machines[name]
        if machine.printing != OWN:
            super().nature(name)
        elif self.now - machine.began > ESTIMATE:
            machine.printing, machine.ending = None, Ending.COMPLETE

    def repeat_a_verdict(self) -> None:
        """Its answer was lost an hour ago, and the client asks again: nobody looks at the plate."""
        judged = [run for run in self.store.tables.runs.values() if run.verdict is not None]
        if judged and self.is_told():
            run = self.luck.choice(judged)
            self.seen["verdict again"] += 1
            self._run(runs.give_verdict(self.farm, PERSON, run.run_id, run.verdict.good_parts, "", clear_bed=True))


def first_violation(histories: int) -> tuple[str, Counter[str]]:
    """What the observer says, and what happened; empty if nothing is wrong in so many histories."""
    seen: Counter[str] = Counter()
    for seed in range(histories):
        world = Restored(seed)
        try:
            for _ in range(STEPS):
                world.step()
        except Violation as violation:
            return f"{violation} (seed {seed})", seen
        seen += world.seen
    return "", seen


def test_no_restored_database_prints_twice_or_onto_something() -> None:
    violation, seen = first_violation(HISTORIES)
    assert not violation
    thin = {what: seen[what] for what, least in COVERED.items() if seen[what] < least}
    assert not thin, f"too little happened: {thin}"


# -- planted bugs, each as it was


def out_of_reach_is_offered_anew(patch: pytest.MonkeyPatch) -> None:
    plain = reunion.greet_run

    def greet_run(held: Any, report: Any, now: int) -> Any:
        is_away = held.run.state is reunion.RunState.UNCONFIRMED
        return plain(held, replace(report, facts_lost=report.facts_lost and not is_away), now)

    patch.setattr(sessions, "greet_run", greet_run)
    # Alone it is masked by the bed that is doubted, too.
    doubted = reunion.with_facts_lost
    patch.setattr(reunion, "with_facts_lost", lambda p, now: (p, ()) if p.active_run_id else doubted(p, now))


def clear_beds_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reunion, "with_facts_lost", lambda printer, now: (printer, ()))


def spent_beds_are_given_back(patch: pytest.MonkeyPatch) -> None:
    def given_back(held: Any, actor: str, now: int, new_token: str) -> Bed:
        is_spent = held.run.bed_token is not None
        return Bed(BedState.CLEAR, new_token, None, actor, now) if is_spent else held.printer.bed

    for module in (reports, wishes):
        patch.setattr(module, "bed_given_back", given_back)


def only_clear_beds_are_doubted(patch: pytest.MonkeyPatch) -> None:
    plain = observations._doubt
    patch.setattr(observations, "_doubt", lambda p, *seen: plain(p, *seen) if p.bed.state is BedState.CLEAR else "")


@pytest.mark.parametrize(
    "plant",
    [out_of_reach_is_offered_anew, clear_beds_are_believed, spent_beds_are_given_back, only_clear_beds_are_doubted],
)
def test_a_planted_bug_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    violation, _ = first_violation(3 * HISTORIES)
    print(f"{plant.__name__}: {violation}")
    assert violation.partition(":")[0] in {"I3", "I5", "I10", "I11"}
