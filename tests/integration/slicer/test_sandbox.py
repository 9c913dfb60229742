"""What a caged program can do: nothing but read the system and write its own folder, within limits (bad input 53)."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from printfarm_slicer.engine import Ended, SlicingFailed
from printfarm_slicer.running import run
from printfarm_slicer.sandbox import Sandbox, SlicerLimits

PYTHON = "/usr/bin/python3"
MIB = 1 << 20
WALL = 60.0
FORKS = """
import os, time
n = 0
try:
    while n < 500:
        if os.fork() == 0:
            time.sleep(600)
        n += 1
except OSError:
    print("refused after", n < 40)
"""
pytestmark = pytest.mark.skipif(
    not Path(PYTHON).exists(), reason="the programs of these tests are Python's of the system"
)


async def caged(
    sandbox: Sandbox,
    folder: Path,
    program: Sequence[str] | str,
    *,
    wall: float = WALL,
    disk: int = 64 * MIB,
    **limits: int,
) -> Ended:
    command = [PYTHON, "-c", program] if isinstance(program, str) else list(program)
    full = sandbox.command(folder, SlicerLimits(**limits), command)  # type: ignore[arg-type]
    heard: list[str] = []
    return await run(
        full,
        sandbox.environment(folder),
        folder,
        wall_seconds=wall,
        disk_bytes=disk,
        on_line=heard.append,
        user=sandbox.user,
    )


async def test_it_writes_its_folder_and_reads_the_system(sandbox: Sandbox, folder: Path) -> None:
    ended = await caged(sandbox, folder, "import os; open('x', 'w').write(os.getcwd()); print('ok')")
    assert (ended.returncode, ended.stdout) == (0, "ok\n")
    assert (folder / "x").read_text() == "/job"


@pytest.mark.parametrize(
    "deed",
    [
        "open('/usr/x', 'w')",
        "open('/etc/passwd')",
        "open('/root/x', 'w')",
        "os.listdir('/home')",
        "open('/proc/1/mem', 'rb').read(1)",
        "os.kill(int(sys.argv[1]), 9)",
        "socket.create_connection(('127.0.0.1', int(sys.argv[2])), 2)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('10.0.0.1', 9))",
        "os.setuid(0)",
        "os.mkfifo('/dev/shm/../../usr/x')",
        "open('/x', 'w')",
        "os.mkdir('/x')",
        "open('/dev/x', 'w')",
        "open('/dev/shm/x', 'w')",
    ],
)
async def test_it_reaches_nothing_else(sandbox: Sandbox, folder: Path, deed: str) -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    code = f"import os, socket, sys\ntry:\n    {deed}\nexcept OSError as error:\n    print('refused')\nelse:\n    print('done')"
    try:
        ended = await caged(sandbox, folder, [PYTHON, "-c", code, str(os.getpid()), str(port)])
    finally:
        server.close()
        await server.wait_closed()
    assert (ended.returncode, ended.stdout) == (0, "refused\n"), ended.stderr


async def test_it_is_told_nothing_of_this_process(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRINTFARM_SECRET", "s3cret")
    ended = await caged(sandbox, folder, "import os; print(sorted(os.environ)); print(os.listdir('/proc/self/fd'))")
    names = ended.stdout.splitlines()[0]
    assert "PRINTFARM_SECRET" not in names and "HOME" in names
    assert len(ended.stdout.splitlines()[1].split(",")) <= 4


async def test_time_is_limited(sandbox: Sandbox, folder: Path) -> None:
    with pytest.raises(SlicingFailed) as failed:
        await caged(sandbox, folder, "import time; time.sleep(600)", wall=0.5)
    assert failed.value.code == "slicer_limit"


async def test_processor_time_is_limited(sandbox: Sandbox, folder: Path) -> None:
    ended = await caged(sandbox, folder, "while True: pass", cpu_seconds=1)
    assert ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL, 128 + signal.SIGXCPU, 128 + signal.SIGKILL)


async def test_memory_is_limited(sandbox: Sandbox, folder: Path) -> None:
    ended = await caged(sandbox, folder, "x = bytearray(1 << 30)", memory_bytes=256 * MIB)
    assert ended.returncode == 1 and "MemoryError" in ended.stderr


async def test_a_files_size_is_limited(sandbox: Sandbox, folder: Path) -> None:
    code = "f = open('x', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20))\nf.flush()"
    ended = await caged(sandbox, folder, code, file_bytes=4 * MIB)
    assert ended.returncode != 0
    assert (folder / "x").stat().st_size <= 4 * MIB


async def test_many_small_files_are_limited_too(sandbox: Sandbox, folder: Path) -> None:
    code = "import time\nfor n in range(64): open(str(n), 'wb').write(bytes(1 << 20))\ntime.sleep(600)"
    with pytest.raises(SlicingFailed) as failed:
        await caged(sandbox, folder, code, disk=16 * MIB)
    assert failed.value.code == "slicer_limit" and "MiB" in failed.value.reason


async def test_what_is_written_to_tmp_lies_in_its_folder_and_counts(sandbox: Sandbox, folder: Path) -> None:
    code = "import time\nfor n in range(64): open(f'/tmp/{n}', 'wb').write(bytes(1 << 20))\ntime.sleep(600)"
    with pytest.raises(SlicingFailed) as failed:
        await caged(sandbox, folder, code, disk=16 * MIB)
    assert failed.value.code == "slicer_limit" and "MiB" in failed.value.reason
    assert (folder / "0").stat().st_size == MIB


async def test_a_fork_bomb_ends_with_its_processes(sandbox: Sandbox, folder: Path) -> None:
    ended = await caged(sandbox, folder, FORKS, processes=32)
    assert ended.stdout == "refused after True\n", ended.stderr


async def test_a_cancelled_slicing_leaves_no_process(sandbox: Sandbox, folder: Path) -> None:
    mark = f"import time\n# {folder.parent.name}\nopen('up', 'w')\ntime.sleep(600)"
    running = asyncio.ensure_future(caged(sandbox, folder, mark))
    await eventually(lambda: (folder / "up").exists())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: not any(folder.parent.name in line for line in _commands()))


async def eventually(has_come: Callable[[], bool]) -> None:
    """Another process's doing. The deadline only ends a test that would never end."""
    async with asyncio.timeout(WALL):
        while not has_come():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def _commands() -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                found.append((entry / "cmdline").read_text(errors="replace"))
            except OSError:
                continue
    return found


def test_without_bubblewrap_nothing_is_sliced_unless_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from printfarm_slicer.sandbox import NoSandbox

    prlimit = Path("/usr/bin/prlimit")
    if not prlimit.exists():
        pytest.skip("prlimit is not where this test looks")
    (tmp_path / "prlimit").symlink_to(prlimit)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSandbox, match="bubblewrap is not installed"):
        Sandbox.open()
    assert not Sandbox.open(limits_only=True).is_caged
    (tmp_path / "bwrap").write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no namespaces here')\n")
    (tmp_path / "bwrap").chmod(0o755)
    with pytest.raises(NoSandbox, match="namespaces"):
        Sandbox.open()
