"""Memory: an agent with one printer and a further one; a coordinator of 200 printers."""

import asyncio
import subprocess
import sys
import time

from tests.support.farm import RealFarm

from .farms import bare_grpc, pid_of, prepared_farm, serving_farm
from .figures import above_at_most, figure_at_most, single, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer
from .processes import memory_mb
from .telemetry import OURS, batch

# Idle, it has connected to nobody: told beside the yardstick, so that nobody takes the one for the other.
_IDLE_CLIENT = """
import asyncio, grpc
async def main():
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
# What the agent's connection is, with nothing of ours around it: mutual TLS, a standing stream, the messages.
_BARE_CLIENT = """
import asyncio, grpc, sys, uvloop
from pathlib import Path
from printfarm.agent.v1 import agent_service_pb2 as pb
async def main(port, folder):
    key, chain, roots = ((Path(folder) / name).read_bytes() for name in ("key.pem", "certificate.pem", "roots.pem"))
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    async with grpc.aio.secure_channel("127.0.0.1:" + port, credentials) as channel:
        stream = channel.stream_stream("/bare/echo")()
        await stream.write(pb.ConnectRequest().SerializeToString() or b"hello")
        await stream.read()
        print("ready", flush=True)
        await asyncio.Event().wait()
uvloop.run(main(*sys.argv[1:]))
"""
_SETTLE_SECONDS = 4.0
_AGENTS, _PRINTERS = 20, 10
_KB_A_PRINTER = 200


def agent() -> None:
    """Above a bare grpc.aio client; then with ten printers more."""
    sizes, bare = {}, 0.0
    for count in (1, 11):
        with prepared_farm(printer_count=count) as farm:
            farm.start()
            time.sleep(_SETTLE_SECONDS)
            sizes[count] = memory_mb(pid_of(farm.agent))
            with bare_grpc(farm) as (port, _):
                bare = _of_script(_BARE_CLIENT, str(port), str(farm.data / "gateway"))
    idle = _of_script(_IDLE_CLIENT)
    tell("agent memory, 1 printer", single(sizes[1], bare), "MB", above_at_most(10), idle_client=round(idle, 1))
    tell("agent memory, a further printer", single((sizes[11] - sizes[1]) / 10, 1.0), "MB", figure_at_most(1))


def coordinator() -> None:
    """With 200 printers that send telemetry, above the import of its modules."""
    imports = _of_script("import printfarm_coordinator.__main__, time; print('ready', flush=True); time.sleep(60)")
    with prepared_farm(printer_count=0) as alone:
        alone.coordinator.start()
        time.sleep(_SETTLE_SECONDS)
        empty = memory_mb(pid_of(alone.coordinator))
    with serving_farm(with_gateway=False) as farm:
        full = asyncio.run(_with_printers(farm))
    most = 1.4 * imports + _AGENTS * _PRINTERS * _KB_A_PRINTER / 1024
    found = single(full, imports)
    tell(
        f"coordinator memory, {_AGENTS * _PRINTERS} printers",
        found,
        "MB",
        figure_at_most(round(most, 1)),
        without_printers=round(empty, 1),
        kb_a_printer=round((full - empty) * 1024 / (_AGENTS * _PRINTERS), 1),
    )


def _of_script(script: str, *arguments: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.5)
    size = memory_mb(process.pid)
    process.kill()
    process.wait()
    return size


async def _with_printers(farm: RealFarm) -> float:
    names = [f"agent-{number}" for number in range(_AGENTS)]
    files = await enrolled(farm, names)
    printers = {name: [f"{name}-{index}" for index in range(_PRINTERS)] for name in names}
    agents = [
        PlayedAgent(agents_target(farm), name, files[name], [printer(each) for each in printers[name]])
        for name in names
    ]
    for each in agents:
        await each.connect()
        stream = each.streams().stream_unary(OURS)()
        for _ in range(50):
            await stream.write(batch(printers[each.agent_id]))
        await stream.done_writing()
        await stream
    await asyncio.sleep(_SETTLE_SECONDS)
    size = memory_mb(pid_of(farm.coordinator))
    for each in agents:
        await each.close()
    return size
