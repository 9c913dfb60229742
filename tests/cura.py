"""Cura's definitions: CuraEngine cannot slice without them, and Debian has them in the package of Cura's window alone.

That needs a hundred others, so where it is not installed its files are unpacked into the cache of ``environments``.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import environments

PACKAGE = "cura"
_INSIDE = Path("usr/share/cura/resources/definitions")
_FILE = "fdmprinter.def.json"


def definitions() -> Path | None:
    """Their folder; None if they are not here."""
    for folder in (Path("/") / _INSIDE, _unpacked() / _INSIDE):
        if (folder / _FILE).exists():
            return folder
    return None


def _unpacked() -> Path:
    return environments.cache() / "cura"


def install() -> str:
    """Unpacks the package unless they are here. Empty, or why it could not be done."""
    if definitions() is not None:
        return ""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None or os.environ.get("PRINTFARM_NO_INSTALL"):
        return "its definitions are missing, and nothing may be installed"
    target = _unpacked()
    target.parent.mkdir(parents=True, exist_ok=True)
    with environments.alone(target.with_suffix(".lock")):
        return "" if definitions() is not None else _unpack(target)


def _unpack(target: Path) -> str:
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        for command in (["apt-get", "download", "-qq", PACKAGE], ["sh", "-c", f"dpkg -x {PACKAGE}_*.deb files"]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                return f"its definitions are missing: {done.stderr.strip()[-300:]}"
        shutil.rmtree(target, ignore_errors=True)
        (folder / "files").rename(target)
    return ""
