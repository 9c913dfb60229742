"""Fifty printers of one agent, of which 45 are powered off: the other five see no delay.

Nothing is timed: a dead printer's first call takes longer than the whole test may, so that whoever waited for one would never
end.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from printfarm_agent.driver import PrinterConfig
from printfarm_agent.drivers.octoprint.driver import open_driver
from printfarm_agent.execution import Wanted
from printfarm_agent.files import Files
from printfarm_agent.journal import Journal
from printfarm_agent.settings import AgentSettings, PrinterSettings
from printfarm_agent.telemetry import Telemetry
from printfarm_agent.worker import PrinterWorker
from tests.support.dead_printers import dead_addresses
from tests.support.octoprint_emulator import KEY, OctoPrintEmulator

_LIVING, _DEAD = 5, 45
_PATIENCE, _LONGER = 60.0, 120.0
_LOOKS = 20


@pytest.fixture
async def living() -> AsyncIterator[list[OctoPrintEmulator]]:
    made = [OctoPrintEmulator() for _ in range(_LIVING)]
    for each in made:
        await each.plug_in()
    yield made
    for each in made:
        await each.close()


async def test_five_printers_are_looked_at_and_stopped_beside_45_dead_ones(
    living: list[OctoPrintEmulator], tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    with dead_addresses(_DEAD) as dead, Journal(tmp_path / "journal.db", lambda: 0.0) as journal:
        async with AsyncExitStack() as stack:
            workers = []
            for number, url in enumerate([*(f"http://{address}" for address in dead), *(each.url for each in living)]):
                options = {"url": url, "api_key_file": str(tmp_path / "key"), "timeout_seconds": _LONGER}
                printer = PrinterSettings(PrinterConfig(f"p{number}", options), "octoprint")
                agent = AgentSettings("c:1", (printer,), state_dir=tmp_path, idle_observe_seconds=0.05)
                driver = await stack.enter_async_context(open_driver(printer.config))
                files = Files(tmp_path / "files")
                workers.append(PrinterWorker(printer, agent, driver, journal, files, Telemetry(), "boot"))
            tasks = [asyncio.create_task(worker.run()) for worker in workers]
            try:
                async with asyncio.timeout(_PATIENCE):
                    await _until(lambda: all(len(each.looks) >= _LOOKS for each in living))
                    for worker in workers:
                        worker.want(Wanted(1, stop_generation=1))
                    await _until(lambda: all(each.stops for each in living))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    holes = workers[0:_DEAD:2]
    assert all(worker.shown == "offline" and not worker.counts.driver_errors for worker in holes), (
        "still in their first call"
    )
    assert all(worker.connected.is_set() for worker in workers[_DEAD:])


async def _until(so: Callable[[], bool]) -> None:
    while not so():  # noqa: ASYNC110 - the emulators are told by looking
        await asyncio.sleep(0.02)
