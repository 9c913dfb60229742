"""One gateway for the tests of a file; what it is told by one test is seen by the next."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from tests.support.gateway import TestedGateway, open_tested_gateway


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[TestedGateway]:
    async with open_tested_gateway(tmp_path_factory.mktemp("farm")) as made:
        yield made
