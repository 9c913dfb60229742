"""AccessService: keys and users."""

import math

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm.control.v1 import access_service_pb2_grpc as rpc
from printfarm_rpc.buckets import Bucket
from printfarm_rpc.errors import Code, FarmError
from printfarm_rpc.serving import Context

from ..app import access as cases
from ..app.farm import Farm
from ..app.ports import Role, User
from . import convert
from .authorize import caller_of
from .paging import page_size, place, token

_SERVICE = "/printfarm.control.v1.AccessService/"
LOGIN_ATTEMPTS_PER_MINUTE = 10
_LONGEST_SECRET = 512


class AccessServicer(rpc.AccessServiceServicer):
    """Registered on the control listener, behind the Guard."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._attempts = Bucket(LOGIN_ATTEMPTS_PER_MINUTE)

    async def AuthenticateKey(self, request: pb.AuthenticateKeyRequest, context: Context) -> pb.AuthenticateKeyResponse:
        caller_of(_SERVICE + "AuthenticateKey", context, request)
        if len(request.secret) > _LONGEST_SECRET:
            raise FarmError(Code.UNAUTHENTICATED)
        key = await cases.authenticate_key(self._farm, request.secret)
        principal = pb.Principal(
            name=f"key/{key.name}",
            role=convert.ROLES[key.role],
            kind="key",
            key_id=key.key_id,
            expire_time=convert.timestamp(key.expires_at),
        )
        return pb.AuthenticateKeyResponse(principal=principal)

    async def AuthenticatePassword(
        self, request: pb.AuthenticatePasswordRequest, context: Context
    ) -> pb.AuthenticatePasswordResponse:
        caller_of(_SERVICE + "AuthenticatePassword", context, request)
        name = request.name[:64]
        if (wait := self._attempts.take(name)) > 0:
            raise FarmError(Code.RATE_LIMITED, retry_after=f"{math.ceil(wait)}")
        user = await cases.authenticate_password(self._farm, name, request.password)
        return pb.AuthenticatePasswordResponse(principal=_person(user))

    async def CheckUser(self, request: pb.CheckUserRequest, context: Context) -> pb.CheckUserResponse:
        caller_of(_SERVICE + "CheckUser", context, request)
        user = await cases.check_user(self._farm, request.name, request.generation)
        return pb.CheckUserResponse(principal=_person(user))

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        caller = caller_of(_SERVICE + "CreateApiKey", context, request)
        role = convert.from_number(convert.ROLES, request.role, "role")
        ends = convert.microseconds(request.expire_time, "expire_time") if request.HasField("expire_time") else None
        key, secret = await cases.create_key(self._farm, caller, request.name, role, ends)
        return pb.CreateApiKeyResponse(api_key=convert.api_key(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        caller_of(_SERVICE + "ListApiKeys", context, request)
        size = page_size(request.page_size)
        after = place("keys", request.page_token)
        async with self._farm.store.read() as look:
            keys = await look.api_keys()
        rest = [k for k in keys if after is None or (k.created_at, k.key_id) > (int(after[0]), str(after[1]))]
        page = rest[:size]
        following = token("keys", page[-1].created_at, page[-1].key_id) if len(rest) > size else ""
        return pb.ListApiKeysResponse(api_keys=map(convert.api_key, page), next_page_token=following)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        caller = caller_of(_SERVICE + "RevokeApiKey", context, request)
        key = await cases.revoke_key(self._farm, caller, request.key_id)
        return pb.RevokeApiKeyResponse(api_key=convert.api_key(key))

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        caller = caller_of(_SERVICE + "CreateUser", context, request)
        role = convert.from_number(convert.ROLES, request.role, "role")
        user = await cases.create_user(self._farm, caller, request.name, request.password, role)
        return pb.CreateUserResponse(user=convert.user(user))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        caller_of(_SERVICE + "ListUsers", context, request)
        size = page_size(request.page_size)
        after = place("users", request.page_token)
        async with self._farm.store.read() as look:
            users = await look.users()
        rest = [user for user in users if after is None or user.name > str(after[0])]
        page = rest[:size]
        following = token("users", page[-1].name) if len(rest) > size else ""
        return pb.ListUsersResponse(users=map(convert.user, page), next_page_token=following)

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.UpdateUserResponse:
        caller = caller_of(_SERVICE + "UpdateUser", context, request)
        role = convert.from_number(convert.ROLES, request.role, "role") if request.role else None
        user = await cases.update_user(
            self._farm,
            caller,
            request.name,
            password=request.password if request.HasField("password") else None,
            role=role,
            disabled=request.disabled if request.HasField("disabled") else None,
        )
        return pb.UpdateUserResponse(user=convert.user(user))

    async def LogOut(self, request: pb.LogOutRequest, context: Context) -> pb.LogOutResponse:
        caller = caller_of(_SERVICE + "LogOut", context, request)
        if caller.role is not Role.ADMIN and caller.name != f"user/{request.name}":
            raise FarmError(Code.PERMISSION_DENIED, "people log themselves out, administrators anybody")
        return pb.LogOutResponse(user=convert.user(await cases.log_out(self._farm, caller, request.name)))


def _person(user: User) -> pb.Principal:
    return pb.Principal(
        name=f"user/{user.name}", role=convert.ROLES[user.role], kind="user", generation=user.generation
    )
