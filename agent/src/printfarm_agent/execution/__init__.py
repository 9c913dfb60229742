"""One printer's local run as a pure machine: what is wanted, what is journalled, what is seen -> what to do next.

``step(state, input, now)`` takes one input and returns the new state with effects, which the worker carries out in their order:

- ``Commit`` comes first, and must be durable before anything behind it happens: the journal never trails the machine;
- at most one driver operation (or fetch, or question to the coordinator) follows, and its outcome comes back as an input;
- ``Abandon`` breaks the transfer off that is under way;
- ``EmergencyStop`` goes out on a way of its own, also while another operation hangs.

The function is total: an input that does not fit changes nothing. ``now`` is this host's monotonic clock in seconds; the wall
clock is never read. ``State.book`` is what the journal holds; everything else is forgotten by a restart (``reopened``).

The start protocol: FETCHING -> ACCEPTED -> AUTHORISING (a nonce is journalled, then asked with) -> STARTING (journalled, then
commanded) -> PRINTING. Authority counts from the first question with its nonce. A nonce of an earlier boot never starts
anything, and whatever was STARTING at a restart is looked for on the printer, never started again.
"""

from .deciding import decide, why_not_start
from .inputs import (
    Denied,
    Described,
    Done,
    Failed,
    Granted,
    Input,
    NoAnswer,
    Overheated,
    Seen,
    StopFailed,
    Stopped,
    Tick,
    Unseen,
)
from .taking import take
from .turn import is_latched, is_stop_owed
from .values import (
    IDLE_HEAT_SECONDS,
    ON_PRINTER,
    TRANSFERS,
    Abandon,
    Book,
    Commit,
    Desire,
    Do,
    Effect,
    EmergencyStop,
    Event,
    LocalRun,
    Operation,
    Rules,
    Stage,
    State,
    Wanted,
    WantedRun,
)

__all__ = [
    "IDLE_HEAT_SECONDS",
    "ON_PRINTER",
    "TRANSFERS",
    "Abandon",
    "Book",
    "Commit",
    "Denied",
    "Described",
    "Desire",
    "Do",
    "Done",
    "Effect",
    "EmergencyStop",
    "Event",
    "Failed",
    "Granted",
    "Input",
    "LocalRun",
    "NoAnswer",
    "Operation",
    "Overheated",
    "Rules",
    "Seen",
    "Stage",
    "State",
    "StopFailed",
    "Stopped",
    "Tick",
    "Unseen",
    "Wanted",
    "WantedRun",
    "is_latched",
    "is_stop_owed",
    "reopened",
    "step",
    "why_not_start",
]


def reopened(book: Book, host_boot: str = "") -> State:
    """After a restart: only the journal counts. ``host_boot`` as in ``Rules``."""
    run = book.run
    is_same_clock = run is not None and host_boot != "" and run.host_boot == host_boot
    return State(book, began_at=run.began_at if run is not None and is_same_clock else None)


def step(state: State, given: Input, now: float, rules: Rules, nonce: str) -> tuple[State, tuple[Effect, ...]]:
    """One input. ``nonce`` is fresh, and used only if an attempt for authority begins with this step."""
    taken = take(state, given, now, rules)
    decided = decide(taken, now, rules, nonce)
    return decided.state, decided.effects()
