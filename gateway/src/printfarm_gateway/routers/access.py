"""Keys, people, and their tokens."""

from typing import Any

from fastapi import APIRouter, Request, Response
from google.protobuf.timestamp_pb2 import Timestamp

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm_rpc.errors import Code, FarmError

from .. import schemas, views
from ..auth import UNAUTHENTICATED
from ..deps import Control, Cursor, Limit, Who, answer, bad_cursor, page, problems
from ..problems import Problem
from ..ratelimits import RateLimits
from ..routes import FarmRoute
from ..tokens import ACCESS_SECONDS, TokenRefused, Tokens

router = APIRouter(prefix="/api/v1", tags=["access"], route_class=FarmRoute)
_ROLES: dict[str, Any] = {word: number for number, word in views.ROLES.items() if word != "unspecified"}
_NO_STORE = {"Cache-Control": "no-store"}


@router.post("/auth/token", response_model=schemas.TokenPair, responses=problems(), summary="Log in", tags=["access"])
async def log_in(request: Request, login: schemas.Login, control: Control) -> Response:
    """A short-lived access token and a refresh token for a person."""
    source = request.scope["printfarm.source"]
    limits: RateLimits = request.app.state.limits
    await limits.log_in(source)
    asked = pb.AuthenticatePasswordRequest(name=login.name, password=login.password)
    try:
        found = (await control.call(control.access.AuthenticatePassword, asked)).principal
    except FarmError as error:
        if error.code is Code.UNAUTHENTICATED:
            raise Problem(Code.UNAUTHENTICATED, "name or password is wrong") from error
        await limits.did_not_fail(source)
        raise
    await limits.did_not_fail(source)
    return _pair(request, login.name, found.generation)


@router.post("/auth/refresh", response_model=schemas.TokenPair, responses=problems(), summary="Go on")
async def refresh(request: Request, given: schemas.Refresh, control: Control) -> Response:
    """New tokens for a refresh token."""
    source = request.scope["printfarm.source"]
    await request.app.state.limits.may_try(source)
    tokens: Tokens = request.app.state.tokens
    try:
        claims = tokens.read(given.refresh_token, "refresh")
        await control.call(
            control.access.CheckUser, pb.CheckUserRequest(name=claims.name, generation=claims.generation)
        )
    except (TokenRefused, FarmError) as error:
        if isinstance(error, FarmError) and error.code is not Code.UNAUTHENTICATED:
            raise
        await request.app.state.limits.failed(source)
        raise Problem(Code.UNAUTHENTICATED, UNAUTHENTICATED) from error
    return _pair(request, claims.name, claims.generation)


def _pair(request: Request, name: str, generation: int) -> Response:
    tokens: Tokens = request.app.state.tokens
    made = {
        "access_token": tokens.make(name, generation, "access"),
        "refresh_token": tokens.make(name, generation, "refresh"),
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
    }
    return answer(made, headers=_NO_STORE)


@router.post("/auth/logout", status_code=204, responses=problems(409), summary="Log out, everywhere")
async def log_out(control: Control, who: Who) -> Response:
    """All tokens of the person are void, within 5 s at every gateway. Keys are revoked, not logged out."""
    kind, _, name = who.name.partition("/")
    if kind != "user":
        raise Problem(Code.ILLEGAL_STATE, "a key does not log in or out: revoke it")
    await control.call(control.access.LogOut, pb.LogOutRequest(name=name), who)
    return Response(None, 204)


@router.get("/me", response_model=schemas.Me, responses=problems(), summary="Who the key or token stands for")
async def me(who: Who) -> Response:
    """Name and role."""
    return answer({"name": who.name, "role": who.role})


@router.get("/keys", response_model=schemas.Page[schemas.ApiKey], responses=problems(), summary="List API keys")
async def list_keys(control: Control, who: Who, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """Without their secrets."""
    try:
        found = await control.call(
            control.access.ListApiKeys, pb.ListApiKeysRequest(page_size=limit, page_token=cursor), who
        )
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.api_key(key) for key in found.api_keys], found.next_page_token)


@router.post(
    "/keys", status_code=201, response_model=schemas.NewApiKey, responses=problems(409), summary="Make an API key"
)
async def create_key(order: schemas.KeyOrder, control: Control, who: Who) -> Response:
    """The secret is shown here and never again."""
    ends = None
    if order.expires_at is not None:
        ends = Timestamp()
        ends.FromDatetime(order.expires_at)
    request = pb.CreateApiKeyRequest(name=order.name, role=_ROLES[order.role], expire_time=ends)
    made = await control.call(control.access.CreateApiKey, request, who)
    return answer({**views.api_key(made.api_key), "secret": made.secret}, 201, _NO_STORE)


@router.delete("/keys/{key_id}", response_model=schemas.ApiKey, responses=problems(404), summary="Revoke an API key")
async def revoke_key(key_id: str, control: Control, who: Who) -> Response:
    """Refused within 5 s. May be repeated."""
    found = await control.call(control.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=key_id), who)
    return answer(views.api_key(found.api_key))


@router.get("/users", response_model=schemas.Page[schemas.User], responses=problems(), summary="List people")
async def list_users(control: Control, who: Who, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """By name."""
    try:
        found = await control.call(
            control.access.ListUsers, pb.ListUsersRequest(page_size=limit, page_token=cursor), who
        )
    except FarmError as error:
        if any(field.field == "page_token" for field in error.fields):
            raise bad_cursor(error) from error
        raise
    return page([views.user(user) for user in found.users], found.next_page_token)


@router.post("/users", status_code=201, response_model=schemas.User, responses=problems(409), summary="Add a person")
async def create_user(order: schemas.UserOrder, control: Control, who: Who) -> Response:
    """With a password of at least 12 characters."""
    request = pb.CreateUserRequest(name=order.name, password=order.password, role=_ROLES[order.role])
    return answer(views.user((await control.call(control.access.CreateUser, request, who)).user), 201)


@router.patch("/users/{name}", response_model=schemas.User, responses=problems(404), summary="Change a person")
async def change_user(name: str, change: schemas.UserChange, control: Control, who: Who) -> Response:
    """All tokens of the person are void then."""
    request = pb.UpdateUserRequest(
        name=name,
        password=change.password,
        role=_ROLES[change.role] if change.role else pb.ROLE_UNSPECIFIED,
        disabled=change.disabled,
    )
    return answer(views.user((await control.call(control.access.UpdateUser, request, who)).user))
