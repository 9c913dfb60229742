"""Who asks: by API key or by token, checked with the coordinator and remembered for at most 5 s."""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog
from fastapi import Request

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_rpc.errors import Code, FarmError

from .control_client import ControlClient, Principal
from .problems import Problem
from .ratelimits import RateLimits
from .roles import LEAST_ROLE, OPEN, RANK
from .tokens import TokenRefused, Tokens

REMEMBERED_SECONDS = 4.0
_MOST_REMEMBERED = 4_096
# Printable ASCII without spaces, as our keys and tokens are made.
_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")
_ROLES = {pb.ROLE_VIEWER: "viewer", pb.ROLE_OPERATOR: "operator", pb.ROLE_ADMIN: "admin"}
UNAUTHENTICATED = "send a valid API key in X-API-Key, or a token in Authorization: Bearer"


class Authenticator:
    """Asks the coordinator, and remembers its answers briefly."""

    def __init__(
        self,
        control: ControlClient,
        tokens: Tokens,
        limits: RateLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._tokens = tokens
        self._limits = limits
        self._clock = clock
        # By digest: no secret lies in memory longer than its request. An old answer is asked for again, but what was good
        # once is no guess: others' failures at the same source do not shut it out.
        self._known: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()

    async def admit(self, request: Request, method: str, path: str) -> None:
        """Before the body is read: the principal, if the route needs one, is in ``request.state.principal`` then.

        Raises Problem 401, 403, 429; FarmError."""
        if (method, path) in OPEN:
            return
        principal = await self.principal(request)
        await self._limits.request("principal", principal.name)
        structlog.contextvars.bind_contextvars(actor=principal.name)
        least = LEAST_ROLE.get((method, path), "admin")
        if RANK[principal.role] < RANK[least]:
            raise Problem(Code.PERMISSION_DENIED, f"this needs the role {least}; yours is {principal.role}")
        request.state.principal = principal

    async def principal(self, request: Request) -> Principal:
        """Whom the request acts for. Raises Problem 401, 429; FarmError."""
        source = request.scope["printfarm.source"]
        try:
            kind, secret = _credential(request)
            place = hashlib.sha256(f"{kind} {secret}".encode()).digest()
            known = self._known.get(place)
            if known is not None and self._clock() - known[0] < REMEMBERED_SECONDS:
                return known[1]
            if known is None:
                await self._limits.may_try(source)
            return await self._ask(place, kind, secret)
        except Problem as problem:
            if problem.status_code == 401:
                await self._limits.may_try(source)
                await self._limits.failed(source)
            raise

    async def _ask(self, place: bytes, kind: str, secret: str) -> Principal:
        asked = self._clock()
        try:
            answer = await self._check(kind, secret)
        except FarmError as error:
            if error.code is Code.UNAUTHENTICATED:
                self._known.pop(place, None)
                raise Problem(Code.UNAUTHENTICATED, UNAUTHENTICATED) from error
            raise
        principal = Principal(answer.principal.name, _ROLES[answer.principal.role])
        self._known[place] = (asked, principal)
        self._known.move_to_end(place)
        if len(self._known) > _MOST_REMEMBERED:
            self._known.popitem(last=False)
        return principal

    async def _check(self, kind: str, secret: str) -> Any:
        access = self._control.access
        if kind == "key":
            return await self._control.call(access.AuthenticateKey, pb.AuthenticateKeyRequest(secret=secret))
        try:
            claims = self._tokens.read(secret, "access")
        except TokenRefused as error:
            raise Problem(Code.UNAUTHENTICATED, UNAUTHENTICATED) from error
        asked = pb.CheckUserRequest(name=claims.name, generation=claims.generation)
        return await self._control.call(access.CheckUser, asked)


def _credential(request: Request) -> tuple[str, str]:
    """One, and only in a header. Raises Problem 401."""
    keys = request.headers.getlist("x-api-key")
    bearers = request.headers.getlist("authorization")
    if len(keys) + len(bearers) != 1:
        raise Problem(Code.UNAUTHENTICATED, UNAUTHENTICATED)
    if keys:
        kind, secret, shape = "key", keys[0], _KEY
    else:
        scheme, _, secret = bearers[0].partition(" ")
        kind, shape = "token" if scheme.lower() == "bearer" else "", _TOKEN
    if not kind or not shape.fullmatch(secret):
        raise Problem(Code.UNAUTHENTICATED, UNAUTHENTICATED)
    return kind, secret
