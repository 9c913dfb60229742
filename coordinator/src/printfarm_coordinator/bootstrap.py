"""The composition root: the only place that names adapters."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import grpc
import structlog
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from printfarm.agent.v1 import agent_service_pb2_grpc
from printfarm_rpc.identity import PeerRole
from printfarm_rpc.limits import (
    AGENT_SERVER,
    CONTROL_SERVER,
    DRAIN_NOTICE_SECONDS,
    ENROLLMENT_SERVER,
    STOP_GRACE_SECONDS,
    Options,
)
from printfarm_rpc.serving import Guard
from printfarm_rpc.tls import CredentialFiles, mutual_server_credentials, open_server_credentials
from printfarm_rpc.watchdog import watch_loop

from .adapters.artifacts.folder import ArtifactFolder
from .adapters.bus.inprocess import InProcessBus
from .adapters.bus.rabbitmq import open_rabbitmq
from .adapters.ca.authority import Authority
from .adapters.ca.server import ensure_server_credentials, renew_for_ever
from .adapters.ids import TimeOrderedIds
from .adapters.sql.migrate import migrate
from .adapters.sql.store import SqlStore
from .app.assign import AssignFigures, assign_for_ever
from .app.expire import expire_for_ever
from .app.facts import read_facts_for_ever
from .app.farm import Farm
from .app.heartbeats import Heartbeats
from .app.janitor import tidy_for_ever
from .app.judging import judge_for_ever
from .app.leading import Leadership, lead_for_ever
from .app.ports import Bus, DatabaseUnavailable
from .app.prepare import prepare_for_ever
from .app.relay import publish_for_ever, relay_for_ever
from .app.slicing_figures import SlicingFigures
from .grpc_api.agent_service import AgentServicer, AgentTimes
from .grpc_api.agent_session import AgentSession
from .grpc_api.authorize import AGENT_TABLE, CONTROL_TABLE, ENROLLMENT_TABLE
from .grpc_api.control import SERVICES, add_control_services
from .grpc_api.enrollment_service import add_enrollment_service
from .grpc_api.errors import translate
from .grpc_api.health import Health, answers, watch_storage
from .grpc_api.sweep import sweep_for_ever
from .metrics import Metrics
from .settings import CoordinatorSettings
from .tasks import Work, supervised

_LOG = structlog.get_logger(__name__)
_DAY_US = 24 * 3_600_000_000
_METRICS_SECONDS = 5.0
_AGENT_SERVICES = ("printfarm.agent.v1.AgentService",)


class AddressTaken(Exception):
    """A listener cannot be opened. The text names address and variable."""


@dataclass(frozen=True, slots=True)
class RunningCoordinator:
    """Addresses as ``host:port``, with port 0 resolved."""

    agents_address: str
    control_address: str
    enrollment_address: str
    admin_address: str
    metrics_address: str
    farm: Farm
    authority: Authority
    leadership: Leadership


@asynccontextmanager
async def open_coordinator(settings: CoordinatorSettings) -> AsyncGenerator[RunningCoordinator]:
    """Everything a coordinator is; closed in reverse order. The CA must be there (``ca create``).

    Raises CredentialsError, AddressTaken, DatabaseUnavailable, ValueError (DATABASE_URL)."""
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        authority = await asyncio.to_thread(Authority.open, settings.authority)
        files = await asyncio.to_thread(
            ensure_server_credentials, authority, settings.credentials, settings.server_names
        )
        store = SqlStore(settings.database, pool_size=settings.database_pool)
        stack.push_async_callback(store.close)
        await migrate(store.engine)
        bus = await _open_bus(stack, settings)
        blobs = ArtifactFolder(settings.artifacts)
        stack.push_async_callback(blobs.close)
        metrics = Metrics()
        farm = Farm(
            store,
            bus,
            blobs,
            TimeOrderedIds(),
            slicing=SlicingFigures(metrics.observe_claim, metrics.count_file),
            currency=settings.currency,
            safety=settings.safety_policy,
        )
        leadership = Leadership(uuid.uuid4().hex, lambda leads: _led(farm, metrics, leads=leads))
        yield await _open_parts(stack, settings, farm, authority, files, metrics, leadership)


def _led(farm: Farm, metrics: Metrics, *, leads: bool) -> None:
    """The leader alone offers, and only to agents that are connected to it: whoever is connected here must go there."""
    metrics.leads.set(leads)
    if not leads:
        for agent_id in farm.hints.sessions():
            farm.hints.end_session(agent_id, "another coordinator leads; connect to that one", "DRAINING")


async def _open_bus(stack: AsyncExitStack, settings: CoordinatorSettings) -> Bus:
    if not settings.rabbitmq_url:
        return InProcessBus()
    return await stack.enter_async_context(open_rabbitmq(settings.rabbitmq_url))


async def _open_parts(
    stack: AsyncExitStack,
    settings: CoordinatorSettings,
    farm: Farm,
    authority: Authority,
    files: CredentialFiles,
    metrics: Metrics,
    leadership: Leadership,
) -> RunningCoordinator:
    times = AgentTimes(settings.heartbeat_seconds, settings.lease_seconds, settings.start_ttl_seconds)
    heartbeats = Heartbeats()
    healths = (Health(_AGENT_SERVICES), Health(SERVICES))
    await leadership.prolong(farm)
    stack.push_async_callback(_give_up, farm, leadership)
    works = _works(settings, farm, metrics, leadership, heartbeats, times, healths)
    await stack.enter_async_context(supervised(works, lambda name: metrics.restarts.labels(name).inc()))

    agents = _server(AGENT_SERVER, AGENT_TABLE, metrics)
    servicer = AgentServicer(farm, leadership, heartbeats, times, authority)
    agent_service_pb2_grpc.add_AgentServiceServicer_to_server(servicer, agents)
    health_pb2_grpc.add_HealthServicer_to_server(healths[0].servicer, agents)

    control = _server(CONTROL_SERVER, CONTROL_TABLE, metrics)
    add_control_services(control, farm, authority, has_broker=bool(settings.rabbitmq_url))
    health_pb2_grpc.add_HealthServicer_to_server(healths[1].servicer, control)
    if settings.reflection:
        reflection.enable_server_reflection([*SERVICES, "grpc.health.v1.Health", reflection.SERVICE_NAME], control)

    enrollment = _server(ENROLLMENT_SERVER, ENROLLMENT_TABLE, metrics)
    add_enrollment_service(enrollment, farm, authority)
    admin = grpc.aio.server()
    channelz.add_channelz_servicer(admin)
    if settings.reflection:
        reflection.enable_server_reflection(["grpc.channelz.v1.Channelz", reflection.SERVICE_NAME], admin)

    # Each listener gets credentials of its own: the files are read once per object, then only when they change.
    serving = await answers(farm)
    for health in healths:
        await health.tell(serving=serving)
    running = RunningCoordinator(
        await _listen(
            stack, agents, settings.agents_address, "PRINTFARM_AGENTS_ADDRESS", mutual_server_credentials(files)
        ),
        await _listen(
            stack, control, settings.control_address, "PRINTFARM_CONTROL_ADDRESS", mutual_server_credentials(files)
        ),
        await _listen(
            stack,
            enrollment,
            settings.enrollment_address,
            "PRINTFARM_ENROLLMENT_ADDRESS",
            open_server_credentials(files),
        ),
        await _listen(stack, admin, settings.admin_address, "PRINTFARM_ADMIN_ADDRESS", None),
        _serve_metrics(stack, settings.metrics_address, metrics),
        farm,
        authority,
        leadership,
    )
    stack.push_async_callback(_drain, farm, healths)
    _LOG.info("coordinator serves", agents=running.agents_address, control=running.control_address)
    return running


def _works(
    settings: CoordinatorSettings,
    farm: Farm,
    metrics: Metrics,
    leadership: Leadership,
    heartbeats: Heartbeats,
    times: AgentTimes,
    healths: tuple[Health, ...],
) -> dict[str, Work]:
    figures = AssignFigures(observe_decision=metrics.decision.observe)

    def note_lag(seconds: float) -> None:
        metrics.lag.set(seconds)
        farm.vigilance.note_lag(seconds)

    works: dict[str, Work] = {
        "lead": lambda: lead_for_ever(farm, leadership),
        "assign": lambda: assign_for_ever(farm, leadership, figures),
        "prepare": lambda: prepare_for_ever(farm, leadership),
        "judge": lambda: judge_for_ever(farm, leadership),
        "facts": lambda: read_facts_for_ever(farm, leadership),
        "expire": lambda: expire_for_ever(farm, leadership, times.lease_us, times.heartbeat_us),
        "relay": lambda: relay_for_ever(farm, leadership, metrics.observe_events),
        "heartbeats": lambda: heartbeats.flush_for_ever(farm, times.lease_us),
        "tidy": lambda: tidy_for_ever(farm, settings.events_days * _DAY_US, has_broker=bool(settings.rabbitmq_url)),
        "sweep": lambda: sweep_for_ever(farm),
        "health": lambda: watch_storage(farm, healths),
        "loop": lambda: watch_loop(note_lag),
        "metrics": lambda: _refresh(metrics, farm),
        "certificate": lambda: renew_for_ever(settings.authority, settings.credentials, settings.server_names),
    }
    if settings.rabbitmq_url:
        works["publish"] = lambda: publish_for_ever(farm, leadership)
    return works


async def _refresh(metrics: Metrics, farm: Farm) -> None:
    while True:
        try:
            await metrics.refresh(farm)
        except DatabaseUnavailable as error:
            _LOG.warning("figures not refreshed: the database does not answer", why=str(error))
        await asyncio.sleep(_METRICS_SECONDS)


def _server(options: Options, table: Mapping[str, frozenset[PeerRole] | None], metrics: Metrics) -> grpc.aio.Server:
    return grpc.aio.server(options=options, interceptors=[Guard(table, translate, metrics.observe_rpc)])


async def _listen(
    stack: AsyncExitStack,
    server: grpc.aio.Server,
    address: str,
    variable: str,
    credentials: grpc.ServerCredentials | None,
) -> str:
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressTaken(f"{address} cannot be listened on: choose another in {variable}") from error
    await server.start()
    stack.push_async_callback(server.stop, STOP_GRACE_SECONDS)
    return f"{address.rsplit(':', 1)[0]}:{port}"


def _serve_metrics(stack: AsyncExitStack, address: str, metrics: Metrics) -> str:
    host, _, port = address.rpartition(":")
    try:
        server, thread = start_http_server(int(port), host, metrics.registry)
    except OSError as error:
        raise AddressTaken(f"{address} cannot be listened on: choose another in PRINTFARM_METRICS_ADDRESS") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    stack.callback(stop)
    return f"{host}:{server.server_port}"


async def _drain(farm: Farm, healths: tuple[Health, ...]) -> None:
    """Agents are told before their streams end, so that they come back spread in time instead of all at once."""
    for health in healths:
        await health.drain()
    sessions = [session for session in farm.hints.sessions().values() if isinstance(session, AgentSession)]
    for session in sessions:
        session.drain(1.0)
    if sessions:
        await asyncio.sleep(DRAIN_NOTICE_SECONDS)
    for session in sessions:
        session.end("DRAINING", "the coordinator is being stopped")


async def _give_up(farm: Farm, leadership: Leadership) -> None:
    try:
        await leadership.give_up(farm)
    except DatabaseUnavailable:
        _LOG.warning("the term was not given up; it lapses by itself")
