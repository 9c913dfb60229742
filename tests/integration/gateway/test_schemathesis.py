"""The document, held against the gateway: generated requests, good and bad, find no 5xx and no breach of what it promises."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from printfarm_gateway.roles import LEAST_ROLE, OPEN
from tests.support.gateway import TestedGateway, open_tested_gateway

# What streams for ever is tested by its own tests.
ENDLESS = {("GET", "/api/v1/events/stream"), ("GET", "/")}
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestedGateway]:
    """In a loop of its own: the generator of requests waits for each answer."""
    ready, stop = threading.Event(), asyncio.Event()
    running: list[TestedGateway] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        async with open_tested_gateway(tmp_path_factory.mktemp("farm")) as made:
            await made.plane.add_printer("p1")
            await made.submit()
            running.append(made)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield running[0]
    loops[0].call_soon_threadsafe(stop.set)
    thread.join(60)


@pytest.fixture(scope="module")
def schema(gateway: TestedGateway) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), sorted((set(LEAST_ROLE) | OPEN) - ENDLESS))
def test_nothing_breaks_and_all_is_as_documented(
    gateway: TestedGateway, schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    operation = schema[path][method.lower()]
    headers = {"X-API-Key": gateway.keys["admin"]}

    @settings(
        max_examples=15,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def holds(case: Any) -> None:
        for name in ("Authorization", "X-API-Key"):
            # Invented ones would hide all that lies behind.
            case.headers.pop(name, None)
        if "printer_id" in (case.path_parameters or {}) and mode is GenerationMode.POSITIVE:
            # One that is there, so that more than a 404 is seen.
            case.path_parameters["printer_id"] = "p1"
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

    try:
        holds()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing that is right can be said here"
