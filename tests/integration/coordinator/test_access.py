"""Keys and users over gRPC: shown once, hashed, expiring, revocable, audited."""

import asyncio
import time
from pathlib import Path

import pytest

from printfarm.control.v1 import access_service_pb2 as pb
from printfarm.control.v1 import farm_service_pb2
from printfarm_coordinator.app.access import has_keys
from printfarm_coordinator.app.janitor import note_key_uses_once
from printfarm_coordinator.first_key import write_first_key
from printfarm_coordinator.grpc_api.convert import timestamp
from printfarm_rpc.errors import Code, FarmError
from tests.support.control_plane import HOUR, SECOND, ControlPlane

PASSWORD = "correct horse battery"


async def new_key(plane: ControlPlane, name: str = "erp", ends: int | None = None) -> pb.CreateApiKeyResponse:
    operator = plane.operator
    request = pb.CreateApiKeyRequest(name=name, role=pb.ROLE_OPERATOR, expire_time=timestamp(ends))
    answer: pb.CreateApiKeyResponse = await operator(operator.access.CreateApiKey, request)
    return answer


def database_files(folder: Path) -> list[bytes]:
    found = [path.read_bytes() for path in folder.glob("farm.db*")]
    assert found
    return found


async def whose(plane: ControlPlane, secret: str) -> pb.Principal:
    gateway = plane.gateway
    answer = await gateway(gateway.access.AuthenticateKey, pb.AuthenticateKeyRequest(secret=secret))
    principal: pb.Principal = answer.principal
    return principal


async def unknown(plane: ControlPlane, secret: str) -> None:
    with pytest.raises(FarmError) as caught:
        await whose(plane, secret)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert caught.value.detail == "unknown, expired or revoked"


async def log_in(plane: ControlPlane, name: str, password: str) -> pb.Principal:
    gateway = plane.gateway
    request = pb.AuthenticatePasswordRequest(name=name, password=password)
    answer = await gateway(gateway.access.AuthenticatePassword, request)
    principal: pb.Principal = answer.principal
    return principal


async def test_a_key_is_its_holders_name_and_role(plane: ControlPlane) -> None:
    made = await new_key(plane)
    kind, shown, rest = made.secret.split("_", 2)
    assert f"{kind}_{shown}" == made.api_key.prefix
    assert len(rest) == 43
    principal = await whose(plane, made.secret)
    assert (principal.name, principal.role, principal.kind) == ("key/erp", pb.ROLE_OPERATOR, "key")
    assert principal.key_id == made.api_key.key_id


async def test_no_secret_is_on_the_disk_or_in_a_list(plane: ControlPlane) -> None:
    made = await new_key(plane)
    operator = plane.operator
    listed = await operator(operator.access.ListApiKeys, pb.ListApiKeysRequest())
    secret = made.secret.split("_", 2)[2].encode()
    assert secret not in listed.SerializeToString()
    assert not any(secret in content for content in database_files(plane.folder))


@pytest.mark.parametrize("secret", ["", "pf_x", "\0", "pf_00000000_" + "A" * 43, "ä" * 100, "x" * 10_000])
async def test_what_is_no_key(plane: ControlPlane, secret: str) -> None:
    gateway = plane.gateway
    request = pb.AuthenticateKeyRequest(secret=secret)
    error = await gateway.refused(gateway.access.AuthenticateKey, request)
    assert error.code in (Code.UNAUTHENTICATED, Code.INVALID_ARGUMENT)


async def test_a_key_ends_when_it_expires(plane: ControlPlane) -> None:
    made = await new_key(plane, ends=plane.clock.now + HOUR)
    assert (await whose(plane, made.secret)).expire_time.ToMicroseconds() == plane.clock.now + HOUR
    plane.clock.forward(HOUR)
    await unknown(plane, made.secret)


async def test_a_key_that_is_over_at_birth_is_refused(plane: ControlPlane) -> None:
    with pytest.raises(FarmError) as caught:
        await new_key(plane, ends=plane.clock.now)
    assert caught.value.fields[0].field == "expire_time"


