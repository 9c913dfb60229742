"""The database's clock, in microseconds since the epoch (I18)."""

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

Clock = Callable[[], int]

# now() would be the transaction's start; a lease is judged by the time at which it is looked at.
_NOW = {
    "postgresql": sa.text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"),
    "sqlite": sa.text("SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"),
}


async def database_now(connection: AsyncConnection) -> int:
    """What time the database says it is."""
    return int((await connection.execute(_NOW[connection.dialect.name])).scalar_one())
