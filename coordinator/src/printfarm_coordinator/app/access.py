"""Keys of services and passwords of people. Secrets are shown once; only hashes are kept."""

import asyncio
import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from printfarm_rpc.identity import is_name

from ..domain.errors import Invalid, RuleError
from ..domain.events import AuditEntry
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import AlreadyExists, ApiKey, Role, User, Writing

_KIND = "pf_"
_SECRET_BYTES = 32
_PREFIX_LENGTH = 8
_USE_NOTED_EVERY_US = 60_000_000
_SHORTEST_PASSWORD, _LONGEST_PASSWORD = 12, 256
# Each verification takes 64 MiB for a moment: so many at once, the others wait. Threads of their own, so that files never wait
# for passwords.
_HASHING = ThreadPoolExecutor(2, "passwords")
_HASHER = PasswordHasher()


def _unknown() -> RuleError:
    return RuleError("UNAUTHENTICATED", "unknown, expired or revoked")


def _hash(secret: str) -> str:
    """A 256-bit secret needs no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_secret() -> str:
    """Of a key: what it is called in lists, and what nobody guesses."""
    return f"{_KIND}{secrets.token_hex(_PREFIX_LENGTH // 2)}_{secrets.token_urlsafe(_SECRET_BYTES)}"


async def create_key(
    farm: Farm, caller: Caller, name: str, role: Role, expires_at: int | None, secret: str = ""
) -> tuple[ApiKey, str]:
    """A key and its secret, a new one unless it is given, which is never shown again. Raises ALREADY_EXISTS for a live key of
    that name."""
    if not (0 < len(name) <= 100 and name.isprintable()):
        raise Invalid("name", "must be 1 to 100 printable characters")
    secret = secret or new_secret()
    prefix = secret[: len(_KIND) + _PREFIX_LENGTH]
    key_id = farm.ids.new()

    async def work(tx: Writing) -> ApiKey:
        if expires_at is not None and expires_at <= tx.now:
            raise Invalid("expire_time", "must be in the future")
        if any(_is_live(key, tx.now) and key.name == name for key in await tx.api_keys()):
            raise RuleError("ALREADY_EXISTS", f"a live key is named {name}", field="name")
        key = ApiKey(key_id, name, role, prefix, _hash(secret), tx.now, expires_at)
        await tx.put_api_key(key)
        await tx.append_audit([AuditEntry("key.created", "key", key_id, caller.name, f"{name} as {role}", 0)])
        return key

    return await transact(farm, "create_key", work, caller.request_id), secret


def _is_live(key: ApiKey, now: int) -> bool:
    return not key.revoked and (key.expires_at is None or key.expires_at > now)


async def authenticate_key(farm: Farm, secret: str) -> ApiKey:
    """Whose key it is. Raises UNAUTHENTICATED, not telling apart why. Looked up by hash: no timing tells of a secret.

    That it was used is written down later, with others (``janitor``): nobody waits for that."""
    async with farm.store.read() as look:
        key, now = await look.api_key_by_secret(_hash(secret)), look.now
    if key is None or not _is_live(key, now):
        raise _unknown()
    if key.last_used_at is None or key.last_used_at + _USE_NOTED_EVERY_US < now:
        farm.key_uses.add(key.key_id)
    return key


async def revoke_key(farm: Farm, caller: Caller, key_id: str) -> ApiKey:
    """Refused from now on; gateways forget it within 5 s. May be repeated."""

    async def work(tx: Writing) -> ApiKey:
        key = await tx.lock_api_key(key_id)
        if key is None:
            raise missing("key", key_id)
        revoked = replace(key, revoked=True)
        if not key.revoked:
            await tx.put_api_key(revoked)
            await tx.append_audit([AuditEntry("key.revoked", "key", key_id, caller.name, key.name, 0)])
        return revoked

    return await transact(farm, "revoke_key", work, caller.request_id)


async def create_user(farm: Farm, caller: Caller, name: str, password: str, role: Role) -> User:
    """Raises ALREADY_EXISTS."""
    if not is_name(name):
        raise Invalid("name", "must be lower case letters, digits and dashes, at most 63")
    hashed = await _hashed(password)

    async def work(tx: Writing) -> User:
        user = User(name, role, hashed, tx.now)
        await tx.add_user(user)
        await tx.append_audit([AuditEntry("user.created", "user", name, caller.name, f"as {role}", 0)])
        return user

    try:
        return await transact(farm, "create_user", work, caller.request_id)
    except AlreadyExists as error:
        raise RuleError("ALREADY_EXISTS", f"there is a user {name}", field="name") from error


async def _hashed(password: str) -> str:
    if not _SHORTEST_PASSWORD <= len(password) <= _LONGEST_PASSWORD:
        raise Invalid("password", f"must be {_SHORTEST_PASSWORD} to {_LONGEST_PASSWORD} characters")
    return await asyncio.get_running_loop().run_in_executor(_HASHING, _HASHER.hash, password)


async def update_user(
    farm: Farm, caller: Caller, name: str, *, password: str | None, role: Role | None, disabled: bool | None
) -> User:
    """What is given is changed. A new password, another role, or being disabled voids the user's tokens."""
    hashed = await _hashed(password) if password is not None else None

    async def work(tx: Writing) -> User:
        user = await tx.lock_user(name)
        if user is None:
            raise missing("user", name)
        after = replace(
            user,
            role=role or user.role,
            disabled=user.disabled if disabled is None else disabled,
            password_hash=hashed or user.password_hash,
        )
        if after != user:
            after = replace(after, generation=user.generation + 1)
            await tx.put_user(after)
            what = "disabled" if after.disabled and not user.disabled else "changed"
            await tx.append_audit([AuditEntry(f"user.{what}", "user", name, caller.name, f"as {after.role}", 0)])
        return after

    return await transact(farm, "update_user", work, caller.request_id)