async def test_a_key_ends_when_it_is_revoked_and_its_name_is_free_again(plane: ControlPlane) -> None:
    made, operator = await new_key(plane), plane.operator
    with pytest.raises(FarmError, match="ALREADY_EXISTS"):
        await new_key(plane)
    for _ in range(2):
        request = pb.RevokeApiKeyRequest(key_id=made.api_key.key_id)
        assert (await operator(operator.access.RevokeApiKey, request)).api_key.revoked
    await unknown(plane, made.secret)
    assert (await new_key(plane)).secret != made.secret
    nobody = pb.RevokeApiKeyRequest(key_id="none")
    assert (await operator.refused(operator.access.RevokeApiKey, nobody)).code is Code.NOT_FOUND


async def test_use_is_written_down_at_most_once_a_minute_and_never_by_the_one_who_asks(plane: ControlPlane) -> None:
    made, operator = await new_key(plane), plane.operator

    async def last_use() -> int:
        listed = await operator(operator.access.ListApiKeys, pb.ListApiKeysRequest())
        at: int = listed.api_keys[0].last_use_time.ToMicroseconds()
        return at

    await asyncio.gather(*[whose(plane, made.secret) for _ in range(5)])
    assert await last_use() == 0
    assert await note_key_uses_once(plane.farm) == 1
    first = plane.clock.now
    assert await last_use() == first
    plane.clock.forward(60 * SECOND)
    await whose(plane, made.secret)
    assert await note_key_uses_once(plane.farm) == 0
    plane.clock.forward(1)
    await whose(plane, made.secret)
    assert await note_key_uses_once(plane.farm) == 1
    assert await last_use() == first + 60 * SECOND + 1


