"""The application: routes, errors, documentation. No I/O of its own."""

from typing import Any

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.types import ASGIApp

from . import __version__, page, problems
from .auth import Authenticator
from .control_client import ControlClient
from .document import complete
from .follower import Follower
from .guard import Guard
from .metrics import Metrics
from .ratelimits import RateLimits
from .recent import Recent
from .routers import access, agents, events, farm, files, health, jobs, overrides, printers, profiles, rates, runs
from .routes import ShortWay
from .settings import GatewaySettings
from .streams import Streams
from .tokens import Tokens

_ABOUT = """
The REST API of a 3D print farm. Send `X-API-Key: <key>`, or `Authorization: Bearer <token>` for people.

Lists answer `{"items": [...], "next": cursor}`; ask for the next page with `?cursor=`. Errors are problem documents
(RFC 9457): `code` is stable, `errors` names each wrong field and the fix. Every answer carries `X-Request-ID`.
"""


def make_app(
    settings: GatewaySettings,
    control: ControlClient,
    limits: RateLimits,
    metrics: Metrics,
    follower: Follower,
    streams: Streams,
    recent: Recent[bytes],
) -> tuple[FastAPI, ASGIApp]:
    """The application, and the application behind its guard."""
    app = FastAPIOffline(
        title="PrintFarm",
        version=__version__,
        description=_ABOUT,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        static_url="/docs-assets",
        # A redirect would be made from the Host header, which is whatever the client wrote.
        redirect_slashes=False,
    )
    app.state.control = control
    app.state.limits = limits
    app.state.metrics = metrics
    app.state.follower = follower
    app.state.streams = streams
    app.state.recent = recent
    app.state.tokens = Tokens.with_secret(settings.jwt_secret_key, settings.data_dir)
    app.state.authenticator = Authenticator(control, app.state.tokens, limits)
    problems.install(app)
    for noun in (jobs, overrides, runs, printers, agents, files, profiles, rates, events, farm, access, health):
        app.include_router(noun.router)
    app.include_router(page.router)
    _complete(app)
    return app, Guard(ShortWay(app, jobs.router.routes), limits, metrics, settings, recent.forget)


def _complete(app: FastAPI) -> None:
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            app.openapi_schema = complete(plain())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
