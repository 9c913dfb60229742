"""The control services over real TLS, for every test that names ``plane``."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest_asyncio

from tests.support.control_plane import ControlPlane, open_control_plane


@pytest_asyncio.fixture
async def plane(tmp_path: Path) -> AsyncGenerator[ControlPlane]:
    async with open_control_plane(tmp_path) as made:
        yield made
