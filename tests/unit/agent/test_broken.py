"""An agent of which a part has ended is no agent: it ends, so that it is started again."""

import os
import subprocess
import sys
from pathlib import Path

CONFIG = """
[agent]
coordinator = "127.0.0.1:1"
metrics_address = "127.0.0.1:0"
state_dir = "{state}"
idle_observe_seconds = 0.01

[[printer]]
id = "p"
driver = "broken"
"""
# Another's driver, installed beside the agent. What it says of its printer is no state: nobody can go on from there.
DRIVER = """
from contextlib import asynccontextmanager

from printfarm_agent.driver import Capabilities, MachineIdentity, Observation


class Broken:
    async def connect(self):
        return MachineIdentity(), Capabilities(can_pause=False, prints_autonomously=False)

    async def observe(self):
        return Observation("no state")


@asynccontextmanager
async def open_driver(config):
    yield Broken()
"""


def test_a_worker_that_ends_unasked_ends_the_agent(tmp_path: Path) -> None:
    config, installed = tmp_path / "agent.toml", tmp_path / "installed"
    config.write_text(CONFIG.format(state=tmp_path / "state"))
    (installed / "broken-1.dist-info").mkdir(parents=True)
    (installed / "broken-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    entry = "[printfarm.drivers]\nbroken = broken_driver:open_driver\n"
    (installed / "broken-1.dist-info" / "entry_points.txt").write_text(entry)
    (installed / "broken_driver.py").write_text(DRIVER)
    command = [sys.executable, "-m", "printfarm_agent", "run", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "a part of the agent ended unasked" in said and "worker of p" in said and "AttributeError" in said
