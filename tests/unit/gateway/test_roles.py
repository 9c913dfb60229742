"""Every route is in the table of roles, or open on purpose; and the document says the same."""

from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from printfarm.control.v1 import (
    access_service_pb2,
    agent_admin_service_pb2,
    artifact_service_pb2,
    event_service_pb2,
    farm_service_pb2,
    job_service_pb2,
    printer_service_pb2,
    run_service_pb2,
)
from printfarm_gateway import routers
from printfarm_gateway.app import make_app
from printfarm_gateway.follower import Follower
from printfarm_gateway.metrics import Metrics
from printfarm_gateway.ratelimits import RateLimits
from printfarm_gateway.recent import Recent
from printfarm_gateway.roles import LEAST_ROLE, OPEN, RANK
from printfarm_gateway.routes import FarmRoute
from printfarm_gateway.settings import GatewaySettings
from printfarm_gateway.streams import Streams

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    """Of the application, which needs no coordinator for it."""
    settings = GatewaySettings(_env_file=None, data_dir=tmp_path, jwt_secret_key="x" * 40)
    nothing: Any = object()
    app, _ = make_app(
        settings,
        nothing,
        RateLimits(settings),
        Metrics(),
        Follower(nothing, lambda: None),
        Streams(1),
        Recent[bytes](),
    )
    found: dict[str, Any] = app.openapi()
    return found


def operations(document: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_every_route_has_its_role(document: dict[str, Any]) -> None:
    found = set(operations(document))
    known = set(LEAST_ROLE) | {pair for pair in OPEN if pair != ("GET", "/")}
    assert found == known
    assert not set(LEAST_ROLE) & OPEN
    assert set(LEAST_ROLE.values()) == set(RANK)


def test_every_route_of_the_api_asks_who_it_is() -> None:
    modules = ("access", "agents", "events", "farm", "files", "jobs", "printers", "runs")
    for name in modules:
        module = __import__(f"{routers.__name__}.{name}", fromlist=["router"])
        assert module.router.routes
        for route in module.router.routes:
            assert isinstance(route, APIRoute)
            assert isinstance(route, FarmRoute), route.path


def test_what_moves_or_changes_something_is_no_viewers_business() -> None:
    # Logging out concerns only oneself.
    harmless = {("POST", "/api/v1/auth/logout")}
    for (method, path), role in LEAST_ROLE.items():
        if method not in ("GET", "HEAD") and (method, path) not in harmless:
            assert RANK[role] > RANK["viewer"], (method, path)


def test_the_document_says_how_to_authenticate_and_what_may_go_wrong(document: dict[str, Any]) -> None:
    for (method, path), operation in operations(document).items():
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["description"], where
        if (method, path) in OPEN:
            assert "security" not in operation, where
            continue
        assert operation["security"] == [{"ApiKey": []}, {"Bearer": []}], where
        for status in ("401", "403", "429", "503"):
            content = operation["responses"][status]["content"]
            assert content == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}


def test_requests_and_answers_have_examples(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for (method, path), operation in operations(document).items():
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for reference in [body, *body.get("anyOf", [])]:
            name = reference.get("$ref", "").rpartition("/")[2]
            if name:
                assert schemas[name].get("examples"), f"{method} {path}: {name}"


def test_every_method_of_the_coordinator_can_be_reached() -> None:
    source = "".join(path.read_text() for path in Path(routers.__path__[0]).parent.rglob("*.py"))
    files = (
        access_service_pb2,
        agent_admin_service_pb2,
        artifact_service_pb2,
        event_service_pb2,
        farm_service_pb2,
        job_service_pb2,
        printer_service_pb2,
        run_service_pb2,
    )
    methods = {m.name for file in files for s in file.DESCRIPTOR.services_by_name.values() for m in s.methods}
    assert methods
    assert {name for name in methods if f".{name}" not in source} == set()
