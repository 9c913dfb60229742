"""Every guarantee runs over every rig; what a rig is exempt from shows as such, with the reason."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from printfarm_agent.driver import Driver

from .rig import Rig, Row
from .rigs import ROWS, rig_class
from .steps import Bench


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each rig."""
    if "rig" in metafunc.fixturenames:
        rows = [pytest.param(row, id=row.name) for row in ROWS]
        metafunc.parametrize("row", rows)


@pytest.fixture
async def rig(row: Row, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """The printer, idle and well."""
    found = rig_class(row)
    guarantee = request.function.__name__.removeprefix("test_")
    if why := found.exempt.get(guarantee):
        pytest.skip(f"exempt: {why}")
    server = request.getfixturevalue(row.server) if row.server else None
    async with found.opened(tmp_path, server) as opened:
        yield opened


@pytest.fixture
async def driver(rig: Rig) -> AsyncIterator[Driver]:
    """Its driver, connected."""
    async with rig.open() as opened:
        await opened.connect()
        yield opened


@pytest.fixture
def bench(rig: Rig, driver: Driver, tmp_path: Path) -> Bench:
    """The driver with a file for a run."""
    return Bench(rig, driver, tmp_path)
