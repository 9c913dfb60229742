"""Telemetry: batches into the coordinator as fast as it takes them, and its CPU at a farm's steady rate."""

import asyncio
import time
from typing import Any

import uvloop

from printfarm.agent.v1 import agent_service_pb2 as pb
from printfarm.model.v1 import telemetry_pb2
from tests.support.farm import RealFarm

from .farms import bare_grpc, pid_of, serving_farm
from .figures import at_least, compare_async, figure_at_most, single, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer
from .processes import cpu_seconds

_BATCHES = 6_000
_SAMPLES = 20
_STREAMS = 4
_AGENTS, _PRINTERS = 20, 10
_FLUSHES_PER_SECOND, _SAMPLES_PER_SECOND = 10 / 3, 4
_STEADY_SECONDS = 12.0
OURS = "/printfarm.agent.v1.AgentService/StreamTelemetry"
BARE = "/bare/telemetry"


def batch(printer_ids: list[str]) -> bytes:
    """As an agent sends: every reading of a printing machine is there."""
    made = pb.StreamTelemetryRequest()
    for number, printer_id in enumerate(printer_ids):
        sample = telemetry_pb2.TelemetrySample(
            printer_id=printer_id,
            state=telemetry_pb2.PRINTER_STATE_PRINTING,
            run_id="0199c0de-0000-7000-8000-000000000000",
            progress=0.5,
            layer=number + 1,
            layer_count=200,
            heaters=[
                telemetry_pb2.HeaterReading(name="hotend", current_celsius=209.7, target_celsius=210.0),
                telemetry_pb2.HeaterReading(name="bed", current_celsius=60.1, target_celsius=60.0),
            ],
            position=telemetry_pb2.Position(x_mm=101.5, y_mm=88.25, z_mm=12.2),
        )
        sample.elapsed.FromSeconds(1800)
        sample.remaining.FromSeconds(1700)
        sample.age.FromMilliseconds(120)
        made.samples.append(sample)
    return made.SerializeToString()


def ingest() -> None:
    """Batches of 20 samples on four agents' streams."""
    with serving_farm(with_gateway=False) as farm, bare_grpc(farm) as bare:
        uvloop.run(_ingest(farm, *bare))


async def _ingest(farm: RealFarm, bare_port: int, bare_pid: int) -> None:
    names = [f"agent-{number}" for number in range(_STREAMS)]
    files = await enrolled(farm, names)
    printers = {name: [f"{name}-{index}" for index in range(_SAMPLES)] for name in names}
    reports = {name: [printer(each) for each in printers[name]] for name in names}
    agents = [PlayedAgent(agents_target(farm), name, files[name], reports[name]) for name in names]
    bare = [PlayedAgent(f"127.0.0.1:{bare_port}", name, files[name], ()) for name in names]
    for agent in agents:
        await agent.connect()
    messages = [batch(printers[name]) for name in names]
    ours = [agent.streams().stream_unary(OURS) for agent in agents]
    theirs = [agent.streams().stream_unary(BARE) for agent in bare]
    pid = pid_of(farm.coordinator)
    before = cpu_seconds(bare_pid), cpu_seconds(pid)
    found = await compare_async(lambda: _flood(ours, messages), lambda: _flood(theirs, messages))
    cpu = (cpu_seconds(bare_pid) - before[0]) / (cpu_seconds(pid) - before[1])
    # The servers' own work, which a busy machine disturbs less than the rates.
    tell("telemetry ingest, batches of 20 samples", found, "batches/s", at_least(0.6), cpu_ratio=round(cpu, 3))
    for agent in [*agents, *bare]:
        await agent.close()


async def _flood(calls: list[Any], messages: list[bytes]) -> float:
    began = time.perf_counter()
    await asyncio.gather(*(_send(call, message) for call, message in zip(calls, messages, strict=True)))
    return _BATCHES / (time.perf_counter() - began)


async def _send(call: Any, message: bytes) -> None:
    """Returns once the other side has read them all."""
    stream = call()
    for _ in range(_BATCHES // _STREAMS):
        await stream.write(message)
    await stream.done_writing()
    await stream


def steady() -> None:
    """200 printers on 20 agents, four samples a second each: the coordinator's CPU."""
    with serving_farm(with_gateway=False) as farm, bare_grpc(farm) as bare:
        uvloop.run(_steady(farm, *bare))


async def _steady(farm: RealFarm, bare_port: int, bare_pid: int) -> None:
    names = [f"agent-{number}" for number in range(_AGENTS)]
    files = await enrolled(farm, names)
    printers = {name: [f"{name}-{index}" for index in range(_PRINTERS)] for name in names}
    agents = [
        PlayedAgent(agents_target(farm), name, files[name], [printer(each) for each in printers[name]])
        for name in names
    ]
    for agent in agents:
        await agent.connect()
    bare = [PlayedAgent(f"127.0.0.1:{bare_port}", name, files[name], ()) for name in names]
    samples = round(_PRINTERS * _SAMPLES_PER_SECOND / _FLUSHES_PER_SECOND)
    messages = [batch((printers[name] * samples)[:samples]) for name in names]
    pid = pid_of(farm.coordinator)
    idle = await _share(pid)
    share = await _share_of(pid, agents, OURS, messages)
    theirs = await _share_of(bare_pid, bare, BARE, messages)
    tell(
        "telemetry, 200 printers x 4 samples/s, 20 agents: CPU of the coordinator",
        single(share, theirs),
        "% of a core",
        figure_at_most(10),
        without_telemetry=round(idle, 2),
    )
    for agent in [*agents, *bare]:
        await agent.close()


async def _share(pid: int) -> float:
    before, began = cpu_seconds(pid), time.monotonic()
    await asyncio.sleep(_STEADY_SECONDS)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began) * 100


async def _share_of(pid: int, agents: list[PlayedAgent], method: str, messages: list[bytes]) -> float:
    tasks = [
        asyncio.create_task(_flow(agent.streams().stream_unary(method)(), message, number / len(agents)))
        for number, (agent, message) in enumerate(zip(agents, messages, strict=True))
    ]
    await asyncio.sleep(2.0)
    share = await _share(pid)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return share


async def _flow(stream: Any, message: bytes, phase: float) -> None:
    """At an agent's pace; agents are not in step."""
    await asyncio.sleep(phase / _FLUSHES_PER_SECOND)
    while True:
        await stream.write(message)
        await asyncio.sleep(1 / _FLUSHES_PER_SECOND)