async def test_noting_a_use_does_not_bring_a_revoked_key_back(plane: ControlPlane) -> None:
    made, operator = await new_key(plane), plane.operator
    await whose(plane, made.secret)
    await operator(operator.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
    await note_key_uses_once(plane.farm)
    await unknown(plane, made.secret)


async def test_keys_in_pages(plane: ControlPlane) -> None:
    names = []
    for number in range(5):
        plane.clock.forward(SECOND)
        names.append((await new_key(plane, f"key {number}")).api_key.name)
    operator, found, token = plane.operator, [], ""
    while True:
        page = await operator(operator.access.ListApiKeys, pb.ListApiKeysRequest(page_size=2, page_token=token))
        found.extend(key.name for key in page.api_keys)
        if not (token := page.next_page_token):
            break
    assert found == names


async def test_the_first_administrators_key_is_made_once(plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "data" / "admin-api-key"
    assert await write_first_key(plane.farm, path)
    secret = path.read_text().strip()
    assert (await whose(plane, secret)).role == pb.ROLE_ADMIN
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    # A person took it away.
    assert not await write_first_key(plane.farm, path)
    assert list(path.parent.iterdir()) == []


async def test_who_dies_between_the_first_key_and_its_file_loses_no_administrator(
    plane: ControlPlane, tmp_path: Path
) -> None:
    path, begun = tmp_path / "admin-api-key", tmp_path / "admin-api-key.new"
    # Before the database knew it: nobody's key.
    begun.write_text("pf_0123abcd_of_a_start_that_died\n")
    assert await write_first_key(plane.farm, path)
    secret = path.read_text().strip()
    assert "died" not in secret
    # After the database knew it.
    path.rename(begun)
    assert await write_first_key(plane.farm, path)
    assert (await whose(plane, path.read_text().strip())).role == pb.ROLE_ADMIN
    assert not begun.exists()
    assert not await write_first_key(plane.farm, path)


async def test_of_two_coordinators_that_start_at_once_one_has_the_first_key(
    plane: ControlPlane, tmp_path: Path
) -> None:
    paths = [tmp_path / name / "admin-api-key" for name in "ab"]
    made = await asyncio.gather(*(write_first_key(plane.farm, path) for path in paths))
    assert sorted(made) == [False, True]
    assert [path.exists() for path in paths] == made
    assert not any(path.with_name("admin-api-key.new").exists() for path in paths)


async def test_the_secret_is_on_the_disk_before_the_key_is_good(plane: ControlPlane, tmp_path: Path) -> None:
    """However soon after the commit the process dies."""
    path = tmp_path / "admin-api-key"
    making = asyncio.create_task(write_first_key(plane.farm, path))
    while not await has_keys(plane.farm):
        assert not making.done()
    making.cancel()
    await asyncio.gather(making, return_exceptions=True)
    if not path.exists():
        assert await write_first_key(plane.farm, path)
    assert (await whose(plane, path.read_text().strip())).role == pb.ROLE_ADMIN


async def test_a_persons_password_and_the_end_of_their_tokens(plane: ControlPlane) -> None:
    operator, gateway = plane.operator, plane.gateway
    request = pb.CreateUserRequest(name="ana", password=PASSWORD, role=pb.ROLE_VIEWER)
    await operator(operator.access.CreateUser, request)
    assert (await operator.refused(operator.access.CreateUser, request)).code is Code.ALREADY_EXISTS
    principal = await log_in(plane, "ana", PASSWORD)
    assert (principal.name, principal.role, principal.kind, principal.generation) == (
        "user/ana",
        pb.ROLE_VIEWER,
        "user",
        1,
    )
    check = pb.CheckUserRequest(name="ana", generation=1)
    await gateway(gateway.access.CheckUser, check)

    promoted = await operator(operator.access.UpdateUser, pb.UpdateUserRequest(name="ana", role=pb.ROLE_ADMIN))
    assert (promoted.user.generation, promoted.user.role) == (2, pb.ROLE_ADMIN)
    assert (await gateway.refused(gateway.access.CheckUser, check)).code is Code.UNAUTHENTICATED
    same = await operator(operator.access.UpdateUser, pb.UpdateUserRequest(name="ana", role=pb.ROLE_ADMIN))
    assert same.user.generation == 2

    await operator(operator.access.UpdateUser, pb.UpdateUserRequest(name="ana", disabled=True))
    with pytest.raises(FarmError, match="UNAUTHENTICATED"):
        await log_in(plane, "ana", PASSWORD)
    listed = await operator(operator.access.ListUsers, pb.ListUsersRequest())
    assert [(user.name, user.disabled, user.generation) for user in listed.users] == [("ana", True, 3)]


async def test_wrong_passwords_and_unknown_people_are_not_told_apart(plane: ControlPlane) -> None:
    operator = plane.operator
    request = pb.CreateUserRequest(name="ana", password=PASSWORD, role=pb.ROLE_VIEWER)
    await operator(operator.access.CreateUser, request)
    answers = set()
    for name, password in (("ana", "wrong password"), ("nobody", PASSWORD), ("ana", PASSWORD + "x" * 300), ("", "")):
        with pytest.raises(FarmError) as caught:
            await log_in(plane, name, password)
        answers.add((caught.value.code, caught.value.detail))
    assert len(answers) == 1


async def test_guessing_is_slowed_down_per_name(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = await asyncio.gather(*[log_in(plane, "ana", f"guess {n}") for n in range(11)], return_exceptions=True)
    codes = [error.code for error in outcomes if isinstance(error, FarmError)]
    assert codes.count(Code.UNAUTHENTICATED) == 10
    [limited] = [error for error in outcomes if isinstance(error, FarmError) and error.code is Code.RATE_LIMITED]
    assert 1 <= int(limited.facts["retry_after"]) <= 60
    with pytest.raises(FarmError, match="UNAUTHENTICATED"):
        await log_in(plane, "bert", "another person is not locked out")
    # A clock that was set opens nothing; the guesses above took their time.
    hour_later = time.time() + 3_600.0
    monkeypatch.setattr(time, "time", lambda: hour_later)
    again = await asyncio.gather(*[log_in(plane, "ana", f"guess {n}") for n in range(10)], return_exceptions=True)
    assert [error.code for error in again if isinstance(error, FarmError)].count(Code.RATE_LIMITED) >= 5


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateUserRequest(name="Ana", password=PASSWORD, role=1), "name"),
        (pb.CreateUserRequest(name="../x", password=PASSWORD, role=1), "name"),
        (pb.CreateUserRequest(name="ana", password="short", role=1), "password"),
        (pb.CreateUserRequest(name="ana", password="x" * 257, role=1), "password"),
        (pb.CreateUserRequest(name="ana", password=PASSWORD), "role"),
        (pb.CreateUserRequest(name="ana", password=PASSWORD, role=99), "role"),  # type: ignore[arg-type]
    ],
)
async def test_users_that_cannot_be(plane: ControlPlane, request_: pb.CreateUserRequest, field: str) -> None:
    operator = plane.operator
    error = await operator.refused(operator.access.CreateUser, request_)
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, field)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreateApiKeyRequest(name="", role=1), "name"),
        (pb.CreateApiKeyRequest(name="a\nb", role=1), "name"),
        (pb.CreateApiKeyRequest(name="x" * 101, role=1), "name"),
        (pb.CreateApiKeyRequest(name="k"), "role"),
        (pb.CreateApiKeyRequest(name="k", role=4), "role"),  # type: ignore[arg-type]
    ],
)
async def test_keys_that_cannot_be(plane: ControlPlane, request_: pb.CreateApiKeyRequest, field: str) -> None:
    operator = plane.operator
    error = await operator.refused(operator.access.CreateApiKey, request_)
    assert (error.code, error.fields[0].field) == (Code.INVALID_ARGUMENT, field)


