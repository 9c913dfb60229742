"""Looks for what tests run against, installs what is missing where it may, and names loudly what is not there.

Tests of a server that is missing are skipped with the reason; ``PRINTFARM_REQUIRE`` makes that an error.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Runs as a program too, where the tree's root is not on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import cura, environments

# Name -> (Debian package, a program of it).
SERVERS = {
    "postgres": ("postgresql", "postgres"),
    "rabbitmq": ("rabbitmq-server", "rabbitmq-server"),
    "redis": ("redis-server", "redis-server"),
    "mosquitto": ("mosquitto", "mosquitto"),
    "chromium": ("chromium", "chromium"),
    "bubblewrap": ("bubblewrap", "bwrap"),
    "prusa-slicer": ("prusa-slicer", "prusa-slicer"),
    # With its definitions: see ``cura``.
    "cura": ("cura-engine", "CuraEngine"),
    # A library: see ``program``.
    "faketime": ("libfaketime", "libfaketimeMT.so.1"),
}


def program(name: str) -> str | None:
    """Where the server's program lies; None if it is not installed."""
    if name in environments.ENVIRONMENTS:
        return environments.program(name)
    if name == "postgres":
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
        return str(found[-1]) if found else shutil.which("postgres")
    if name == "rabbitmq":
        path = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
        return str(path) if path.exists() else None
    if name == "faketime":
        libraries = sorted(Path("/usr/lib").glob(f"*/faketime/{SERVERS[name][1]}"))
        return str(libraries[0]) if libraries else None
    if name == "cura" and cura.definitions() is None:
        return None
    return shutil.which(SERVERS[name][1], path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def install(*packages: str) -> bool:
    """With apt, as root, and without starting the service. True if it worked."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None or os.environ.get("PRINTFARM_NO_INSTALL"):
        return False
    policy = Path("/usr/sbin/policy-rc.d")
    made = not policy.exists()
    if made:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        lock = ["-o", "DPkg::Lock::Timeout=600"]
        _quietly("apt-get", "update", "-qq")
        return _quietly("apt-get", *lock, "install", "-y", "-qq", "--no-install-recommends", *packages) == 0
    finally:
        if made:
            policy.unlink()


def _quietly(*command: str) -> int:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    nowhere = subprocess.DEVNULL
    return subprocess.run(command, env=environment, stdout=nowhere, stderr=nowhere, check=False).returncode


def main() -> int:
    """Always 0: what is missing is named, and its tests say so again."""
    for name, (package, _) in SERVERS.items():
        if program(name) is None:
            print(f"{name}: not installed; trying apt-get install {package} ...", flush=True)
            install(package)
            if name == "cura" and (why := cura.install()):
                print(f"{name}: {why}", flush=True)
        found = program(name)
        _tell(name, found)
    for name, environment in environments.ENVIRONMENTS.items():
        if program(name) is None:
            print(f"{name}: not installed; installing it with pip ...", flush=True)
            if environment.packages:
                # Where this fails, the next step says what is missing.
                install(*environment.packages)
            if why := environments.install(name):
                print(f"{name}: {why}", flush=True)
        _tell(name, program(name))
    return 0


def _tell(name: str, found: str | None) -> None:
    print(f"{name}: {found}" if found else f"{name}: MISSING - what needs it is NOT TESTED", flush=True)


if __name__ == "__main__":
    sys.exit(main())
