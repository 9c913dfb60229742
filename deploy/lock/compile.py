"""Makes the locks anew: versions and hashes, without any address in them. Run by ``make lock``.

The parts themselves are left out: they are installed from this tree, after what they need.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
PARTS = {
    "agent": ("proto", "files", "agent"),
    "server": ("proto", "files", "coordinator", "gateway", "agent", "slicer", "deploy/standalone"),
}
# Servers that the tests run, each in an environment of its own.
SERVERS = ROOT / "tests" / "locks"
INDEX = "UV_DEFAULT_INDEX"


OWN = re.compile(r"printfarm-(\w+)(?:\[(\w+)\])?")


def needs(part: str) -> list[str]:
    """What a part needs of others; of our own parts, what the extra of theirs needs that it names."""
    wanted = []
    for need in _project(part)["dependencies"]:
        if (own := OWN.fullmatch(need)) is None:
            wanted.append(need)
        elif own[2]:
            wanted += _project(own[1])["optional-dependencies"][own[2]]
    return wanted


def _project(part: str) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]
    return project


def extras(part: str) -> list[str]:
    """What a part's optional features need, all of them."""
    project = tomllib.loads((ROOT / part / "pyproject.toml").read_text())["project"]
    return [need for feature in project.get("optional-dependencies", {}).values() for need in feature]


def compile_lock(name: str, wanted: list[str], constraints: list[Path], folder: Path = HERE) -> None:
    """Writes ``<name>.txt``. Addresses of the machine that runs it stay out."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PIP_") and not k.startswith("UV_")}
    if INDEX in os.environ:
        kept[INDEX] = os.environ[INDEX]
    with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
        file.write("\n".join(sorted(set(wanted))) + "\n")
        file.flush()
        command = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "--quiet", "--universal"]
        command += ["--python-version", "3.11", "--generate-hashes", "--no-header", "--no-annotate"]
        command += ["--no-emit-index-url", "--no-emit-find-links", file.name, "-o", str(folder / f"{name}.txt")]
        for constraint in constraints:
            command += ["-c", str(constraint)]
        subprocess.run(command, check=True, env=kept | {"UV_NO_CONFIG": "1"})


def main() -> None:
    """All locks; each agrees with those before it."""
    # `make run` and the tests have every driver; a host installs the extras that its printers need.
    server = [need for part in PARTS["server"] for need in needs(part)] + extras("agent")
    compile_lock("server", server, [])
    compile_lock("agent", [need for part in PARTS["agent"] for need in needs(part)], [HERE / "server.txt"])
    build = (HERE / "build.in").read_text().splitlines()
    compile_lock("build", build, [])
    dev = (HERE / "dev.in").read_text().splitlines()
    compile_lock("dev", [*server, *dev], [HERE / "server.txt"])
    # Its newer versions have no wheels for Python 3.11.
    older, newer = 'atheris<3.1; python_version < "3.12"', 'atheris>=3.1; python_version >= "3.12"'
    compile_lock("fuzz", [older, newer], [])
    for path in sorted(SERVERS.glob("*.in")):
        compile_lock(path.stem, path.read_text().splitlines(), [], folder=SERVERS)


if __name__ == "__main__":
    main()
