"""A whole farm in one thread: the real use cases and the real execution machine, with everything around them made to fail.

One coordinator process (that dies and comes back) with a standby, one agent with two printers, a network that loses and repeats
questions and cuts streams, printers that lie, reset and are touched by people. Time is a number. An observer knows everything,
and after each step compares it with the guarantees.
"""

import random
from collections import Counter, deque
from dataclasses import dataclass, field, replace
from typing import Any

from printfarm_agent import execution as ex
from printfarm_agent.driver import Ending, Handle, Observation, ObservedState
from printfarm_coordinator.app import (
    assign,
    authorise,
    expire,
    jobs,
    judging,
    leading,
    overrides,
    printers,
    report,
    runs,
    sessions,
    submit,
)
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.ports import Agent, Role
from printfarm_coordinator.app.report import AgentEvent, EmergencyStopDone, PrinterSeen
from printfarm_coordinator.domain.authority import AuthorityRequest
from printfarm_coordinator.domain.desired import Desired
from printfarm_coordinator.domain.errors import RuleError
from printfarm_coordinator.domain.job import Requirements
from printfarm_coordinator.domain.printer import Abilities, BedState, PrinterState
from printfarm_coordinator.domain.reports import Report
from printfarm_coordinator.domain.reunion import LocalStage, PrinterReport
from printfarm_coordinator.domain.run import BEFORE_AUTHORITY, EndEvidence, Fact, RunState
from printfarm_coordinator.domain.safety_policy import Policy
from printfarm_files.inspecting import inspect_bytes
from printfarm_files.safety import Inspection
from tests.support.memory_store import Crash, MemoryStore, drive

# A file that is known to be good, one that nobody has looked at, and one that two people must allow.
SHA, UNSEEN, ASKED = "a" * 64, "b" * 64, "c" * 64
CLEAN = inspect_bytes(b"G28\nM104 S200\nG1 X10 E1\nM104 S0\n")
DOUBTFUL = inspect_bytes(b"G28\nM104 S200\nG1 X10 E1\nM117 <b>\nM104 S0\n")
PERSON = Caller("person", Role.ADMIN)
LEASE, TTL, MARGIN = 45.0, 30.0, 5.0
BEAT_US = 10_000_000
ESTIMATE = 100.0
PRINTERS = ("p0", "p1")


class Violation(AssertionError):
    """A guarantee was broken."""


class Blobs:
    """Files that are looked at without waiting."""

    async def inspect(self, _sha256: str, _kind: object) -> Inspection:
        return CLEAN


@dataclass
class Machine:
    """A printer, and what really happens on it."""

    printing: str | None = None
    paused: bool = False
    plate: bool = False
    began: float = 0.0
    done: float = 0.0
    number: int = 0
    boots: int = 1
    file: str | None = None
    ending: Ending | None = None
    by_farm: bool = True
    halted: bool = False
    lies: bool = False
    reachable: bool = True

    def look(self) -> Observation:
        state = ObservedState.IDLE
        if self.halted:
            state = ObservedState.ERROR
        elif self.printing and not self.lies:
            state = ObservedState.PAUSED if self.paused else ObservedState.PRINTING
        lying = self.printing is not None and self.lies
        return Observation(
            state,
            self.file,
            Ending.COMPLETE if lying else self.ending,
            end_of_file=lying or self.ending is Ending.COMPLETE,
            progress=min(1.0, self.done / ESTIMATE),
            elapsed_seconds=self.done,
            boot_count=self.boots,
            print_number=self.number,
            by_farm=self.by_farm,
            halted=self.halted,
        )


@dataclass
class AgentProcess:
    """What a restart of the agent forgets."""

    boot: str
    states: dict[str, ex.State]
    connection: int = 0
    sent: int = 0


class Ids:
    """Numbers, which sort by time."""

    def __init__(self) -> None:
        self.last = 0

    def new(self) -> str:
        self.last += 1
        return f"{self.last:08d}"


class Hub:
    """The agent's session, as the coordinator's hints see it."""

    printer_ids = frozenset(PRINTERS)

    def __init__(self, connection_epoch: int) -> None:
        self.connection_epoch = connection_epoch
        self.dirty: set[str] = set(PRINTERS)
        self.ended = False

    def look_at(self, printer_id: str) -> None:
        self.dirty.add(printer_id)

    def end(self, code: str, why: str) -> None:
        self.ended = True


