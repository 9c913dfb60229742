"""The short way to a plain endpoint: the framework is not asked, its answers are the same, and nothing else goes that way."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError

from printfarm_gateway.problems import Problem
from printfarm_gateway.routes import FarmRoute, ShortWay, plain
from printfarm_rpc.errors import Code, FarmError


@plain
async def shown(request: Request, thing_id: str) -> Response:
    """A plain endpoint."""
    if thing_id == "away":
        raise FarmError(Code.NOT_FOUND, "there is no such thing")
    return Response(thing_id)


@plain
async def made(request: Request) -> Response:
    """A plain endpoint that reads its body itself."""
    raise RequestValidationError([{"loc": ("name",), "msg": "Field required", "type": "missing"}])


async def usual(request: Request) -> Response:
    """Any other."""
    return Response("usual")


class Framework:
    """Stands for the application: notes what comes to it."""

    def __init__(self, admit: Any) -> None:
        self.state = SimpleNamespace(authenticator=SimpleNamespace(admit=admit))
        self.asked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(f"{scope['method']} {scope['path']}")


async def ask(method: str, path: str, *, refuse: bool = False) -> tuple[int, bytes, list[str], list[Any]]:
    admitted: list[Any] = []

    async def admit(request: Request, method: str, path: str) -> None:
        admitted.append((method, path))
        if refuse:
            raise Problem(Code.UNAUTHENTICATED)

    app, said = Framework(admit), cast(list[Any], [])

    async def send(message: Any) -> None:
        said.append(message)

    routes = [
        FarmRoute("/things/{thing_id}/state", shown),
        FarmRoute("/things", usual),
        FarmRoute("/things", made, methods=["POST"]),
    ]
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await ShortWay(cast(FastAPI, app), routes)(scope, cast(Any, None), send)
    status = said[0]["status"] if said else 0
    return status, b"".join(message.get("body", b"") for message in said), app.asked, admitted


async def test_a_plain_endpoint_is_answered_without_the_framework() -> None:
    assert await ask("GET", "/things/1/state") == (200, b"1", [], [("GET", "/things/{thing_id}/state")])


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/things"), ("POST", "/things/1/state"), ("HEAD", "/things/1/state"), ("GET", "/things/1/2/state")],
)
async def test_everything_else_takes_the_long_way(method: str, path: str) -> None:
    assert await ask(method, path) == (0, b"", [f"{method} {path}"], [])


async def test_who_is_not_admitted_gets_nothing() -> None:
    with pytest.raises(Problem):
        await ask("GET", "/things/1/state", refuse=True)


async def test_an_error_of_the_farm_is_a_problem_document() -> None:
    status, body, asked, _ = await ask("GET", "/things/away/state")
    assert status == 404 and b'"code":"NOT_FOUND"' in body and not asked


async def test_a_wrong_field_is_named_as_the_framework_would() -> None:
    status, body, asked, admitted = await ask("POST", "/things")
    assert status == 422 and b'"errors":[{"field":"name","fix":"Field required"}]' in body
    assert not asked and admitted == [("POST", "/things")]
