"""What surrounds every request, before any parser sees it: source, request id, limits, headers of answers, log, figures."""

import time
import uuid
from collections.abc import Callable

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from printfarm_rpc import logs
from printfarm_rpc.errors import Code, unexpected
from printfarm_rpc.serving import REQUEST_ID

from .bodies import Body
from .metrics import Metrics
from .problems import Problem, response
from .ratelimits import RateLimits
from .settings import GatewaySettings

MOST_HEADERS, HEADER_BYTES = 100, 32 * 1024
_READING = {"GET", "HEAD", "OPTIONS"}
_QUIET = {"/health", "/metrics"}
_SECURITY = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_POLICY = b"content-security-policy"
_NOTHING = (_POLICY, b"default-src 'none'; frame-ancestors 'none'")
# The pages of the documentation begin with a script of their own; everything they load is from this host.
_DOCUMENTATION = (
    _POLICY,
    b"default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    b"font-src 'self'; connect-src 'self'; worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
)


class Guard:
    """Pure ASGI, outermost."""

    def __init__(
        self,
        app: ASGIApp,
        limits: RateLimits,
        metrics: Metrics,
        settings: GatewaySettings,
        changed: Callable[[], None],
    ) -> None:
        self._app = app
        self._changed = changed
        self._limits = limits
        self._metrics = metrics
        self._proxies = settings.proxies
        self._grace = settings.body_grace_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id", ""))
        REQUEST_ID.set(request_id)
        scope["printfarm.source"] = source = self._source(scope, headers)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(program="gateway", request_id=request_id)
        answer = _Answer(send, request_id, scope["path"], None if scope["method"] in _READING else self._changed)
        began = time.monotonic()
        try:
            await self._serve(scope, receive, answer, source)
        except ClientDisconnect:
            answer.status = 499
        except Problem as problem:
            await answer.problem(problem, scope, receive)
        except Exception as error:
            # The framework has answered by its own handler, if it still could; here it is told to nobody twice.
            if not answer.started:
                known = unexpected(error)
                await answer.problem(Problem(known.code, known.detail), scope, receive)
            elif not answer.ended:
                raise
        finally:
            self._note(scope, answer.status, time.monotonic() - began)

    async def _serve(self, scope: Scope, receive: Receive, answer: "_Answer", source: str) -> None:
        answer.body = body = Body(scope, receive, self._grace)
        body.check()
        _check_headers(scope)
        await self._limits.request("source", source)
        await self._app(scope, body.receive, answer.send)

    def _source(self, scope: Scope, headers: Headers) -> str:
        """The address of the other side; a forwarded one only from a proxy that is known."""
        address = str(scope["client"][0]) if scope.get("client") else "local"
        if address in self._proxies:
            forwarded = headers.get("x-forwarded-for", "").split(",")[-1].strip()
            return forwarded[:64] or address
        return address

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        path = getattr(route, "path", "unmatched")
        self._metrics.observe(scope["method"], path, status, seconds)
        if path not in _QUIET:
            # The path without its query: secrets do not belong there, but some will try.
            path = scope["path"][:200]
            logs.line("request", method=scope["method"], path=path, status=status, seconds=round(seconds, 4))


def _request_id(given: str) -> str:
    is_sane = 0 < len(given) <= 64 and given.isascii() and given.replace("-", "").replace("_", "").isalnum()
    return given if is_sane else uuid.uuid4().hex


def _check_headers(scope: Scope) -> None:
    headers = scope["headers"]
    if len(headers) > MOST_HEADERS or sum(len(name) + len(value) for name, value in headers) > HEADER_BYTES:
        why = f"at most {MOST_HEADERS} headers of {HEADER_BYTES} bytes together are taken"
        raise Problem(Code.MALFORMED, why, status=431, headers={"Connection": "close"})


class _Answer:
    """Adds what every answer carries, and remembers how far it is."""

    def __init__(self, send: Send, request_id: str, path: str, changed: Callable[[], None] | None) -> None:
        self._send = send
        self._changed = changed
        self._request_id = request_id.encode()
        self._policy = _DOCUMENTATION if path in ("/docs", "/redoc") else _NOTHING
        self.body: Body | None = None
        self.status = 499
        self.started = False
        self.ended = False

    async def send(self, message: Message) -> None:
        """ASGI's ``send``."""
        if message["type"] == "http.response.start":
            self.started = True
            if self._changed is not None:
                self._changed()
            self.status = message["status"]
            message = {**message, "headers": self._headers(list(message.get("headers", [])))}
        elif not message.get("more_body"):
            self.ended = True
            if self.body is not None and self.body.leaves_much:
                # The whole answer is on its way; its end closes the connection.
                await self._send({**message, "more_body": True})
                await self.body.forget()
                message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _headers(self, headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        names = {name.lower() for name, _ in headers}
        headers += [*_SECURITY, (b"x-request-id", self._request_id)]
        if _POLICY not in names:
            headers.append(self._policy)
        if self.body is not None and self.body.leaves_much and b"connection" not in names:
            # Nobody will read the rest: the connection can serve no other request.
            headers.append((b"connection", b"close"))
        return headers

    async def problem(self, problem: Problem, scope: Scope, receive: Receive) -> None:
        """The problem's document, if it is not too late for one."""
        if not self.started:
            await response(problem, scope["path"])(scope, receive, self.send)
