"""The real slicer in the real sandbox, or a reason why not."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from printfarm_slicer.engines.prusaslicer import PrusaSlicer
from printfarm_slicer.sandbox import Sandbox
from tests.conftest import need, need_sandbox


@pytest.fixture(scope="session")
def prusaslicer() -> PrusaSlicer:
    """As it is installed."""
    need("prusa-slicer")
    found = PrusaSlicer.find()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def sandbox() -> Sandbox:
    """Proven on this host."""
    return need_sandbox()


@pytest.fixture
def folder(sandbox: Sandbox) -> Iterator[Path]:
    """One that a slicer which runs as nobody can reach: pytest's own is closed to others."""
    made = Path(tempfile.mkdtemp(prefix="printfarm-test-"))
    made.chmod(0o711)
    inside = made / "job"
    inside.mkdir()
    sandbox.admit(inside)
    yield inside
    shutil.rmtree(made)
