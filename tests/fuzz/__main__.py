"""Fuzzes every parser for long: ``python -m tests.fuzz [--seconds 600] [target ...]``.

With atheris where it is installed (coverage-guided; what it finds worth keeping goes into the corpus), else with Hypothesis.
Each target runs in a process of its own, with a limit on memory and on the time of one input. Exits 1 if any fails.
"""

import argparse
import importlib.util
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

from .targets import CORPUS, TARGETS, run

_MOST_BYTES, _INPUT_SECONDS, _LARGEST_INPUT = 2048, 20, 1 << 16


def main() -> int:
    """Shares the time evenly among the targets."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*")
    given = parser.parse_args()
    if unknown := [name for name in given.targets if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    names = given.targets or list(TARGETS)
    guided = importlib.util.find_spec("atheris") is not None
    warnings.simplefilter("error")
    if given.one:
        return (_atheris if guided else _hypothesis)(names[0], given.seconds)
    print(f"{'atheris' if guided else 'Hypothesis'}: {len(names)} targets, {given.seconds} s", flush=True)
    return 1 if [name for name in names if not _one(name, max(1, given.seconds // len(names)))] else 0


def _one(name: str, seconds: int) -> bool:
    command = [sys.executable, "-m", "tests.fuzz", "--one", "--seconds", str(seconds), name]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds * 4 + 300)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = {
        "target": name,
        "passed": done.returncode == 0,
        "seconds": round(time.monotonic() - began),
        "inputs": _inputs(done.stdout + done.stderr),
        "largest_process_so_far_mb": usage.ru_maxrss >> 10,
    }
    print(json.dumps(told), flush=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-8000:], sep="\n", file=sys.stderr)
    return done.returncode == 0


def _inputs(said: str) -> int:
    """As atheris and as we count them."""
    found = [
        line for line in said.splitlines() if "stat::number_of_executed_units" in line or line.startswith("inputs ")
    ]
    return int(found[-1].split()[-1]) if found else 0


def _atheris(name: str, seconds: int) -> int:
    """Instruments the parsers; libFuzzer's own limits. What is new and small is kept in the corpus."""
    import atheris

    folder = CORPUS / name
    found = Path(os.environ.get("PRINTFARM_FUZZ_FOUND", str(CORPUS))) / name
    found.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["printfarm_files"], enable_loader_override=False):
        for module in [
            module for module in sys.modules if module.startswith(("printfarm_files", "tests.fuzz.targets"))
        ]:
            del sys.modules[module]
        from .targets import run as instrumented
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={_MOST_BYTES}", f"-timeout={_INPUT_SECONDS}"]
    options += [f"-max_len={_LARGEST_INPUT}", "-print_final_stats=1", "-use_value_profile=1", "-verbosity=1"]
    options += [f"-artifact_prefix={found.parent}/crash-{name}-"]
    atheris.Setup(["fuzz", *options, str(found), str(folder)], lambda data: instrumented(name, data))
    atheris.Fuzz()
    return 0


def _hypothesis(name: str, seconds: int) -> int:
    """Changed files of the corpus, round after round, each with fresh luck."""
    from hypothesis import HealthCheck, given, seed, settings

    from .mutate import changed, corpus

    count, until, round_number = 0, time.monotonic() + seconds, time.time_ns()
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES << 20, _MOST_BYTES << 20))
    files = corpus(name)
    while time.monotonic() < until:
        round_number += 1

        @seed(round_number)
        @settings(
            max_examples=500, deadline=_INPUT_SECONDS * 1000, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(changed(files))
        def some(data: bytes) -> None:
            nonlocal count
            count += 1
            run(name, data)

        some()
    print(f"inputs {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
