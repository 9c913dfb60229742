"""Our kind of route: who asks is settled before the body is read, and a JSON body is read strictly."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request, Response
from fastapi.routing import APIRoute

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
