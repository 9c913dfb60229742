"""The real slicer in the real sandbox, or a reason why not."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from printfarm_slicer.engines.cura import CuraEngine
from printfarm_slicer.engines.orcaslicer import OrcaSlicer
from printfarm_slicer.engines.prusaslicer import PrusaSlicer
from printfarm_slicer.sandbox import Sandbox
from printfarm_slicer.slicing import Work
from tests import cura
from tests.conftest import REQUIRED, need, need_sandbox
from tests.support.models import box_stl


@pytest.fixture(scope="session")
def prusaslicer() -> PrusaSlicer:
    """As it is installed."""
    need("prusa-slicer")
    found = PrusaSlicer.find()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def curaengine() -> CuraEngine:
    """As it is installed, with Cura's definitions."""
    need("cura")
    found = CuraEngine.find(cura.definitions())
    assert found is not None
    return found


@pytest.fixture(scope="session")
def orcaslicer() -> OrcaSlicer:
    """Where somebody installed it: no package index has it. ``PRINTFARM_SLICER_ORCA`` names its program."""
    named = os.environ.get("PRINTFARM_SLICER_ORCA")
    found = OrcaSlicer.find(Path(named) if named else None)
    if found is None and "orca-slicer" in REQUIRED:
        pytest.fail("orca-slicer is required by PRINTFARM_REQUIRE and not installed")
    if found is None:
        pytest.skip("OrcaSlicer is not installed: that it slices is not tested; no package index has it")
    return found


def works(folder: Path, settings: Mapping[str, str]) -> Callable[..., Work]:
    """Makes what to slice of a model's content, with these settings and others."""

    def made(content: bytes = b"", kind: str = "stl", parts: int = 1, **others: str) -> Work:
        source = folder / "source"
        source.write_bytes(content or box_stl())
        return Work(source, kind, {**settings, **others}, parts)

    return made


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
