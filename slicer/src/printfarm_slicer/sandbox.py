"""The cage of a slicer: no network, no other process, a read-only system, one folder of its own, and limits.

bubblewrap makes the cage, prlimit the limits. Both are programs of the system; nothing runs through a shell, and nothing of
this process's environment is handed on.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

INSIDE = PurePosixPath("/job")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(INSIDE), "TMPDIR": str(INSIDE)}
# What a program needs to start: its libraries, fonts, and nothing of this host's secrets.
_READ_ONLY = ("/usr", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts")
_LINKS = {"/bin": "usr/bin", "/sbin": "usr/sbin", "/lib": "usr/lib", "/lib64": "usr/lib64"}
_PROBE_SECONDS = 20.0
NOBODY = 65_534


class NoSandbox(Exception):
    """This host cannot cage a slicer. The text says what is missing, and what to do."""


@dataclass(frozen=True, slots=True)
class SlicerLimits:
    """What one slicing may take. Bytes and seconds; ``cpu_seconds`` is over all its threads."""

    memory_bytes: int = 4 << 30
    cpu_seconds: int = 1_800
    wall_seconds: float = 900.0
    file_bytes: int = 2 << 30
    processes: int = 256


class Sandbox:
    """Makes the command lines. Without bubblewrap only limits are left, and that must be asked for by name."""

    def __init__(self, bwrap: str | None, prlimit: str) -> None:
        self._bwrap = bwrap
        self._prlimit = prlimit
        # The kernel counts no processes of root, and a slicer has no business being root.
        self.user: int | None = NOBODY if os.geteuid() == 0 else None

    @property
    def is_caged(self) -> bool:
        """Network, processes and files are kept apart; else only limits hold."""
        return self._bwrap is not None

    @classmethod
    def open(cls, *, limits_only: bool = False) -> "Sandbox":
        """Proves that the cage holds here by building one. Raises NoSandbox."""
        prlimit, bwrap = shutil.which("prlimit"), shutil.which("bwrap")
        if prlimit is None:
            raise NoSandbox("prlimit is not installed: install util-linux")
        if limits_only:
            return cls(None, prlimit)
        if bwrap is None:
            raise NoSandbox("bubblewrap is not installed: install it (apt-get install bubblewrap)")
        # Inside there are the system's own folders alone: a link from elsewhere leads nowhere.
        made = cls(bwrap, str(Path(prlimit).resolve()))
        if why := made._probe():
            raise NoSandbox(f"bubblewrap cannot make a sandbox on this host ({why}): allow user namespaces")
        return made

    def _probe(self) -> str:
        command = [*self._cage(None), "true"]
        try:
            done = subprocess.run(
                command,
                env={},
                capture_output=True,
                timeout=_PROBE_SECONDS,
                check=False,
                user=self.user,
                group=self.user,
                extra_groups=None if self.user is None else [],
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return type(error).__name__
        return "" if done.returncode == 0 else done.stderr.decode("utf-8", "replace").strip()[-200:] or "it failed"

    def admit(self, outside: Path) -> None:
        """The program may write to the folder, whoever it runs as."""
        if self.user is not None:
            os.chown(outside, self.user, self.user)

    def folder(self, outside: Path) -> PurePosixPath:
        """The job's folder as the program sees it."""
        return INSIDE if self.is_caged else PurePosixPath(outside)

    def environment(self, outside: Path) -> dict[str, str]:
        """All that the program is told of where it is."""
        here = str(self.folder(outside))
        return _ENVIRONMENT | {"HOME": here, "TMPDIR": here}

    def command(self, outside: Path, limits: SlicerLimits, program: Sequence[str]) -> list[str]:
        """The program under limits, in its cage. Its folder outside is the one place it can write to."""
        bounded = [
            self._prlimit,
            f"--as={limits.memory_bytes}",
            f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds}",
            f"--fsize={limits.file_bytes}",
            f"--nproc={limits.processes}",
            "--core=0",
            "--nofile=256",
            "--",
            *program,
        ]
        return [*self._cage(outside), *bounded] if self.is_caged else bounded

    def _cage(self, outside: Path | None) -> list[str]:
        assert self._bwrap is not None
        cage = [self._bwrap, "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv"]
        # Its own user: limits on processes count for nobody else's, and root outside is nobody inside.
        cage += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--hostname", "slicer"]
        for path in _READ_ONLY:
            cage += ["--ro-bind-try", path, path]
        for link, target in _LINKS.items():
            cage += ["--symlink", target, link] if Path(link).is_symlink() else ["--ro-bind-try", link, link]
        # What is written to /tmp lies in the job's folder, and counts there.
        cage += ["--proc", "/proc", "--dev", "/dev", "--symlink", INSIDE.name, "/tmp"]
        for name, value in _ENVIRONMENT.items():
            cage += ["--setenv", name, value]
        if outside is not None:
            cage += ["--bind", str(outside), str(INSIDE), "--chdir", str(INSIDE)]
        # Both are in the host's memory, which no limit of a process and no watch of a folder counts.
        return [*cage, "--remount-ro", "/", "--remount-ro", "/dev"]
