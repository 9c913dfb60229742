"""The document, held against the gateway: generated requests, good and bad, find no 5xx and no breach of what it promises.

Half of the good ones name things that are there, so that more than a 404 is seen; each operation must be seen to succeed.
That a stranger is refused everywhere is `test_access.py`'s.
"""

import asyncio
import itertools
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from printfarm_coordinator.domain.printer import Bed, BedState
from printfarm_gateway.roles import LEAST_ROLE, OPEN
from tests.support.control_plane import GCODE
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


LOOPS: list[asyncio.AbstractEventLoop] = []


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestedGateway]:
    """In a loop of its own: the generator of requests waits for each answer."""
    ready, stop = threading.Event(), asyncio.Event()
    running: list[TestedGateway] = []

    async def serve() -> None:
        LOOPS.append(asyncio.get_running_loop())
        async with open_tested_gateway(tmp_path_factory.mktemp("farm")) as made:
            running.append(made)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    yield running[0]
    LOOPS[-1].call_soon_threadsafe(stop.set)
    thread.join(60)


@pytest.fixture(scope="module")
def schema(gateway: TestedGateway) -> Any:
    return schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")


# What succeeds only in a state that no single request reaches.
NEVER_SUCCEEDS = {
    ("POST", "/api/v1/runs/{run_id}/pause"): "no agent prints here",
    ("POST", "/api/v1/runs/{run_id}/resume"): "no agent prints here",
    ("POST", "/api/v1/runs/{run_id}/verdict"): "no run has finished",
    ("POST", "/api/v1/runs/{run_id}/resolve"): "no run is unconfirmed",
    ("POST", "/api/v1/uploads/{upload_id}/finish"): "the bytes that come are not those that were announced",
    ("POST", "/api/v1/auth/token"): "nobody guesses the password",
    ("POST", "/api/v1/auth/logout"): "a key has no tokens that could end",
    ("POST", "/api/v1/auth/refresh"): "nobody guesses the token",
}


async def furnish(gateway: TestedGateway, path: str) -> dict[str, str]:
    """Something new of every noun, as the operation needs it: by the name of its parameter."""
    number = next(NUMBERS)
    # What is deleted is needed by nothing, and what is drawn has something to see.
    content = DRAWABLE + b";%d\n" % number if "/files/{sha256}" in path else GCODE
    real = {"printer_id": f"p{number}", "agent_id": "host", "name": f"eva-{number}"}
    real["sha256"] = await gateway.store(content)
    bed = BedState.OCCUPIED if path.endswith("/bed/clear") else BedState.CLEAR
    for name in (real["printer_id"], f"q{number}"):
        await gateway.plane.add_printer(name, bed=Bed(bed, f"token-{name}" if bed is BedState.CLEAR else None))
    async with gateway.client("admin") as client:

        async def post(path: str, body: dict[str, Any]) -> Any:
            answer = await client.post(f"/api/v1{path}", json=body)
            assert answer.is_success, answer.text
            return answer.json()

        real["job_id"] = await gateway.submit(quantity=1_000)
        if bed is BedState.CLEAR:
            run = await post(f"/printers/q{number}/assign", {"job_id": real["job_id"]})
            real["run_id"] = run["run_id"]
        upload = await post("/uploads", {"size_bytes": 1 << 20, "sha256": "1" * 64, "name": "a.gcode"})
        real["upload_id"] = upload["upload_id"]
        real["key_id"] = (await post("/keys", {"name": f"shop-{number}", "role": "viewer"}))["key_id"]
        if "/rates" in path:
            put = await client.put("/api/v1/rates", json={"kind": "machine", "price": f"{number}.5"})
            real["rate_id"] = put.json()["rate_id"]
        if "/overrides" in path:
            real["job_id"] = await gateway.submit(artifact_sha256=await gateway.store(QUESTIONABLE))
            given = await post(f"/jobs/{real['job_id']}/overrides", {"reason": "our own macro"})
            real["override_id"] = given["overrides"][0]["override_id"]
        if path.endswith("/profiles/{name}"):
            put = await client.put(f"/api/v1/profiles/{real['name']}", json=PROFILE)
            assert put.is_success, put.text
        if path.endswith("/users/{name}"):
            await post("/users", {"name": real["name"], "password": "correct horse battery", "role": "viewer"})
        if path.endswith("/release"):
            await post(f"/jobs/{real['job_id']}/hold", {})
            await post(f"/printers/{real['printer_id']}/hold", {})
    return real


