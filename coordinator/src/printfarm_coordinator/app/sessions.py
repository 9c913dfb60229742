"""An agent's connection: Hello, heartbeats, what is wanted of its printers, Goodbye."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from ..domain.desired import Desired, desired
from ..domain.errors import RuleError
from ..domain.events import DomainEvent
from ..domain.print_file import print_file_of
from ..domain.printer import Abilities, Bed, BedState, Printer
from ..domain.reunion import PrinterReport, greet_printer, greet_run, with_facts_lost
from ..domain.silence import driver_back, driver_stuck, lost, lost_printer
from ..domain.slice import printer_event
from .farm import Farm, transact
from .ports import Agent, Reading, Writing
from .report import current_agent

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GreetedPrinter:
    """One printer of a Hello."""

    printer_id: str
    driver: str
    name: str
    abilities: Abilities
    initial_bed: BedState
    report: PrinterReport


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an agent says first. ``agent_id`` is from its certificate."""

    agent_id: str
    boot_id: str
    journal_id: str
    journal_max_sequence: int
    journal_acknowledged_sequence: int
    version: str
    hostname: str
    wants_drain: bool
    journal_corrupt: bool
    printers: tuple[GreetedPrinter, ...]


@dataclass(frozen=True, slots=True)
class Welcome:
    """The connection as it was committed."""

    connection_epoch: int
    last_applied_sequence: int


async def greet(farm: Farm, greeting: Greeting, lease_us: int) -> Welcome:
    """The agent connected anew: every older connection of it is over. One transaction.

    Raises NOT_FOUND for an agent that never enrolled, WRONG_AGENT for a printer that is another agent's.
    """

    async def work(tx: Writing) -> Agent:
        before = await tx.lock_agent(greeting.agent_id)
        if before is None:
            raise RuleError("AGENT_REVOKED", f"no agent {greeting.agent_id} is enrolled")
        applied = before.last_applied_sequence if before.journal_id == greeting.journal_id else 0
        lost = max(0, greeting.journal_acknowledged_sequence - applied)
        agent = _connected(before, greeting, applied + lost, tx.now, lease_us)
        await tx.put_agent(agent)
        if lost:
            # This database was restored from an older copy: what was applied since is known to nobody any more.
            await tx.append_events([DomainEvent("agent.facts_lost", agent.agent_id, "coordinator", {"facts": lost})])
        await tx.append_events(_connection_events(before, agent, greeting, tx.now))
        is_new_journal = before.journal_id not in ("", greeting.journal_id)
        # The same journal with fewer facts than were applied is an older copy of it.
        is_older = before.journal_id == greeting.journal_id and greeting.journal_max_sequence < applied
        for said in greeting.printers:
            report = replace(said.report, journal_lost=is_new_journal or is_older, facts_lost=lost > 0)
            await _greet_printer(farm, tx, agent, replace(said, report=report))
        named = {said.printer_id for said in greeting.printers}
        for printer in await tx.printers(agent.agent_id):
            if printer.printer_id not in named and (locked := await tx.lock_printer(printer.printer_id)):
                doubted, events = with_facts_lost(locked, tx.now) if lost else (locked, ())
                await tx.save_printer(locked, lost_printer(doubted, tx.now))
                await tx.append_events(events)
        return agent

    try:
        agent = await transact(farm, "hello", work)
    except RuleError as refusal:
        if refusal.code == "WRONG_AGENT":
            await _alert(farm, greeting.agent_id, refusal.reason)
        raise
    farm.hints.assign.set()
    farm.hints.relay.set()
    return Welcome(agent.connection_epoch, agent.last_applied_sequence)


async def _alert(farm: Farm, agent_id: str, why: str) -> None:
    """People are told: a host that claims another's printer is set up wrongly, or is not what it says."""
    _LOG.warning("hello refused", agent_id=agent_id, why=why)

    async def work(tx: Writing) -> None:
        await tx.append_events([DomainEvent("agent.hello_refused", agent_id, agent_id, {"reason": why})])

    await transact(farm, "hello_refused", work)
    farm.hints.relay.set()


def _connected(agent: Agent, greeting: Greeting, applied: int, now: int, lease_us: int) -> Agent:
    return replace(
        agent,
        connection_epoch=agent.connection_epoch + 1,
        boot_id=greeting.boot_id,
        journal_id=greeting.journal_id,
        last_applied_sequence=applied,
        journal_max_sequence=greeting.journal_max_sequence,
        lease_expires_at=now + lease_us,
        last_heartbeat_at=now,
        reachable=True,
        version=greeting.version,
        hostname=greeting.hostname,
        wants_drain=greeting.wants_drain or greeting.journal_corrupt,
    )


def _connection_events(before: Agent, after: Agent, greeting: Greeting, now: int) -> list[DomainEvent]:
    agent_id = after.agent_id
    events = [DomainEvent("agent.connected", agent_id, agent_id, {"version": after.version, "boot": after.boot_id})]
    if before.reachable and before.lease_expires_at > now and before.boot_id not in ("", after.boot_id):
        # A quick restart looks the same as a second host with a stolen key: people can tell by how often it comes.
        events.append(DomainEvent("agent.taken_over", agent_id, agent_id, {"hostname_before": before.hostname}))
    if before.journal_id not in ("", after.journal_id):
        events.append(DomainEvent("agent.journal_lost", agent_id, agent_id, {"journal": after.journal_id}))
    if greeting.journal_corrupt:
        events.append(DomainEvent("agent.journal_corrupt", agent_id, agent_id))
    return events