@dataclass
class World:
    """Bugs are planted by replacing its methods, or functions of the modules under test."""

    seed: int
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        # In some histories print files are looked at, and people allow things; of a luck of their own.
        self.is_checked = self.seed % 4 == 0
        self.luck = random.Random(self.seed + 1)
        # What the network and a confused agent say beside it.
        self.noise = random.Random(self.seed + 2)
        # In others a start takes its time in the driver, and people stop the printer meanwhile.
        self.is_slow = self.seed % 4 == 1
        self.starting: set[tuple[str, str, int]] = set()
        self.now = 1_000.0
        self.wall = 0.0
        self.store = MemoryStore()
        self.ids = Ids()
        self.machines = {name: Machine() for name in PRINTERS}
        # The agent's disk: pages, facts that wait, the last number.
        self.pages: dict[str, ex.Book] = {name: ex.Book() for name in PRINTERS}
        self.facts: list[AgentEvent] = []
        self.acknowledged: deque[AgentEvent] = deque(maxlen=20)
        self.last_fact = 0
        self.boots = 0
        self.questions: list[tuple[str, int, Any]] = []
        self.answers: list[tuple[str, str, Any]] = []
        self.operations: list[tuple[str, str, ex.Do | ex.EmergencyStop | ex.Abandon | ex.Stopped]] = []
        self.down: deque[tuple[str, ex.Wanted]] = deque()
        self.authorities: dict[str, tuple[str, str, float]] = {}
        self.started: Counter[str] = Counter()
        self.ended_as: dict[str, RunState] = {}
        self.orders = 0
        # The highest epoch ever, as the rows and as the journal had it.
        self.highest: Counter[tuple[str, str]] = Counter()
        self._tick_clock()
        drive(self._first_rows())
        self.boot_coordinator()
        self.boot_agent()

    async def _first_rows(self) -> None:
        async with self.store.write("setup") as tx:
            await tx.put_agent(Agent("a1", self.store.now))
            await tx.put_artifact(Artifact(SHA, 100, "gcode", "x", self.store.now, ESTIMATE, inspection=CLEAN))
            await tx.put_artifact(Artifact(UNSEEN, 100, "gcode", "x", self.store.now, ESTIMATE))
            await tx.put_artifact(Artifact(ASKED, 100, "gcode", "x", self.store.now, ESTIMATE, inspection=DOUBTFUL))

    def _tick_clock(self) -> None:
        self.store.now = int(self.now * 1e6)

    # -- processes

    def boot_coordinator(self) -> None:
        self.store.crash_at = ""
        policy = Policy() if self.is_checked else None
        self.farm = Farm(self.store, None, Blobs(), self.ids, safety=policy)  # type: ignore[arg-type]
        self.leadership = leading.Leadership(f"c{self.ids.new()}")
        self.hub: Hub | None = None
        self.down.clear()
        self._run(self.leadership.prolong(self.farm))

    def two_coordinators(self) -> None:
        """The leader is stopped until its term has lapsed, another takes over; then it wakes in the middle of its work."""
        self.end_slow_starts()
        sleeper, its_term = self.farm, self.leadership
        self.now += self.random.uniform(leading.TERM_US / 1e6, 3 * LEASE)
        self._tick_clock()
        self.boot_coordinator()
        before = self.store.tables
        for work in (
            assign.assign_once(sleeper, its_term),
            expire.expire_once(sleeper, its_term, int(LEASE * 1e6), BEAT_US),
        ):
            self._run(work)
        after = self.store.tables
        if (before.runs, before.printers, before.agents) != (after.runs, after.printers, after.agents):
            raise Violation("I20: a coordinator changed something under a term that had lapsed")
        self.seen["two coordinators"] += 1

    def boot_agent(self) -> None:
        self.boots += 1
        self.process = AgentProcess(f"boot{self.boots}", {n: ex.reopened(page) for n, page in self.pages.items()})
        self.operations.clear()
        self.starting.clear()
        self.answers = [a for a in self.answers if a[0] == self.process.boot]
        self.hub = None
        self.down.clear()
        for name in PRINTERS:
            self.feed(name, ex.Tick())

    def _run(self, work: Any) -> Any:
        """A use case; None if it refused, or the coordinator died in it."""
        try:
            return drive(work)
        except RuleError as error:
            self.seen[f"refused.{error.code}"] += 1
            return None
        except Crash as crash:
            self.seen[f"crash.{crash}"] += 1
            self.boot_coordinator()
            return None

    # -- the agent

    def rules(self) -> ex.Rules:
        return ex.Rules(self.process.boot, start_ttl=TTL - MARGIN)

    def clock(self) -> float:
        """The agent's monotonic clock."""
        return self.now

    def feed(self, name: str, given: ex.Input) -> None:
        """One step, its commit on the disk, then its effects; a crash may come between any two."""
        state, effects = ex.step(self.process.states[name], given, self.clock(), self.rules(), f"n{self.ids.new():>16}")
        self.carry_out(name, state, effects)

    def carry_out(self, name: str, state: ex.State, effects: tuple[ex.Effect, ...]) -> None:
        for effect in effects:
            if self.random.random() < 0.004:
                self.seen["crash.agent"] += 1
                self.boot_agent()
                return
            if isinstance(effect, ex.Commit):
                self.commit(name, effect)
            elif isinstance(effect, ex.EmergencyStop) and self.is_starting(name):
                self.stop_nothing(name, effect)
            elif isinstance(effect, ex.EmergencyStop):
                self.stop_machine(name)
                self.process.states[name] = state
                state, more = ex.step(state, ex.Stopped(effect.generation), self.clock(), self.rules(), "n" * 16)
                effects = effects + more
                for each in more:
                    if isinstance(each, ex.Commit):
                        self.commit(name, each)
                    elif isinstance(each, ex.EmergencyStop):
                        # A start is on its way: stopped again, later.
                        self.operations.append((self.process.boot, name, each))
            else:
                if isinstance(effect, ex.Do):
                    self.judge_turn(name, effect)
                self.operations.append((self.process.boot, name, effect))
        self.process.states[name] = state

    def under_way(self, name: str) -> list[ex.Do]:
        """What the machine began and the driver has not ended. A question is none of the driver's: its answers may repeat."""
        boot, asks = self.process.boot, ex.Operation.ASK
        begun = [do for b, n, do in self.operations if (b, n) == (boot, name) and isinstance(do, ex.Do)]
        return [do for do in begun if do.number and do.operation is not asks]

    def judge_turn(self, name: str, do: ex.Do) -> None:
        if do.operation is not ex.Operation.ASK and (others := self.under_way(name)):
            raise Violation(f"ONE: {name} begins {do.operation} beside {others[0].operation}")

    def commit(self, name: str, commit: ex.Commit) -> None:
        old = self.pages[name]
        self.pages[name] = replace(commit.book, max_epoch=max(old.max_epoch, commit.book.max_epoch))
        for event in commit.events:
            if event.kind == "emergency_stopped" and self.machines[name].printing:
                raise Violation(f"STOP: {name} is told to be stopped, and prints")
            self.last_fact += 1
            self.facts.append(self._fact(name, event))
            self.seen[f"fact.{event.kind}"] += 1

    def _fact(self, name: str, event: ex.Event) -> AgentEvent:
        data = dict(event.data)
        if event.kind == "printer_changed":
            fact: Any = PrinterSeen(PrinterState(data["observed_state"]))
        elif event.kind == "emergency_stopped":
            fact = EmergencyStopDone(data["emergency_stop_generation"])
        elif event.kind == "alarm":
            fact = report.Alarm(data["code"], data["text"])
        else:
            evidence = None
            if event.kind == "finished":
                evidence = EndEvidence(data["end_of_file_reached"], data["printer_reports_complete"], data["elapsed"])
            fact = Report(
                Fact(event.kind),
                data.get("code", ""),
                data.get("reason", ""),
                evidence,
                bool(data.get("by_machine")),
                bool(data.get("lock_printer")),
            )
        return AgentEvent(self.last_fact, name, event.run_id, event.epoch, fact)

    def stop_machine(self, name: str) -> None:
        machine = self.machines[name]
        machine.halted = True
        if machine.printing:
            machine.printing, machine.ending = None, Ending.FAILED
            machine.by_farm = True

    def perform(self, index: int) -> None:
        boot, name, do = self.operations.pop(index)
        if boot != self.process.boot:
            return
        if isinstance(do, ex.EmergencyStop):
            if self.is_starting(name):
                self.stop_nothing(name, do)
                return
            self.stop_machine(name)
            self.feed(name, ex.Stopped(do.generation))
            return
        if isinstance(do, ex.Stopped):
            self.feed(name, do)
            return
        if isinstance(do, ex.Abandon):
            self.abandon(name, do)
            return
        match do.operation:
            case ex.Operation.FETCH | ex.Operation.UPLOAD:
                self.feed(name, ex.Done(do.operation, do.number))
            case ex.Operation.ASK:
                assert do.run is not None
                self.questions.append((boot, self.now_for(name), (name, do.run)))
                if self.random.random() < 0.15:
                    self.questions.append(self.questions[-1])
            case ex.Operation.START:
                self.start(name, do)
            case _:
                self.command(name, do)

    def abandon(self, name: str, abandon: ex.Abandon) -> None:
        """The transfer ends here, unless it has ended by itself; its outcome is told either way."""
        open_ones = [do for do in self.under_way(name) if do.number == abandon.number]
        self.operations = [each for each in self.operations if each[2] not in open_ones]
        self.seen["abandoned" if open_ones else "abandoned.too_late"] += 1
        self.feed(name, ex.Failed(abandon.operation, abandon.number, "abandoned", "", certain=False))

    def now_for(self, name: str) -> int:
        return int(self.now * 1000)

    def start(self, name: str, do: ex.Do) -> None:
        """The driver's start: the clock is looked at, then the command goes out; its answer may be lost."""
        run, machine = do.run, self.machines[name]
        assert run is not None
        key = (self.process.boot, name, do.number)
        if key in self.starting:
            self.starting.discard(key)
            self.command_start(name, do, run)
        elif why := ex.why_not_start(self.process.states[name], do, self.clock()):
            self.seen["start.called_off"] += 1
            self.feed(name, ex.Failed(do.operation, do.number, "refused", why, certain=True))
        elif not machine.reachable:
            self.feed(name, ex.Failed(do.operation, do.number, "printer_unreachable", "gone", certain=True))
        elif machine.printing or machine.halted:
            self.feed(name, ex.Failed(do.operation, do.number, "refused", "busy", certain=True))
        elif self.is_slow and self.luck.random() < 0.5:
            self.begin_slow_start(key, do)
        else:
            self.command_start(name, do, run)

    def command_start(self, name: str, do: ex.Do, run: ex.LocalRun) -> None:
        self.physical_start(name, run)
        if self.random.random() < 0.1:
            self.seen["start.reply_lost"] += 1
            self.feed(name, ex.Failed(do.operation, do.number, "unknown", "no answer", certain=False))
        else:
            number = self.machines[name].number
            self.feed(name, ex.Done(do.operation, do.number, Handle(1, {"print_number": number})))

    def begin_slow_start(self, key: tuple[str, str, int], do: ex.Do) -> None:
        """The driver asks this and that before the command goes out; a person may want the printer stopped meanwhile."""
        _, name, _ = key
        self.starting.add(key)
        self.operations.append((self.process.boot, name, do))
        if self.luck.random() < 0.5:
            self._run(printers.emergency_stop(self.farm, PERSON, name, ""))
            self.exchange()

    def is_starting(self, name: str) -> bool:
        return any(each[1] == name for each in self.starting)

    def stop_nothing(self, name: str, stop: ex.EmergencyStop) -> None:
        """Nothing moves yet that could be stopped. The word of it comes now or later."""
        self.seen["stop.before_the_start"] += 1
        self.operations.append((self.process.boot, name, ex.Stopped(stop.generation)))

    def end_slow_starts(self) -> None:
        """They take moments, and no longer."""
        for key in sorted(self.starting):
            found = [n for n, (_, name, do) in enumerate(self.operations) if isinstance(do, ex.Do) and name == key[1]]
            for index in found:
                if key in self.starting and self.operations[index][2].number == key[2]:
                    self.perform(index)
                    break

    def physical_start(self, name: str, run: ex.LocalRun) -> None:
        machine = self.machines[name]
        self.started[run.run_id] += 1
        self.seen["physical_start"] += 1
        self.judge_start(name, run)
        machine.printing, machine.file = run.run_id, run.file_name
        machine.number += 1
        machine.plate, machine.paused, machine.lies = True, False, False
        machine.began, machine.done, machine.ending, machine.by_farm = self.now, 0.0, None, True

    def judge_start(self, name: str, run: ex.LocalRun) -> None:
        if self.started[run.run_id] > 1:
            raise Violation(f"I3: {run.run_id} started twice")
        if self.machines[name].plate:
            raise Violation(f"I11: {run.run_id} started on an occupied plate")
        row = self.store.tables.runs[run.run_id]
        if row.state is RunState.CANCELLED:
            raise Violation(f"I5: {run.run_id} was cancelled before it started")
        if row.state is RunState.FENCED:
            raise Violation(f"I10: {run.run_id} was fenced before it started")
        boot, nonce, asked = self.authorities.get(run.run_id, ("", "", 0.0))
        if boot != self.process.boot or nonce != run.nonce:
            raise Violation(f"I4: {run.run_id} started without an authority that this boot asked for")
        if not self.now - asked < TTL - MARGIN:
            raise Violation(f"I4: {run.run_id} started {self.now - asked:.0f} s after it was asked for")
        if row.epoch < self.pages[name].max_epoch or self.store.tables.printers[name].epoch > row.epoch:
            raise Violation(f"I4: {run.run_id} started under an old epoch")

    def command(self, name: str, do: ex.Do) -> None:
        machine, operation = self.machines[name], do.operation
        if operation is ex.Operation.CANCEL and machine.printing:
            machine.printing, machine.ending, machine.by_farm = None, Ending.CANCELLED, True
        elif operation is ex.Operation.PAUSE and machine.printing:
            machine.paused = True
        elif operation is ex.Operation.RESUME:
            machine.paused = False
        self.feed(name, ex.Done(operation, do.number))

    # -- the network

    def connect(self) -> None:
        """Hello, with whatever the journal holds."""
        reports = tuple(self._greeted(name) for name in PRINTERS)
        acknowledged = self.facts[0].sequence - 1 if self.facts else self.last_fact
        greeting = sessions.Greeting(
            "a1", self.process.boot, "journal", self.last_fact, acknowledged, "1", "host", False, False, reports
        )
        welcome = self._run(sessions.greet(self.farm, greeting, int(LEASE * 1e6)))
        if welcome is None:
            return
        self.hub = Hub(welcome.connection_epoch)
        self.farm.hints.attach("a1", self.hub)
        self.process.connection = welcome.connection_epoch
        self.acknowledge(welcome.last_applied_sequence)
        self.process.sent = welcome.last_applied_sequence
        self.down.clear()
        self.seen["connected"] += 1
        if any(self.process.states[name].book.run for name in PRINTERS):
            self.seen["re-attached"] += 1

    def _greeted(self, name: str) -> sessions.GreetedPrinter:
        page, machine = self.process.states[name].book, self.machines[name]
        run = page.run if page.run and page.run.stage is not ex.Stage.DONE else None
        seen = self.process.states[name].reported[0] or "offline"
        told = PrinterReport(
            page.max_epoch,
            PrinterState(seen),
            run.run_id if run else None,
            run.epoch if run else 0,
            LocalStage(run.stage.value) if run else None,
            stop_generation=page.stop_done,
        )
        return sessions.GreetedPrinter(
            name,
            "sim",
            name,
            Abilities(can_pause=True),
            BedState.CLEAR if not machine.plate else BedState.UNKNOWN,
            told,
        )

    def acknowledge(self, sequence: int) -> None:
        self.acknowledged += [fact for fact in self.facts if fact.sequence <= sequence]
        self.facts = [fact for fact in self.facts if fact.sequence > sequence]

    def cut(self) -> None:
        """The stream is gone; nobody said goodbye."""
        if self.hub is not None:
            self.farm.hints.detach("a1", self.hub)
        self.hub = None
        self.down.clear()
        self.seen["cut"] += 1

    def exchange(self) -> None:
        """What an open stream carries: wishes down, a heartbeat and facts up."""
        hub = self.hub
        if hub is None or hub.ended:
            self.hub = None
            return
        self._run(sessions.extend(self.farm, {"a1": hub.connection_epoch}, int(LEASE * 1e6)))
        if self.hub is not hub:
            return
        dirty, hub.dirty = hub.dirty, set()

        async def look() -> list[Desired]:
            async with self.store.read() as tx:
                return await sessions.wanted(tx, "a1", sorted(dirty))  # type: ignore[arg-type]

        for desired in drive(look()):
            self.down.append((desired.printer.printer_id, wanted_of(desired)))
        while self.down and self.hub is hub:
            name, wanted = self.down.popleft()
            self.feed(name, wanted)
        self.send_facts(hub)

    def say_what_must_not_count(self, hub: Hub) -> None:
        """Facts that were applied already, facts on an older stream, a word under an epoch that is not the run's."""
        chance = self.noise.random()
        if self.store.crash_at or self.hub is not hub or chance > 0.06:
            return
        before = self.truth()
        if chance < 0.02 and self.acknowledged:
            self.seen["fact.repeated"] += 1
            batch = list(self.acknowledged)[-self.noise.randint(1, 8) :]
            self._run(report.apply_events(self.farm, "a1", hub.connection_epoch, batch))
            self.judge_unchanged(before, "I12: facts that were applied before changed something")
        elif chance < 0.04 and self.facts:
            self.seen["fact.on_an_old_stream"] += 1
            self._run(report.apply_events(self.farm, "a1", hub.connection_epoch - 1, self.facts[:3]))
            self.judge_unchanged(before, "I6: an older stream of the agent was believed")
        elif chance >= 0.04 and not self.facts and (run := self._some_run()) is not None:
            self.seen["fact.foreign_epoch"] += 1
            word = self.noise.choice((Fact.NEVER_STARTED, Fact.FAILED, Fact.CANCELLED))
            epoch = run.epoch + self.noise.choice((-1, 1))
            self.last_fact += 1
            fact = AgentEvent(self.last_fact, run.printer_id, run.run_id, epoch, Report(word, "noise", "noise"))
            self.facts.append(fact)
            applied = self._run(report.apply_events(self.farm, "a1", hub.connection_epoch, [fact]))
            self.judge_unchanged(before, "I6: a word under another epoch than the run's was believed")
            if applied is not None:
                self.process.sent = applied
                self.acknowledge(applied)

    def _some_run(self) -> Any:
        active = [run for run in self.store.tables.runs.values() if run.state.is_active]
        return self.noise.choice(active) if active else None

    def truth(self) -> Any:
        """What people and printers go by."""
        tables = self.store.tables
        return tables.jobs, tables.runs, tables.printers

    def judge_unchanged(self, before: Any, why: str) -> None:
        if self.truth() != before:
            raise Violation(why)

    def send_facts(self, hub: Hub) -> None:
        self.say_what_must_not_count(hub)
        batch = [fact for fact in self.facts if fact.sequence > self.process.sent][: self.random.randint(1, 5)]
        if not batch or self.hub is not hub:
            return
        applied = self._run(report.apply_events(self.farm, "a1", hub.connection_epoch, batch))
        if applied is None:
            # Refused, or dead before the answer: the agent will come back and send it again.
            self.cut()
            return
        if self.random.random() < 0.1:
            self.seen["ack.lost"] += 1
            self.cut()
            return
        self.process.sent = applied
        self.acknowledge(applied)

    def ask(self, index: int) -> None:
        """A question reaches the coordinator; its answer goes on its way, or is lost."""
        boot, asked_ms, (name, run) = self.questions.pop(index)
        request = AuthorityRequest("a1", run.epoch, run.nonce, run.bed_token)
        if run.run_id in self.authorities and not self.store.crash_at and self.noise.random() < 0.2:
            self.ask_under_another_nonce(run.run_id, request)
        answer: Any = None
        try:
            drive(authorise.authorise_start(self.farm, run.run_id, request))
            first = self.authorities.get(run.run_id)
            if first is None or first[1] != run.nonce:
                self.authorities[run.run_id] = (boot, run.nonce, asked_ms / 1000)
            answer = ex.Granted(run.nonce, TTL - MARGIN)
            self.seen["granted"] += 1
        except RuleError as error:
            self.seen[f"denied.{error.code}"] += 1
            answer = ex.Denied(run.nonce, error.code, error.reason)
        except Crash as crash:
            self.seen[f"crash.{crash}"] += 1
            row = self.store.tables.runs[run.run_id]
            if row.nonce == run.nonce:
                self.authorities.setdefault(run.run_id, (boot, run.nonce, asked_ms / 1000))
            self.boot_coordinator()
        lost = answer is None or self.random.random() < 0.15
        self.answers.append((boot, name, ex.NoAnswer(run.nonce) if lost else answer))
        if not lost and self.random.random() < 0.1:
            self.answers.append((boot, name, answer))

    def ask_under_another_nonce(self, run_id: str, request: AuthorityRequest) -> None:
        """A second question for a run that has its authority: only the one that it was given to may ask again."""
        self.seen["asked under another nonce"] += 1
        try:
            drive(authorise.authorise_start(self.farm, run_id, replace(request, nonce="another nonce")))
        except RuleError:
            return
        raise Violation(f"I4: {run_id} was authorised under two nonces")

    def answer(self, index: int) -> None:
        boot, name, answer = self.answers.pop(index)
        if boot == self.process.boot:
            self.feed(name, answer)

    # -- people, and the printers themselves

    def order(self) -> None:
        self.orders += 1
        quantity = self.random.randint(1, 2)
        file = self.luck.choice((SHA, SHA, UNSEEN, ASKED)) if self.is_checked else SHA
        order = submit.JobOrder("job", file, quantity, 1, 0, None, Requirements(), 3, f"k{self.orders}", "d")
        self._run(submit.submit(self.farm, PERSON, order))
        if self.random.random() < 0.3:
            self._run(submit.submit(self.farm, PERSON, order))
            self.seen["submit.again"] += 1

    def look_at_files(self) -> None:
        """The farm looks at files, and people say their word, or take it back."""
        if self.luck.random() < 0.1:
            name = self.luck.choice(("judge", "override", "override_revoked"))
            self.store.crash_at = f"{self.luck.choice(('before', 'after'))}_commit.{name}"
        if self.luck.random() < 0.5:
            self._run(judging.Judge(self.farm, self.leadership).once())
        asked = [j for j in self.store.tables.jobs.values() if j.artifact_sha256 == ASKED and j.ended_at is None]
        if not asked:
            return
        job = self.luck.choice(asked)
        person = Caller(self.luck.choice(("ana", "ben")), Role.OPERATOR)
        words = [o for o in self.store.tables.overrides.values() if o.job_id == job.job_id and o.actor == person.name]
        if self.luck.random() < 0.4:
            self._run(overrides.allow_findings(self.farm, person, job.job_id, "why"))
        elif words and self.luck.random() < 0.2:
            word = self.luck.choice(words)
            self._run(overrides.revoke_override(self.farm, person, job.job_id, word.override_id, ""))
            self.seen["override.revoked"] += 1

    def _judge_file(self, run: Any) -> None:
        """No run that may still be called off is of a file that nobody looked at, or that waits for people."""
        job = self.store.tables.jobs[run.job_id]
        known = self.store.tables.overrides.values()
        words = {o.actor for o in known if o.job_id == job.job_id and o.revoked_at is None}
        self.seen[{SHA: "file.known", UNSEEN: "file.unseen", ASKED: "file.asked"}[job.artifact_sha256]] += 1
        if not job.requirements.file.rules or (job.artifact_sha256 == ASKED and len(words) < 2):
            raise Violation(
                f"FILE: {run.run_id} is of a file that nobody looked at, or that fewer than two people allowed"
            )

    def cancel(self) -> None:
        open_runs = [run for run in self.store.tables.runs.values() if run.state.is_active]
        if not open_runs:
            return
        run = self.random.choice(open_runs)
        self.seen[f"cancel.{run.state.value}"] += 1
        if self.random.random() < 0.5:
            self._run(runs.cancel_run(self.farm, PERSON, run.run_id, ""))
        else:
            self._run(jobs.cancel_job(self.farm, PERSON, run.job_id, ""))

    def tidy(self, name: str) -> None:
        """A person looks at a printer that needs it: takes the part off, then says so."""
        machine, row = self.machines[name], self.store.tables.printers.get(name)
        if row is None:
            return
        if machine.printing is None:
            machine.plate = False
            if machine.halted:
                machine.halted, machine.boots = False, machine.boots + 1
                machine.file, machine.ending = None, None
        active = self.store.tables.runs.get(row.active_run_id or "")
        if active and active.state is RunState.UNCONFIRMED and self.random.random() < 0.3:
            self.resolve(active, machine)
        if machine.printing is None and row.active_run_id is None:
            self._run(printers.clear_bed(self.farm, PERSON, name, "", None, ""))
            if row.locked or row.emergency_stopped:
                self._run(printers.release_printer(self.farm, PERSON, name, ""))
        for run in list(self.store.tables.runs.values())[-6:]:
            if run.state is RunState.FINISHED and run.verdict is None and run.printer_id == name:
                good = run.parts if self.random.random() < 0.8 else 0
                self._run(runs.give_verdict(self.farm, PERSON, run.run_id, good, "", clear_bed=False))

    def resolve(self, run: Any, machine: Machine) -> None:
        """A person tells the truth, having looked."""
        ours = machine.file == f"pf-{run.run_id}.gcode"
        if machine.printing == run.run_id:
            return
        outcome = "never_started" if not self.started[run.run_id] else "failed"
        if ours and machine.ending is Ending.COMPLETE:
            outcome = "finished"
        self.seen[f"resolve.{outcome}"] += 1
        self._run(runs.resolve_run(self.farm, PERSON, run.run_id, outcome, ""))

    def nature(self, name: str) -> None:
        """The printer goes on, or something happens to it."""
        machine = self.machines[name]
        if machine.printing is None:
            return
        luck = self.random.random()
        if luck < 0.01:
            machine.printing, machine.ending, machine.boots = None, None, machine.boots + 1
            machine.file = None
            self.seen["nature.reset"] += 1
        elif luck < 0.02:
            machine.printing, machine.ending, machine.by_farm = None, Ending.CANCELLED, False
            self.seen["nature.local_cancel"] += 1
        elif luck < 0.025:
            machine.lies = True
            self.seen["nature.lie"] += 1
        elif luck < 0.03:
            machine.reachable = not machine.reachable
        elif not machine.paused:
            machine.done += self.random.uniform(5, 25)
            if machine.done >= ESTIMATE:
                machine.printing, machine.ending, machine.lies = None, Ending.COMPLETE, False
                self.seen["nature.finished"] += 1

    def observe(self, name: str) -> None:
        machine = self.machines[name]
        if not machine.reachable:
            machine.reachable = self.random.random() < 0.3
            self.feed(name, ex.Unseen("gone"))
        else:
            self.feed(name, ex.Seen(machine.look()))

    # -- time

    def pass_time(self) -> None:
        self.end_slow_starts()
        self.now += self.random.choice((0.2, 0.2, 1.0, 3.0, 12.0, 50.0 if self.random.random() < 0.1 else 1.0))
        if self.random.random() < 0.02:
            self.wall += self.random.uniform(-3600, 3600)
        self._tick_clock()
        for name in PRINTERS:
            self.nature(name)
            self.feed(name, ex.Tick())

    def long_silence(self) -> None:
        """Longer than a lease: the agent is declared out of reach, whatever its printers do."""
        self.end_slow_starts()
        self.cut()
        self.now += self.random.uniform(LEASE, 3 * LEASE)
        self._tick_clock()
        self.seen["silence"] += 1
        self.coordinate()

    def coordinate(self) -> None:
        """What the coordinator does by itself."""
        if self.random.random() < 0.02:
            names = ("offer", "report", "authorise", "hello", "cancel_job", "cancel_run", "verdict", "expire", "submit")
            edge = self.random.choice(("before", "after"))
            self.store.crash_at = f"{edge}_commit.{self.random.choice(names)}"
        self._run(self.leadership.prolong(self.farm))
        if self.is_checked:
            self.look_at_files()
        self._run(assign.assign_once(self.farm, self.leadership))
        self._run(expire.expire_once(self.farm, self.leadership, int(LEASE * 1e6), BEAT_US))

    def step(self) -> None:
        """One thing happens; then everything is looked at."""
        luck = self.random.random()
        if luck < 0.04:
            self.order()
        elif luck < 0.055:
            self.cancel()
        elif luck < 0.16:
            self.coordinate()
        elif luck < 0.30:
            if self.hub is None:
                self.connect()
            else:
                self.exchange()
        elif luck < 0.31:
            self.cut()
        elif luck < 0.313:
            self.seen["crash.agent"] += 1
            self.boot_agent()
        elif luck < 0.316:
            self.boot_coordinator()
        elif luck < 0.318:
            self.two_coordinators()
        elif luck < 0.50 and self.operations:
            self.perform(self.random.randrange(len(self.operations)))
        elif luck < 0.58 and self.questions:
            if self.random.random() < 0.1:
                self.questions.pop(self.random.randrange(len(self.questions)))
            else:
                self.ask(self.random.randrange(len(self.questions)))
        elif luck < 0.66 and self.answers:
            self.answer(self.random.randrange(len(self.answers)))
        elif luck < 0.80:
            self.observe(self.random.choice(PRINTERS))
        elif luck < 0.88:
            self.tidy(self.random.choice(PRINTERS))
        elif luck < 0.882:
            name = self.random.choice(PRINTERS)
            self.seen["emergency_stop"] += 1
            self._run(printers.emergency_stop(self.farm, PERSON, name, ""))
        elif luck < 0.885:
            self.long_silence()
        else:
            self.pass_time()
        self.judge()

    # -- the observer

    def judge(self) -> None:
        tables = self.store.tables
        active: Counter[str] = Counter()
        owed: Counter[str] = Counter()
        for run in tables.runs.values():
            known = self.ended_as.get(run.run_id)
            if known is not None and known is not run.state:
                raise Violation(f"I15: {run.run_id} was {known}, now {run.state}")
            if self.is_checked and run.state in BEFORE_AUTHORITY and not run.cancel_requested:
                self._judge_file(run)
            if run.state.is_active:
                active[run.printer_id] += 1
                owed[run.job_id] += run.parts
            else:
                self._judge_final(run, known)
        if any(count > 1 for count in active.values()):
            raise Violation(f"I2: {active}")
        for job_id, parts in owed.items():
            job = tables.jobs[job_id]
            plates = -(-max(0, job.quantity - job.good_parts) // job.parts_per_plate)
            if parts > plates * job.parts_per_plate:
                raise Violation(f"I1: {job_id} has {parts} parts active, {job.quantity - job.good_parts} are owed")
        self._judge_epochs()
        agent = tables.agents["a1"]
        if agent.last_applied_sequence > self.last_fact:
            raise Violation("I12: applied what was never journalled")
        if self.facts and self.facts[0].sequence > agent.last_applied_sequence + 1:
            raise Violation("I12: a fact was forgotten before it was applied")
        for sequence, count in self.store.applied.items():
            if count > 1:
                raise Violation(f"I12: fact {sequence} was applied {count} times")
        self.store.applied = Counter({n: c for n, c in self.store.applied.items() if n > self.last_fact - 200})

    def _judge_epochs(self) -> None:
        """Neither side's highest epoch ever goes back, whatever dies (I6)."""
        rows = {("row", name): row.epoch for name, row in self.store.tables.printers.items()}
        for place, epoch in (rows | {("journal", name): page.max_epoch for name, page in self.pages.items()}).items():
            if epoch < self.highest[place]:
                raise Violation(f"I6: epoch {epoch} of {place}, which was at {self.highest[place]}")
            self.highest[place] = epoch

    def _judge_final(self, run: Any, known: RunState | None) -> None:
        if known is None:
            self.ended_as[run.run_id] = run.state
            self.seen[f"run.{run.state.value}"] += 1
            if run.state is RunState.FENCED and self.started[run.run_id]:
                raise Violation(f"I10: {run.run_id} is fenced, and was started")
        machine = self.machines[run.printer_id]
        if run.state is RunState.CANCELLED and machine.printing == run.run_id:
            raise Violation(f"I5: {run.run_id} is cancelled, and prints")


def wanted_of(desired: Desired) -> ex.Wanted:
    """As it comes over the wire."""
    printer, want = desired.printer, desired.run
    run = None
    if want is not None:
        run = ex.WantedRun(
            want.run.run_id,
            want.run.job_id,
            want.run.epoch,
            ex.Desire(want.state.value),
            SHA,
            100,
            want.bed_token,
            want.may_have_started,
            ESTIMATE,
        )
    return ex.Wanted(
        printer.epoch, run, printer.held, printer.emergency_generation, printer.emergency_released_generation
    )