NUMBERS = itertools.count()
QUESTIONABLE = GCODE + b"MY_PURGE\nM104 S0\n"
DRAWABLE = b"G28\nM104 S200\nG1 X10 Y10 Z0.2 F3000\nG1 X40 E5\nG1 Y40 E10\nM104 S0\nM84\n"
RATE = {"kind": "material", "material": "PLA", "price": "21.90"}
PROFILE = {"kind": "quality", "settings": {"layer_height": "0.2"}}


def make_real(case: Any, real: dict[str, str]) -> None:
    """Names what is there."""
    for name in case.path_parameters or {}:
        case.path_parameters[name] = real[name]
    if isinstance(case.body, dict):
        for field, name in (("artifact_sha256", "sha256"), ("job_id", "job_id"), ("run_id", "none")):
            if field in case.body:
                case.body[field] = real.get(name)
        case.body.pop("version", None)
        if "settings" in case.body:
            case.body.update(PROFILE, engine="prusaslicer", printer_models=[])
        if "price" in case.body:
            case.body = RATE
            return
        # G-code is sliced already, has no plates, and makes as many parts as it makes.
        for asked in (case.body, case.body.get("job")):
            if isinstance(asked, dict):
                asked.pop("profile", None)
                asked.pop("plate", None)
                if asked.get("parts_per_plate") == "fit":
                    asked["parts_per_plate"] = 4
        if "file" in case.body:
            case.body["file"] = GCODE
    if "Upload-Offset" in (case.headers or {}):
        case.headers["Upload-Offset"] = "0"
    for name in ("cursor", "start", "end", "Last-Event-ID"):
        (case.query or {}).pop(name, None)
        (case.headers or {}).pop(name, None)


def is_good_as_sent(case: Any, url: str) -> bool:
    """Whether nothing but the query was made wrong, and the client's writing makes it right: ``[null]`` is left out of
    an address, and ``false`` is a text there like any other."""
    wrong = {location for location, info in case.meta.components.items() if info.mode is GenerationMode.NEGATIVE}
    if wrong != {ParameterLocation.QUERY}:
        return False
    address = requests.Request("GET", url, params=case.as_transport_kwargs(base_url=url).get("params")).prepare().url
    shared = {"components": case.operation.schema.raw_schema["components"]}
    given = case.operation.definition.raw["parameters"]
    documented = {p["name"]: p["schema"] | shared for p in given if p["in"] == "query"}
    sent = parse_qsl(urlsplit(address).query, keep_blank_values=True)
    return all(name in documented and jsonschema_rs.is_valid(documented[name], text) for name, text in sent)


def hold_against(gateway: TestedGateway, operation: Any, mode: GenerationMode, examples: int) -> set[int]:
    """The statuses that came."""
    seen: set[int] = set()
    there: dict[str, str] = {}
    if mode is GenerationMode.POSITIVE:
        there = asyncio.run_coroutine_threadsafe(furnish(gateway, operation.path), LOOPS[-1]).result(60)
    headers = {"X-API-Key": gateway.keys["admin"]}

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), real=booleans())
    def holds(case: Any, real: bool) -> None:
        for name in ("Authorization", "X-API-Key"):
            # Invented ones would hide all that lies behind.
            case.headers.pop(name, None)
        if real and there:
            make_real(case, there)
        assume(mode is GenerationMode.POSITIVE or not is_good_as_sent(case, gateway.url))
        answer = case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)
        seen.add(answer.status_code)

    try:
        holds()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing that is right can be said here"
    return seen


OPERATIONS = sorted((set(LEAST_ROLE) | OPEN) - ENDLESS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_breaks_and_all_is_as_documented(
    gateway: TestedGateway, schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    # Passwords are hashed slowly, on purpose.
    wide = path.endswith(("/receive", "/jobs", "/estimate"))
    examples = 5 if path in ("/api/v1/users", "/api/v1/auth/token") else 40 if wide else 8
    seen = hold_against(gateway, schema[path][method.lower()], mode, examples)
    if mode is GenerationMode.POSITIVE and (method, path) not in NEVER_SUCCEEDS:
        assert seen & {200, 201, 202, 204}, f"only {seen}: what lies behind was not seen"


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_nothing_breaks_by_many_more(
    gateway: TestedGateway, schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    hold_against(gateway, schema[path][method.lower()], mode, 30 if "password" in path or "users" in path else 200)


def test_all_that_is_documented_is_tried(schema: Any) -> None:
    documented = {(found.ok().method.upper(), found.ok().path) for found in schema.get_all_operations()}
    assert documented == set(OPERATIONS) | (ENDLESS - {("GET", "/")})
