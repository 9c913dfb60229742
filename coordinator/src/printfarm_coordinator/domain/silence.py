"""Whom silence makes unreachable, and when the coordinator must blame itself instead (I10, I19)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from .printer import Printer, PrinterState
from .run import RunState
from .slice import Slice, entered

MASS_SILENCE_WINDOW_US = 60_000_000
FEWEST_FOR_MASS_SILENCE = 3
MASS_SILENCE_SHARE = 0.3
# A lease that ends within so many heartbeats was not prolonged for long; one that is kept up is never so near its end.
SILENT_BEATS = 1.25
DRIVER_STUCK = "driver_stuck"


@dataclass(frozen=True, slots=True)
class Lease:
    """An agent's lease in database time."""

    agent_id: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Brake:
    """Until when no agent is declared unreachable and nothing is offered, because the fault may be ours."""

    until: int = 0

    def is_on(self, now: int) -> bool:
        """Nothing may be concluded from silence at this moment."""
        return now < self.until


def expired(leases: Iterable[Lease], now: int) -> list[Lease]:
    """The leases that ran out."""
    return [lease for lease in leases if lease.expires_at <= now]


def is_mass_silence(leases: Iterable[Lease], now: int, beat_us: int) -> bool:
    """At least max(3, 30 %) of the agents fell silent within the last minute.

    Heartbeats are spread over a period, and so the ends of leases that stop together: those that are near count, or the
    first would be declared out of reach before the others show. ``leases``: of the connected, and of those declared lately.
    """
    known = list(leases)
    soon = now + round(SILENT_BEATS * beat_us)
    silent = [lease for lease in known if now - MASS_SILENCE_WINDOW_US < lease.expires_at <= soon]
    return len(silent) >= max(FEWEST_FOR_MASS_SILENCE, MASS_SILENCE_SHARE * len(known))


def braked(brake: Brake, now: int, lease_us: int) -> Brake:
    """The brake pulled, or kept pulled: two leases from now."""
    return Brake(max(brake.until, now + 2 * lease_us))


@dataclass(slots=True)
class ClockWatch:
    """Whether the database's clock was set: between two looks it must go on as far as this process's monotonic one.

    Only durations are compared, never the two clocks (I18)."""

    last: tuple[int, float] | None = None

    def jump(self, now: int, monotonic: float) -> float:
        """By how many seconds the clock was set forward (or back, below 0) since the last look, in microseconds ``now``."""
        before, self.last = self.last, (now, monotonic)
        return 0.0 if before is None else (now - before[0]) / 1e6 - (monotonic - before[1])


def since_clock_was_set(held: Slice, now: int) -> Slice:
    """An authority of the future was given before the clock was set back. It counts as given now: whoever waits for its end
    does not wait for as long as the clock went back."""
    run = held.run
    if run.authorised_at is None or run.authorised_at <= now:
        return held
    return replace(held, run=replace(run, authorised_at=now))


def lost(held: Slice, now: int) -> Slice:
    """The run of an agent that is out of reach: unconfirmed if it is active, and nothing is started in its place."""
    if held.run.state is RunState.UNCONFIRMED or not held.run.state.is_active:
        return held
    why = f"agent {held.run.agent_id} is out of reach"
    return entered(held, RunState.UNCONFIRMED, now, "coordinator", code="agent_unreachable", reason=why)


def driver_stuck(held: Slice, now: int) -> Slice:
    """The active run of a printer whose driver makes no progress though its agent lives: nobody knows what it does."""
    if held.run.state is RunState.UNCONFIRMED or not held.run.state.may_have_started:
        return held
    why = "the driver of its printer hangs"
    return entered(held, RunState.UNCONFIRMED, now, "coordinator", code=DRIVER_STUCK, reason=why)


def driver_back(held: Slice, now: int) -> Slice:
    """The driver goes on. Its events tell the rest; the run is where it was."""
    run = held.run
    if run.state is not RunState.UNCONFIRMED or run.reason_code != DRIVER_STUCK or run.unconfirmed_from is None:
        return held
    return entered(held, run.unconfirmed_from, now, "coordinator")


def lost_printer(printer: Printer, now: int) -> Printer:
    """A printer of an agent that is out of reach."""
    return replace(printer, observed_state=PrinterState.OFFLINE, updated_at=now)
