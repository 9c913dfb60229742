"""An agent's journalled facts, applied in order, each once (I6, I12)."""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from ..domain import gates
from ..domain.errors import RuleError
from ..domain.events import DomainEvent, Scalar
from ..domain.inbox import Admission, admit, is_believed, is_from_future
from ..domain.observations import observed
from ..domain.printer import Abilities, BedState, Printer, PrinterState
from ..domain.reports import Report, apply_report
from ..domain.slice import run_event
from .costing import save
from .farm import Farm, transact
from .ports import Agent, Writing

_LOG = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PrinterSeen:
    """The printer changed, as its agent sees it. ``None`` says nothing."""

    state: PrinterState
    abilities: Abilities | None = None
    plate: BedState | None = None


@dataclass(frozen=True, slots=True)
class EmergencyStopDone:
    """The stop of a generation was written to the machine."""

    generation: int


@dataclass(frozen=True, slots=True)
class Alarm:
    """Worth a person's look; the run goes on."""

    code: str
    text: str


Fact = Report | PrinterSeen | EmergencyStopDone | Alarm


@dataclass(frozen=True, slots=True)
class AgentEvent:
    """One event of an agent's journal."""

    sequence: int
    printer_id: str
    run_id: str
    epoch: int
    # None: a kind of fact that this coordinator does not know.
    fact: Fact | None


async def apply_events(farm: Farm, agent_id: str, connection_epoch: int, events: Sequence[AgentEvent]) -> int:
    """Applies what is new of the batch, in one transaction; returns the last applied sequence, to be acknowledged.

    Raises STALE_CONNECTION if a newer stream of the agent took over, EVENT_GAP if events are missing; then nothing is applied.
    """
    touched: set[str] = set()

    async def work(tx: Writing) -> int:
        touched.clear()
        agent = await current_agent(tx, agent_id, connection_epoch)
        last = agent.last_applied_sequence
        for event in events:
            admission = admit(last, event.sequence)
            if admission is Admission.GAP:
                raise RuleError("EVENT_GAP", f"event {event.sequence} came after {last}")
            if admission is Admission.REPEATED:
                continue
            await _apply(farm, tx, agent, event)
            touched.add(event.printer_id)
            last = event.sequence
        if last != agent.last_applied_sequence:
            await tx.advance_agent(agent_id, last)
        return last

    last = await transact(farm, "report", work)
    for printer_id in touched:
        farm.hints.printer_changed(agent_id, printer_id)
    return last


async def current_agent(tx: Writing, agent_id: str, connection_epoch: int) -> Agent:
    """The agent's row, locked. Raises STALE_CONNECTION unless the connection is its newest."""
    agent = await tx.lock_agent(agent_id)
    if agent is None or agent.connection_epoch != connection_epoch:
        raise RuleError("STALE_CONNECTION", "a newer connection of this agent took over")
    return agent


async def _apply(farm: Farm, tx: Writing, agent: Agent, event: AgentEvent) -> None:
    printer = await tx.printer(event.printer_id)
    if printer is None or printer.agent_id != agent.agent_id:
        await _refuse(tx, agent, event, "not its printer")
    elif is_from_future(printer, event.epoch):
        await _refuse(tx, agent, event, f"epoch {event.epoch} was never given")
    elif event.fact is None:
        await _refuse(tx, agent, event, "a kind of fact that this coordinator does not know")
    elif isinstance(event.fact, Report):
        await _apply_report(farm, tx, agent, event, event.fact)
    elif isinstance(event.fact, Alarm):
        await _apply_alarm(tx, agent, event, event.fact)
    else:
        await _apply_to_printer(tx, event.printer_id, event.fact)


async def _refuse(tx: Writing, agent: Agent, event: AgentEvent, why: str) -> None:
    """Changes nothing but the inbox: a wrong event must not block those behind it. People are told."""
    _LOG.warning("event refused", agent_id=agent.agent_id, sequence=event.sequence, why=why)
    data: dict[str, Scalar] = {"sequence": event.sequence, "printer_id": event.printer_id, "reason": why}
    await tx.append_events([DomainEvent("agent.event_refused", agent.agent_id, agent.agent_id, data)])


async def _apply_report(farm: Farm, tx: Writing, agent: Agent, event: AgentEvent, report: Report) -> None:
    held = await tx.lock_slice(event.run_id)
    if held is None or not is_believed(held.run, agent.agent_id, event.epoch):
        _LOG.info("stale report dropped", run_id=event.run_id, epoch=event.epoch, fact=report.fact.value)
        return
    await save(farm, tx, held, apply_report(held, report, tx.now, farm.ids.new()))


async def _apply_alarm(tx: Writing, agent: Agent, event: AgentEvent, alarm: Alarm) -> None:
    run = await tx.run(event.run_id) if event.run_id else None
    data: dict[str, Scalar] = {"code": alarm.code, "text": alarm.text}
    if run is not None and is_believed(run, agent.agent_id, event.epoch):
        await tx.append_events([run_event(run, "alarm", agent.agent_id, code=alarm.code, text=alarm.text)])
    else:
        await tx.append_events([DomainEvent("printer.alarm", event.printer_id, agent.agent_id, data)])


async def _apply_to_printer(tx: Writing, printer_id: str, fact: PrinterSeen | EmergencyStopDone) -> None:
    printer = await tx.lock_printer(printer_id)
    if printer is None:
        return
    change = _printer_change(printer, fact, tx.now)
    await tx.save_printer(printer, change.printer)
    await tx.append_events(change.events)
    await tx.append_audit(change.audit)


def _printer_change(printer: Printer, fact: PrinterSeen | EmergencyStopDone, now: int) -> gates.PrinterChange:
    if isinstance(fact, EmergencyStopDone):
        return gates.emergency_stopped(printer, fact.generation, now)
    return observed(printer, fact.state, fact.abilities, fact.plate, now)
