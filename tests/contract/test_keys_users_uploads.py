"""Keys, users and uploads on every database: what two do at once comes out as if one had come first."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from printfarm_coordinator.adapters.artifacts.folder import ArtifactFolder
from printfarm_coordinator.adapters.bus.inprocess import InProcessBus
from printfarm_coordinator.adapters.ids import TimeOrderedIds
from printfarm_coordinator.adapters.sql.migrate import migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.app import access, uploads
from printfarm_coordinator.app.farm import Caller, Farm
from printfarm_coordinator.app.file_ports import Artifact
from printfarm_coordinator.app.janitor import forget_once, note_key_uses_once
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.domain.errors import RuleError
from tests.support.control_plane import HOUR, ManualClock

EVA = Caller("user/eva", Role.ADMIN)
PASSWORD = "correct horse battery"


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def farm(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Farm]:
    url = f"sqlite:///{tmp_path / 'farm.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").database()
    store = SqlStore(url, clock=ManualClock())
    await migrate(store.engine)
    yield Farm(store, InProcessBus(), ArtifactFolder(tmp_path / "artifacts"), TimeOrderedIds())
    await store.close()


async def test_one_name_one_user_however_many_ask(farm: Farm) -> None:
    asked = [access.create_user(farm, EVA, "ana", f"{PASSWORD} {n}", Role.VIEWER) for n in range(5)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    made = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, RuleError)]
    assert len(made) == 1
    assert [error.code for error in refused] == ["ALREADY_EXISTS"] * 4
    assert (await access.authenticate_password(farm, "ana", f"{PASSWORD} {made[0]}")).generation == 1


async def test_no_change_of_a_user_is_lost(farm: Farm) -> None:
    await access.create_user(farm, EVA, "ana", PASSWORD, Role.VIEWER)
    await asyncio.gather(
        access.update_user(farm, EVA, "ana", password=None, role=Role.ADMIN, disabled=None),
        access.update_user(farm, EVA, "ana", password=None, role=None, disabled=True),
        access.update_user(farm, EVA, "ana", password=PASSWORD * 2, role=None, disabled=None),
    )
    async with farm.store.read() as look:
        user = await look.user("ana")
    assert user is not None
    assert (user.role, user.disabled, user.generation) == (Role.ADMIN, True, 4)


async def test_a_key_in_use_while_it_is_revoked_stays_revoked(farm: Farm) -> None:
    made = [await access.create_key(farm, EVA, f"key {n}", Role.VIEWER, None) for n in range(10)]
    for key, secret in made:
        assert (await access.authenticate_key(farm, secret)).key_id == key.key_id
    await asyncio.gather(note_key_uses_once(farm), *[access.revoke_key(farm, EVA, key.key_id) for key, _ in made])
    async with farm.store.read() as look:
        keys = await look.api_keys()
    assert all(key.revoked for key in keys)
    assert not farm.key_uses
    for _, secret in made:
        with pytest.raises(RuleError, match="UNAUTHENTICATED"):
            await access.authenticate_key(farm, secret)


async def test_open_uploads_are_neither_finished_nor_expired(farm: Farm) -> None:
    sha256 = "a" * 64
    views = [await uploads.create_upload(farm, EVA, 10, sha256, f"{n}.gcode") for n in range(3)]
    async with farm.store.write("test") as tx:
        await tx.put_artifact(Artifact(sha256, 10, "gcode", "n", tx.now))
    await uploads._mark(farm, views[0].upload)
    async with farm.store.read() as look:
        assert {upload.upload_id for upload in await look.open_uploads()} == {v.upload.upload_id for v in views[1:]}
        assert {upload.client for upload in await look.open_uploads()} == {"user/eva"}
        assert [artifact.sha256 for artifact in await look.artifacts_named([sha256, "b" * 64])] == [sha256]
        assert await look.artifacts_named([]) == []
    farm.store._clock.forward(24 * HOUR)  # type: ignore[attr-defined]
    async with farm.store.read() as look:
        assert await look.open_uploads() == []
    farm.store._clock.forward(1)  # type: ignore[attr-defined]
    assert await forget_once(farm) == 3


async def test_a_deleted_upload_is_gone_and_nothing_else(farm: Farm) -> None:
    busy = uploads.Uploads()
    one, two = [await uploads.create_upload(farm, EVA, 10, "a" * 64, "n") for _ in range(2)]
    await asyncio.gather(*[uploads.delete_upload(farm, busy, one.upload.upload_id) for _ in range(5)])
    with pytest.raises(RuleError, match="NOT_FOUND"):
        await uploads.view_upload(farm, one.upload.upload_id)
    assert (await uploads.view_upload(farm, two.upload.upload_id)).offset == 0


async def test_who_locks_second_sees_what_the_first_wrote(farm: Farm) -> None:
    await access.create_user(farm, EVA, "ana", PASSWORD, Role.VIEWER)
    key, _ = await access.create_key(farm, EVA, "erp", Role.VIEWER, None)
    async with farm.store.write("first") as tx:
        user, locked = await tx.lock_user("ana"), await tx.lock_api_key(key.key_id)
        assert user is not None
        assert locked is not None
        second = [
            asyncio.create_task(access.update_user(farm, EVA, "ana", password=None, role=Role.ADMIN, disabled=None)),
            asyncio.create_task(access.revoke_key(farm, EVA, key.key_id)),
        ]
        # Time to read too early, for one that would.
        assert not (await asyncio.wait(second, timeout=0.3))[0]
        await tx.put_user(replace(user, disabled=True, generation=7))
        await tx.put_api_key(replace(locked, last_used_at=tx.now))
    changed, revoked = await asyncio.gather(*second)
    assert (changed.disabled, changed.generation, revoked.last_used_at is None) == (True, 8, False)
