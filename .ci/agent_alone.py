"""Starts the agent of an environment that holds nothing but the agent, with a virtual printer, and looks at its metrics."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def main() -> int:
    """0 if it works alone, and stays light."""
    folder = Path(sys.argv[1])
    binaries = folder / "venv" / "bin"
    printer = subprocess.Popen(
        [str(binaries / "printfarm-virtual-printer"), "--dir", str(folder / "printer")], stdout=subprocess.PIPE
    )
    assert printer.stdout is not None
    address = json.loads(printer.stdout.readline())["printers"][0]["address"]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    config = folder / "agent.toml"
    config.write_text(
        f"""
[agent]
coordinator = "127.0.0.1:1"
state_dir = "{folder / "state"}"
metrics_address = "127.0.0.1:{port}"

[[printer]]
id = "alone"
driver = "virtual"
options = {{ address = "{address}" }}
"""
    )
    agent = subprocess.Popen([str(binaries / "printfarm-agent"), "run", "--config", str(config)])
    try:
        return 0 if _works(agent, port) else 1
    finally:
        for process in (agent, printer):
            process.terminate()
            process.wait()


def _works(agent: "subprocess.Popen[bytes]", port: int) -> bool:
    for _ in range(100):
        time.sleep(0.2)
        if agent.poll() is not None:
            return False
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        except OSError:
            continue
        if 'printfarm_agent_driver_progress_age_seconds{printer="alone"}' in text:
            print("the agent works alone")
            return True
    return False


if __name__ == "__main__":
    sys.exit(main())
