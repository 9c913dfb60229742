"""Memory: an agent with one printer and a further one; a coordinator of 200 printers."""

import asyncio
import subprocess
import sys
import time

from tests.support.farm import RealFarm

from .farms import pid_of, prepared_farm, serving_farm
from .figures import above_at_most, figure_at_most, single, tell
from .fleet import PlayedAgent, agents_target, enrolled, printer
from .processes import memory_mb
from .telemetry import OURS, batch

_BARE_CLIENT = """
import asyncio, grpc
async def main():
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
# As where the agent alone is installed: rich, which structlog takes if it is there, comes with the servers' command lines.
_AGENT_ALONE = "import sys; sys.modules['rich'] = None; from printfarm_agent.__main__ import main; main()"
_SETTLE_SECONDS = 4.0
_AGENTS, _PRINTERS = 20, 10
_KB_A_PRINTER = 200


def agent() -> None:
    """Above a bare grpc.aio client; then with ten printers more."""
    bare = _of_script(_BARE_CLIENT)
    sizes = {}
    for count in (1, 11):
        with prepared_farm(printer_count=count) as farm:
            farm.agent.command = [sys.executable, "-c", _AGENT_ALONE, *farm.agent.command[3:]]
            farm.start()
            time.sleep(_SETTLE_SECONDS)
            sizes[count] = memory_mb(pid_of(farm.agent))
    tell("agent memory, 1 printer", single(sizes[1], bare), "MB", above_at_most(10))
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


def _of_script(script: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
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
