"""A state on its way through one step, and what every part of the step asks of it."""

from dataclasses import dataclass, replace
from typing import Any

from ..driver import ObservedState
from .values import (
    BEFORE_START,
    Abandon,
    Book,
    Commit,
    Do,
    Effect,
    EmergencyStop,
    Event,
    LocalRun,
    Operation,
    Stage,
    State,
    Wanted,
    WantedRun,
    fact,
)

FRESH_SECONDS = 5.0
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A state on its way, with what must be committed and done."""

    state: State
    events: tuple[Event, ...] = ()
    do: Do | None = None
    stop: EmergencyStop | None = None
    abandon: Abandon | None = None
    written: bool = False

    def effects(self) -> tuple[Effect, ...]:
        found: list[Effect] = [self.stop] if self.stop else []
        if self.written or self.events:
            found.append(Commit(self.state.book, self.events))
        if self.abandon:
            found.append(self.abandon)
        if self.do:
            found.append(self.do)
        return tuple(found)

    def put(self, **changes: Any) -> "Turn":
        return replace(self, state=replace(self.state, **changes))

    def write(self, *events: Event, **changes: Any) -> "Turn":
        """The page changed, and these facts with it."""
        book = replace(self.state.book, **changes)
        return replace(self, state=replace(self.state, book=book), events=self.events + events, written=True)

    def write_run(self, run: LocalRun, *events: Event) -> "Turn":
        return self.write(*events, run=run)

    def begin(
        self,
        operation: Operation,
        run: LocalRun | None = None,
        before: float | None = None,
        files: tuple[str, ...] = (),
    ) -> "Turn":
        number = self.state.number + 1
        return replace(self.put(busy=operation, number=number), do=Do(operation, number, run, before, files))


def fail(turn: Turn, run: LocalRun, code: str, reason: str, *, lock: bool = False) -> Turn:
    touched = run.stage not in BEFORE_START
    return over(turn, run, fact("failed", run, code=code, reason=reason, bed_touched=touched, lock_printer=lock))


def over(turn: Turn, run: LocalRun, event: Event) -> Turn:
    """The run's last fact. Its page stays until the coordinator wants something else."""
    return turn.write_run(replace(run, stage=Stage.DONE), event).put(
        asked_at=None, until=None, looked_since=None, gone_looks=0, alarms=frozenset(), removals=0
    )


def still_needed(state: State) -> tuple[str, ...]:
    """Of our files on the printer, that of the run under way."""
    run = state.book.run
    own = run.file_name if run is not None and run.stage is not Stage.DONE else ""
    return tuple(name for name in state.book.left_files if name == own)


def want_of(state: State, run: LocalRun) -> WantedRun | None:
    """The wish for this very run; None if the coordinator wants none, or another."""
    want = state.wanted.run if state.wanted else None
    return want if want and (want.run_id, want.epoch) == (run.run_id, run.epoch) else None


def is_stop_owed(book: Book, wanted: Wanted | None) -> bool:
    """A stop that a person has released was carried out before, also where this journal is too young or too old to know."""
    return wanted is not None and wanted.stop_generation > max(
        book.stop_done, book.stop_released, wanted.released_generation
    )


def is_latched(state: State) -> bool:
    """An emergency stop was asked for and no person has released it."""
    wanted = state.wanted.stop_generation if state.wanted else 0
    return max(wanted, state.book.stop_done) > state.book.stop_released


def is_idle(state: State, now: float) -> bool:
    """By a fresh look: what was seen a while ago proves nothing."""
    fresh = state.reachable and state.seen is not None and now - state.seen_at <= FRESH_SECONDS
    return fresh and state.seen is not None and state.seen.state is ObservedState.IDLE and not state.seen.halted
