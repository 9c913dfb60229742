"""Our kind of route: who asks is settled before the body is read, and a JSON body is read strictly."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from printfarm_rpc.errors import FarmError

from .problems import from_farm_error, from_validation, response
from .strict import loads

Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])


class _Strict(Request):
    """Parses its JSON strictly."""

    async def json(self) -> Any:
        """Raises Problem."""
        return loads(await self.body())


def plain(endpoint: Endpoint) -> Endpoint:
    """For an endpoint that takes the request and its path's texts, nothing else: it is called without the framework's
    solving of dependencies, which is most of what a short answer costs."""
    endpoint.is_plain = True  # type: ignore[attr-defined]
    return endpoint


class FarmRoute(APIRoute):
    """Needs ``app.state.authenticator``."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wraps the framework's."""
        solve = super().get_route_handler()
        endpoint: Any = self.endpoint
        is_plain = getattr(endpoint, "is_plain", False)

        async def handle(request: Request) -> Response:
            await request.app.state.authenticator.admit(request, request.method, request.scope["route"].path)
            if is_plain:
                found: Response = await endpoint(request, **request.path_params)
                return found
            return await solve(_Strict(request.scope, request.receive))

        return handle


class ShortWay:
    """Pure ASGI, around the application: what asks for a ``plain`` endpoint is answered without the framework's search for its
    route, its stacks and its middlewares, which cost more than the answer. Everything else takes the long way.

    Problems are left to the guard, which has the same words for them as the framework's handlers."""

    def __init__(self, app: FastAPI, routes: Iterable[BaseRoute]) -> None:
        self._app = app
        self._plain: dict[str, list[FarmRoute]] = {}
        for route in routes:
            if isinstance(route, FarmRoute) and getattr(route.endpoint, "is_plain", False):
                for method in route.methods or ():
                    self._plain.setdefault(method, []).append(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "http":
            path = scope["path"]
            for route in self._plain.get(scope["method"], ()):
                if (found := route.path_regex.match(path)) is not None:
                    await self._serve(route, found.groupdict(), scope, receive, send)
                    return
        await self._app(scope, receive, send)

    async def _serve(self, route: FarmRoute, texts: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"], scope["route"], scope["path_params"] = self._app, route, texts
        request = Request(scope, receive)
        try:
            await self._app.state.authenticator.admit(request, scope["method"], route.path)
            endpoint: Any = route.endpoint
            answer: Response = await endpoint(request, **texts)
        except FarmError as error:
            answer = response(from_farm_error(error), scope["path"])
        except RequestValidationError as error:
            answer = response(from_validation(error), scope["path"])
        await answer(scope, receive, send)
