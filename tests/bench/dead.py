"""A farm where 9 of 10 printers are dead: how fast the living ones print, against the same without the dead."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from printfarm_coordinator.adapters.ca.authority import Authority
from tests.support.farm import Program, RealFarm, until
from tests.support.ports import free_port

from .farms import prepared_farm
from .figures import at_least, compare, tell

_A_GROUP = 10
_LIVING, _DEAD = 2, 18
# A round. All rounds of a farm together stay below the page of runs that is asked for.
_PLATES = 20
_ROUNDS = 4
_SECONDS = 180.0


def dead() -> None:
    """Two farms stand side by side, and print in turn. Each has two living agents of ten printers; one has eighteen more
    that were killed and have been declared out of reach."""
    with _farm(_DEAD) as beside_dead, _farm(0) as alone:
        found = compare(lambda: _print_plates(beside_dead), lambda: _print_plates(alone), _ROUNDS)
    name = f"{_LIVING * _A_GROUP} printers print {_PLATES} plates beside {_DEAD * _A_GROUP} dead ones"
    tell(name, found, "plates/s", at_least(0.95))


@contextmanager
def _farm(dead_agents: int) -> Iterator[RealFarm]:
    # Short leases: the dead are to be declared within the benchmark.
    times = {"PRINTFARM_HEARTBEAT_SECONDS": "2", "PRINTFARM_LEASE_SECONDS": "12", "PRINTFARM_START_TTL_SECONDS": "10"}
    agents = _LIVING + dead_agents
    with prepared_farm(printer_count=0, environment=times) as farm, _printers(farm.folder, agents) as addresses:
        programs = _agents(farm, addresses)
        try:
            farm.start()
            for program in programs:
                program.start()
            until(lambda: _count(farm, "idle") == agents * _A_GROUP, _SECONDS, "all printers are seen")
            for program in programs[_LIVING:]:
                program.kill()
            until(lambda: _count(farm, "offline") == dead_agents * _A_GROUP, _SECONDS, "the dead are declared")
            yield farm
        finally:
            for program in programs:
                if program.is_alive:
                    program.kill()


@contextmanager
def _printers(folder: Path, agents: int) -> Iterator[list[str]]:
    """Addresses of ten virtual printers for each agent, in one process."""
    command = [sys.executable, "-m", "printfarm_virtual_printer", "--printers", str(agents * _A_GROUP)]
    command += ["--dir", str(folder / "many"), "--time-scale", "100"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield [each["address"] for each in json.loads(process.stdout.readline())["printers"]]
    finally:
        process.kill()
        process.wait()


def _agents(farm: RealFarm, addresses: list[str]) -> list[Program]:
    authority = Authority.open(farm.data / "ca")
    programs = []
    for number in range(len(addresses) // _A_GROUP):
        mine = addresses[number * _A_GROUP : (number + 1) * _A_GROUP]
        config = _config(farm, number, mine, authority)
        run = [sys.executable, "-m", "printfarm_agent", "run", "--config", str(config)]
        programs.append(Program(f"agent-{number}", run, {}, farm.folder))
    return programs


def _config(farm: RealFarm, number: int, addresses: list[str], authority: Authority) -> Path:
    state = farm.folder / f"state-{number}"
    farm.enrol(f"agent-{number}", state, authority)
    text = f'[agent]\ncoordinator = "127.0.0.1:{farm.ports["agents"]}"\nstate_dir = "{state}"\nlog_level = "WARNING"\n'
    text += f'metrics_address = "127.0.0.1:{free_port()}"\n'
    for index, address in enumerate(addresses):
        text += f'\n[[printer]]\nid = "n{number}-{index}"\ndriver = "virtual"\ninitial_bed = "clear"\n'
        text += f'options = {{ address = "{address}" }}\n'
    path = farm.folder / f"agent-{number}.toml"
    path.write_text(text)
    return path


def _count(farm: RealFarm, state: str) -> int:
    stats = farm.try_get("/api/v1/dashboard/stats") or {"printers_by_state": {}}
    return int(stats["printers_by_state"].get(state, 0))


def _print_plates(farm: RealFarm) -> float:
    """Signs off as quickly as they finish; nobody clears the virtual plates, which is what their logs then say."""
    began = time.perf_counter()
    # A key of its own: the same again would be the job of the round before.
    job_id = farm.submit(f"many-{len(farm.told)}", quantity=_PLATES)
    with farm.client() as client:

        def step() -> bool:
            finished = client.get("/api/v1/runs?state=finished&limit=200").json()["items"]
            for run in finished:
                if run["verdict"] is None:
                    client.post(f"/api/v1/runs/{run['run_id']}/verdict", json={"good_parts": 1})
            return bool(client.get(f"/api/v1/jobs/{job_id}").json()["state"] == "completed")

        until(step, _SECONDS, "all plates are printed")
    return _PLATES / (time.perf_counter() - began)
