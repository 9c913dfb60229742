"""``python -m tests.conformance.starter JSON``: an agent's part in a print until it is killed.

Opens the driver, brings the file, starts it, tells the handle in one line, and waits for the end that the test has for it.
"""

import asyncio
import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

from printfarm_agent.driver import PrinterConfig

from .steps import nothing


async def main() -> None:
    """Ends by a signal only."""
    given = json.loads(sys.argv[1])
    (point,) = entry_points(group="printfarm.drivers", name=given["driver"])
    async with point.load()(PrinterConfig("printer-1", given["options"])) as driver:
        await driver.connect()
        path = Path(given["path"])
        await driver.put_file(path, given["name"], nothing)
        handle = await driver.start(path, given["name"])
        print(json.dumps({"version": handle.version, "facts": dict(handle.facts)}), flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
