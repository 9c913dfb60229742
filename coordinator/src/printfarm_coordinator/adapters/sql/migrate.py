"""Brings the schema to the newest revision, with progress in the log."""

from pathlib import Path

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import AsyncEngine

_LOG = structlog.get_logger(__name__)
_HERE = Path(__file__).parent / "migrations"
# The second of two coordinators that start at once waits for the first, however long that takes.
_ALONE = (
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    "SELECT pg_advisory_xact_lock(7303)",
)


def config(connection: sa.Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(_HERE))
    made.attributes["connection"] = connection
    return made


async def migrate(engine: AsyncEngine) -> None:
    """Up to the newest revision, in one transaction. Does nothing if it is there already."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        for statement in _ALONE:
            connection.exec_driver_sql(statement)
    settings = config(connection)
    have = MigrationContext.configure(connection).get_current_revision()
    want = ScriptDirectory.from_config(settings).get_current_head()
    if have == want:
        return
    _LOG.info("migrating the database", from_revision=have or "empty", to_revision=want)
    command.upgrade(settings, "head")
    _LOG.info("database migrated", revision=want)
