"""A coordinator restarts, and 200 agents come back."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import uvloop

from printfarm_agent.journal import Journal
from printfarm_agent.link.link import Link
from printfarm_agent.settings import AgentSettings
from printfarm_agent.telemetry import Telemetry
from printfarm_rpc.tls import CredentialFiles
from tests.support.farm import RealFarm, until

from .farms import bare_grpc, serving_farm
from .figures import NO_TARGET, compare_async, figure_at_most, single, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer
from .processes import listens

_AGENTS = 200
_ROUNDS = 3


def reconnect() -> None:
    """All at once as soon as it listens; then with the agents' own waits."""
    with serving_farm(with_gateway=False) as farm, bare_grpc(farm) as bare:
        uvloop.run(_reconnect(farm, bare[0]))


async def _reconnect(farm: RealFarm, bare_port: int) -> None:
    names = [f"agent-{number:03}" for number in range(_AGENTS)]
    files = await enrolled(farm, names)
    found = await compare_async(lambda: _come_back(farm, files), lambda: _bare(bare_port, files), _ROUNDS)
    tell(f"{_AGENTS} agents connected again after a restart, all at once", found, "s", figure_at_most(3))
    own = [await _links_come_back(farm, files) for _ in range(_ROUNDS)]
    slowest = single(sorted(own)[_ROUNDS // 2], found.yardstick)
    tell(f"{_AGENTS} agents connected again after a restart, with their own jitter", slowest, "s", NO_TARGET)


async def _restarted(farm: RealFarm) -> None:
    """Stopped in order and started; returns when it listens for agents."""
    farm.coordinator.signal(signal.SIGTERM)
    await asyncio.to_thread(farm.coordinator.wait)
    farm.coordinator.start()
    await asyncio.to_thread(until, lambda: listens(farm.ports["agents"]))


async def _come_back(farm: RealFarm, files: dict[str, CredentialFiles]) -> float:
    agents = [PlayedAgent(agents_target(farm), name, files[name], [printer(f"{name}-p")]) for name in files]
    await _restarted(farm)
    began = time.perf_counter()
    await asyncio.gather(*(agent.connect() for agent in agents))
    took = time.perf_counter() - began
    await asyncio.gather(*(agent.close() for agent in agents))
    return took


async def _bare(port: int, files: dict[str, CredentialFiles]) -> float:
    """A TLS handshake and one message there and back, each."""
    agents = [PlayedAgent(f"127.0.0.1:{port}", name, files[name], ()) for name in files]
    began = time.perf_counter()
    await asyncio.gather(*(_echo(agent) for agent in agents))
    took = time.perf_counter() - began
    await asyncio.gather(*(agent.close() for agent in agents))
    return took


async def _echo(agent: PlayedAgent) -> None:
    stream = agent.streams().stream_stream("/bare/echo")()
    await stream.write(b"x" * 64)
    await stream.read()


async def _links_come_back(farm: RealFarm, files: dict[str, CredentialFiles]) -> float:
    """The agent's own link, without printers: its backoff and its jitter. From listening to the last Welcome."""
    with ExitStack() as stack:
        links = []
        for name in files:
            folder = files[name].key.parents[1]
            journal = stack.enter_context(Journal(folder / "journal.db", time.monotonic))
            links.append(Link(AgentSettings(agents_target(farm), (), folder), {}, journal, Telemetry(), "boot"))
        tasks = [asyncio.create_task(link.run()) for link in links]
        try:
            await _all(links, lambda link: link.figures.connects >= 1)
            await _restarted(farm)
            began = time.perf_counter()
            await _all(links, lambda link: link.figures.connects >= 2)
            return time.perf_counter() - began
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _all(links: list[Any], is_so: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(90):
        while not all(is_so(link) for link in links):  # noqa: ASYNC110 - the links set no event of ours
            await asyncio.sleep(0.01)
