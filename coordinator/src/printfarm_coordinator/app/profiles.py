"""Profiles: added in versions that never change, listed, retired."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain.errors import Invalid, RuleError
from ..domain.events import AuditEntry
from ..domain.profile import LONGEST_NAME, Profile, ProfileKind, check_profile
from .farm import Caller, Farm, transact
from .jobs import missing
from .ports import AlreadyExists, Reading, Writing

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-._")
MOST_PROFILES = 1_000
# Jobs that were accepted under them keep them all.
MOST_VERSIONS = 1_000


@dataclass(frozen=True, slots=True)
class ProfileOrder:
    """A profile as a person wants it. ``version``: of what they saw, 0 for a new profile or whatever is there."""

    name: str
    kind: ProfileKind
    engine: str
    settings: Mapping[str, str]
    printer_models: tuple[str, ...] = ()
    is_default: bool = False
    description: str = ""
    version: int = 0


async def put_profile(farm: Farm, caller: Caller, order: ProfileOrder) -> Profile:
    """The next version of the profile; jobs accepted before keep theirs. The same content again makes no version.

    Raises Invalid, VERSION_CONFLICT, QUOTA_EXCEEDED.
    """
    if not 1 <= len(order.name) <= LONGEST_NAME or not set(order.name) <= _LETTERS or order.name[0] in "-._":
        raise Invalid(
            "name", f"must be 1 to {LONGEST_NAME} of a-z, 0-9, dot, dash and underscore, a letter or digit first"
        )

    async def work(tx: Writing) -> Profile:
        versions = await _versions(tx, order.name)
        last = versions[-1] if versions else None
        if order.version and order.version != (last.version if last else 0):
            raise RuleError("VERSION_CONFLICT", f"the profile is at version {last.version if last else 0}")
        if last is None and len({p.name for p in await tx.profiles()}) >= MOST_PROFILES:
            raise RuleError("QUOTA_EXCEEDED", f"a farm has at most {MOST_PROFILES} profiles")
        made = Profile(
            order.name,
            last.version + 1 if last else 1,
            order.kind,
            order.engine,
            dict(order.settings),
            tx.now,
            caller.name,
            order.printer_models,
            order.is_default,
            order.description,
        )
        check_profile(made)
        if last is not None and last.kind is not made.kind:
            raise Invalid("kind", f"must stay {last.kind}: give another name to a profile of another kind")
        if last is not None and last.retired_at is None and _same(last, made):
            return last
        if made.version > MOST_VERSIONS:
            raise RuleError(
                "QUOTA_EXCEEDED", f"a profile has at most {MOST_VERSIONS} versions: go on under another name"
            )
        await tx.add_profile(made)
        await tx.retire_profile(order.name, None)
        await tx.append_audit([AuditEntry("profile.put", "profile", made.label, caller.name, "", 0)])
        return made

    try:
        made = await transact(farm, "profile", work, caller.request_id)
    except AlreadyExists as error:
        raise RuleError("VERSION_CONFLICT", "another wrote that version a moment ago") from error
    farm.hints.job_changed()
    return made


def _same(one: Profile, other: Profile) -> bool:
    def content(p: Profile) -> tuple[object, ...]:
        return p.engine, dict(p.settings), p.printer_models, p.is_default, p.description

    return content(one) == content(other)


async def retire_profile(farm: Farm, caller: Caller, name: str, reason: str) -> None:
    """Jobs accepted from now on do not use it. May be repeated. Raises NOT_FOUND."""

    async def work(tx: Writing) -> None:
        versions = await _versions(tx, name)
        if not versions:
            raise missing("profile", name)
        if versions[-1].retired_at is None:
            await tx.retire_profile(name, tx.now)
            await tx.append_audit([AuditEntry("profile.retired", "profile", name, caller.name, reason, 0)])

    await transact(farm, "profile", work, caller.request_id)


async def _versions(look: Reading, name: str) -> list[Profile]:
    return [profile for profile in await look.profiles() if profile.name == name]


async def profile_versions(farm: Farm, name: str) -> list[Profile]:
    """All versions, oldest first. Raises NOT_FOUND."""
    async with farm.store.read() as look:
        found = await _versions(look, name)
    if not found:
        raise missing("profile", name)
    return found


async def newest_profiles(farm: Farm) -> list[Profile]:
    """The newest version of each, retired ones left out, by name."""
    async with farm.store.read() as look:
        newest = {profile.name: profile for profile in await look.profiles()}
    return [profile for _, profile in sorted(newest.items()) if profile.retired_at is None]