async def _greet_printer(farm: Farm, tx: Writing, agent: Agent, said: GreetedPrinter) -> None:
    seen = await tx.printer(said.printer_id)
    if seen is None:
        await _add_printer(farm, tx, agent, said)
        return
    if seen.agent_id != agent.agent_id:
        raise RuleError("WRONG_AGENT", f"printer {said.printer_id} belongs to another agent")
    report = said.report
    held = await tx.lock_slice(seen.active_run_id) if seen.active_run_id else None
    printer = held.printer if held else await tx.lock_printer(said.printer_id) or seen
    name = printer.overrides.name or said.name
    told = replace(printer, abilities=said.abilities, driver=said.driver, name=name)
    greeted, events = greet_printer(told, report, tx.now)
    if held is None:
        await tx.save_printer(printer, greeted)
        await tx.append_events(events)
        return
    after = greet_run(replace(held, printer=greeted, events=events), report, tx.now)
    await tx.save_slice(held, after)


async def _add_printer(farm: Farm, tx: Writing, agent: Agent, said: GreetedPrinter) -> None:
    is_clear = said.initial_bed is BedState.CLEAR
    bed = Bed(said.initial_bed, farm.ids.new() if is_clear else None, None, agent.agent_id, tx.now)
    printer = Printer(said.printer_id, agent.agent_id, said.name, said.driver, said.abilities, tx.now, tx.now, bed=bed)
    greeted, events = greet_printer(printer, said.report, tx.now)
    await tx.add_printer(greeted)
    await tx.append_events([printer_event(greeted, "added", agent.agent_id, driver=said.driver), *events])


async def wanted(look: Reading, agent_id: str, printer_ids: Sequence[str] | None = None) -> list[Desired]:
    """What is wanted of the agent's printers: of all, or of those named."""
    if printer_ids is None:
        printers = await look.printers(agent_id)
    else:
        named = [await look.printer(printer_id) for printer_id in printer_ids]
        printers = [printer for printer in named if printer is not None and printer.agent_id == agent_id]
    return [await _wanted_of(look, printer) for printer in printers]


async def _wanted_of(look: Reading, printer: Printer) -> Desired:
    run = await look.run(printer.active_run_id) if printer.active_run_id else None
    job = await look.job(run.job_id) if run else None
    artifact = await look.artifact(print_file_of(run, job).sha256) if run and job else None
    return desired(printer, run, job, artifact.size_bytes if artifact else 0)


async def extend(farm: Farm, beats: dict[str, int], lease_us: int) -> None:
    """Prolongs the leases of agents (id -> connection epoch) that sent a heartbeat."""

    async def work(tx: Writing) -> None:
        await tx.extend_leases(beats, tx.now + lease_us)

    await transact(farm, "heartbeats", work)


async def set_drain_wish(farm: Farm, agent_id: str, connection_epoch: int, *, drain: bool) -> None:
    """The agent wants nothing new, or again something."""

    async def work(tx: Writing) -> None:
        agent = await current_agent(tx, agent_id, connection_epoch)
        if agent.wants_drain != drain:
            await tx.put_agent(replace(agent, wants_drain=drain))
            await tx.append_events([DomainEvent("agent.drain_wish", agent_id, agent_id, {"drain": drain})])

    await transact(farm, "drain_wish", work)
    farm.hints.assign.set()


async def say_goodbye(farm: Farm, agent_id: str, connection_epoch: int) -> None:
    """An orderly end: the agent is out of reach from now on. Its runs may go on, and wait in UNCONFIRMED for it."""

    async def work(tx: Writing) -> None:
        agent = await current_agent(tx, agent_id, connection_epoch)
        await lose_agent(tx, agent, "goodbye")

    await transact(farm, "goodbye", work)
    farm.hints.relay.set()


async def lose_agent(tx: Writing, agent: Agent, why: str) -> None:
    """The agent out of reach: its active runs unconfirmed, its printers offline, nothing owed again (I10)."""
    await tx.put_agent(replace(agent, reachable=False))
    for run in await tx.active_runs(agent.agent_id):
        if held := await tx.lock_slice(run.run_id):
            await tx.save_slice(held, lost(held, tx.now))
    for printer in await tx.printers(agent.agent_id):
        if locked := await tx.lock_printer(printer.printer_id):
            await tx.save_printer(locked, lost_printer(locked, tx.now))
    await tx.append_events([DomainEvent("agent.unreachable", agent.agent_id, "coordinator", {"reason": why})])


async def note_driver(farm: Farm, agent_id: str, connection_epoch: int, printer_id: str, *, stuck: bool) -> None:
    """A printer's driver hangs, or goes on again, as the agent's heartbeat says."""

    async def work(tx: Writing) -> None:
        await current_agent(tx, agent_id, connection_epoch)
        printer = await tx.printer(printer_id)
        if printer is None or printer.agent_id != agent_id or printer.active_run_id is None:
            return
        if held := await tx.lock_slice(printer.active_run_id):
            await tx.save_slice(held, driver_stuck(held, tx.now) if stuck else driver_back(held, tx.now))

    await transact(farm, "driver_age", work)
    farm.hints.printer_changed(agent_id, printer_id)
