"""The migrations make exactly what the tables say, from nothing and from every older revision."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from printfarm_coordinator.adapters.sql.migrate import config, migrate
from printfarm_coordinator.adapters.sql.store import SqlStore
from printfarm_coordinator.adapters.sql.tables import metadata
from printfarm_coordinator.app.ports import Role
from printfarm_coordinator.domain.printer import BedState
from printfarm_coordinator.domain.run import RunState
from tests.support.stores import SHA, database_url

REVISIONS = [script.revision for script in reversed(list(ScriptDirectory.from_config(config()).walk_revisions()))]
# As the first revision could hold them. A later one only adds.
ROWS: dict[str, dict[str, Any]] = {
    "artifact": {"sha256": SHA, "size_bytes": 5, "kind": "gcode", "display_name": "a.gcode", "created_at": 1},
    "agent": {"agent_id": "a1", "created_at": 1, "connection_epoch": 3, "reachable": True},
    "printer": {
        "printer_id": "p1",
        "agent_id": "a1",
        "name": "P",
        "driver": "virtual",
        "abilities": {"volume_mm": [200.0, 200.0, 180.0], "tags": ["lab"]},
        "overrides": {"colour": "red"},
        "epoch": 7,
        "bed_state": "occupied",
        "bed_run_id": "r1",
        "observed_state": "printing",
        "active_run_id": "r1",
        "created_at": 1,
        "updated_at": 1,
        "version": 4,
    },
    "job": {
        "job_id": "j1",
        "name": "part",
        "client": "key/k1",
        "artifact_sha256": SHA,
        "quantity": 4,
        "parts_per_plate": 2,
        "priority": 0,
        "requirements": {"material": "PLA", "tags": ["lab"]},
        "max_retries": 3,
        "state": "active",
        "active_runs": 1,
        "pending_parts": 2,
        "created_at": 1,
        "updated_at": 1,
        "version": 2,
    },
    "run": {
        "run_id": "r1",
        "job_id": "j1",
        "printer_id": "p1",
        "agent_id": "a1",
        "epoch": 7,
        "parts": 2,
        "state": "printing",
        "bed_token": "t",
        "created_at": 1,
        "updated_at": 1,
        "version": 5,
    },
    "event": {
        "position": 1,
        "type": "run.started",
        "subject_kind": "run",
        "subject_id": "r1",
        "subject_sequence": 1,
        "actor": "a1",
        "data": {"epoch": 7},
        "created_at": 1,
    },
    "audit": {
        "sequence": 1,
        "created_at": 1,
        "actor": "user/ana",
        "action": "printer.held",
        "subject_kind": "printer",
        "subject_id": "p1",
        "reason": "why",
        "epoch": 7,
        "request_id": "q",
        "hash": "h",
    },
    "idempotency": {"client": "key/k1", "key": "k", "body_sha256": SHA, "subject_id": "j1", "created_at": 1},
    "upload": {
        "upload_id": "u1",
        "size_bytes": 5,
        "sha256": SHA,
        "display_name": "old.gcode",
        "created_at": 1,
        "expires_at": 1 << 52,
    },
    "api_key": {
        "key_id": "k1",
        "name": "erp",
        "role": "operator",
        "prefix": "pf_",
        "secret_sha256": SHA,
        "created_at": 1,
    },
    "user_account": {"name": "ana", "role": "admin", "password_hash": "x", "created_at": 1, "generation": 2},
    "enrollment_token": {"token_sha256": SHA, "agent_id": "a1", "expires_at": 9},
    "cursor": {"name": "bus", "position": 1},
    "leadership": {"id": 1, "term": 6, "holder": "old", "expires_at": 9},
    "rate": {
        "rate_id": "t1",
        "kind": "machine",
        "price": 2_000_000,
        "currency": "EUR",
        "valid_from": 1,
        "created_at": 1,
        "created_by": "key/k1",
    },
    "file_facts": {
        "sha256": SHA,
        "reader_version": 1,
        "read_at": 1,
        "facts": {"kind": "gcode", "size_bytes": 5},
        "materials": "|pla|",
    },
    "file_override": {
        "override_id": "o1",
        "job_id": "j1",
        "sha256": SHA,
        "rules": 1,
        "actor": "user/ana",
        "role": "admin",
        "reason": "our own macro",
        "covers": ["unlisted"],
        "created_at": 1,
    },
    "unpacked_file": {"packed_sha256": SHA, "plate": 2, "gcode_sha256": SHA, "estimated_seconds": 1.5},
    "profile": {
        "name": "draft",
        "version": 1,
        "kind": "quality",
        "engine": "prusaslicer",
        "settings": {"layer_height": "0.3"},
        "printer_models": [],
        "created_by": "user/ana",
        "created_at": 1,
    },
    "slicing": {
        "slicing_id": "s1",
        "model_sha256": SHA,
        "settings_hash": "h",
        "parts": 1,
        "engine": "prusaslicer",
        "engine_version": "2.5.0",
        "settings": {"layer_height": "0.3"},
        "labels": ["draft@1"],
        "priority": 0,
        "state": "queued",
        "created_at": 1,
        "updated_at": 1,
        "version": 1,
    },
    "slicer_worker": {"name": "w1", "engines": {"prusaslicer": "2.5.0"}, "seen_at": 1},
}


@pytest_asyncio.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SqlStore]:
    """An empty database."""
    made = SqlStore(database_url(request, tmp_path, request.param))
    yield made
    await made.close()


async def test_migrations_and_tables_agree(store: SqlStore) -> None:
    await migrate(store.engine)
    async with store.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        migrated = await connection.run_sync(_schema)
    async with store.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
        # Alembic compares no conditions of partial indexes, no checks and no defaults.
        assert await connection.run_sync(_schema) == migrated
    assert any("one_active_per_printer" in line and "UNIQUE" in line and "WHERE" in line for line in migrated)


def _differences(connection: sa.Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": False})
    return list(compare_metadata(context, metadata))


def _schema(connection: sa.Connection) -> list[str]:
    """All that the database knows of its tables, but for the order of columns."""
    if connection.dialect.name == "sqlite":
        query = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    else:
        query = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'"
    lines = [" ".join(text.split()) for text in connection.execute(sa.text(query)).scalars()]
    inspector = sa.inspect(connection)
    for table in inspector.get_table_names():
        parts: list[Any] = [*inspector.get_columns(table), inspector.get_pk_constraint(table)]
        parts += [*inspector.get_foreign_keys(table), *inspector.get_unique_constraints(table)]
        parts += inspector.get_check_constraints(table)
        lines += [f"{table}: {sorted((key, str(value)) for key, value in part.items())}" for part in parts]
    return sorted(line for line in lines if "alembic_version" not in line)


@pytest.mark.parametrize("revision", REVISIONS[:-1])
async def test_an_older_database_is_brought_up_with_its_rows(store: SqlStore, revision: str) -> None:
    async with store.engine.begin() as connection:
        await connection.run_sync(lambda on: command.upgrade(config(on), revision))
        before = await connection.run_sync(_fill)
    await migrate(store.engine)
    async with store.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        after = await connection.run_sync(lambda on: {name: _row(on, name) for name in before})
    assert before == {name: {column: after[name][column] for column in row} for name, row in before.items()}


def _fill(connection: sa.Connection) -> dict[str, dict[str, Any]]:
    """A row in every table of this revision, as it comes back."""
    old = sa.MetaData()
    old.reflect(connection)
    names = [table.name for table in old.sorted_tables if table.name != "alembic_version"]
    for name in names:
        connection.execute(sa.insert(old.tables[name]).values(ROWS[name]))
    return {name: _row(connection, name) for name in names}


def _row(connection: sa.Connection, name: str) -> dict[str, Any]:
    return dict(connection.execute(sa.text(f'SELECT * FROM "{name}"')).mappings().one())


async def test_the_farm_goes_on_with_the_rows_of_the_first_revision(store: SqlStore) -> None:
    async with store.engine.begin() as connection:
        await connection.run_sync(lambda on: command.upgrade(config(on), REVISIONS[0]))
        await connection.run_sync(_fill)
    await migrate(store.engine)
    async with store.write("look") as tx:
        held, agent, upload = await tx.lock_slice("r1"), await tx.lock_agent("a1"), await tx.upload("u1")
        assert held is not None
        assert agent is not None
        assert upload is not None
        assert (held.run.state, held.run.version, held.printer.epoch) == (RunState.PRINTING, 5, 7)
        assert (held.printer.bed.state, held.printer.abilities.tags) == (BedState.OCCUPIED, ("lab",))
        assert (held.job.requirements.material, held.job.pending_parts) == ("PLA", 2)
        assert (agent.connection_epoch, agent.certificate_key_sha256, upload.client) == (3, "", "")
        assert [key.role for key in await tx.api_keys()] == [Role.OPERATOR]
        assert [user.generation for user in await tx.users()] == [2]
        assert (await tx.cursor("bus"), await tx.last_position()) == (1, 1)
        assert (await tx.remembered("key/k1", "k"), await tx.token(SHA)) != (None, None)
        # A term that was never written again is not one that was never held.
        assert await tx.take_term("new", 1) == 7


async def test_an_upgrade_that_fails_changes_nothing(store: SqlStore) -> None:
    async with store.engine.begin() as connection:
        await connection.run_sync(lambda on: command.upgrade(config(on), "0001"))
        # What the third revision adds is there already: the second has gone well by then.
        await connection.execute(sa.text("ALTER TABLE agent ADD COLUMN certificate_key_sha256 TEXT"))
        before = await connection.run_sync(_schema)
    with pytest.raises(sa.exc.DBAPIError):
        await migrate(store.engine)
    async with store.engine.begin() as connection:
        assert await connection.run_sync(_schema) == before
        assert await connection.run_sync(_revision) == "0001"
        await connection.execute(sa.text("ALTER TABLE agent DROP COLUMN certificate_key_sha256"))
    await migrate(store.engine)
    async with store.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


async def test_a_second_start_migrates_nothing(store: SqlStore) -> None:
    await migrate(store.engine)
    await migrate(store.engine)
    async with store.engine.connect() as connection:
        assert await connection.run_sync(_revision) == REVISIONS[-1]


async def test_two_that_start_at_once_migrate_once(store: SqlStore) -> None:
    other = SqlStore(store.engine.url.render_as_string(hide_password=False))
    try:
        await asyncio.gather(migrate(store.engine), migrate(other.engine))
    finally:
        await other.close()
    async with store.engine.connect() as connection:
        assert await connection.run_sync(_differences) == []
        assert await connection.run_sync(_revision) == REVISIONS[-1]