async def log_out(farm: Farm, caller: Caller, name: str) -> User:
    """All tokens of the user are void: the next are of another generation. Raises NOT_FOUND."""

    async def work(tx: Writing) -> User:
        user = await tx.lock_user(name)
        if user is None:
            raise missing("user", name)
        after = replace(user, generation=user.generation + 1)
        await tx.put_user(after)
        await tx.append_audit([AuditEntry("user.logged_out", "user", name, caller.name, "", 0)])
        return after

    return await transact(farm, "log_out", work, caller.request_id)


async def authenticate_password(farm: Farm, name: str, password: str) -> User:
    """Raises UNAUTHENTICATED; an unknown user takes as long as a wrong password."""
    async with farm.store.read() as look:
        user = await look.user(name)
    known = user.password_hash if user else None
    matches = await asyncio.get_running_loop().run_in_executor(_HASHING, _verify, known, password)
    if user is None or user.disabled or not matches:
        raise _unknown()
    return user


@cache
def _nobody() -> str:
    """Verified where there is no such user, so that both take the same time."""
    return _HASHER.hash(secrets.token_hex(16))


def _verify(hashed: str | None, password: str) -> bool:
    if len(password) > _LONGEST_PASSWORD:
        hashed, password = None, ""
    try:
        return _HASHER.verify(hashed or _nobody(), password)
    except VerificationError:
        return False


async def check_user(farm: Farm, name: str, generation: int) -> User:
    """The user, if tokens of that generation still hold. Raises UNAUTHENTICATED."""
    async with farm.store.read() as look:
        user = await look.user(name)
    if user is None or user.disabled or user.generation != generation:
        raise _unknown()
    return user


async def has_keys(farm: Farm) -> bool:
    """Whether a key was ever made."""
    async with farm.store.read() as look:
        return bool(await look.api_keys())


async def is_secret(farm: Farm, secret: str) -> bool:
    """Whether it is that of a live key. This is no use of it."""
    async with farm.store.read() as look:
        key, now = await look.api_key_by_secret(_hash(secret)), look.now
    return key is not None and _is_live(key, now)
