"""Makes the stubs in ``src/printfarm`` from the schema. Run by ``make proto``; ``--check`` only compares.

The generator is pinned in ``generate.txt`` at the lowest versions that ``pyproject.toml`` allows, since stubs refuse a runtime
older than their generator.
"""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
STUBS = HERE / "src" / "printfarm"


def generate(target: Path) -> None:
    """Writes the stubs of every schema file below ``target``."""
    protos = sorted(str(path.relative_to(HERE)) for path in (HERE / "printfarm").rglob("*.proto"))
    plugin = Path(sys.executable).parent
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        f"--plugin=protoc-gen-mypy={plugin / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugin / 'protoc-gen-mypy_grpc'}",
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    ]
    subprocess.run([*command, *protos], cwd=HERE, check=True)


def differing(made: Path) -> list[str]:
    """Stubs that are not as the schema makes them, or are there without a schema."""
    fresh = {path.relative_to(made): path for path in (made / "printfarm").rglob("*_pb2*")}
    kept = {path.relative_to(STUBS.parent): path for path in STUBS.rglob("*_pb2*") if "__pycache__" not in path.parts}
    return sorted(
        str(name)
        for name in fresh.keys() | kept.keys()
        if name not in fresh or name not in kept or not filecmp.cmp(fresh[name], kept[name], shallow=False)
    )


def main() -> int:
    """0 if the stubs are as they should be."""
    if "--check" not in sys.argv[1:]:
        generate(STUBS.parent)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        wrong = differing(Path(folder))
    for name in wrong:
        print(f"{name} is not as the schema makes it: run `make proto`", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
