"""The document says of every operation what it is for, what it takes and gives, by example, and how it can fail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from printfarm_gateway.roles import LEAST_ROLE, OPEN
from tests.support.gateway import open_tested_gateway

METHODS = {"get", "post", "put", "patch", "delete", "head"}
# Of every operation.
ALWAYS = {"400", "429", "431", "500"}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    async def fetch(folder: Path) -> Any:
        async with open_tested_gateway(folder) as gateway, gateway.client(None) as client:
            return (await client.get("/openapi.json")).json()

    found: dict[str, Any] = asyncio.run(fetch(tmp_path_factory.mktemp("farm")))
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in METHODS:
                yield method, path, operation


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def examples(document: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """Of a body, wherever the standard lets them stand."""
    schema = resolved(document, media.get("schema", {}))
    choices = [resolved(document, choice) for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    named = [each["value"] for each in media.get("examples", {}).values()]
    plain = [media["example"]] if "example" in media else []
    return plain + named + [given for each in (schema, *choices) for given in each.get("examples", [])]


def missing(document: dict[str, Any]) -> Iterator[str]:
    ids: set[str] = set()
    for method, path, operation in operations(document):
        name = f"{method.upper()} {path}"
        for word in ("summary", "description", "tags", "operationId"):
            if not operation.get(word):
                yield f"{name} has no {word}"
        if operation["operationId"] in ids:
            yield f"{name} shares its operationId"
        ids.add(operation["operationId"])
        yield from wrong_security(name, (method.upper(), path) in OPEN, operation)
        yield from wrong_responses(document, name, operation)
        for kind, media in operation.get("requestBody", {}).get("content", {}).items():
            if kind != "application/octet-stream" and not examples(document, media):
                yield f"{name} has no example of its {kind} body"
        for parameter in operation.get("parameters", []):
            if not parameter.get("description"):
                yield f"{name}: parameter {parameter['name']} has no description"


def wrong_security(name: str, is_open: bool, operation: dict[str, Any]) -> Iterator[str]:
    if bool(operation.get("security")) is is_open:
        yield f"{name} is {'open' if is_open else 'not open'} and its security says otherwise"
    for status in set() if is_open else {"401", "403", "503"}:
        if status not in operation["responses"]:
            yield f"{name} does not document {status}"


def wrong_responses(document: dict[str, Any], name: str, operation: dict[str, Any]) -> Iterator[str]:
    responses = operation["responses"]
    if not any(status.startswith("2") for status in responses):
        yield f"{name} documents no success"
    for status in ALWAYS - set(responses):
        yield f"{name} does not document {status}"
    for status, response in responses.items():
        content = response.get("content", {})
        if not response.get("description"):
            yield f"{name} does not describe {status}"
        if status[0] in "45":
            reference = content.get("application/problem+json", {}).get("schema", {}).get("$ref", "")
            if list(content) != ["application/problem+json"] or not reference.endswith("/ProblemDocument"):
                yield f"{name}: {status} is no problem document"
        elif "application/json" in content and not examples(document, content["application/json"]):
            yield f"{name} has no example of {status}"


def test_every_route_is_documented(document: dict[str, Any]) -> None:
    found = {(method.upper(), path) for method, path, _ in operations(document)}
    assert found == (set(LEAST_ROLE) | OPEN) - {("GET", "/")}


def test_nothing_is_missing(document: dict[str, Any]) -> None:
    assert list(missing(document)) == []


@pytest.mark.parametrize(
    ("method", "path", "header"),
    [
        ("post", "/jobs", "Idempotency-Key"),
        ("post", "/jobs/receive", "Idempotency-Key"),
        ("post", "/printers/{printer_id}/assign", "Idempotency-Key"),
        ("get", "/files/{sha256}/content", "Range"),
        ("get", "/files/{sha256}/thumbnail", "If-None-Match"),
        ("get", "/events/stream", "Last-Event-ID"),
        ("patch", "/uploads/{upload_id}", "Upload-Offset"),
    ],
)
def test_headers_that_are_read_are_documented(document: dict[str, Any], method: str, path: str, header: str) -> None:
    given = document["paths"]["/api/v1" + path][method]["parameters"]
    assert [each["name"] for each in given if each["in"] == "header"] == [header]


def test_an_upload_is_thrown_away_or_busy(document: dict[str, Any]) -> None:
    """One that is not there is thrown away already."""
    statuses = set(document["paths"]["/api/v1/uploads/{upload_id}"]["delete"]["responses"])
    assert "409" in statuses and "404" not in statuses


def test_the_check_finds_what_is_missing(document: dict[str, Any]) -> None:
    path = document["paths"]["/api/v1/jobs/{job_id}"]
    bare = {**path["get"], "summary": "", "security": [], "responses": {"200": {"description": "x"}}}
    found = list(missing({**document, "paths": {"/api/v1/jobs/{job_id}": {"get": bare}}}))
    assert len(found) >= 3
    assert any("summary" in each for each in found) and any("security" in each for each in found)


def test_examples_are_what_they_are_examples_of(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            for kind, media in body.get("content", {}).items():
                if "json" not in kind:
                    continue
                schema = {**media["schema"], "components": document["components"]}
                for example in examples(document, media):
                    jsonschema_rs.validator_for(schema).validate(example), (method, path)