async def test_people_log_themselves_out_and_nobody_else(plane: ControlPlane) -> None:
    operator = plane.operator
    for name in ("ana", "bob"):
        await operator(
            operator.access.CreateUser, pb.CreateUserRequest(name=name, password=PASSWORD, role=pb.ROLE_VIEWER)
        )
    ana, key = plane.gateway.acting_for("user/ana", "viewer"), plane.gateway.acting_for("key/ana", "operator")
    for stranger, name in ((ana, "bob"), (key, "ana"), (ana, "nobody")):
        error = await stranger.refused(stranger.access.LogOut, pb.LogOutRequest(name=name))
        assert error.code is Code.PERMISSION_DENIED
    before = await plane.gateway(plane.gateway.access.CheckUser, pb.CheckUserRequest(name="ana", generation=1))
    assert before.principal.name == "user/ana"
    after = (await ana(ana.access.LogOut, pb.LogOutRequest(name="ana"))).user
    assert after.generation == 2
    refused = await plane.gateway.refused(plane.gateway.access.CheckUser, pb.CheckUserRequest(name="ana", generation=1))
    assert refused.code is Code.UNAUTHENTICATED
    assert (await operator(operator.access.LogOut, pb.LogOutRequest(name="bob"))).user.generation == 2
    assert (await operator.refused(operator.access.LogOut, pb.LogOutRequest(name="nobody"))).code is Code.NOT_FOUND


async def test_every_change_is_on_record(plane: ControlPlane) -> None:
    made, operator = await new_key(plane), plane.operator
    await operator(operator.access.RevokeApiKey, pb.RevokeApiKeyRequest(key_id=made.api_key.key_id))
    admin = plane.gateway.acting_for("user/eva", "admin", **{"x-request-id": "request-7"})
    await admin(admin.access.CreateUser, pb.CreateUserRequest(name="ana", password=PASSWORD, role=pb.ROLE_VIEWER))
    await admin(admin.access.UpdateUser, pb.UpdateUserRequest(name="ana", disabled=True))
    audit = await operator(operator.farm.ListAuditEntries, farm_service_pb2.ListAuditEntriesRequest())
    rows = [(entry.action, entry.actor, entry.subject_id) for entry in reversed(audit.entries)]
    assert rows == [
        ("key.created", "operator/olga", made.api_key.key_id),
        ("key.revoked", "operator/olga", made.api_key.key_id),
        ("user.created", "user/eva", "ana"),
        ("user.disabled", "user/eva", "ana"),
    ]
    assert audit.entries[0].request_id == "request-7"
    assert len({entry.hash for entry in audit.entries}) == 4
