"""What the kernel says of a process, and yardsticks that run as processes of their own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.farm import until
from tests.support.ports import free_port

_TICKS = os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory, MB of 2^20 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of_tree(pid: int) -> float:
    """And of what it started: what it has waited for, and what still lives. Not of what a child left behind unwaited."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{pid}/task").glob("*/children")
    living = [int(child) for path in children for child in path.read_text().split()]
    return sum(map(int, fields[11:15])) / _TICKS + sum(map(cpu_seconds_of_tree, living))


def cpu_share(pid: int, seconds: float) -> float:
    """Percent of a core, from now on for so long."""
    before, began = cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / (time.monotonic() - began) * 100


def listens(port: int) -> bool:
    """Somebody takes connections there."""
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def yardstick(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """``python -m tests.bench.MODULE PORT ...``: its port and its pid."""
    port = free_port()
    command = [sys.executable, "-m", f"tests.bench.{module}", str(port), *arguments]
    # In a session of its own, as the farm's programs: a kernel may share a busy processor among sessions.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        until(lambda: listens(port), why=f"{module} listens")
        yield port, process.pid
    finally:
        process.kill()
        process.wait()


def import_seconds(module: str) -> float:
    """From the start of a new interpreter until it has imported the module."""
    began = time.perf_counter()
    command = [sys.executable, "-c", f"import {module}; print('ready', flush=True)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        took = time.perf_counter() - began
    return took
